//! GeoTIFF: windows are exact, aligned, cheap and georeferenced; damaged files are errors.

mod build;
mod damaged;
mod random;

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, cast::AsArray};
use neardata_core::{MemoryObject, RangedRead};
use neardata_formats::conformance::tables::{Order, TableSuite};
use neardata_formats::table::{Extent, Table, TableFormat, Tiff};
use neardata_formats::{Bounds, Cut, FormatError, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use serde_json::{Value, json};

use build::{Spec, build, sample};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiff");

fn real(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FILES}/{name}")).unwrap()
}

fn object(bytes: Vec<u8>) -> Arc<MemoryObject> {
    Arc::new(MemoryObject::new("memory.tif", bytes))
}

fn open(bytes: Vec<u8>) -> Result<Box<dyn Table>, FormatError> {
    Tiff.open(vec![object(bytes)])
}

fn file_of(table: &dyn Table, selection: &Value) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    for piece in table.bytes(selection, None, 0)? {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

fn batches_of(table: &dyn Table, selection: &Value) -> Result<Vec<RecordBatch>, FormatError> {
    let mut batches = table.arrow(selection, None)?;
    std::iter::from_fn(|| batches.next_batch()).collect()
}

/// CRC-32 of all samples, band by band.
fn checksum(table: &dyn Table, selection: &Value) -> u32 {
    let batches = batches_of(table, selection).unwrap();
    let mut hasher = crc32fast::Hasher::new();
    for column in 2..batches[0].num_columns() {
        for batch in &batches {
            let data = batch.column(column).to_data();
            let size = data.data_type().primitive_width().unwrap();
            hasher.update(&data.buffers()[0].as_slice()[data.offset() * size..(data.offset() + data.len()) * size]);
        }
    }
    hasher.finalize()
}

fn window_of(selection: &Value) -> [u64; 4] {
    serde_json::from_value(selection["window"].clone()).unwrap()
}

fn suite(test: &str) -> TableSuite {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: neardata_core::ObjectUri = format!("memory://tiff/{test}").parse().unwrap();
    TableSuite::new(stores.clone(), Slicer::new(stores, SideCars { root: root.join("side-cars") }), root)
}

/// What rasterio reads from real files is what comes out, from the file and from the window written as a file.
#[test]
fn pixels_transformations_and_systems_are_those_of_rasterio() {
    let expected = String::from_utf8(real("expected.tsv")).unwrap();
    let mut checked = 0;
    for line in expected.lines() {
        let [name, level, window, transform, epsg, crc] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let table = open(real(name)).unwrap();
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let selection = json!({"level": parse(level), "window": parse(window)});
        assert_eq!(format!("{:08x}", checksum(table.as_ref(), &selection)), crc, "{line}");
        let copy = open(file_of(table.as_ref(), &selection).unwrap()).unwrap();
        let [_, _, width, height] = window_of(&selection);
        let whole = json!({"level": 0, "window": [0, 0, width, height]});
        assert_eq!(format!("{:08x}", checksum(copy.as_ref(), &whole)), crc, "written again: {line}");
        let schema = copy.arrow(&whole, None).unwrap().schema();
        assert_eq!(schema.metadata().get("crs").map(|crs| &crs[5..]), (epsg != "-").then_some(epsg), "{line}");
        let found: Vec<f64> = serde_json::from_str(&schema.metadata()["transform"]).unwrap();
        let wanted: Vec<f64> = serde_json::from_str(transform).unwrap();
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs().max(1.0)), "{found:?} {line}");
        checked += 1;
    }
    assert_eq!(checked, 30);
}

#[test]
fn every_pixel_is_in_one_window_whatever_the_layout() {
    let suite = suite("law");
    let layouts = [
        Spec::default(),
        Spec { chunk: [0, 7], compression: 1, ..Spec::default() },
        Spec { chunk: [0, 40], compression: 1, big_endian: true, ..Spec::default() },
        Spec { planar: true, big_tiff: true, big_endian: true, ..Spec::default() },
        Spec { planar: true, chunk: [0, 5], bands: 3, bytes: 1, compression: 32773, ..Spec::default() },
        Spec { sparse: true, bytes: 4, compression: 50000, pixel: None, ..Spec::default() },
        Spec { size: [1, 1], ..Spec::default() },
        Spec { size: [64, 1], bytes: 8, bands: 1, big_tiff: true, ..Spec::default() },
        Spec { size: [1, 70], chunk: [32, 16], ..Spec::default() },
        Spec { overviews: 2, ..Spec::default() },
    ];
    for (number, spec) in layouts.iter().enumerate() {
        let object = [(&*format!("{number}.tif"), build(spec).bytes)];
        suite.check(&object, Order::Free).unwrap_or_else(|problem| panic!("{spec:?}: {problem}"));
    }
    suite.check(&[("bits.tif", real("tiled-gray-i1.tif"))], Order::Free).unwrap();
    let other = build(&Spec { bands: 1, ..Spec::default() }).bytes;
    suite.check_overwritten(&[("x.tif", build(&Spec::default()).bytes)], &[("x.tif", other)]).unwrap();
}

