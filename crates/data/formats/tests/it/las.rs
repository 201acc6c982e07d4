//! Point clouds: every point in one slice, queries exact, and foreign bytes harmless.

use std::io::{Cursor, Read};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use laz::{LasZipCompressor, LazVlrBuilder};
use neardata_core::{MemoryObject, ObjectUri, RangedRead};
use neardata_formats::conformance::tables::{Order, TableSuite};
use neardata_formats::table::las::PointCloud;
use neardata_formats::table::{Table, TableFormat};
use neardata_formats::{Bounds, Cut, FormatError, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};

const FILES: [(&str, &[u8]); 7] = [
    ("1.0_0.las", include_bytes!("../data/las/1.0_0.las")),
    ("unregistered_extra_bytes.las", include_bytes!("../data/las/unregistered_extra_bytes.las")),
    ("test1_4.las", include_bytes!("../data/las/test1_4.las")),
    ("autzen.laz", include_bytes!("../data/las/autzen.laz")),
    ("1_4_w_evlr.laz", include_bytes!("../data/las/1_4_w_evlr.laz")),
    ("autzen.copc.laz", include_bytes!("../data/las/autzen.copc.laz")),
    ("simple_with_page.copc.laz", include_bytes!("../data/las/simple_with_page.copc.laz")),
];

fn suite(corner: &str) -> (Slicer, TableSuite, ObjectUri, Stores) {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = format!("memory://las/{corner}").parse().unwrap();
    let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") });
    (slicer.clone(), TableSuite::new(stores.clone(), slicer, root.clone()), root, stores)
}

/// LAS 1.2 of point format 0: these X, Y, Z, with a scale of 0.01.
fn las(points: impl Iterator<Item = [i32; 3]>) -> Vec<u8> {
    let mut file = vec![0; 227];
    file[..4].copy_from_slice(b"LASF");
    (file[24], file[25], file[94], file[96]) = (1, 2, 227, 227);
    file[105] = 20;
    for axis in 0..3 {
        file[131 + 8 * axis..139 + 8 * axis].copy_from_slice(&0.01_f64.to_le_bytes());
    }
    let mut count = 0_u32;
    for (number, point) in points.enumerate() {
        let mut record = [0; 20];
        for axis in 0..3 {
            record[4 * axis..4 * axis + 4].copy_from_slice(&point[axis].to_le_bytes());
        }
        record[12..14].copy_from_slice(&(number as u16).to_le_bytes());
        record[14] = 0b0000_1001;
        file.extend_from_slice(&record);
        count += 1;
    }
    file[107..111].copy_from_slice(&count.to_le_bytes());
    file
}

/// The same points as LAZ in chunks of `chunk` points.
fn laz(las: &[u8], chunk: u32) -> Vec<u8> {
    let vlr = LazVlrBuilder::default().with_point_format(0, 0).unwrap().with_fixed_chunk_size(chunk).build();
    let mut record = Vec::new();
    vlr.write_to(&mut record).unwrap();
    let mut file = las[..227].to_vec();
    file[100] = 1;
    file[104] |= 0x80;
    let mut head = vec![0; 54];
    head[2..2 + 14].copy_from_slice(b"laszip encoded");
    head[18..20].copy_from_slice(&22204_u16.to_le_bytes());
    head[20..22].copy_from_slice(&(record.len() as u16).to_le_bytes());
    file.extend(head);
    file.extend(record);
    let data = file.len();
    file[96..100].copy_from_slice(&(data as u32).to_le_bytes());
    let mut out = Cursor::new(file);
    out.set_position(data as u64);
    let mut compressor = LasZipCompressor::new(out, vlr).unwrap();
    compressor.compress_many(&las[227..]).unwrap();
    compressor.done().unwrap();
    compressor.into_inner().into_inner()
}

/// Points on a small grid, each place several times: many lie on the borders of tiles.
fn grid(count: i32) -> Vec<u8> {
    las((0..count).map(|number| [number * 7 % 11, number * 5 % 13, number]))
}

#[test]
fn every_point_is_in_one_slice() {
    let (_, suite, ..) = suite("law");
    let generated = [0, 1, 2, 99, 400].map(grid);
    for las in &generated {
        let objects = [("g.las", las.clone()), ("g.laz", laz(las, 100)), ("one.laz", laz(las, 1))];
        for (name, bytes) in &objects {
            suite.check(&[(name, bytes.clone())], Order::Free).unwrap();
        }
        let consecutive = [Partition::Count(7), Partition::Bytes(1000), Partition::Records(3)].map(Cut::by);
        for (name, bytes) in &objects {
            assert_eq!(suite.check_cuts(&[(name, bytes.clone())], &consecutive, Order::Kept).unwrap(), 3);
        }
    }
    for (name, bytes) in FILES {
        suite.check(&[(name, bytes.to_vec())], Order::Free).unwrap();
    }
}

