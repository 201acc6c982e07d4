//! Foreign bytes: whatever they are, an answer or an error, never a panic, a hang or an allocation that they choose.

use std::io::Read;
use std::sync::Arc;

use neardata_core::{MemoryObject, ObjectRef, Pin, RangedRead};
use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::{awkward_texts, bam, bgzf, encodings, fasta, fastq, gzip, vcf, zstd_frame};
use neardata_formats::{
    Built, Cut, Format, FormatError, IndexOptions, Part, Partition, RecordReader, SideCars, Slicer, Stretch, build_index, detect,
    read_index,
};
use neardata_store::{StoreOptions, Stores};
use proptest::prelude::*;

use crate::law::cases;

const OPTIONS: IndexOptions = IndexOptions { span: 20_000, point_span: 5_000 };

fn build(name: &str, bytes: &[u8]) -> Result<Built, FormatError> {
    let reader = MemoryObject::new(name, bytes.to_vec());
    let source = ObjectRef { uri: "memory://fuzz/x".parse().unwrap(), store: None, pin: Pin::WeakSize, size: bytes.len() as u64 };
    build_index(&reader, &source, detect(&reader)?, OPTIONS, &|_| {})
}

/// Bytes with some changed, removed, doubled or cut.
fn mutate(bytes: &mut Vec<u8>, changes: &[(u8, usize, u8)]) {
    for (kind, place, value) in changes {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        let place = place % length;
        match kind % 6 {
            0 => bytes[place] = *value,
            1 => bytes[place] ^= 1 << (value % 8),
            2 => drop(bytes.remove(place)),
            3 => bytes.insert(place, *value),
            4 => bytes.truncate(place),
            _ => {
                let end = (place + usize::from(*value)).min(length);
                bytes.extend_from_within(place..end);
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<(u8, usize, u8)>> {
    proptest::collection::vec((any::<u8>(), prop_oneof![0_usize..64, any::<usize>()], any::<u8>()), 1..5)
}

#[test]
fn kept_findings_are_errors_or_answers() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/findings");
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = "memory://fuzz/findings".parse().unwrap();
    let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") });
    let mut tried = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).filter(|file| file.file_name() != "README.md") {
        let uri = root.join(&file.file_name().to_string_lossy());
        stores.put(&uri, std::fs::read(file.path()).unwrap().into()).unwrap();
        let _ = slicer.inspect(&uri);
        let _ = slicer.prepare(&uri, &|_| {});
        for partition in [Partition::Count(3), Partition::Bytes(2000), Partition::Records(1), Partition::Tiles(4)] {
            for slice in slicer.cut(&uri, &Cut::by(partition), &|_| {}).unwrap_or_default().iter().take(3) {
                let _ = slicer.read(slice, 0).map(|mut reader| std::io::copy(&mut reader, &mut std::io::sink()));
                let _ = slicer.arrow(slice).map(|batches| batches.take(100).count());
            }
        }
        tried += 1;
    }
    assert!(tried > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), ..ProptestConfig::default() })]

    #[test]
    fn mutated_objects(which in 0_usize..25, text in 0_usize..25, changes in changes()) {
        let texts = awkward_texts();
        let (name, content) = &texts[text % texts.len()];
        let objects = encodings(name, &content[..content.len().min(50_000)]);
        let mut bytes = objects[which % objects.len()].stored.to_vec();
        mutate(&mut bytes, &changes);
        if let Ok(mut built) = build(&objects[which % objects.len()].name, &bytes) {
            let side_car = built.to_vec().unwrap();
            let again = read_index(&MemoryObject::new("side-car", side_car)).unwrap();
            prop_assert_eq!(again, built.index);
        }
    }

    /// Sequences whose lines are uneven, whose names are strange, or whose blocks are damaged.
    #[test]
    fn mutated_sequences(changes in changes(), packed: bool, behind: bool) {
        let mut content = fasta(6, 4);
        if !behind {
            mutate(&mut content, &changes);
        }
        let mut stored = if packed { bgzf(&content, true) } else { content };
        if behind {
            mutate(&mut stored, &changes);
        }
        let _ = Corner::new(if packed { "x.fa.gz" } else { "x.fa" }, stored).exercise(&["chr0", "chr3:7-900"]);
    }

    #[test]
    fn mutated_reads(changes in changes()) {
        let mut bytes = fastq(40, 1);
        mutate(&mut bytes, &changes);
        let _ = build("reads.fastq", &bytes);
        let _ = build("reads.fastq.gz", &gzip(&bytes, 1));
        let _ = build("reads.fastq.zst", &zstd_frame(&bytes, true));
    }

    #[test]
    fn mutated_side_cars(changes in changes(), resealed: bool) {
        let mut bytes = build("reads.fastq.gz", &gzip(&fastq(700, 2), 6)).unwrap().to_vec().unwrap();
        mutate(&mut bytes, &changes);
        if resealed && bytes.len() > 24 {
            // A fitting checksum, so that what lies behind it is put to the test.
            let header = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as u64;
            let points = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
            let end = points.saturating_mul(48).saturating_add(24 + header).min(bytes.len() as u64) as usize;
            let checksum = crc32fast::hash(&bytes[16..end.max(16)]);
            bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        }
        let _ = read_index(&MemoryObject::new("side-car", bytes));
    }

    #[test]
    fn foreign_selections(
        numbers in proptest::collection::vec(prop_oneof![0_u64..50, 0_u64..60_000, 0_u64..800_000, any::<u64>()], 10),
        window in any::<Option<(u16, u16, u32)>>(),
        way in 0_u8..4,
    ) {
        let content = fastq(300, 3);
        let (stored, compression) = match way {
            0 => (content, "plain"),
            1 => (gzip(&content, 6), "gzip"),
            2 => (bgzf(&content, true), "bgzf"),
            _ => (content.chunks(5000).flat_map(|part| zstd_frame(part, true)).collect(), "zstd"),
        };
        let mut stretch = serde_json::json!({
            "compression": compression, "records": [numbers[0], numbers[1]], "bit": numbers[2], "out": numbers[3],
            "stop": numbers[4], "from": [numbers[5], numbers[6]], "to": [numbers[7], numbers[8]],
        });
        if let Some((at, length, crc)) = window {
            stretch["window"] = serde_json::json!({"at": at, "length": length, "crc": crc});
        }
        let stretch: Stretch = serde_json::from_value(stretch).unwrap();
        let object: Arc<dyn RangedRead> = Arc::new(MemoryObject::new("reads", stored));
        let side_car: Arc<dyn RangedRead> = Arc::new(MemoryObject::new("side-car", vec![7; 3000]));
        if let Ok(reader) = RecordReader::new(Part { object, side_car: Some(side_car), format: Format::Fastq, stretch, verify_ends: false }) {
            let _ = reader.take(10_000_000).read_to_end(&mut Vec::new());
        }
    }
}

