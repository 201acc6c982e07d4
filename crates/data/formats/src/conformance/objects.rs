//! Objects that find mistakes, made up from a seed.

use std::io::Write;

use bytes::Bytes;
use flate2::write::DeflateEncoder;
use flate2::{Compression as Level, GzBuilder};

/// An object as it is stored, and what it holds.
#[derive(Clone, Debug)]
pub struct AwkwardObject {
    /// Its name; the ending tells the format where content cannot.
    pub name: String,
    /// Its bytes.
    pub stored: Bytes,
    /// Its uncompressed bytes.
    pub content: Vec<u8>,
    /// How many of them, at the start, are a header that belongs to no record.
    pub header: usize,
}

/// A small, good enough source of numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }
}

/// FASTQ with `records` reads of uneven lengths, some empty, some with qualities that look like other lines.
pub fn fastq(records: u64, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut out = Vec::new();
    for record in 0..records {
        let length = if dice.roll(10) == 0 { dice.roll(3) } else { 20 + dice.roll(180) };
        out.extend_from_slice(format!("@SEED{seed}:{record} {}\n", dice.roll(1 << 40)).as_bytes());
        out.extend((0..length).map(|_| b"ACGTN"[dice.roll(5) as usize]));
        out.extend_from_slice(if dice.roll(4) == 0 { b"\n+again\n" } else { b"\n+\n" });
        out.extend((0..length).map(|_| b"@+>FI#!~"[dice.roll(8) as usize]));
        out.push(b'\n');
    }
    out
}

/// FASTA with `records` sequences, from empty to a few kilobases.
pub fn fasta(records: u64, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut out = Vec::new();
    for record in 0..records {
        out.extend_from_slice(format!(">chr{record} len>{}\n", dice.roll(100)).as_bytes());
        for _ in 0..dice.roll(60) {
            out.extend((0..60).map(|_| b"acgtN"[dice.roll(5) as usize]));
            out.push(b'\n');
        }
    }
    out
}

/// Text lines of uneven lengths, some empty.
pub fn lines(records: u64, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut out = Vec::new();
    for record in 0..records {
        let length = if dice.roll(5) == 0 { 0 } else { dice.roll(120) };
        out.extend((0..length).map(|_| b"abcdefgh ,;\xc3"[dice.roll(12) as usize]));
        out.extend_from_slice(format!("{record}\n").as_bytes());
    }
    out
}

