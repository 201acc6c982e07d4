//! Regions of FASTA, and regions of alignments and variants partitioned by where records start.

use std::fmt::Write as _;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::{bam, bgzf, gzip, vcf, zstd_frame};
use neardata_formats::{Cut, FormatError, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use proptest::prelude::*;

use crate::law::cases;

/// An object in a corner of memory of its own.
struct Corner {
    stores: Stores,
    slicer: Slicer,
    uri: ObjectUri,
}

impl Corner {
    fn new(name: &str, bytes: Vec<u8>) -> Self {
        static CORNERS: AtomicU64 = AtomicU64::new(0);
        let stores = Stores::new(StoreOptions::default()).unwrap();
        let root: ObjectUri = format!("memory://regions/{}", CORNERS.fetch_add(1, Ordering::Relaxed)).parse().unwrap();
        let uri = root.join(name);
        stores.put(&uri, bytes.into()).unwrap();
        let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("side-cars") });
        Self { stores, slicer, uri }
    }

    fn beside(&self, ending: &str, bytes: impl Into<bytes::Bytes>) {
        self.stores.put(&format!("{}.{ending}", self.uri).parse().unwrap(), bytes.into()).unwrap();
    }

    fn parts(&self, region: &str, partition: Option<Partition>) -> Result<Vec<Slice>, FormatError> {
        self.slicer.region_parts(&self.uri, &[region], partition, &|_| {})
    }

    fn text(&self, region: &str) -> Result<String, String> {
        let slices = self.parts(region, None).map_err(|error| error.to_string())?;
        slices.iter().map(|slice| self.read(slice).map(|bytes| String::from_utf8(bytes).unwrap())).collect()
    }

    fn read(&self, slice: &Slice) -> Result<Vec<u8>, String> {
        let json = slice.to_json();
        assert!(json.len() < 1024, "{json}");
        let mut bytes = Vec::new();
        let mut reader = self.slicer.read(&Slice::from_json(&json).unwrap(), 0).map_err(|error| error.to_string())?;
        reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

/// Sequences by name; `line` bases a line, `end` at their ends.
fn fasta(sequences: &[(&str, String)], line: usize, end: &str) -> String {
    let mut text = String::new();
    for (name, bases) in sequences {
        write!(text, ">{name} some words{end}").unwrap();
        for part in bases.as_bytes().chunks(line) {
            write!(text, "{}{end}", std::str::from_utf8(part).unwrap()).unwrap();
        }
    }
    text
}

fn bases(length: usize, seed: u64) -> String {
    let mut state = seed;
    let mut roll = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        char::from(b"ACGTN"[(state >> 33) as usize % 5])
    };
    (0..length).map(|_| roll()).collect()
}

fn genome() -> Vec<(&'static str, String)> {
    vec![("one", bases(100_000, 1)), ("HLA:01", bases(601, 2)), ("empty", String::new()), ("last", bases(61, 3))]
}

/// What samtools prints.
fn printed(region: &str, bases: &str) -> String {
    bases.as_bytes().chunks(60).fold(format!(">{region}\n"), |text, line| text + std::str::from_utf8(line).unwrap() + "\n")
}

/// The table of samtools, the slow way.
fn fai(text: &str) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for record in text.split_inclusive('>').collect::<String>().split('>').skip(1) {
        at += 1;
        let (title, lines) = record.split_at(record.find('\n').unwrap() + 1);
        let name = title.split_whitespace().next().unwrap();
        let length: usize = lines.lines().map(str::len).sum();
        let first = lines.split_inclusive('\n').next().unwrap_or_default();
        writeln!(out, "{name}\t{length}\t{}\t{}\t{}", at + title.len(), first.trim_end().len(), first.len()).unwrap();
        at += record.len();
    }
    out
}

/// The table of `bgzip -i`.
fn gzi(bytes: &[u8]) -> Vec<u8> {
    let (mut at, mut out, mut pairs) = (0, 0, Vec::new());
    while at < bytes.len() {
        if at > 0 {
            pairs.push([at as u64, out as u64]);
        }
        at += usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]])) + 1;
        out += u32::from_le_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    }
    let count = (pairs.len() as u64).to_le_bytes();
    count.into_iter().chain(pairs.iter().flatten().flat_map(|number| number.to_le_bytes())).collect()
}