#[test]
fn bounds_hold_their_borders() {
    let (slicer, suite, root, stores) = suite("bounds");
    let las = grid(1000);
    let inside = |row: &serde_json::Value, [x0, y0, x1, y1]: [f64; 4]| {
        let (x, y) = (row["x"].as_f64().unwrap(), row["y"].as_f64().unwrap());
        x0 <= x && x <= x1 && y0 <= y && y <= y1
    };
    for bounds in
        [[0.02, 0.03, 0.05, 0.07], [0.0, 0.0, 0.0, 0.0], [-5.0, -5.0, 5.0, 5.0], [3.0, 3.0, 4.0, 4.0], [0.021, 0.0, 0.029, 1.0]]
    {
        let [x0, y0, x1, y1] = bounds;
        for partition in [None, Some(Partition::Count(3))] {
            let cut = Cut { bounds: Some(Bounds { min: [x0, y0], max: [x1, y1] }), partition, ..Cut::default() };
            for (name, bytes) in [("g.las", las.clone()), ("g.laz", laz(&las, 64))] {
                suite.check_query(&[(name, bytes)], &cut, |row| inside(row, bounds)).unwrap();
            }
        }
    }
    for (name, bytes) in &FILES[5..] {
        let uri = root.join(name);
        stores.put(&uri, bytes.to_vec().into()).unwrap();
        let whole = slicer.inspect(&uri).unwrap();
        assert!(format!("{whole:?}").contains("points"));
        for part in [0.0, 0.25, 0.5, 1.0] {
            let near = if *name == "autzen.copc.laz" { [636_000.0, 848_000.0] } else { [635_577.79, 848_882.15] };
            let max = [near[0] + 4000.0 * part, near[1] + 5000.0 * part];
            let cut = Cut { bounds: Some(Bounds { min: near, max }), ..Cut::default() };
            let keep = |row: &serde_json::Value| inside(row, [near[0], near[1], max[0], max[1]]);
            suite.check_query(&[(name, bytes.to_vec())], &cut, keep).unwrap();
        }
    }
}

/// What `laspy.CopcReader.query(resolution=…)` gives.
#[test]
fn resolution_takes_the_levels_laspy_takes() {
    let (slicer, _, root, stores) = suite("resolution");
    let (name, bytes) = FILES[6];
    let uri = root.join(name);
    stores.put(&uri, bytes.to_vec().into()).unwrap();
    for (resolution, expected) in RESOLUTIONS {
        let cut = Cut { resolution: Some(resolution), ..Cut::default() };
        let slices = slicer.cut(&uri, &cut, &|_| {}).unwrap();
        let points: usize =
            slices.iter().flat_map(|slice| slicer.arrow(slice).unwrap()).map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(points, expected, "at {resolution}");
    }
}

#[test]
fn columns_are_kept_in_the_order_asked_for() {
    let (slicer, _, root, stores) = suite("columns");
    let uri = root.join("c.las");
    stores.put(&uri, grid(10).into()).unwrap();
    let cut = Cut { columns: vec!["z".into(), "x".into()], ..Cut::by(Partition::Count(1)) };
    let slice = slicer.cut(&uri, &cut, &|_| {}).unwrap().remove(0);
    let schema = slicer.arrow(&slice).unwrap().schema();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["z", "x"]);
    let wrong = Cut { columns: vec!["colour".into()], ..Cut::by(Partition::Count(1)) };
    assert!(slicer.cut(&uri, &wrong, &|_| {}).unwrap_err().to_string().contains("no column `colour`"));
    let records = Cut { bounds: Some(Bounds { min: [0.0; 2], max: [1.0; 2] }), ..Cut::by(Partition::Records(1)) };
    assert!(matches!(slicer.cut(&uri, &records, &|_| {}), Err(FormatError::NotOffered { .. })));
}

/// Opens, indexes, cuts and reads whatever these bytes are.
fn exercise(bytes: &[u8]) -> Result<usize, FormatError> {
    let object: Arc<dyn RangedRead> = Arc::new(MemoryObject::new("x", bytes.to_vec()));
    let formats = [PointCloud::Copc, PointCloud::Laz, PointCloud::Las];
    let Some(format) = formats.into_iter().find(|format| format.sniff("x", bytes)) else { return Ok(0) };
    let table: Box<dyn Table> = format.open(vec![Arc::clone(&object)])?;
    table.describe()?;
    let mut rows = 0;
    let everywhere = Bounds { min: [-1e12; 2], max: [1e12; 2] };
    let cuts = [Cut::by(Partition::Count(2)), Cut { bounds: Some(everywhere), ..Cut::default() }];
    for cut in cuts {
        let index: Option<Arc<dyn RangedRead>> = if table.needs_index(&cut) {
            let mut index = Vec::new();
            table.build_index(&mut index, &|_| {})?;
            Some(Arc::new(MemoryObject::new("index", index)))
        } else {
            None
        };
        for selection in table.cut(&cut, index.as_deref())? {
            for batch in table.arrow(&selection, index.clone())? {
                rows += batch.map(|batch| batch.num_rows()).unwrap_or(0);
            }
            for piece in table.bytes(&selection, index.clone(), 0)? {
                piece?;
            }
        }
    }
    Ok(rows)
}

