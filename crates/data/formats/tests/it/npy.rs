//! A format of the user's: NumPy's `.npy`, two-dimensional arrays of 8-byte floats, one record a row.
//!
//! It is the example of `docs/formats/own.md`, and the proof that a format of another crate gets everything the built-in ones have. Its
//! index holds the extent of every column, so that the side-cars of such formats are tested too.
//! Source of the format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use neardata_core::{ByteRange, ObjectUri, RangedRead};
use neardata_formats::conformance::tables::{Order, TableSuite};
use neardata_formats::table::{Column, Description, Extent, Pieces, Table, TableFormat};
use neardata_formats::{Batches, Bounds, Cut, FormatError, Partition, Prepared, Progress, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use serde_json::{Value, json};

struct Npy;

struct Array {
    object: Arc<dyn RangedRead>,
    rows: u64,
    columns: u64,
    begin: u64,
}

impl TableFormat for Npy {
    fn name(&self) -> &'static str {
        "npy"
    }

    fn sniff(&self, _name: &str, start: &[u8]) -> bool {
        start.starts_with(b"\x93NUMPY\x01")
    }

    fn index_version(&self) -> u32 {
        1
    }

    fn open(&self, mut objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
        let object = objects.remove(0);
        let damaged =
            |reason: &str| FormatError::Damaged { name: object.name().into(), format: "NPY", offset: 0, reason: reason.into() };
        let start = object.read(ByteRange::new(0, object.size().min(4096)))?;
        let length =
            start.get(8..10).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])).ok_or_else(|| damaged("no header"))?;
        let begin = 10 + u64::from(length);
        let header = start.get(10..begin as usize).and_then(|header| std::str::from_utf8(header).ok());
        let header = header.ok_or_else(|| damaged("its header is too short"))?;
        let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')'));
        let shape: Vec<u64> =
            shape.map(|(shape, _)| shape.split(',').filter_map(|part| part.trim().parse().ok()).collect()).unwrap_or_default();
        let [rows, columns] = shape[..] else { return Err(damaged("it does not have two dimensions")) };
        if !header.contains("'<f8'") || header.contains("'fortran_order': True") {
            return Err(damaged("it does not hold rows of 8-byte floats"));
        }
        let bytes = rows.checked_mul(columns).and_then(|values| values.checked_mul(8)).and_then(|bytes| bytes.checked_add(begin));
        if bytes != Some(object.size()) {
            return Err(damaged("it is not as long as its shape says"));
        }
        Ok(Box::new(Array { object, rows, columns, begin }))
    }
}

impl Array {
    fn schema(&self) -> SchemaRef {
        let field = |column| Field::new(format!("c{column}"), DataType::Float64, false);
        Arc::new(Schema::new((0..self.columns).map(field).collect::<Vec<_>>()))
    }

    fn bytes_of(&self, [first, end]: [u64; 2]) -> ByteRange {
        ByteRange::new(self.begin + first * self.columns * 8, self.begin + end * self.columns * 8)
    }

    fn selected(&self, selection: &Value) -> Result<[u64; 2], FormatError> {
        let rows: Option<[u64; 2]> = serde_json::from_value(selection["rows"].clone()).ok();
        rows.filter(|[first, end]| first < end && *end <= self.rows)
            .ok_or_else(|| FormatError::Query("this is no slice of an array".into()))
    }

    fn batch(&self, rows: [u64; 2]) -> Result<RecordBatch, FormatError> {
        let bytes = self.object.read(self.bytes_of(rows))?;
        let values: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect();
        let width = self.columns as usize;
        let column =
            |column| Arc::new(Float64Array::from_iter_values(values.iter().skip(column).step_by(width).copied())) as ArrayRef;
        RecordBatch::try_new(self.schema(), (0..width).map(column).collect())
            .map_err(|error| FormatError::Query(error.to_string()))
    }
}

impl Table for Array {
    fn describe(&self) -> Result<Description, FormatError> {
        Ok(Description {
            records: Some(self.rows),
            unit: "rows".into(),
            columns: Column::of(&self.schema()),
            ..Description::default()
        })
    }

    fn needs_index(&self, cut: &Cut) -> bool {
        cut.bounds.is_some()
    }

    fn build_index(&self, out: &mut dyn Write, progress: &dyn Fn(Progress)) -> Result<Description, FormatError> {
        let mut extents = Vec::new();
        if self.rows > 0 {
            let batch = self.batch([0, self.rows])?;
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                let values = column.as_any().downcast_ref::<Float64Array>().expect("a column of floats").values();
                let (min, max) =
                    values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
                extents.push(Extent { name: field.name().clone(), min: min.into(), max: max.into() });
                out.write_all(&min.to_le_bytes()).and_then(|()| out.write_all(&max.to_le_bytes())).expect("scratch space");
            }
        }
        let size = self.object.size();
        progress(Progress { done: size, total: size });
        Ok(Description { extents, ..self.describe()? })
    }

    fn cut(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        cut.only("NPY", &["n", "bytes", "records", "bounds"])?;
        if let (Some(bounds), Some(index)) = (cut.bounds, index) {
            let extent = index.read(ByteRange::new(0, index.size().min(16)))?;
            let beyond =
                |at: usize| extent.get(at..at + 8).map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes")));
            let overlaps = beyond(0).is_some_and(|min| min <= bounds.max[0]) && beyond(8).is_some_and(|max| max >= bounds.min[0]);
            return Ok(if overlaps { vec![json!({ "rows": [0, self.rows] })] } else { Vec::new() });
        }
        let step = match cut.partition.unwrap_or(Partition::Count(1)) {
            Partition::Count(count) => self.rows.div_ceil(count),
            Partition::Bytes(bytes) => bytes / (self.columns * 8).max(1),
            Partition::Records(records) => records,
            Partition::Tiles(_) => unreachable!("not offered"),
        }
        .clamp(1, self.rows.max(1));
        Ok((0..self.rows).step_by(step as usize).map(|row| json!({ "rows": [row, (row + step).min(self.rows)] })).collect())
    }

    fn bytes(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>, _object: usize) -> Result<Pieces, FormatError> {
        let rows = self.selected(selection)?;
        let body = self.object.read(self.bytes_of(rows))?;
        Ok(Box::new([Ok(header(rows[1] - rows[0], self.columns)), Ok(body)].into_iter()))
    }

    fn arrow(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
        let batch = self.batch(self.selected(selection)?);
        Ok(Batches::new(self.schema(), std::iter::once(batch)))
    }
}

