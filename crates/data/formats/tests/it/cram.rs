//! CRAM: slices are files of whole containers that join to the object; damage anywhere is noticed.

use std::io::Read;
use std::sync::Arc;

use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::tables::PARTITIONS;
use neardata_formats::{Cut, FormatError, Partition, Prepared, SideCars, Slicer, TableSummary};
use neardata_store::{StoreOptions, Stores};
use proptest::prelude::*;
use serde_json::json;

use crate::law::cases;

/// 700 alignments in containers of 100: see the README beside them.
const REAL: [(&str, &[u8]); 2] =
    [("3.0", include_bytes!("../data/cram/tiny-3.0.cram")), ("3.1", include_bytes!("../data/cram/tiny-3.1.cram"))];
/// The container that ends a file (CRAMv3 §9).
const END: [u8; 38] = *b"\x0f\0\0\0\xff\xff\xff\xff\x0f\xe0\x45\x4f\x46\0\0\0\0\x01\0\x05\xbd\xd9\x4f\0\x01\0\x06\x06\x01\0\x01\0\x01\0\xee\x63\x01\x4b";

struct Lab {
    stores: Stores,
    slicer: Slicer,
    uri: ObjectUri,
}

impl Lab {
    fn new(test: &str) -> Self {
        let stores = Stores::new(StoreOptions::default()).unwrap();
        let root: ObjectUri = format!("memory://cram/{test}").parse().unwrap();
        let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") });
        Self { stores, slicer, uri: root.join("a.cram") }
    }

    fn cut(&self, object: &[u8], partition: Partition) -> Result<Vec<Slice>, FormatError> {
        self.stores.put(&self.uri, object.to_vec().into()).unwrap();
        self.slicer.cut(&self.uri, &Cut::by(partition), &|_| {})
    }

    fn read(&self, slice: &Slice) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.slicer.read(slice, 0)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The slices of a partition, one behind the other, without what each begins and ends with.
    fn joined(&self, object: &[u8], slices: &[Slice], head: usize) -> Vec<u8> {
        let mut joined = object[..head].to_vec();
        for slice in slices {
            let json = slice.to_json();
            assert!(json.len() < 1024, "{json}");
            let bytes = self.read(&Slice::from_json(&json).unwrap()).unwrap();
            assert_eq!(bytes[..head], object[..head]);
            let body = bytes[head..].strip_suffix(&END[..]).expect("a slice ends as a file does");
            assert!(!body.is_empty());
            joined.extend_from_slice(body);
        }
        joined.extend_from_slice(&END);
        joined
    }
}

fn records(slice: &Slice) -> [u64; 2] {
    serde_json::from_value(slice.selection["records"].clone()).unwrap()
}

