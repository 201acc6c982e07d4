//! The partition law.

use neardata_formats::conformance::{Suite, awkward_texts, bam, encodings, fasta, fastq, headed, lines, vcf};
use proptest::prelude::*;

#[test]
fn awkward_objects_obey_the_law_however_they_are_stored() {
    let suite = Suite::in_memory().unwrap();
    for (name, content) in awkward_texts() {
        for object in encodings(&name, &content) {
            suite.check(&object).unwrap();
        }
    }
}

#[test]
fn larger_objects_obey_the_law_however_they_are_stored() {
    let suite = Suite::in_memory().unwrap();
    for (name, content) in [("l.fastq", fastq(1500, 1)), ("l.fa", fasta(200, 2)), ("l.txt", lines(5000, 3))] {
        for object in encodings(name, &content) {
            suite.check(&object).unwrap();
        }
    }
}

#[test]
fn objects_with_a_header_obey_the_law_however_they_are_stored() {
    let suite = Suite::in_memory().unwrap();
    let sam = |records: u64| (b"@HD\tVN:1.6\n@CO\tx\n".to_vec(), b"r\t4\t*\t0\t0\t*\t*\t0\t0\tA\tI\n".repeat(records as usize));
    let bcf = |records: u64| {
        let record = [24_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat().into_iter().chain([7; 27]).collect::<Vec<u8>>();
        (b"BCF\x02\x02\x05\0\0\0##x\n\0".to_vec(), record.repeat(records as usize))
    };
    for records in [0, 1, 2, 1200] {
        for (name, content) in
            [("h.vcf", vcf(records, 5)), ("h.bam", bam(records, 6)), ("h.sam", sam(records)), ("h.bcf", bcf(records))]
        {
            for object in headed(name, content) {
                suite.check(&object).unwrap();
            }
        }
    }
    let (header, mut records) = vcf(50, 7);
    records.pop();
    for object in headed("no-end.vcf", (header, records)) {
        suite.check(&object).unwrap();
    }
}

#[test]
fn the_suite_notices_a_wrong_byte() {
    let suite = Suite::in_memory().unwrap();
    for mut object in encodings("wrong.fastq", &fastq(500, 1)) {
        let middle = object.content.len() / 2;
        object.content[middle] ^= 1;
        assert!(suite.check(&object).unwrap_err().contains("first difference"), "{}", object.name);
    }
}

#[test]
fn mates_are_cut_at_the_same_reads() {
    let suite = Suite::in_memory().unwrap();
    let first = encodings("r1.fastq", &fastq(700, 11));
    let second = encodings("r2.fastq", &fastq(700, 12));
    for (first, second) in first.iter().zip(second.iter().rev()) {
        suite.check_pair(first, second).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(12), ..ProptestConfig::default() })]

    #[test]
    fn any_object_obeys_the_law(records in 0_u64..900, seed: u64, which in 0_usize..5, way in 0_usize..25, cut in 0_usize..40) {
        let (name, mut content) = match which {
            0 => ("p.fastq", fastq(records, seed)),
            1 => ("p.fa", fasta(records / 8, seed)),
            _ => ("p.txt", lines(records, seed)),
        };
        if which == 2 {
            content.truncate(content.len().saturating_sub(cut));
        }
        let objects = match which {
            3 => headed("p.vcf", vcf(records, seed)),
            4 => headed("p.bam", bam(records, seed)),
            _ => encodings(name, &content),
        };
        let suite = Suite::in_memory().unwrap();
        suite.check(&objects[way % objects.len()]).map_err(TestCaseError::fail)?;
    }
}

/// Number of property-test cases: more with `NEARDATA_TEST_CASES`.
pub(crate) fn cases(default: u32) -> u32 {
    std::env::var("NEARDATA_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