fn header(rows: u64, columns: u64) -> Bytes {
    let mut text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    while !(text.len() + 11).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat().into()
}

fn array(rows: u64, columns: u64, seed: u64) -> Vec<u8> {
    let values = (0..rows * columns).flat_map(|at| (((at * 2_654_435_761 + seed) % 10_007) as f64 / 8.0).to_le_bytes());
    header(rows, columns).iter().copied().chain(values).collect()
}

fn suite(corner: &str) -> (Stores, Slicer, TableSuite) {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = format!("memory://npy/{corner}").parse().unwrap();
    let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") }).with_format(Arc::new(Npy));
    (stores.clone(), slicer.clone(), TableSuite::new(stores, slicer, root))
}

#[test]
fn a_format_of_another_crate_obeys_the_law() {
    let (.., suite) = suite("law");
    for rows in [0, 1, 2, 50, 1000] {
        suite.check(&[("a.npy", array(rows, 3, 7))], Order::Kept).unwrap();
    }
    suite.check_overwritten(&[("o.npy", array(10, 2, 1))], &[("o.npy", array(12, 2, 5))]).unwrap();
}

#[test]
fn the_suite_notices_rows_that_are_lost_or_twice() {
    struct Wrong(Box<dyn Table>, i64);
    struct WrongNpy(i64);
    impl TableFormat for WrongNpy {
        fn name(&self) -> &'static str {
            "npy"
        }
        fn sniff(&self, name: &str, start: &[u8]) -> bool {
            Npy.sniff(name, start)
        }
        fn open(&self, objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
            Ok(Box::new(Wrong(Npy.open(objects)?, self.0)))
        }
    }
    impl Table for Wrong {
        fn describe(&self) -> Result<Description, FormatError> {
            self.0.describe()
        }
        fn cut(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
            let mut selections = self.0.cut(cut, index)?;
            if let [.., before, _last] = &mut selections[..] {
                before["rows"][1] = json!(before["rows"][1].as_i64().unwrap_or(0) + self.1);
            }
            Ok(selections)
        }
        fn bytes(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError> {
            self.0.bytes(selection, index, object)
        }
        fn arrow(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
            self.0.arrow(selection, index)
        }
    }
    for (shift, expected) in [(-1, "39 records, 40 expected"), (1, "41 records, 40 expected")] {
        let stores = Stores::new(StoreOptions::default()).unwrap();
        let root: ObjectUri = "memory://npy/wrong".parse().unwrap();
        let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") }).with_format(Arc::new(WrongNpy(shift)));
        let error = TableSuite::new(stores, slicer, root).check(&[("w.npy", array(40, 2, 3))], Order::Kept).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_index_of_a_table_is_kept_pinned_and_mended() {
    let (stores, slicer, _) = suite("index");
    let uri: ObjectUri = "memory://npy/index/i.npy".parse().unwrap();
    stores.put(&uri, array(100, 2, 1).into()).unwrap();
    let prepare = || match slicer.prepare(&uri, &|_| {}).unwrap() {
        Prepared::Table(summary) => summary,
        Prepared::Rows(summary) => panic!("{summary:?}"),
    };
    let first = prepare();
    assert!(first.built && !prepare().built);
    assert_eq!(first.description.records, Some(100));
    assert_eq!(first.description.extents.len(), 2);
    let side_car = first.side_car.unwrap().uri;
    let good = stores.get(&side_car).unwrap();
    for place in [0, 9, 13, 40, 200] {
        let mut bad = good.to_vec();
        bad[place] ^= 4;
        stores.put(&side_car, bad.into()).unwrap();
        assert!(prepare().built, "byte {place}");
        assert_eq!(stores.get(&side_car).unwrap(), good, "byte {place}");
    }
    for length in [0, 15, 100, good.len() - 1] {
        stores.put(&side_car, good.slice(..length)).unwrap();
        assert!(prepare().built, "cut at {length}");
    }
    let bounds = Cut { bounds: Some(Bounds { min: [0.0; 2], max: [1e9; 2] }), ..Cut::default() };
    let slices = slicer.cut(&uri, &bounds, &|_| {}).unwrap();
    assert_eq!(slices[0].index[0].uri, side_car);
    stores.delete(&side_car).unwrap();
    let error = slicer.read(&slices[0], 0).err().unwrap().to_string();
    assert!(error.contains("run `neardata index memory://npy/index/i.npy`"), "{error}");
    stores.put(&uri, array(101, 2, 1).into()).unwrap();
    assert!(prepare().built);
    assert_eq!(prepare().description.records, Some(101));
    let tiles = slicer.cut(&uri, &Cut::by(Partition::Tiles(4)), &|_| {}).unwrap_err().to_string();
    assert_eq!(tiles, "slices of NPY cannot be asked for by `tiles`; they can by `n`, `bytes`, `records`, `bounds`");
}