/// Samples of every layout are the ones put in, in rows of pixels; coordinates are those of the centres.
#[test]
fn tables_hold_the_samples_row_by_row() {
    for (planar, big_endian, chunk, level) in [(false, true, [16, 16], 0), (true, false, [0, 9], 0), (true, true, [32, 16], 1)] {
        let spec = Spec { planar, big_endian, chunk, overviews: 1, size: [70, 50], ..Spec::default() };
        let table = open(build(&spec).bytes).unwrap();
        let [left, top, width, height] = [3, 5, 29, 18];
        let columns = ["band_2", "row", "col", "y", "x"];
        let selection = json!({"level": level, "window": [left, top, width, height], "columns": columns});
        let batches = batches_of(table.as_ref(), &selection).unwrap();
        let mut pixel = 0;
        for batch in batches {
            assert_eq!(batch.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), columns);
            let whole = |at: usize| batch.column(at).as_primitive::<arrow_array::types::UInt32Type>();
            let float = |at: usize| batch.column(at).as_primitive::<arrow_array::types::Float64Type>();
            let band = batch.column(0).as_primitive::<arrow_array::types::UInt16Type>();
            for at in 0..batch.num_rows() {
                let (row, col) = (top + pixel / width, left + pixel % width);
                assert_eq!(u64::from(band.value(at)), sample(&spec, level, 1, row, col));
                assert_eq!([whole(1).value(at), whole(2).value(at)], [row as u32, col as u32]);
                let scale = f64::from(1 << level);
                let place = [2000.0 - (row as f64 + 0.5) * 0.25 * scale, 1000.0 + (col as f64 + 0.5) * 0.5 * scale];
                assert_eq!([float(3).value(at), float(4).value(at)], place);
                pixel += 1;
            }
        }
        assert_eq!(pixel, width * height);
    }
}

#[test]
fn windows_follow_the_tiles_and_are_about_equal() {
    let spec = Spec { size: [1000, 730], chunk: [64, 32], bands: 1, bytes: 1, ..Spec::default() };
    let table = open(build(&spec).bytes).unwrap();
    for count in [1_u64, 2, 3, 4, 5, 7, 12, 16, 31, 100, 368, 5000] {
        for partition in [Partition::Count(count), Partition::Tiles(count)] {
            let windows: Vec<_> = table.cut(&Cut::by(partition), None).unwrap().iter().map(window_of).collect();
            assert!(
                windows.len() as u64 <= count && windows.len() as u64 >= count.min(368) * 3 / 4,
                "{count}: {}",
                windows.len()
            );
            let mut seen = vec![0_u8; 1000 * 730];
            for [col, row, width, height] in &windows {
                assert!(col % 64 == 0 && row % 32 == 0, "{count}: {col} {row}");
                assert!((width % 64 == 0 || col + width == 1000) && (height % 32 == 0 || row + height == 730));
                for line in *row..row + height {
                    seen[(line * 1000 + col) as usize..(line * 1000 + col + width) as usize]
                        .iter_mut()
                        .for_each(|seen| *seen += 1);
                }
            }
            assert!(seen.iter().all(|seen| *seen == 1), "{count}");
            let areas = || windows.iter().map(|[_, _, width, height]| width * height);
            assert!(areas().max().unwrap() <= 2 * (1000 * 730 / windows.len() as u64 + 64 * 32), "{count}");
        }
    }
    let windows = table.cut(&Cut::by(Partition::Bytes(100_000)), None).unwrap();
    assert!(windows.len() <= 10 && windows.iter().map(window_of).all(|[_, _, width, height]| width * height <= 100_000));
    // Strips have the full width; one strip without compression may still be cut.
    for (chunk, compression) in [([0, 100], 8), ([0, 3000], 1)] {
        let strips = Spec { size: [1000, 3000], chunk, compression, bands: 1, bytes: 1, ..Spec::default() };
        let windows = open(build(&strips).bytes).unwrap().cut(&Cut::by(Partition::Count(3)), None).unwrap();
        assert_eq!(windows.len(), 3);
        assert!(windows.iter().map(window_of).all(|[col, _, width, _]| (col, width) == (0, 1000)));
    }
}