#[test]
fn fasta_regions_are_as_samtools_prints_them() {
    let genome = genome();
    for (line, end) in [(60, "\n"), (70, "\n"), (1, "\n"), (80, "\r\n"), (1_000_000, "\n")] {
        let text = fasta(&genome, line, end);
        for (name, stored) in [("g.fa", text.clone().into_bytes()), ("g.fa.gz", bgzf(text.as_bytes(), true))] {
            for beside in [false, true] {
                let corner = Corner::new(name, stored.clone());
                if beside {
                    corner.beside("fai", fai(&text));
                    corner.beside("gzi", if name == "g.fa" { Vec::new() } else { gzi(&stored) });
                }
                for (region, sequence, range) in [
                    ("one", 0, 0..100_000),
                    ("one:1-1", 0, 0..1),
                    ("one:61-120", 0, 60..120),
                    ("one:70,001-70,333", 0, 70_000..70_333),
                    ("one:99,990", 0, 99_989..100_000),
                    ("one:99990-200000", 0, 99_989..100_000),
                    ("one:-100", 0, 0..100),
                    ("one:200000-200001", 0, 0..0),
                    ("HLA:01", 1, 0..601),
                    ("HLA:01:600-", 1, 599..601),
                    ("empty", 2, 0..0),
                    ("empty:5-6", 2, 0..0),
                    ("last", 3, 0..61),
                ] {
                    let expected = printed(region, &genome[sequence].1[range]);
                    assert_eq!(corner.text(region).unwrap(), expected, "{name} {line} {beside} {region}");
                }
                for wrong in ["two", "one:5-4", "one:x"] {
                    assert!(corner.text(wrong).is_err(), "{wrong}");
                }
                let cars = corner.stores.list(&corner.uri.to_string().replace(name, "side-cars").parse().unwrap()).unwrap();
                assert_eq!(cars.is_empty(), beside);
            }
        }
    }
}

#[test]
fn a_region_of_fasta_fetches_its_own_bytes() {
    let text = fasta(&[("a", bases(3_000_000, 5)), ("b", bases(900, 6))], 60, "\n");
    for (name, stored, most) in [("g.fa", text.clone().into_bytes(), 1017), ("g.fa.gz", bgzf(text.as_bytes(), true), 70_000)] {
        let corner = Corner::new(name, stored);
        let slices = corner.parts("a:2000000-2000999", None).unwrap();
        let metered = corner.stores.metered();
        let slicer = Slicer::new(metered.clone(), SideCars { root: "memory://regions/none".parse().unwrap() });
        let mut text = String::new();
        slicer.read(&slices[0], 0).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), 19 + 1000 + 17);
        assert!(metered.bytes_fetched() <= most, "{name}: {}", metered.bytes_fetched());
        // Asking again needs the side-car and what tells the format, not the object.
        let metered = corner.stores.metered();
        let side_cars = SideCars { root: corner.uri.to_string().replace(name, "side-cars").parse().unwrap() };
        Slicer::new(metered.clone(), side_cars).region_slices(&corner.uri, &["b"], &|_| {}).unwrap();
        assert!(metered.bytes_fetched() < 80_000, "{name}: {}", metered.bytes_fetched());
    }
}

#[test]
fn parts_of_a_fasta_region_hold_every_base_once() {
    let genome = genome();
    let corner = Corner::new("g.fa", fasta(&genome, 60, "\n").into_bytes());
    for count in [1, 2, 7, 600, 601, 9999] {
        let slices = corner.parts("HLA:01:5-", Some(Partition::Count(count))).unwrap();
        assert_eq!(slices.len() as u64, count.min(597));
        let mut joined = String::new();
        for slice in &slices {
            let text = String::from_utf8(corner.read(slice).unwrap()).unwrap();
            let (title, lines) = text.split_once('\n').unwrap();
            assert_eq!(corner.text(title.trim_start_matches('>')).unwrap(), text, "a part is a region");
            joined.extend(lines.lines());
        }
        assert_eq!(joined, genome[1].1[4..]);
    }
    assert_eq!(corner.parts("one", Some(Partition::Bytes(30_000))).unwrap().len(), 4);
    assert!(corner.parts("empty", Some(Partition::Count(3))).unwrap().is_empty());
    let error = corner.parts("one", Some(Partition::Records(1))).unwrap_err();
    assert!(matches!(error, FormatError::NotOffered { option: "records", .. }), "{error}");
    assert!(matches!(corner.parts("one", Some(Partition::Count(0))), Err(FormatError::Partition(_))));
}

