//! Foreign bytes: whatever they are, an answer or an error, never a panic, a hang or an allocation that they choose.

use std::io::Read;
use std::sync::Arc;

use neardata_core::{MemoryObject, ObjectRef, Pin, RangedRead};
use neardata_formats::conformance::{awkward_texts, bgzf, encodings, fastq, gzip};
use neardata_formats::{Built, Format, FormatError, IndexOptions, RecordReader, Stretch, build_index, detect, read_index};
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

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), ..ProptestConfig::default() })]

    #[test]
    fn mutated_objects(which in 0_usize..20, text in 0_usize..24, changes in changes()) {
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

    #[test]
    fn mutated_reads(changes in changes()) {
        let mut bytes = fastq(40, 1);
        mutate(&mut bytes, &changes);
        let _ = build("reads.fastq", &bytes);
        let _ = build("reads.fastq.gz", &gzip(&bytes, 1));
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
        way in 0_u8..3,
    ) {
        let content = fastq(300, 3);
        let (stored, compression) = match way {
            0 => (content, "plain"),
            1 => (gzip(&content, 6), "gzip"),
            _ => (bgzf(&content, true), "bgzf"),
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
        let index = MemoryObject::new("side-car", vec![7; 3000]);
        if let Ok(reader) = RecordReader::new(object, Some(&index), Format::Fastq, stretch) {
            let _ = reader.take(10_000_000).read_to_end(&mut Vec::new());
        }
    }
}

/// Slices that almost make sense reach deeper than random numbers do.
#[test]
fn slightly_wrong_selections() {
    let content = fastq(900, 5);
    for (stored, name) in [(content.clone(), "x.fastq"), (gzip(&content, 6), "x.fastq.gz"), (bgzf(&content, true), "y.fastq.gz")]
    {
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
                if let Ok(reader) = RecordReader::new(Arc::clone(&object), None, Format::Fastq, stretch) {
                    let _ = reader.take(10_000_000).read_to_end(&mut Vec::new());
                }
            }
        }
    }
}