fn itf8(value: i32) -> Vec<u8> {
    let [a, b, c, d] = value.to_be_bytes();
    match value {
        0..0x80 => vec![d],
        0x80..0x4000 => vec![0x80 | c, d],
        0x4000..0x20_0000 => vec![0xc0 | b, c, d],
        0x20_0000..0x1000_0000 => vec![0xe0 | a, b, c, d],
        _ => vec![0xf0 | a >> 4, a << 4 | b >> 4, b << 4 | c >> 4, c << 4 | d >> 4, d & 0x0f],
    }
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn block(kind: u8, content: &[u8]) -> Vec<u8> {
    let size = itf8(content.len() as i32);
    with_checksum([&[0, kind, 0], &size[..], &size, content].concat())
}

/// A container of blocks; its checksums are right, its records are not there.
fn container(reference: i32, count: i32, blocks: &[Vec<u8>]) -> Vec<u8> {
    let body = blocks.concat();
    let numbers = [reference, 1, 100, count].map(itf8).concat();
    let head = [&(body.len() as u32).to_le_bytes(), &numbers[..], &[0, 0], &itf8(blocks.len() as i32), &[1, 0]].concat();
    [with_checksum(head), body].concat()
}

fn head(text: &str) -> Vec<u8> {
    let content = [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    [b"CRAM\x03\x01".to_vec(), vec![b'i'; 20], container(0, 0, &[block(0, &content)])].concat()
}

fn file(containers: &[Vec<u8>]) -> Vec<u8> {
    [head("@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:one\tLN:100\n"), containers.concat(), END.to_vec()].concat()
}

fn made(counts: &[i32]) -> Vec<u8> {
    let containers = counts.iter().enumerate().map(|(at, count)| {
        let content = vec![at as u8; 10 + at % 5 * 300];
        container(at as i32 % 3 - 2, *count, &[block(1, &content), block(4, b"z")])
    });
    file(&containers.collect::<Vec<_>>())
}

/// Length of everything before the first container of records.
fn head_of(object: &[u8]) -> usize {
    let lab = Lab::new("head");
    let slices = lab.cut(object, Partition::Count(1)).unwrap();
    slices[0].selection["bytes"][0].as_u64().unwrap() as usize
}

#[test]
fn slices_join_to_the_object() {
    let mut objects: Vec<(String, Vec<u8>, u64)> =
        REAL.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec(), 700)).collect();
    for counts in [&[1][..], &[5, 5, 5], &[3, 3, 3, 1], &[1; 40], &[100, 1, 7, 3_000, 1 << 12]] {
        objects.push((format!("{counts:?}"), made(counts), counts.iter().map(|count| *count as u64).sum()));
    }
    let lab = Lab::new("law");
    for (name, object, count) in &objects {
        let head = head_of(object);
        let mut offered = 0;
        for partition in PARTITIONS.iter().copied().chain([Partition::Records(100), Partition::Records(200)]) {
            let slices = match lab.cut(object, partition) {
                Ok(slices) => slices,
                Err(FormatError::NotOffered { option: "tiles", .. }) => continue,
                Err(error) => panic!("{name} by {partition:?}: {error}"),
            };
            offered += 1;
            // Containers that are cut open are written anew.
            if slices.iter().all(|slice| slice.selection.get("cut").is_none()) {
                assert_eq!(lab.joined(object, &slices, head), *object, "{name} by {partition:?}");
            }
            let counts: Vec<[u64; 2]> = slices.iter().map(records).collect();
            assert!(counts.windows(2).all(|pair| pair[0][1] == pair[1][0]) && counts.iter().all(|[a, b]| a < b));
            assert_eq!((counts[0][0], counts[counts.len() - 1][1]), (0, *count), "{name} by {partition:?}");
            match partition {
                Partition::Count(most) => assert!(slices.len() as u64 <= most),
                Partition::Records(step) => assert!(counts[..counts.len() - 1].iter().all(|[a, b]| b - a == step)),
                _ => {}
            }
        }
        assert!(offered >= 8, "{name}: {offered}");
    }
    let by_hundred = lab.cut(REAL[0].1, Partition::Records(100)).unwrap();
    assert_eq!(by_hundred.len(), 7);
    assert_eq!(lab.cut(REAL[1].1, Partition::Records(300)).unwrap().len(), 3);
}

#[test]
fn a_slice_is_a_file() {
    let lab = Lab::new("file");
    for (name, object) in REAL {
        for slice in lab.cut(object, Partition::Count(3)).unwrap() {
            let bytes = lab.read(&slice).unwrap();
            let [first, end] = records(&slice);
            let again = Lab::new("again");
            let parts = again.cut(&bytes, Partition::Count(1)).unwrap();
            assert_eq!(records(&parts[0]), [0, end - first], "{name}");
            assert_eq!(again.read(&parts[0]).unwrap(), bytes, "{name}");
        }
    }
}

#[test]
fn awkward_objects() {
    let lab = Lab::new("awkward");
    assert_eq!(lab.cut(&file(&[]), Partition::Count(4)).unwrap(), []);
    // Containers without records belong to what is around them, and make no slice.
    let hollow = container(0, 0, &[block(1, b"")]);
    let full = container(0, 2, &[block(1, b"xy")]);
    assert_eq!(lab.cut(&file(&[hollow.clone(), hollow.clone()]), Partition::Count(2)).unwrap(), []);
    let slices =
        lab.cut(&file(&[hollow.clone(), full.clone(), hollow.clone(), full.clone(), hollow]), Partition::Count(2)).unwrap();
    assert_eq!(slices.iter().map(records).collect::<Vec<_>>(), [[0, 2], [2, 4]]);
    assert!(lab.read(&slices[1]).unwrap().ends_with(&END));
    // What stands in these containers is no record.
    let broken = lab.cut(&file(&[full.clone(), full]), Partition::Records(3)).unwrap();
    assert_eq!(broken.iter().map(records).collect::<Vec<_>>(), [[0, 3], [3, 4]]);
    let error = lab.read(&broken[0]).unwrap_err().to_string();
    assert!(error.contains("damaged CRAM at byte"), "{error}");
    assert!(lab.slicer.arrow(&broken[0]).unwrap().any(|batch| batch.is_err()));
}