/// A corner of memory with one object and, where given, the index beside it.
struct Corner {
    slicer: Slicer,
    stores: Stores,
    uri: ObjectUri,
    side_cars: ObjectUri,
}

impl Corner {
    fn new(name: &str, object: Vec<u8>) -> Self {
        static CORNERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        static STORES: std::sync::LazyLock<Stores> = std::sync::LazyLock::new(|| Stores::new(StoreOptions::default()).unwrap());
        let number = CORNERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root: ObjectUri = format!("memory://fuzz-regions/{number}").parse().unwrap();
        let (stores, uri) = (STORES.clone(), root.join(name));
        stores.put(&uri, object.into()).unwrap();
        let side_cars = root.join("side-cars");
        let slicer = Slicer::new(stores.clone(), SideCars { root: side_cars.clone() }).with_options(OPTIONS);
        Self { slicer, stores, uri, side_cars }
    }

    fn beside(&self, ending: &str, index: Vec<u8>) {
        self.stores.put(&format!("{}.{ending}", self.uri).parse().unwrap(), index.into()).unwrap();
    }

    /// Asks for regions and parts, and reads what there is.
    fn exercise(&self, regions: &[&str]) -> Result<u64, FormatError> {
        let mut bytes = self.read(&self.slicer.region_slices(&self.uri, regions, &|_| {})?)?;
        for partition in [Partition::Count(5), Partition::Bytes(700), Partition::Records(9)] {
            if let Ok(slices) = self.slicer.region_parts(&self.uri, regions, Some(partition), &|_| {}) {
                let _ = self.read(&slices);
            }
        }
        bytes += self.read(&self.slicer.slices(&self.uri, Partition::Count(3))?)?;
        Ok(bytes)
    }

