//! Offsets beyond 32 bits.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, UInt8Type};
use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::bgzf;
use neardata_formats::{Bounds, Cut, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};

const FAR: u64 = (4 << 30) + 12_345;

/// A file with these bytes at these offsets and holes between them, which take no room.
struct Sparse {
    folder: tempfile::TempDir,
    slicer: Slicer,
    uri: ObjectUri,
}

impl Sparse {
    fn new(name: &str, parts: &[(u64, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        for (at, bytes) in parts {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.write_all(bytes).unwrap();
        }
        let stores = Stores::new(StoreOptions::default()).unwrap();
        let slicer = Slicer::new(stores, SideCars { root: ObjectUri::from_path(folder.path().join("side-cars")) });
        Self { folder, slicer, uri: ObjectUri::from_path(&path) }
    }

    fn cut(&self, cut: &Cut) -> Vec<Slice> {
        self.slicer.cut(&self.uri, cut, &|_| {}).unwrap()
    }

    fn rows(&self, slice: &Slice) -> Vec<RecordBatch> {
        self.slicer.arrow(slice).unwrap().map(Result::unwrap).collect()
    }

    /// The slice as a file beside this one, cut into one.
    fn read_again(&self, slice: &Slice, name: &str) -> Vec<RecordBatch> {
        let path = self.folder.path().join(name);
        std::io::copy(&mut self.slicer.read(slice, 0).unwrap(), &mut std::fs::File::create(&path).unwrap()).unwrap();
        let slices = self.slicer.cut(&ObjectUri::from_path(&path), &Cut::by(Partition::Count(1)), &|_| {}).unwrap();
        self.rows(&slices[0])
    }
}

/// A sparse text file beyond 4 GiB: one enormous line, of zero bytes for the most part, between ordinary ones.
#[test]
fn lines_beyond_four_gibibytes_are_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.txt");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(format!("first\n{}", " ".repeat(100_000)).as_bytes()).unwrap();
    file.seek(SeekFrom::Start(FAR)).unwrap();
    file.write_all(b"\nlast but one\nlast").unwrap();
    drop(file);

    let stores = Stores::new(StoreOptions::default()).unwrap();
    let slicer = Slicer::new(stores, SideCars { root: ObjectUri::from_path(folder.path().join("side-cars")) });
    let uri = ObjectUri::from_path(&path);
    let summary = slicer.index(&uri, &|_| {}).unwrap();
    assert_eq!((summary.records, summary.uncompressed), (4, FAR + 18));
    let slices = slicer.slices(&uri, Partition::Records(1)).unwrap();
    let text = |number: usize| {
        let mut text = String::new();
        slicer.read(&slices[number], 0).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!((text(0).as_str(), text(2).as_str(), text(3).as_str()), ("first\n", "last but one\n", "last"));
    let mut middle = slicer.read(&slices[1], 0).unwrap();
    let mut length = 0;
    loop {
        let held = middle.fill_buf().unwrap().len();
        if held == 0 {
            break;
        }
        length += held;
        middle.consume(held);
    }
    assert_eq!(length as u64, FAR - 6 + 1);
}

#[test]
fn points_beyond_four_gibibytes_are_reached() {
    const POINTS: u64 = FAR / 30 + 4;
    let header = crate::random_las::header(6, 30, POINTS);
    let at = |point: u64| header.len() as u64 + 30 * point;
    let point = |x: i32| [&x.to_le_bytes()[..], &[0; 26]].concat();
    let last = [point(100), point(200), point(300)].concat();
    let sparse = Sparse::new("far.las", &[(0, &header), (at(POINTS - 3), &last)]);
    let slices = sparse.cut(&Cut::by(Partition::Records(1000)));
    assert_eq!(slices.len() as u64, POINTS.div_ceil(1000));
    let slice = slices.last().unwrap();
    for batches in [sparse.rows(slice), sparse.read_again(slice, "part.las")] {
        let x: Vec<f64> = batches.iter().flat_map(|batch| batch["x"].as_primitive::<Float64Type>().values().to_vec()).collect();
        assert_eq!(x.len() as u64, POINTS - POINTS / 1000 * 1000);
        assert_eq!(x[x.len() - 4..], [1000.0, 1001.0, 1002.0, 1003.0]);
    }
}

#[test]
fn pixels_beyond_four_gibibytes_are_reached() {
    // One uncompressed strip of bytes in BigTIFF.
    let [width, height, data] = [70_000_u64, 65_000, 512];
    let fields = [
        (256_u16, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, data),
        (277, 1),
        (278, height),
        (279, width * height),
    ];
    let mut head = b"II\x2b\0\x08\0\0\0".to_vec();
    head.extend([16_u64.to_le_bytes(), (fields.len() as u64).to_le_bytes()].concat());
    for (tag, value) in fields {
        head.extend([&tag.to_le_bytes()[..], &16_u16.to_le_bytes(), &1_u64.to_le_bytes(), &value.to_le_bytes()].concat());
    }
    head.resize(data as usize, 0);
    let row = |row: u64| data + row * width;
    let sparse = Sparse::new("far.tif", &[(0, &head), (row(height - 2), &[5; 9]), (row(height) - 2, &[6, 7])]);
    let bounds = |left: f64, right: f64| Bounds { min: [left, height as f64 - 2.0], max: [right, height as f64] };
    let band = |batches: &[RecordBatch]| -> Vec<u8> {
        batches.iter().flat_map(|batch| batch["band_1"].as_primitive::<UInt8Type>().values().to_vec()).collect()
    };
    for (bounds, expected) in [(bounds(8.0, 10.0), [5, 0, 0, 0]), (bounds(width as f64 - 2.0, width as f64), [0, 0, 6, 7])] {
        let slices = sparse.cut(&Cut { bounds: Some(bounds), ..Cut::default() });
        assert_eq!(band(&sparse.rows(&slices[0])), expected);
        assert_eq!(band(&sparse.read_again(&slices[0], "part.tif")), expected);
    }
    let slices = sparse.cut(&Cut::by(Partition::Bytes(2_000_000)));
    let last = band(&sparse.rows(slices.last().unwrap()));
    assert_eq!(last[last.len() - 2..], [6, 7]);
    assert_eq!(last.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 9 * 5 + 6 + 7);
}

#[test]
fn columns_beyond_four_gibibytes_are_reached() {
    let values: Vec<i32> = (0..10).map(|value| value * 1001).collect();
    let (front, behind) = crate::foreign_parquet::with_hole(FAR, &values);
    let sparse = Sparse::new("far.parquet", &[(0, &front), (4 + FAR, &behind)]);
    for partition in [Partition::Count(1), Partition::Count(4), Partition::Records(2)] {
        let slices = sparse.cut(&Cut::by(partition));
        for read in
            [Sparse::rows as fn(&Sparse, &Slice) -> Vec<RecordBatch>, |sparse, slice| sparse.read_again(slice, "part.parquet")]
        {
            let batches = slices.iter().flat_map(|slice| read(&sparse, slice));
            let found: Vec<i32> = batches.flat_map(|batch| batch["a"].as_primitive::<Int32Type>().values().to_vec()).collect();
            assert_eq!(found, values, "{partition:?}");
        }
    }
}

/// What an index says of a block beyond 4 GiB is fetched there; nothing lies before it but the header.
#[test]
fn alignments_beyond_four_gibibytes_are_reached() {
    let header = [b"BAM\x01\0\0\0\0\x01\0\0\0\x05\0\0\0chr1\0".to_vec(), 100_000_u32.to_le_bytes().to_vec()].concat();
    let record = |position: u32| {
        let fields = [34, 0, position, 4681 << 16 | 2, 0, 0, u32::MAX, u32::MAX, 0];
        [fields.map(u32::to_le_bytes).concat(), b"r\0".to_vec()].concat()
    };
    let records: Vec<Vec<u8>> = [1500, 2500].map(record).into();
    let (front, behind) = (bgzf(&[header.clone(), record(500)].concat(), false), bgzf(&records.concat(), false));
    let marker = bgzf(b"", true);
    let sparse = Sparse::new("far.bam", &[(0, &front), (FAR, &behind), (FAR + behind.len() as u64, &marker)]);
    let chunk = [FAR << 16, (FAR + behind.len() as u64) << 16];
    let numbers = [1_u32, 1, 4681, 1].map(u32::to_le_bytes).concat();
    let places = chunk.map(u64::to_le_bytes).concat();
    let linear = [&1_u32.to_le_bytes()[..], &(FAR << 16).to_le_bytes()].concat();
    let bai = [b"BAI\x01".to_vec(), numbers, places, linear].concat();
    std::fs::write(sparse.folder.path().join("far.bam.bai"), bai).unwrap();
    let slices = sparse.slicer.region_parts(&sparse.uri, &["chr1:1001-3000"], None, &|_| {}).unwrap();
    let mut stored = Vec::new();
    sparse.slicer.read(&slices[0], 0).unwrap().read_to_end(&mut stored).unwrap();
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut content).unwrap();
    assert_eq!(content, [header, records.concat()].concat());
}