#[test]
fn fasta_without_regions_says_why() {
    let refused = |name: &str, bytes: Vec<u8>, words: &[&str]| {
        let error = Corner::new(name, bytes).text("a").unwrap_err();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    };
    refused("uneven.fa", b">a\nACGT\nAC\nACGT\n".to_vec(), &["uneven.fa", "line 4", "`a` differ in length", "seqtk seq -l 60"]);
    refused("twice.fa", b">a\nA\n>a\nA\n".to_vec(), &["`a` occurs twice", "record 1", "record 2"]);
    refused("x.fa.gz", gzip(b">a\nA\n", 6), &["this is fasta, gzip", "bgzip"]);
    refused("x.fa.zst", zstd_frame(b">a\nA\n", true), &["this is fasta, Zstandard", "bgzip"]);
    refused("none.fa", b">b\nA\n>c\nA\n".to_vec(), &["no reference `a`", "b, c"]);
    let long = "a".repeat(800);
    let corner = Corner::new("long.fa", format!(">{long}\nA\n").into_bytes());
    assert!(corner.text(&long).unwrap_err().contains("does not fit into a slice"));
}

#[test]
fn tables_of_another_object_are_noticed() {
    let text = fasta(&genome(), 60, "\n");
    for table in [
        "one\t100000\t7\t60\t61\n",
        "one\t100000\t16\t60\t62\n",
        "one\t100000\t200\t61\t62\n",
        "one\t200000\t16\t60\t61\n",
        "one\t9\tx\n",
    ] {
        let corner = Corner::new("g.fa", text.clone().into_bytes());
        corner.beside("fai", table);
        let error = corner.text("one").unwrap_err();
        assert!(error.contains("g.fa") && error.contains("samtools faidx"), "{table}: {error}");
    }
    let stored = bgzf(text.as_bytes(), true);
    for table in
        [vec![1; 24], gzi(&stored)[..20].to_vec(), [1_u64, 77, 1000].iter().flat_map(|number| number.to_le_bytes()).collect()]
    {
        let corner = Corner::new("g.fa.gz", stored.clone());
        corner.beside("fai", fai(&text));
        corner.beside("gzi", table.clone());
        let error = corner.text("one:50000-50100").unwrap_err();
        assert!(error.contains("g.fa.gz"), "{table:?}: {error}");
    }
}

/// The records of a BAM or VCF content that start in `[start, end)` of a reference, the slow way.
fn starting(name: &str, records: &[u8], reference: &str, start: u64, end: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if name.ends_with("bam") {
        let mut rest = records;
        while !rest.is_empty() {
            let number = |at: usize| i32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let (record, behind) = rest.split_at(number(0) as usize + 4);
            if format!("chr{}", number(4)) == reference && (start..end).contains(&(number(8) as u64)) {
                out.extend_from_slice(record);
            }
            rest = behind;
        }
    } else {
        for line in records.split_inclusive(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b'\t').map(|field| String::from_utf8_lossy(field));
            let (chrom, position) = (fields.next().unwrap(), fields.next().unwrap().parse::<u64>().unwrap());
            if chrom == reference && (start..end).contains(&position.saturating_sub(1)) {
                out.extend_from_slice(line);
            }
        }
    }
    out
}

/// What the slices of a region hold, each without its header.
fn records_of(corner: &Corner, slices: &[Slice], header: &[u8]) -> Vec<Vec<u8>> {
    let read = |slice: &Slice| {
        let stored = corner.read(slice).unwrap();
        let mut bytes = Vec::new();
        match stored.starts_with(&[0x1f, 0x8b]) {
            true => drop(flate2::read::MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut bytes).unwrap()),
            false => bytes = stored,
        }
        bytes.strip_prefix(header).expect("every slice has the header").to_vec()
    };
    slices.iter().map(read).collect()
}