#[test]
fn bounds_take_every_pixel_they_overlap_at_any_level() {
    let spec = Spec { overviews: 2, size: [200, 160], ..Spec::default() };
    let suite = suite("bounds");
    let object = [("x.tif", build(&spec).bytes)];
    let cut = |min, max| Cut { bounds: Some(Bounds { min, max }), ..Cut::default() };
    for (min, max) in [([1003.3, 1980.1], [1041.7, 1991.3]), ([0.0, 0.0], [1000.1, 9000.0]), ([1010.2, 1990.1], [1010.2, 1990.1])]
    {
        let overlaps = |row: &Value| {
            let (x, y) = (row["x"].as_f64().unwrap(), row["y"].as_f64().unwrap());
            x + 0.25 > min[0] && x - 0.25 < max[0] && y + 0.125 > min[1] && y - 0.125 < max[1]
        };
        assert!(suite.check_query(&object, &cut(min, max), overlaps).unwrap() > 0);
    }
    assert_eq!(suite.check_query(&object, &cut([0.0, 0.0], [999.0, 9000.0]), |_| false).unwrap(), 0);
    let table = open(object[0].1.clone()).unwrap();
    let window = |cut: Cut| table.cut(&cut, None).unwrap().iter().map(window_of).collect::<Vec<_>>();
    // Bounds along the edges of pixels take those inside and no others.
    assert_eq!(window(cut([1005.0, 1980.0], [1010.0, 1990.0])), [[10, 40, 10, 40]]);
    assert_eq!(window(Cut { level: Some(1), ..cut([1005.0, 1980.0], [1010.0, 1990.0]) }), [[5, 20, 5, 20]]);
    assert_eq!(window(Cut { resolution: Some(2.0), ..cut([1004.0, 1980.0], [1010.0, 1990.0]) }), [[2, 10, 3, 10]]);
    let parts = window(Cut { partition: Some(Partition::Count(4)), ..cut([1005.0, 1980.0], [1020.0, 1995.0]) });
    assert_eq!(parts.iter().map(|window| window[2] * window[3]).sum::<u64>(), 30 * 60);
    assert!(parts.len() > 1 && parts.iter().all(|[col, row, ..]| (*col == 10 || col % 16 == 0) && (*row == 20 || row % 16 == 0)));
    for (cut, words) in [
        (Cut { level: Some(3), ..Cut::default() }, "no level 3"),
        (Cut { level: Some(1), resolution: Some(1.0), ..Cut::default() }, "not by both"),
        (Cut { columns: vec!["band_3".into()], ..Cut::default() }, "no column `band_3`"),
        (Cut { columns: vec!["x".into(), "x".into()], ..Cut::default() }, "twice"),
        (Cut { regions: vec!["1".into()], ..Cut::default() }, "`region`"),
    ] {
        let error = table.cut(&cut, None).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// Tiles of windows that consist of whole ones are copied bit by bit, JPEG with the tables it needs.
#[test]
fn whole_tiles_are_copied_as_they_are() {
    let spec = Spec { compression: 50000, ..Spec::default() };
    let built = build(&spec);
    let table = open(built.bytes.clone()).unwrap();
    let file = file_of(table.as_ref(), &json!({"level": 0, "window": [16, 16, 34, 24]})).unwrap();
    let tiles = [5, 6, 7, 9, 10, 11].map(|tile: usize| built.chunks[tile]);
    let copied: Vec<u8> =
        tiles.iter().flat_map(|(at, size)| &built.bytes[*at as usize..(*at + *size) as usize]).copied().collect();
    assert!(file.ends_with(&copied));
    let bytes = real("cog_rgb.tif");
    let table = open(bytes.clone()).unwrap();
    let whole = json!({"level": 0, "window": [128, 128, 255, 104]});
    let file = file_of(table.as_ref(), &whole).unwrap();
    assert!(bytes.windows(2000).any(|window| file.ends_with(window)));
    let copy = open(file).unwrap();
    assert_eq!(checksum(copy.as_ref(), &json!({"level": 0, "window": [0, 0, 255, 104]})), checksum(table.as_ref(), &whole));
}

/// Decoders of JPEG differ in the last bits: libjpeg-turbo, which rasterio may be built with, and the one here by 3 at most.
#[test]
fn jpeg_is_decoded_to_the_colours_meant() {
    let table = open(real("cog_rgb.tif")).unwrap();
    for (band, mean) in [("band_1", 99.61), ("band_2", 108.69), ("band_3", 110.79)] {
        let batches = batches_of(table.as_ref(), &json!({"level": 0, "window": [0, 0, 383, 232], "columns": [band]})).unwrap();
        let samples =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<arrow_array::types::UInt8Type>().values().to_vec());
        let found = samples.map(f64::from).sum::<f64>() / f64::from(383 * 232);
        assert!((found - mean).abs() < 0.2, "{band}: {found}");
    }
}

/// Whole tiles of any compression are copied; a window across them could never be read, and is refused when it is asked for.
#[test]
fn windows_that_cannot_be_decoded_are_refused_when_cut() {
    for (code, words) in [(50001_u16, "WebP"), (34887, "LERC"), (6, "JPEG")] {
        let spec = Spec { bytes: 1, bands: 1, compression: 1, ..Spec::default() };
        let mut bytes = build(&spec).bytes;
        let field: Vec<u8> = [259_u16, 3, 1, 0, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
        let at = bytes.windows(10).position(|window| window == field).unwrap();
        bytes[at + 8..at + 10].copy_from_slice(&code.to_le_bytes());
        let table = open(bytes).unwrap();
        let bounds = |min, max| Cut { bounds: Some(Bounds { min, max }), ..Cut::default() };
        let across = bounds([1003.0, 1993.0], [1010.0, 1999.0]);
        for cut in [across.clone(), Cut { partition: Some(Partition::Count(3)), ..across }] {
            let error = table.cut(&cut, None).unwrap_err();
            assert!(matches!(error, FormatError::Unsupported { .. }) && error.to_string().contains(words), "{error}");
        }
        if code == 6 {
            assert!(table.cut(&Cut::default(), None).is_err(), "old JPEG is neither copied nor decoded");
            continue;
        }
        for cut in [Cut::default(), Cut::by(Partition::Count(5)), bounds([1008.0, 1992.0], [1016.0, 1996.0])] {
            for selection in table.cut(&cut, None).unwrap() {
                assert!(file_of(table.as_ref(), &selection).unwrap().len() > 256);
            }
        }
    }
}

/// The bar: 1.05 of the tiles touched, and 64 KiB for the directories.
#[test]
fn only_the_tiles_touched_are_fetched() {
    let spec = Spec { size: [3000, 2500], chunk: [256, 256], bands: 3, bytes: 1, ..Spec::default() };
    let built = build(&spec);
    for window in [[0_u64, 0, 3000, 2500], [300, 400, 20, 20], [256, 256, 512, 256], [700, 0, 300, 2500], [0, 2499, 3000, 1]] {
        let touched: u64 = (window[1] / 256..(window[1] + window[3]).div_ceil(256))
            .flat_map(|row| (window[0] / 256..(window[0] + window[2]).div_ceil(256)).map(move |col| row * 12 + col))
            .map(|tile| built.chunks[tile as usize].1)
            .sum();
        for arrow in [true, false] {
            let object = object(built.bytes.clone());
            let table = Tiff.open(vec![object.clone()]).unwrap();
            let selection = json!({"level": 0, "window": window});
            match arrow {
                true => drop(batches_of(table.as_ref(), &selection).unwrap()),
                false => drop(file_of(table.as_ref(), &selection).unwrap()),
            }
            let fetched = object.bytes_fetched();
            assert!(fetched <= touched * 21 / 20 + 65536, "{window:?}: {fetched} of {touched}");
        }
    }
    // A million tiles, 8 MB of offsets and sizes: one window reads its own.
    let spec = Spec { size: [4000, 4000], chunk: [4, 4], bands: 1, bytes: 1, compression: 1, ..Spec::default() };
    let object = object(build(&spec).bytes);
    let table = Tiff.open(vec![object.clone()]).unwrap();
    let batches = batches_of(table.as_ref(), &json!({"level": 0, "window": [2000, 3000, 40, 40]})).unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1600);
    assert!(object.bytes_fetched() < 200_000, "{}", object.bytes_fetched());
}

#[test]
fn descriptions_say_what_people_look_for() {
    let described = open(real("cog_uint8_rgb_mask.tif")).unwrap().describe().unwrap();
    let fact = |name: &str| described.facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1.as_str());
    assert_eq!(fact("size"), Some("256 x 256 pixels"));
    assert_eq!(fact("bands"), Some("3 of uint8"));
    assert_eq!(fact("layout"), Some("tiles of 64 x 64 pixels"));
    assert_eq!(fact("compression"), Some("deflate"));
    assert_eq!(fact("overviews"), Some("128 x 128, 64 x 64"));
    assert_eq!((fact("crs"), fact("mask")), (Some("EPSG:4326"), Some("yes")));
    let extent = |name: &str, min: f64, max: f64| Extent { name: name.into(), min: min.into(), max: max.into() };
    assert_eq!(described.extents, [extent("x", 0.0, 2.56), extent("y", -2.56, 0.0)]);
    assert_eq!((described.records, described.uncompressed), (Some(65536), Some(3 * 65536)));
    // The mask comes along, whole tiles or not.
    for window in [[64, 0, 64, 128], [3, 5, 70, 20]] {
        let table = open(real("cog_uint8_rgb_mask.tif")).unwrap();
        let copy = file_of(table.as_ref(), &json!({"level": 0, "window": window})).unwrap();
        assert!(open(copy).unwrap().describe().unwrap().facts.contains(&("mask".into(), "yes".into())));
    }
}