    fn read(&self, slices: &[Slice]) -> Result<u64, FormatError> {
        let mut bytes = 0;
        for slice in slices {
            let mut reader = self.slicer.read(slice, 0)?.take(50_000_000);
            bytes += std::io::copy(&mut reader, &mut std::io::sink()).unwrap_or(0);
        }
        Ok(bytes)
    }
}

fn join((mut header, records): (Vec<u8>, Vec<u8>)) -> Vec<u8> {
    header.extend_from_slice(&records);
    header
}

/// A BAI index of one bin with one chunk, for each of `references` references.
fn bai(references: u32, chunk: [u64; 2]) -> Vec<u8> {
    let mut bytes = [b"BAI\x01".as_slice(), &references.to_le_bytes()].concat();
    for _ in 0..references {
        bytes.extend([1_u32, 0, 1].map(u32::to_le_bytes).concat());
        bytes.extend(chunk.map(u64::to_le_bytes).concat());
        bytes.extend(0_u32.to_le_bytes());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), ..ProptestConfig::default() })]

    /// The content of a container that decodes well, and makes no sense.
    #[test]
    fn mutated_alignments_and_variants(which in 0_u8..3, changes in changes(), packed: bool) {
        let (name, mut content, regions) = match which {
            0 => ("x.bam", join(bam(120, 8)), ["chr0:1-300", "chr0"]),
            1 => ("x.vcf.gz", join(vcf(120, 8)), ["chr1:5-60", "chr1"]),
            _ => {
                let record = [28_u32, 0, 0, 5, 3, 0, 0, 0, 0].map(u32::to_le_bytes).concat();
                let header = b"##contig=<ID=a>\n\0";
                let start = [b"BCF\x02\x02".as_slice(), &(header.len() as u32).to_le_bytes(), header].concat();
                ("x.bcf", join((start, record.repeat(90))), ["a:1-9", "a"])
            }
        };
        let mut stored = bgzf(&content, true);
        if packed {
            mutate(&mut stored, &changes);
        } else {
            mutate(&mut content, &changes);
            stored = bgzf(&content, true);
        }
        let _ = Corner::new(name, stored).exercise(&regions);
    }

    /// Indexes that somebody else wrote, and our own when somebody else changed them.
    #[test]
    fn mutated_region_indexes(which in 0_u8..3, changes in changes(), numbers in proptest::collection::vec(any::<u64>(), 2)) {
        let object = bgzf(&join(bam(120, 9)), true);
        let references = 20;
        let corner = Corner::new("x.bam", object.clone());
        match which {
            0 => {
                let mut index = bai(references, [0, (object.len() as u64) << 16]);
                mutate(&mut index, &changes);
                corner.beside("bai", index);
            }
            1 => corner.beside("bai", bai(references, [numbers[0] % (1 << 40), numbers[1] % (1 << 40)])),
            _ => {
                corner.exercise(&["chr0"]).unwrap();
                let own = corner.stores.list(&corner.side_cars).unwrap();
                let own = own.into_iter().find(|listed| listed.uri.to_string().ends_with(".ndregion")).unwrap();
                let mut index = corner.stores.get(&own.uri).unwrap().to_vec();
                mutate(&mut index, &changes);
                corner.stores.put(&own.uri, index.into()).unwrap();
            }
        }
        let _ = corner.exercise(&["chr0:1-300", "chr0"]);
    }

    #[test]
    fn foreign_region_selections(runs in proptest::collection::vec(any::<[u32; 3]>(), 0..4), length in 0_u64..3000, stop in 0_u64..40_000) {
        let corner = Corner::new("x.bam", bgzf(&join(bam(120, 10)), true));
        let mut slice = corner.slicer.region_slices(&corner.uri, &["chr0"], &|_| {}).unwrap().remove(0);
        let runs: Vec<[u64; 3]> = runs.iter().map(|run| run.map(|number| u64::from(number) << 8)).collect();
        slice.selection["runs"] = serde_json::json!(runs);
        slice.selection["preamble"] = serde_json::json!({"bit": 0, "length": length, "stop": stop});
        let _ = corner.read(&[slice]);
    }
}