const REGIONS: [(&str, u64, u64); 5] = [
    ("chr1", 0, u64::MAX),
    ("chr1:1-300", 0, 300),
    ("chr1:301-", 300, u64::MAX),
    ("chr1:205-305", 204, 305),
    ("chr1:900000-", 899_999, u64::MAX),
];

#[test]
fn records_are_in_the_slice_they_start_in() {
    let doubled = |(header, records): (Vec<u8>, Vec<u8>)| {
        // Several records of one position, and one in front of the first base.
        let lines = records.split_inclusive(|byte| *byte == b'\n').enumerate();
        let first = b"chr1\t0\t.\tA\tC\t.\t.\t.\n".to_vec();
        let more = lines.flat_map(|(at, line)| line.repeat(1 + usize::from(at % 7 == 0) * 3)).collect::<Vec<u8>>();
        (header, [first, more].concat())
    };
    for (name, (header, records)) in
        [("x.bam", bam(3000, 10)), ("x.bam", bam(3000, 12)), ("x.vcf.gz", vcf(4000, 3)), ("y.vcf.gz", doubled(vcf(700, 4)))]
    {
        let content = [header.clone(), records.clone()].concat();
        let corner = Corner::new(name, bgzf(&content, true));
        for (region, start, end) in REGIONS {
            let wanted = starting(name, &records, "chr1", start, end);
            for partition in [1, 2, 7, 100].map(Partition::Count).into_iter().chain([
                Partition::Bytes(5000),
                Partition::Bytes(u64::MAX),
                Partition::Records(1),
                Partition::Records(64),
                Partition::Records(u64::MAX),
            ]) {
                let slices = corner.parts(region, Some(partition)).unwrap();
                let held = records_of(&corner, &slices, &header);
                assert!(held.concat() == wanted, "{name} {region} {partition:?}");
                match partition {
                    Partition::Count(count) => {
                        assert!(slices.len() as u64 <= count);
                        let cut = Cut { regions: vec![region.to_owned()], ..Cut::by(partition) };
                        assert_eq!(corner.slicer.cut(&corner.uri, &cut, &|_| {}).unwrap(), slices);
                    }
                    Partition::Records(1) if name == "x.vcf.gz" && !wanted.is_empty() => {
                        assert_eq!(slices.len(), wanted.iter().filter(|byte| **byte == b'\n').count());
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn parts_of_a_region_are_about_equally_large_and_fetch_little_more() {
    let (header, _) = vcf(0, 8);
    let records: String =
        (0..200_000_u64).map(|at| format!("chr1\t{}\t.\tA\tC\t{}\t.\t.\n", at * 50 + 7, at.wrapping_mul(at))).collect();
    let stored = bgzf(&[header.as_slice(), records.as_bytes()].concat(), true);
    let size = stored.len() as u64;
    let corner = Corner::new("large.vcf.gz", stored);
    let slices = corner.parts("chr1", Some(Partition::Count(8))).unwrap();
    let sizes: Vec<usize> = records_of(&corner, &slices, &header).iter().map(Vec::len).collect();
    let mean = sizes.iter().sum::<usize>() / 8;
    assert!(slices.len() == 8 && sizes.iter().all(|size| size.abs_diff(mean) < mean / 3), "{sizes:?}");
    let metered = corner.stores.metered();
    let slicer = Slicer::new(metered.clone(), SideCars { root: "memory://regions/none".parse().unwrap() });
    for slice in &slices {
        std::io::copy(&mut slicer.read(slice, 0).unwrap(), &mut std::io::sink()).unwrap();
    }
    assert!(metered.bytes_fetched() < size * 6 / 5, "{} of {size}", metered.bytes_fetched());
}

#[test]
fn a_contig_without_records_is_an_empty_region() {
    let header = "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=100>\n##contig=<ID=chr3,length=100>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";
    let record = "chr1\t5\t.\tA\tC\t.\t.\t.\n";
    let corner = Corner::new("contigs.vcf.gz", bgzf(format!("{header}{record}").as_bytes(), true));
    assert_eq!(corner.text("chr1").unwrap(), format!("{header}{record}"));
    for region in ["chr3", "chr3:1-20"] {
        assert_eq!(corner.text(region).unwrap(), header);
    }
    for slice in corner.parts("chr3", Some(Partition::Count(3))).unwrap() {
        assert_eq!(corner.read(&slice).unwrap(), header.as_bytes());
    }
    assert!(corner.text("chr2").unwrap_err().contains("it has: chr1, chr3"));
    let empty = Corner::new("empty.vcf.gz", bgzf(header.as_bytes(), true));
    assert_eq!(empty.text("chr1").unwrap(), header);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(200), ..ProptestConfig::default() })]

    /// Foreign tables, and foreign slices.
    #[test]
    fn damaged_tables_and_foreign_selections(
        place in any::<proptest::sample::Index>(),
        value: u8,
        packed: bool,
        of_blocks: bool,
        numbers in proptest::collection::vec(prop_oneof![0_u64..70, 0_u64..3000, any::<u64>()], 7),
    ) {
        let text = fasta(&[("a", bases(1500, 1)), ("b", bases(90, 2))], 60, "\n");
        let stored = if packed { bgzf(text.as_bytes(), true) } else { text.clone().into_bytes() };
        let corner = Corner::new(if packed { "g.fa.gz" } else { "g.fa" }, stored.clone());
        let mut slice = corner.parts("a:5-900", None).unwrap().remove(0);
        let mut tables = [fai(&text).into_bytes(), if packed { gzi(&stored) } else { Vec::new() }];
        let table = &mut tables[usize::from(of_blocks && packed)];
        let at = place.index(table.len());
        table[at] = value;
        let [table, blocks] = tables;
        corner.beside("fai", table);
        corner.beside("gzi", blocks);
        for region in ["a", "a:7-1000", "b:2-3"] {
            let _ = corner.text(region);
        }
        for (at, key) in ["bases", "line"].iter().enumerate() {
            slice.selection["sequence"][*key] = serde_json::json!([numbers[at], numbers[at + 1]]);
        }
        slice.selection["sequence"]["offset"] = numbers[4].into();
        if value % 2 == 0 {
            slice.selection["begin"] = serde_json::json!([numbers[5], numbers[6]]);
        }
        if let Ok(mut reader) = corner.slicer.read(&slice, 0) {
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        }
    }

    #[test]
    fn any_fasta_gives_its_regions(line in 1_usize..130, lengths in proptest::collection::vec(0_usize..3000, 1..6), at in 0_usize..3000, length in 0_usize..3000) {
        let names = ["a", "b", "c", "d", "e"];
        let genome: Vec<(&str, String)> = names.iter().zip(&lengths).map(|(name, length)| (*name, bases(*length, *length as u64))).collect();
        let corner = Corner::new("g.fa", fasta(&genome, line, "\n").into_bytes());
        for (name, sequence) in &genome {
            let region = format!("{name}:{}-{}", at + 1, at + 1 + length);
            let wanted = &sequence[at.min(sequence.len())..(at + 1 + length).min(sequence.len())];
            prop_assert_eq!(corner.text(&region).unwrap(), printed(&region, wanted));
        }
    }
}

#[test]
fn a_slice_that_follows_another_does_not_fetch_the_header() {
    let (header, records) = vcf(60_000, 9);
    let long = [header.strip_suffix(b"\n").unwrap(), b"\n", "##note=".as_bytes(), &b"n".repeat(300_000), b"\n"].concat();
    let long = long.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
    let (titles, notes) = (long[long.len() - 2], long[long.len() - 1]);
    let header = [long[..long.len() - 2].concat(), notes.to_vec(), titles.to_vec()].concat();
    let corner = Corner::new("h.vcf", [header.clone(), records].concat());
    let slices = corner.slicer.slices(&corner.uri, Partition::Count(20)).unwrap();
    let fetched = |with_header: bool| {
        let metered = corner.stores.metered();
        let reader = Slicer::new(metered.clone(), SideCars { root: corner.uri.clone() }).read(&slices[9], 0).unwrap();
        let mut reader = if with_header { reader } else { reader.without_header() };
        let length = std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        (length, metered.bytes_fetched())
    };
    let (whole, bare) = (fetched(true), fetched(false));
    assert_eq!(whole.0 - bare.0, header.len() as u64);
    assert_eq!(whole.1 - bare.1, header.len() as u64);
}
