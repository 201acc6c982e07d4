//! imzML: every spectrum in one slice, exact, whatever the layout; damaged pairs are errors.

mod build;
mod damaged;
mod random;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use neardata_core::{MemoryObject, ObjectUri, RangedRead};
use neardata_formats::conformance::tables::{Order, TableSuite};
use neardata_formats::table::{ImzMl, Table, TableFormat};
use neardata_formats::{Bounds, Cut, FormatError, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use serde_json::Value;

use build::{Kind, Pair, Spec, Truth, build};

/// An opened pair with its index.
struct Bench {
    table: Box<dyn Table>,
    index: Arc<dyn RangedRead>,
    ibd: Arc<MemoryObject>,
}

fn open(xml: Vec<u8>, ibd: Vec<u8>) -> Result<Bench, FormatError> {
    let xml = Arc::new(MemoryObject::new("memory://x/m.imzML", xml));
    let ibd = Arc::new(MemoryObject::new("memory://x/m.ibd", ibd));
    let table = ImzMl.open(vec![xml, ibd.clone()])?;
    let mut index = Vec::new();
    table.build_index(&mut index, &|_| {})?;
    Ok(Bench { table, index: Arc::new(MemoryObject::new("m.ndtable", index)), ibd })
}

impl Bench {
    fn of(pair: &Pair) -> Self {
        open(pair.xml.clone(), pair.ibd.clone()).unwrap()
    }

    fn cut(&self, cut: &Cut) -> Result<Vec<Value>, FormatError> {
        self.table.cut(cut, Some(&*self.index))
    }

    fn bytes(&self, selection: &Value, object: usize) -> Result<Vec<u8>, FormatError> {
        let mut bytes = Vec::new();
        for piece in self.table.bytes(selection, Some(self.index.clone()), object)? {
            let piece = piece?;
            assert!(!piece.is_empty(), "an empty piece would end the reading");
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn batches(&self, selection: &Value) -> Result<Vec<RecordBatch>, FormatError> {
        let mut batches = self.table.arrow(selection, Some(self.index.clone()))?;
        std::iter::from_fn(|| batches.next_batch()).collect()
    }

    /// What a slice holds as Arrow, and the same of its bytes read as a pair.
    fn spectra(&self, selection: &Value) -> Vec<Truth> {
        let rows = |bench: &Bench, selection: &Value| -> Vec<Truth> {
            bench.batches(selection).unwrap().iter().flat_map(truths).collect()
        };
        let direct = rows(self, selection);
        let pair = open(self.bytes(selection, 0).unwrap(), self.bytes(selection, 1).unwrap()).unwrap();
        let whole = pair.cut(&Cut::default()).unwrap();
        same(&rows(&pair, &whole[0]), &direct.iter().collect::<Vec<_>>());
        direct
    }
}

fn truths(batch: &RecordBatch) -> Vec<Truth> {
    let number = |name: &str, row: usize| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().value(row);
    let list = |name: &str, row: usize| {
        let values = batch.column_by_name(name).unwrap().as_list::<i32>().value(row);
        let values = floats_of(&values);
        values.as_primitive::<Float64Type>().values().to_vec()
    };
    let row = |row| Truth { x: number("x", row), y: number("y", row), mz: list("mz", row), intensity: list("intensity", row) };
    (0..batch.num_rows()).map(row).collect()
}

/// Any numbers as 64-bit floats.
fn floats_of(values: &dyn Array) -> arrow_array::ArrayRef {
    use arrow_array::types::*;
    macro_rules! floats {
        ($kind:ty) => {
            values.as_primitive::<$kind>().values().iter().map(|value| *value as f64).collect()
        };
    }
    let floats: Vec<f64> = match values.data_type() {
        DataType::Int16 => floats!(Int16Type),
        DataType::Int32 => floats!(Int32Type),
        DataType::Int64 => floats!(Int64Type),
        DataType::Float32 => floats!(Float32Type),
        _ => floats!(Float64Type),
    };
    Arc::new(arrow_array::Float64Array::from(floats))
}

#[track_caller]
fn same(found: &[Truth], expected: &[&Truth]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.x, found.y), (expected.x, expected.y));
        assert_eq!(found.mz, expected.mz);
        assert_eq!(found.intensity, expected.intensity);
    }
}