/// The index of another object must not give a region without records.
#[test]
fn an_index_of_another_object_is_noticed() {
    let object = bgzf(&join(bam(3000, 9)), true);
    let size = object.len() as u64;
    for chunk in [[7 << 16, size << 16], [1000 << 16, 2000 << 16], [3, size << 16], [0, 5], [60_000, 65_000]] {
        let corner = Corner::new("x.bam", object.clone());
        corner.beside("bai", bai(20, chunk));
        let slices = corner.slicer.region_slices(&corner.uri, &["chr0"], &|_| {}).unwrap();
        let mut reader = corner.slicer.read(&slices[0], 0).unwrap();
        let error = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err().to_string();
        assert!(error.contains("x.bam"), "{chunk:?}: {error}");
    }
}

/// A count in an index is no reason to make room for so many.
#[test]
fn an_index_that_promises_too_much_is_refused() {
    let corner = Corner::new("x.bam", bgzf(&join(bam(50, 9)), true));
    for place in [4, 8] {
        let mut index = bai(20, [0, 1 << 20]);
        index[place..place + 4].copy_from_slice(&i32::MAX.to_le_bytes());
        corner.beside("bai", index);
        let error = corner.exercise(&["chr0"]).unwrap_err().to_string();
        assert!(error.contains("x.bam.bai") && error.contains("cut short"), "{error}");
    }
}

/// Frames cut anywhere, and any byte of them changed.
#[test]
fn zstandard_cut_and_changed_at_every_byte() {
    let content = fastq(40, 6);
    let whole: Vec<u8> = content.chunks(3000).flat_map(|part| zstd_frame(part, part.len() == 3000)).collect();
    assert!(build("reads.fastq.zst", &whole).is_ok());
    for place in 0..whole.len() {
        let _ = build("reads.fastq.zst", &whole[..place]);
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        let _ = build("reads.fastq.zst", &changed);
    }
}

/// Slices that almost make sense reach deeper than random numbers do.
#[test]
fn slightly_wrong_selections() {
    let content = fastq(900, 5);
    let frames = content.chunks(9000).flat_map(|part| zstd_frame(part, true)).collect();
    for (stored, name) in [
        (content.clone(), "x.fastq"),
        (gzip(&content, 6), "x.fastq.gz"),
        (bgzf(&content, true), "y.fastq.gz"),
        (frames, "x.fastq.zst"),
    ] {
        let index = build(name, &stored).unwrap().index;
        let size = stored.len() as u64;
        let object: Arc<dyn RangedRead> = Arc::new(MemoryObject::new(name, stored));
        let text = format!("{:?}", index.compression).to_lowercase();
        for point in &index.points {
            for (first, end, to, to_out, stop) in [
                (point.record, point.record + 1, point.record, point.record_out, size),
                (point.record, point.record + 5, point.record + 5, point.record_out, size),
                (point.record, 5000, 4000, u64::MAX, size),
                (point.record + 1, point.record + 1, point.record, point.record_out, size),
                (point.record, point.record + 9, point.record, point.record_out, point.bit / 8 + 1),
            ] {
                let stretch: Stretch = serde_json::from_value(serde_json::json!({
                    "compression": text, "records": [first, end], "bit": point.bit, "out": point.out, "stop": stop,
                    "from": [point.record, point.record_out], "to": [to, to_out],
                }))
                .unwrap();
                let part =
                    Part { object: Arc::clone(&object), side_car: None, format: Format::Fastq, stretch, verify_ends: false };
                if let Ok(reader) = RecordReader::new(part) {
                    let _ = reader.take(10_000_000).read_to_end(&mut Vec::new());
                }
            }
        }
    }
}