#[test]
fn the_header_is_told() {
    let lab = Lab::new("told");
    lab.stores.put(&lab.uri, REAL[1].1.to_vec().into()).unwrap();
    let facts = |inspection: &serde_json::Value| inspection.to_string();
    let before = facts(&serde_json::to_value(lab.slicer.inspect(&lab.uri).unwrap()).unwrap());
    for fact in ["3.1", "coordinate", "1: q (12356)", "NA12878D_HiSeqX_R1.fastq.gz"] {
        assert!(before.contains(fact), "{fact} in {before}");
    }
    assert!(!before.contains("containers"), "{before}");
    lab.slicer.prepare(&lab.uri, &|_| {}).unwrap();
    let after = facts(&serde_json::to_value(lab.slicer.inspect(&lab.uri).unwrap()).unwrap());
    assert!(after.contains(r#"["containers","7"]"#) && after.contains("700"), "{after}");
}

#[test]
fn problems_are_named() {
    let lab = Lab::new("problems");
    let say = |object: &[u8]| lab.cut(object, Partition::Count(2)).unwrap_err().to_string();
    let whole = made(&[5, 5]);
    let without_end = &whole[..whole.len() - END.len()];
    assert!(say(without_end).contains("its end-of-file container is missing"), "{}", say(without_end));
    assert!(say(&whole[..whole.len() - 60]).contains("truncated CRAM container"), "{}", say(&whole[..whole.len() - 60]));
    let joined = [&whole[..], &whole[head_of(&whole)..]].concat();
    assert!(say(&joined).contains("samtools cat"), "{}", say(&joined));
    for (place, version) in [(2, "2.1"), (9, "9.1"), (4, "4.1")] {
        let mut other = whole.clone();
        other[4] = place;
        assert!(say(&other).contains(&format!("CRAM with version {version} is not read here")), "{}", say(&other));
    }
    let mut wrong = whole.clone();
    wrong[head_of(&whole) + 5] ^= 1;
    assert!(say(&wrong).contains("the checksum of a container header does not fit"), "{}", say(&wrong));
    let mut wrong = whole.clone();
    wrong[head_of(&whole) + 40] ^= 1;
    let slices = lab.cut(&wrong, Partition::Count(2)).unwrap();
    let error = lab.read(&slices[0]).unwrap_err().to_string();
    assert!(error.contains("damaged CRAM at byte") && error.contains("checksum of the block"), "{error}");
    assert!(lab.read(&slices[1]).is_ok());
}

#[test]
fn every_flipped_byte_behind_the_header_is_noticed() {
    let lab = Lab::new("flips");
    let object = REAL[1].1;
    let head = head_of(object);
    // The padding of the header's container is of no checksum that matters; the records are.
    for at in (0..object.len()).filter(|at| *at < 200 || *at >= head && (at % 7 == 0 || *at > object.len() - 200)) {
        let mut bytes = object.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let result = lab.cut(&bytes, Partition::Count(1)).map(|slices| match slices.first() {
            Some(slice) => lab.read(slice).map(drop).map_err(|error| error.to_string()),
            None => Ok(()),
        });
        if at >= head {
            assert!(!matches!(result, Ok(Ok(()))), "byte {at}");
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let lab = Lab::new("short");
    let object = made(&[5, 2, 900]);
    // The first four bytes alone are a word of text.
    for length in 5..object.len() {
        let error = lab.cut(&object[..length], Partition::Count(2)).unwrap_err().to_string();
        assert!(error.contains("CRAM"), "{length}: {error}");
    }
    let real = REAL[0].1;
    for length in (10..real.len() - END.len()).step_by(501) {
        let error = lab.cut(&real[..length], Partition::Count(2)).unwrap_err().to_string();
        assert!(error.contains("truncated CRAM"), "{length}: {error}");
    }
}

#[test]
fn numbers_too_large_are_no_memory() {
    let lab = Lab::new("large");
    let huge = [i32::MAX, -1, i32::MIN];
    for number in huge {
        let numbers = [itf8(0), itf8(1), itf8(1), itf8(number), vec![0, 0], itf8(1), itf8(number)].concat();
        for length in [20_u32, u32::MAX, 0x7fff_ffff] {
            let wrong = with_checksum([&length.to_le_bytes()[..], &numbers].concat());
            assert!(lab.cut(&file(std::slice::from_ref(&wrong)), Partition::Count(1)).is_err());
            let first = [b"CRAM\x03\0".to_vec(), vec![0; 20], wrong].concat();
            assert!(lab.cut(&first, Partition::Count(1)).is_err());
        }
        // A gzipped header that says it is larger than it can be, and blocks that leave their container.
        let lying = with_checksum([&[1, 0, 0, 2], &itf8(number)[..], b"xx"].concat());
        let first = [b"CRAM\x03\0".to_vec(), vec![0; 20], container(0, 0, &[lying])].concat();
        assert!(lab.cut(&first, Partition::Count(1)).is_err());
        let lying = with_checksum([&[0, 1, 0], &itf8(number)[..], &itf8(2), b"xx"].concat());
        let slices = lab.cut(&file(&[container(0, 3, &[lying])]), Partition::Count(1)).unwrap();
        assert!(lab.read(&slices[0]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_read(tail in proptest::collection::vec(any::<u8>(), 0..400), seals: bool) {
        let lab = Lab::new("bytes");
        let tail = if seals { with_checksum(tail) } else { tail };
        for object in [[b"CRAM\x03\0".to_vec(), tail.clone()].concat(), file(std::slice::from_ref(&tail))] {
            if let Ok(slices) = lab.cut(&object, Partition::Count(3)) {
                slices.iter().for_each(|slice| drop(lab.read(slice)));
            }
        }
    }

    #[test]
    fn any_selection_is_refused_or_read(begin in 0_u64..60_000, end in any::<u64>(), first in any::<u64>(), last in any::<u64>()) {
        let lab = Lab::new("selection");
        let mut slice = lab.cut(REAL[0].1, Partition::Count(1)).unwrap().remove(0);
        let held = slice.selection.clone();
        slice.selection = json!({ "bytes": [begin, end % 60_000], "records": [first, last] });
        prop_assert!(slice.selection == held || lab.read(&slice).is_err());
        slice.selection["cut"] = json!([first % 900, last % 900]);
        drop(lab.read(&slice));
        drop(lab.slicer.arrow(&slice).map(|batches| batches.count()));
        let region = json!({ "id": last % 3, "name": "q", "start": first % 20_000, "end": last % 20_000 });
        slice.selection = json!({ "region": region, "runs": [[begin, end % 60_000]] });
        drop(lab.read(&slice));
        drop(lab.slicer.arrow(&slice).map(|batches| batches.count()));
    }

    #[test]
    fn any_table_is_refused_or_one(at in any::<usize>(), bit in 0_u8..8, shift in 0_usize..3) {
        let lab = Lab::new("table");
        let expected = lab.cut(REAL[0].1, Partition::Count(4)).unwrap();
        prop_assert!(expected[0].index.is_empty(), "containers are read without the index");
        let Prepared::Table(TableSummary { side_car: Some(index), .. }) = lab.slicer.prepare(&lab.uri, &|_| {}).unwrap() else {
            panic!("CRAM has an index")
        };
        let index = index.uri;
        let mut bytes = Vec::new();
        let reader = lab.stores.open(&lab.stores.head(&index).unwrap()).unwrap();
        reader.stream(neardata_core::ByteRange::new(0, reader.size())).for_each(|piece| bytes.extend_from_slice(&piece.unwrap()));
        let place = at % bytes.len();
        bytes[place] ^= 1 << bit;
        bytes.truncate(bytes.len() - shift);
        lab.stores.put(&index, bytes.into()).unwrap();
        let again = lab.slicer.cut(&lab.uri, &Cut::by(Partition::Count(4)), &|_| {});
        match again {
            Ok(slices) => prop_assert_eq!(
                slices.iter().map(|slice| &slice.selection).collect::<Vec<_>>(),
                expected.iter().map(|slice| &slice.selection).collect::<Vec<_>>()
            ),
            Err(error) => prop_assert!(matches!(error, FormatError::SideCar { .. }), "{}", error),
        }
    }
}

#[test]
fn many_threads_read_one_object() {
    let lab = Arc::new(Lab::new("threads"));
    let slices = Arc::new(lab.cut(REAL[0].1, Partition::Count(7)).unwrap());
    let threads: Vec<_> = (0..7)
        .map(|number| {
            let (lab, slices) = (Arc::clone(&lab), Arc::clone(&slices));
            std::thread::spawn(move || lab.read(&slices[number]).unwrap().len())
        })
        .collect();
    let total: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(total, REAL[0].1.len() + 6 * (head_of(REAL[0].1) + END.len()));
}