fn layouts() -> Vec<Spec> {
    let spec = Spec::default;
    vec![
        spec(),
        Spec { continuous: true, ..spec() },
        Spec { continuous: true, mz: Kind::F32, intensity: Kind::I32, z: true, ..spec() },
        Spec { zlib: true, empty: true, ..spec() },
        Spec { zlib: true, continuous: true, intensity: Kind::I16, ..spec() },
        Spec { repeats: 3, origin: [0, 0], intensity: Kind::F64, ..spec() },
        Spec { empty: true, mz: Kind::F32, intensity: Kind::I64, inline: true, ..spec() },
        Spec { unsorted: true, intensity_first: true, ..spec() },
        Spec { unsorted: true, continuous: true, ..spec() },
        Spec { unsorted: true, zlib: true, ..spec() },
        Spec { odd: true, more: true, origin: [-3, 7], ..spec() },
        Spec { array_length: false, ..spec() },
        Spec { encoded_length: false, gap: 5000, ..spec() },
        Spec { size: [1, 1], ..spec() },
        Spec { size: [40, 1], ..spec() },
        Spec { size: [30, 30], peaks: 3, ..spec() },
    ]
}

#[test]
fn every_spectrum_is_in_one_slice_whatever_the_layout() {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    for (number, spec) in layouts().iter().enumerate() {
        let root: ObjectUri = format!("memory://imzml/law-{number}").parse().unwrap();
        let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("side-cars") });
        let suite = TableSuite::new(stores.clone(), slicer, root);
        let Pair { xml, ibd, truth } = build(spec);
        let objects = [("m.imzML", xml), ("m.ibd", ibd)];
        let order = Order::Free;
        suite.check(&objects, order).unwrap_or_else(|problem| panic!("layout {number}: {problem}"));
        let [x, y] = spec.origin.map(f64::from);
        let bounds = Some(Bounds { min: [x + 0.5, y], max: [x + 2.0, y + 1.9] });
        let keep = |row: &Value| {
            let (column, line) = (row["x"].as_f64().unwrap() - x, row["y"].as_f64().unwrap() - y);
            (1.0..=2.0).contains(&column) && (0.0..=1.0).contains(&line)
        };
        let held = truth.iter().filter(|truth| keep(&serde_json::json!({"x": truth.x, "y": truth.y}))).count() as u64;
        for partition in [None, Some(Partition::Count(3)), Some(Partition::Tiles(4))] {
            let found = suite.check_query(&objects, &Cut { bounds, partition, ..Cut::default() }, keep);
            assert_eq!(found, Ok(held), "layout {number}");
        }
    }
}

#[test]
fn slices_of_a_changed_pair_are_refused() {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = "memory://imzml/changed".parse().unwrap();
    let suite = TableSuite::new(stores.clone(), Slicer::new(stores, SideCars { root: root.join("cars") }), root);
    let pair = |peaks| {
        let Pair { xml, ibd, .. } = build(&Spec { peaks, ..Spec::default() });
        [("m.imzML", xml), ("m.ibd", ibd)]
    };
    suite.check_overwritten(&pair(20), &pair(30)).unwrap();
}