/// Small texts of every format that have broken slicers before: with their names.
pub fn awkward_texts() -> Vec<(String, Vec<u8>)> {
    let crlf = |text: Vec<u8>| String::from_utf8_lossy(&text).replace('\n', "\r\n").into_bytes();
    let cut = |mut text: Vec<u8>| {
        while text.last() == Some(&b'\n') {
            text.pop();
        }
        text
    };
    let texts: Vec<(&str, Vec<u8>)> = vec![
        ("empty.fastq", vec![]),
        ("empty.fa", vec![]),
        ("empty.txt", vec![]),
        ("empty", vec![]),
        ("one-byte.txt", b"x".to_vec()),
        ("one-line-feed.txt", b"\n".to_vec()),
        ("line-feeds.txt", b"\n\n\n".to_vec()),
        ("one-read.fastq", b"@a\nACGT\n+\nIIII\n".to_vec()),
        ("one-read-no-end.fastq", b"@a\nACGT\n+\nIIII".to_vec()),
        ("empty-reads.fastq", b"@a\n\n+\n\n@b\n\n+\n\n".to_vec()),
        ("empty-read-no-end.fastq", b"@a\n\n+\n".to_vec()),
        ("blank-end.fastq", b"@a\nA\n+\nI\n@b\nC\n+\n@\n\n\r\n\n".to_vec()),
        ("qualities-like-names.fastq", b"@a\nAC\n+\n@+\n@b\nAC\n+\n+@\n".to_vec()),
        ("crlf.fastq", crlf(fastq(300, 3))),
        ("crlf-no-end.fastq", cut(crlf(fastq(300, 4)))),
        ("no-end.fastq", b"@a\nACGT\n+\nIIII\n@b\nACG\n+\nIII".to_vec()),
        ("one.fa", b">a".to_vec()),
        ("blank-first.fa", b"\n\r\n>a x\nAC\n>b\n\n".to_vec()),
        ("empty-sequences.fa", b">a\n>b\n>c".to_vec()),
        ("greater-inside.fa", b">a > b\nAC\n>b>c\nA>C\n".to_vec()),
        ("crlf.fa", crlf(fasta(40, 5))),
        ("one-line.fa", [b">chr1\n".to_vec(), b"ACGTN".repeat(60_000), b"\n>chr2\n".to_vec(), b"AC".repeat(40_000)].concat()),
        ("quoted.csv", b"a,b\n1,\"x\ny\"\n\"\"\"\n\",2\n3,4".to_vec()),
        ("rows.csv", b"h1,h2\r\n1,2\r\n3,\"4\r\n5\"\r\n".to_vec()),
        ("long-line.txt", [vec![b'x'; 300_000], b"\nshort\n".to_vec(), vec![b'y'; 100_000]].concat()),
    ];
    texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// VCF with `records` variants of uneven lengths: header, records.
pub fn vcf(records: u64, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut dice = Dice(seed);
    let mut header = b"##fileformat=VCFv4.3\n".to_vec();
    for line in 0..dice.roll(40) {
        header.extend_from_slice(format!("##contig=<ID=chr{line},length={}>\n", dice.roll(1 << 28)).as_bytes());
    }
    header.extend_from_slice(b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n");
    let mut out = Vec::new();
    for record in 0..records {
        let reference = "A".repeat(1 + dice.roll(30) as usize);
        let note = "x".repeat(dice.roll(80) as usize);
        out.extend_from_slice(format!("chr1\t{}\t.\t{reference}\tC\t{}\t.\tN={note}\n", record + 1, dice.roll(99)).as_bytes());
    }
    (header, out)
}

/// What a BAM file holds inside its BGZF, with `records` reads of uneven lengths, sorted by position: header, records.
pub fn bam(records: u64, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut dice = Dice(seed);
    let text = "@HD\tVN:1.6\n".repeat(dice.roll(30) as usize);
    let references = dice.roll(20);
    let mut header = b"BAM\x01".to_vec();
    header.extend_from_slice(&(text.len() as u32).to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header.extend_from_slice(&(references as u32).to_le_bytes());
    for number in 0..references {
        let name = format!("chr{number}\0");
        header.extend_from_slice(&(name.len() as u32).to_le_bytes());
        header.extend_from_slice(name.as_bytes());
        header.extend_from_slice(&(dice.roll(1 << 28) as u32).to_le_bytes());
    }
    let mut out = Vec::new();
    for record in 0..records {
        let (name, bases) = (format!("r{record}\0"), dice.roll(300) as usize);
        // Spread over the references in order; without any, and the last tenth of all, unmapped.
        let mapped = references > 0 && record < records - records / 10 && bases > 0;
        let (reference, position) = if mapped { ((record * references / records) as i32, (record * 9) as i32) } else { (-1, -1) };
        let mut body = [reference.to_le_bytes(), position.to_le_bytes()].concat();
        body.extend_from_slice(&[name.len() as u8, 0]);
        let (operations, flag) = if mapped { (1_u16, 0_u16) } else { (0, 4) };
        body.extend_from_slice(&[4680_u16.to_le_bytes(), operations.to_le_bytes(), flag.to_le_bytes()].concat());
        body.extend_from_slice(&(bases as u32).to_le_bytes());
        body.extend_from_slice(&[(-1_i32).to_le_bytes(), (-1_i32).to_le_bytes(), 0_i32.to_le_bytes()].concat());
        body.extend_from_slice(name.as_bytes());
        if mapped {
            body.extend_from_slice(&((bases as u32) << 4).to_le_bytes());
        }
        body.extend((0..bases.div_ceil(2)).map(|_| dice.roll(256) as u8));
        body.extend((0..bases).map(|_| dice.roll(40) as u8));
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&body);
    }
    (header, out)
}

/// A content whose first bytes are a header, stored in every way it may be met.
pub fn headed(name: &str, (mut header, records): (Vec<u8>, Vec<u8>)) -> Vec<AwkwardObject> {
    let length = header.len();
    header.extend_from_slice(&records);
    encodings(name, &header).into_iter().map(|object| AwkwardObject { header: length, ..object }).collect()
}

/// One content without a header, stored in every way it may be met.
pub fn encodings(name: &str, content: &[u8]) -> Vec<AwkwardObject> {
    let thirds = content.len().div_ceil(3).max(1);
    let with_zeros = [gzip(content, 6), vec![0; 700]].concat();
    let members: Vec<u8> = content.chunks(thirds).flat_map(|part| gzip(part, 6)).collect();
    let empty_between: Vec<u8> =
        content.chunks(thirds).flat_map(|part| [gzip(b"", 6), gzip(part, 1), gzip(b"", 9)].concat()).collect();
    let small_members: Vec<u8> = content.chunks(900).flat_map(|part| gzip(part, 6)).collect();
    let mut ways = vec![
        ("plain", String::new(), content.to_vec()),
        ("members", ".gz".into(), if content.is_empty() { gzip(b"", 6) } else { members }),
        ("empty-members", ".gz".into(), if content.is_empty() { gzip(b"", 0) } else { empty_between }),
        ("small-members", ".gz".into(), if content.is_empty() { gzip(b"", 1) } else { small_members }),
        ("zeros-behind", ".gz".into(), with_zeros),
        ("flushed", ".gz".into(), flushed(content)),
        ("full-header", ".gz".into(), full_header(content)),
        ("bgzf", ".gz".into(), bgzf(content, true)),
        ("bgzf-without-end", ".gz".into(), if content.is_empty() { bgzf(content, true) } else { bgzf(content, false) }),
        ("bgzf-then-gzip", ".gz".into(), [bgzf(content, true), gzip(b"", 6)].concat()),
    ];
    ways.extend((0..=9).map(|level| ("level", format!(".{level}.gz"), gzip(content, level))));
    let frames = |length: usize| content.chunks(length).flat_map(|part| zstd_frame(part, true)).collect::<Vec<u8>>();
    ways.extend([
        ("one-frame", ".zst".into(), zstd_frame(content, true)),
        ("frame-of-unknown-size", ".zst".into(), zstd_frame(content, false)),
        ("frames", ".zst".into(), if content.is_empty() { zstd_frame(b"", true) } else { frames(thirds) }),
        ("small-frames", ".zst".into(), if content.is_empty() { zstd_frame(b"", false) } else { frames(3000) }),
        ("skippable-frames", ".zst".into(), skippable_frames(content, thirds)),
    ]);
    ways.into_iter()
        .map(|(way, ending, stored)| {
            // `.0.gz` to `.9.gz` stand before the format's ending, which must stay the last but the compression's.
            let (prefix, ending) = match ending.strip_suffix(".gz") {
                Some(prefix) => (prefix, ".gz"),
                None => ("", ending.as_str()),
            };
            let content = content.to_vec();
            AwkwardObject { name: format!("{way}{prefix}-{name}{ending}"), stored: stored.into(), content, header: 0 }
        })
        .collect()
}

/// One gzip member.
pub fn gzip(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Level::new(level));
    // Writing to memory does not fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}

/// One Zstandard frame with a checksum, whose header says the size of its content or does not.
pub fn zstd_frame(content: &[u8], sized: bool) -> Vec<u8> {
    // Writing to memory does not fail.
    let Ok(mut encoder) = zstd::stream::write::Encoder::new(Vec::new(), 3) else { return Vec::new() };
    let _ = encoder.include_checksum(true);
    let _ = encoder.set_pledged_src_size(sized.then_some(content.len() as u64));
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}

/// As `pzstd` writes it: skippable frames before the others; and some that are empty or stand at the end.
fn skippable_frames(content: &[u8], length: usize) -> Vec<u8> {
    let skippable = |kind: u8, length: usize| {
        let head = [[0x50 + kind, 0x2a, 0x4d, 0x18], (length as u32).to_le_bytes()].concat();
        head.into_iter().chain((0..length).map(|at| at as u8)).collect::<Vec<u8>>()
    };
    let frame = |(at, part): (usize, &[u8])| {
        [skippable(at as u8 % 16, 4), zstd_frame(b"", false), zstd_frame(part, at % 2 == 0), skippable(1, at * 700)].concat()
    };
    let frames: Vec<u8> = content.chunks(length).enumerate().flat_map(frame).collect();
    [skippable(15, 0), zstd_frame(b"", true), frames, skippable(0, 10)].concat()
}

/// As `pigz` writes it: one member of independent stretches, each ended by an empty stored block.
fn flushed(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Level::new(6));
    for part in content.chunks(5_000) {
        let _ = encoder.write_all(part);
        let _ = encoder.flush();
    }
    encoder.finish().unwrap_or_default()
}

/// A member whose header carries everything a header may.
fn full_header(content: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new().filename("reads").comment("a comment").extra(b"XY\x03\0abc".to_vec()).mtime(1);
    let mut encoder = builder.write(Vec::new(), Level::new(6));
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}

/// BGZF, with or without the block that marks the end of a file.
pub fn bgzf(content: &[u8], end_marked: bool) -> Vec<u8> {
    let blocks = content.chunks(0xff00).flat_map(bgzf_block);
    if end_marked { blocks.chain(bgzf_block(b"")).collect() } else { blocks.collect() }
}

fn bgzf_block(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Level::new(6));
    let _ = encoder.write_all(content);
    let deflated = encoder.finish().unwrap_or_default();
    let mut block = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0];
    block.extend_from_slice(&((deflated.len() + 25) as u16).to_le_bytes());
    block.extend_from_slice(&deflated);
    block.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    block.extend_from_slice(&(content.len() as u32).to_le_bytes());
    block
}