#[test]
fn malformed_clouds_are_errors() {
    let grid = grid(40);
    let generated = laz(&grid, 16);
    let files = FILES.iter().map(|(name, bytes)| (*name, *bytes)).chain([("g.las", &grid[..]), ("g.laz", &generated[..])]);
    for (name, bytes) in files {
        assert!(exercise(bytes).is_ok(), "{name}: {:?}", exercise(bytes));
        // A decoder of a chunk is slow to make, and this one has a node for every few points.
        let cases = if name == "simple_with_page.copc.laz" { 25 } else { 300 };
        let step = if bytes.len() < 1100 { 1 } else { bytes.len() / cases };
        for length in (0..bytes.len()).step_by(step) {
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| exercise(&bytes[..length]).ok()));
            assert!(outcome.is_ok(), "{name} cut at {length} panics");
        }
        for place in (0..bytes.len()).step_by(step) {
            for bit in [0, 7] {
                let mut changed = bytes.to_vec();
                changed[place] ^= 1 << bit;
                let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| exercise(&changed).ok()));
                assert!(outcome.is_ok(), "{name} with bit {bit} of byte {place} flipped panics");
            }
        }
    }
}

#[test]
fn a_truncated_cloud_says_so() {
    let las = grid(100);
    let error = exercise(&las[..las.len() - 1]).unwrap_err();
    assert!(matches!(error, FormatError::Truncated { .. }), "{error}");
}

/// The bar: 4 million points in flight lines, in tiles. Prints bytes and reads of each cut.
#[test]
#[ignore = "takes a while; prints figures"]
fn bytes_of_tiles_in_flight_line_order() {
    let lines = 20_i64;
    let each = 4_000_000 / lines;
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let points = (0..lines).flat_map(|line| (0..each).map(move |step| (line, step)));
    let file = las(points.map(|(line, step)| {
        let along = (step * 1_000_000 / each) as i32;
        let along = if line % 2 == 0 { along } else { 1_000_000 - along };
        [along, (line * 50_000) as i32 + random(50_000) as i32, random(1000) as i32]
    }));
    let size = file.len() as f64;
    let object: Arc<Counting> = Arc::new(Counting { inner: MemoryObject::new("x", file), reads: Default::default() });
    let table = PointCloud::Las.open(vec![object.clone()]).unwrap();
    let mut index = Vec::new();
    table.build_index(&mut index, &|_| {}).unwrap();
    println!("index {} bytes, {:.3} %", index.len(), index.len() as f64 / size * 100.0);
    let index: Arc<dyn RangedRead> = Arc::new(MemoryObject::new("index", index));
    for count in [4, 9, 16] {
        let slices = table.cut(&Cut::by(Partition::Tiles(count)), Some(index.as_ref())).unwrap();
        let (mut rows, mut most) = (0, 0);
        let (before, of_index) = (object.bytes_fetched(), index.bytes_fetched());
        for slice in &slices {
            let reads = object.reads.load(std::sync::atomic::Ordering::Relaxed);
            rows += table.arrow(slice, Some(Arc::clone(&index))).unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>();
            most = most.max(object.reads.load(std::sync::atomic::Ordering::Relaxed) - reads);
        }
        let fetched = (object.bytes_fetched() - before) as f64 / size;
        let of_index = (index.bytes_fetched() - of_index) as f64 / size;
        println!(
            "{count} tiles: {rows} points, {fetched:.2}x of the object and {of_index:.3}x of index, at most {most} reads a slice"
        );
        assert_eq!(rows, 4_000_000);
        assert!(fetched + of_index <= 1.3 && most <= 200);
    }
}

struct Counting {
    inner: MemoryObject,
    reads: std::sync::atomic::AtomicU64,
}

impl RangedRead for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read(&self, range: neardata_core::ByteRange) -> Result<bytes::Bytes, neardata_core::ReadError> {
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.inner.read(range)
    }

    fn bytes_fetched(&self) -> u64 {
        self.inner.bytes_fetched()
    }
}

/// The bytes of a slice count and bound their own points.
#[test]
fn the_header_of_a_slice_is_its_own() {
    let (slicer, _, root, stores) = suite("header");
    let uri = root.join("h.las");
    stores.put(&uri, grid(100).into()).unwrap();
    let slices = slicer.cut(&uri, &Cut::by(Partition::Count(4)), &|_| {}).unwrap();
    let mut file = Vec::new();
    slicer.read(&slices[1], 0).unwrap().read_to_end(&mut file).unwrap();
    assert_eq!(file.len(), 227 + 25 * 20);
    assert_eq!(file[107..115], [25, 0, 0, 0, 25, 0, 0, 0]);
    assert_eq!(f64::from_le_bytes(file[211..219].try_into().unwrap()), 49.0 * 0.01);
    assert_eq!(f64::from_le_bytes(file[219..227].try_into().unwrap()), 25.0 * 0.01);
}

const RESOLUTIONS: [(f64, usize); 6] = [(1000.0, 24), (60.0, 24), (30.0, 90), (10.0, 287), (5.0, 1065), (0.1, 1065)];