#[test]
fn arrays_are_exact_in_every_partition() {
    for spec in layouts() {
        let pair = build(&spec);
        let bench = Bench::of(&pair);
        for partition in [Partition::Count(1), Partition::Count(4), Partition::Bytes(3000), Partition::Records(7)] {
            let parts = bench.cut(&Cut::by(partition)).unwrap();
            let found: Vec<Truth> = parts.iter().flat_map(|part| bench.spectra(part)).collect();
            same(&found, &pair.truth.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_window_holds_the_peaks_inside_of_every_spectrum() {
    for spec in layouts() {
        let pair = build(&spec);
        let bench = Bench::of(&pair);
        let some = pair.truth[0].mz[0];
        for window in [[120.0, 140.0], [some, some], [0.0, 1e9], [110.5, 110.5], [139.99, 200.0], [1e-300, 2e-300]] {
            let inside = |truth: &&Truth| Truth {
                x: truth.x,
                y: truth.y,
                mz: truth.mz.iter().copied().filter(|mz| (window[0]..=window[1]).contains(mz)).collect(),
                intensity: truth
                    .mz
                    .iter()
                    .zip(&truth.intensity)
                    .filter(|(mz, _)| (window[0]..=window[1]).contains(*mz))
                    .map(|(_, intensity)| *intensity)
                    .collect(),
            };
            for partition in [None, Some(Partition::Count(3))] {
                let cut = Cut { partition, window: Some(window), ..Cut::default() };
                let parts = bench.cut(&cut).unwrap();
                let found: Vec<Truth> = parts.iter().flat_map(|part| bench.spectra(part)).collect();
                let expected: Vec<Truth> = pair.truth.iter().map(|truth| inside(&truth)).collect();
                same(&found, &expected.iter().collect::<Vec<_>>());
            }
            let left = f64::from(spec.origin[0]);
            let bounds = Some(Bounds { min: [left, f64::MIN], max: [left, f64::MAX] });
            let parts = bench.cut(&Cut { bounds, window: Some(window), ..Cut::default() }).unwrap();
            let found: Vec<Truth> = parts.iter().flat_map(|part| bench.spectra(part)).collect();
            let expected: Vec<Truth> = pair.truth.iter().filter(|truth| truth.x == spec.origin[0]).map(|t| inside(&t)).collect();
            same(&found, &expected.iter().collect::<Vec<_>>());
        }
    }
}

/// The figures of pyimzml for spectra of a real data set.
#[test]
fn real_spectra_are_those_of_pyimzml() {
    let file = |ending| std::fs::read(format!("{}/tests/data/imzml/untreated.{ending}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let bench = open(file("imzML"), file("ibd")).unwrap();
    let expected = String::from_utf8(file("tsv")).unwrap();
    for count in [1, 3] {
        let mut found = String::new();
        for part in bench.cut(&Cut::by(Partition::Count(count))).unwrap() {
            for batch in bench.batches(&part).unwrap() {
                for row in 0..batch.num_rows() {
                    let number = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().value(row);
                    let list = |name: &str| {
                        let list = batch.column_by_name(name).unwrap().as_list::<i32>().value(row);
                        let data = list.to_data();
                        let width = data.data_type().primitive_width().unwrap();
                        let bytes = &data.buffers()[0].as_slice()[data.offset() * width..(data.offset() + data.len()) * width];
                        (data.len(), crc32fast::hash(bytes))
                    };
                    let ((peaks, mz), (_, intensity)) = (list("mz"), list("intensity"));
                    found += &format!("{}\t{}\t{}\t{peaks}\t{mz:08x}\t{intensity:08x}\n", number("x"), number("y"), number("z"));
                }
            }
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn columns_that_are_not_asked_for_are_not_fetched() {
    let pair = build(&Spec { size: [20, 20], peaks: 200, ..Spec::default() });
    let bench = Bench::of(&pair);
    let fetched = |columns: &[&str], window| {
        let columns: Vec<String> = columns.iter().map(|name| name.to_string()).collect();
        let before = bench.ibd.bytes_fetched();
        let part = bench.cut(&Cut { columns: columns.clone(), window, ..Cut::default() }).unwrap().swap_remove(0);
        let batches = bench.batches(&part).unwrap();
        let names: Vec<String> = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, columns);
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 400);
        bench.ibd.bytes_fetched() - before
    };
    assert_eq!(fetched(&["y", "spectrum"], None), 0);
    assert_eq!(fetched(&["x"], Some([120.0, 130.0])), 0);
    let arrays: usize = pair.truth.iter().map(|truth| truth.mz.len()).sum();
    assert_eq!(fetched(&["intensity"], None), arrays as u64 * 4);
    let unknown = bench.cut(&Cut { columns: vec!["depth".into()], ..Cut::default() }).unwrap_err().to_string();
    assert!(unknown.contains("`depth`") && unknown.contains("intensity"), "{unknown}");
}

#[test]
fn partitions_fetch_each_byte_about_once() {
    for spec in [
        Spec { size: [60, 50], peaks: 300, ..Spec::default() },
        Spec { size: [60, 50], peaks: 100, continuous: true, ..Spec::default() },
        Spec { size: [60, 50], peaks: 300, zlib: true, ..Spec::default() },
    ] {
        let pair = build(&spec);
        let bench = Bench::of(&pair);
        for partition in [Partition::Count(1), Partition::Count(8), Partition::Bytes(100_000), Partition::Tiles(16)] {
            let parts = bench.cut(&Cut::by(partition)).unwrap();
            for object in [true, false] {
                let before = bench.ibd.bytes_fetched();
                for part in &parts {
                    match object {
                        true => drop(bench.bytes(part, 1).unwrap()),
                        false => drop(bench.batches(part).unwrap()),
                    }
                }
                let ratio = (bench.ibd.bytes_fetched() - before) as f64 / pair.ibd.len() as f64;
                assert!(ratio <= 1.05, "{ratio} for {partition:?}");
            }
        }
    }
}

/// In continuous data a window is the same short run of each intensity array.
#[test]
fn a_window_of_continuous_data_fetches_what_it_holds() {
    let spec = Spec { size: [20, 20], peaks: 5000, continuous: true, ..Spec::default() };
    let pair = build(&spec);
    let bench = Bench::of(&pair);
    let part = bench.cut(&Cut { window: Some([1000.0, 1100.0]), ..Cut::default() }).unwrap().swap_remove(0);
    let before = bench.ibd.bytes_fetched();
    let found = bench.batches(&part).unwrap();
    let fetched = bench.ibd.bytes_fetched() - before;
    assert_eq!(truths(&found[0])[0].mz.len(), 51);
    assert!(fetched <= 51 * 8 + 400 * 51 * 4 + 16, "{fetched} bytes");
}

#[test]
fn the_spectra_of_a_pixel_stay_together() {
    let pair = build(&Spec { repeats: 4, ..Spec::default() });
    let bench = Bench::of(&pair);
    for partition in
        [Partition::Count(11), Partition::Count(u64::MAX), Partition::Records(1), Partition::Bytes(1), Partition::Tiles(99)]
    {
        let parts = bench.cut(&Cut::by(partition)).unwrap();
        let mut seen = std::collections::HashMap::new();
        for (number, part) in parts.iter().enumerate() {
            for truth in bench.spectra(part) {
                assert_eq!(*seen.entry((truth.x, truth.y)).or_insert(number), number, "{partition:?}");
            }
        }
        assert_eq!(seen.len(), 30);
    }
    assert_eq!(bench.cut(&Cut::by(Partition::Count(11))).unwrap().len(), 11);
    assert_eq!(bench.cut(&Cut::by(Partition::Count(u64::MAX))).unwrap().len(), 30);
}

#[test]
fn slices_keep_the_numbers_of_their_spectra_and_what_is_true_of_them() {
    let bench = Bench::of(&build(&Spec { odd: true, more: true, ..Spec::default() }));
    let part = bench.cut(&Cut::by(Partition::Count(3))).unwrap().swap_remove(1);
    let batch = bench.batches(&part).unwrap().swap_remove(0);
    let numbers = batch.column_by_name("spectrum").unwrap().as_primitive::<UInt64Type>().values().to_vec();
    assert_eq!(numbers[0], part["spectra"][0].as_u64().unwrap());
    let xml = String::from_utf8_lossy(&bench.bytes(&part, 0).unwrap()).into_owned();
    assert!(xml.contains(&format!(r#"<spectrumList count="{}""#, numbers.len())));
    assert!(xml.contains("total ion current") && xml.contains("'the \"imaging\" one'"));
    assert!(!xml.contains("IMS:1000091") && !xml.contains("indexedmzML") && !xml.contains("MS:1003007"));
    let window = bench.cut(&Cut { window: Some([100.0, 101.0]), ..Cut::default() }).unwrap().swap_remove(0);
    let xml = String::from_utf8_lossy(&bench.bytes(&window, 0).unwrap()).into_owned();
    assert!(!xml.contains("total ion current") && !xml.contains("lowest observed"));
}

#[test]
fn a_look_reads_the_head_only() {
    let pair = build(&Spec { size: [50, 50], ..Spec::default() });
    let xml = Arc::new(MemoryObject::new("m.imzML", pair.xml));
    let ibd = Arc::new(MemoryObject::new("m.ibd", pair.ibd));
    let table = ImzMl.open(vec![xml.clone(), ibd.clone()]).unwrap();
    let described = table.describe().unwrap();
    assert_eq!(described.records, Some(2500));
    assert_eq!(
        described.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        ["spectrum", "x", "y", "z", "mz", "intensity"]
    );
    assert!(described.facts.contains(&("mode".into(), "processed".into())));
    assert_eq!(ibd.bytes_fetched(), 16);
    assert!(xml.bytes_fetched() <= 16 << 10, "{}", xml.bytes_fetched());
}

#[test]
fn either_name_tells_the_pair() {
    let names = |uri: &str| -> Vec<String> {
        let uris = ImzMl.objects(&uri.parse().unwrap()).unwrap();
        uris.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names("s3://b/k/x.imzML"), ["s3://b/k/x.imzML", "s3://b/k/x.ibd"]);
    assert_eq!(names("s3://b/k/x.imzml"), ["s3://b/k/x.imzml", "s3://b/k/x.ibd"]);
    assert_eq!(names("s3://b/k/x.ibd"), ["s3://b/k/x.imzML", "s3://b/k/x.ibd"]);
    assert_eq!(names("/d/X.IBD"), ["file:///d/X.IMZML", "file:///d/X.IBD"]);
    let odd = ImzMl.objects(&"s3://b/k/x.xml".parse().unwrap()).unwrap_err().to_string();
    assert!(odd.contains("x.xml") && odd.contains(".ibd"), "{odd}");
    assert!(ImzMl.sniff("x.imzML", b"<?xml version='1.0'?><mzML><cvParam accession=\"IMS:1000080\""));
    assert!(!ImzMl.sniff("x.mzML", b"<?xml version='1.0'?><mzML><cvParam accession=\"MS:1000579\""));
}

#[test]
fn a_missing_ibd_is_named() {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = "memory://imzml/missing".parse().unwrap();
    let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") });
    stores.put(&root.join("m.imzML"), build(&Spec::default()).xml.into()).unwrap();
    let error = slicer.cut(&root.join("m.imzML"), &Cut::default(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("m.ibd"), "{error}");
}
