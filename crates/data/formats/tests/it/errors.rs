//! Bad input: every error names the object, the place and the remedy; nothing is written.

use neardata_core::{MemoryObject, ObjectUri, Slice};
use neardata_formats::conformance::{bam, bgzf, fastq, gzip, zstd_frame};
use neardata_formats::{ArrowOptions, Compression, Cut, Format, FormatError, Partition, SideCars, Slicer, detect};
use neardata_store::{StoreOptions, Stores};

/// A store and a slicer of one test: the memory store is one for the whole process.
struct Bench {
    stores: Stores,
    slicer: Slicer,
    root: ObjectUri,
}

fn bench(test: &str) -> Bench {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = format!("memory://errors/{test}").parse().unwrap();
    let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("side-cars") });
    Bench { stores, slicer, root }
}

impl Bench {
    fn put(&self, name: &str, bytes: impl Into<bytes::Bytes>) -> ObjectUri {
        let uri = self.root.join(name);
        self.stores.put(&uri, bytes.into()).unwrap();
        uri
    }

    /// The error of indexing these bytes; checks that it names the object and that no side-car was left.
    fn refuses(&self, name: &str, bytes: impl Into<bytes::Bytes>) -> String {
        let uri = self.put(name, bytes);
        let error = self.slicer.index(&uri, &|_| {}).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert!(self.stores.list(&self.root.join("side-cars")).unwrap().is_empty());
        error
    }
}

#[track_caller]
fn says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "`{word}` is missing in: {error}");
    }
}

#[test]
fn damaged_gzip() {
    let bench = bench("damaged_gzip");
    let whole = gzip(&fastq(2000, 1), 6);
    let cut = whole.len() / 2;
    says(&bench.refuses("cut.fastq.gz", whole[..cut].to_vec()), &["truncated gzip", &format!("byte {cut}"), "copy it again"]);
    says(&bench.refuses("trailer.fastq.gz", whole[..whole.len() - 3].to_vec()), &["truncated gzip"]);
    says(&bench.refuses("head.fastq.gz", whole[..6].to_vec()), &["truncated gzip", "byte 6"]);
    let garbage = [whole.as_slice(), b"garbage"].concat();
    says(&bench.refuses("garbage.fastq.gz", garbage), &["garbage", &format!("byte {}", whole.len()), "head -c"]);
    let late = [whole.as_slice(), &[0; 100], b"x"].concat();
    says(&bench.refuses("late.fastq.gz", late), &["garbage", &format!("byte {}", whole.len())]);
    let mut checksum = whole.clone();
    let place = checksum.len() - 8;
    checksum[place] ^= 1;
    says(&bench.refuses("crc.fastq.gz", checksum), &["checksum", &format!("byte {place}"), "gzip -t"]);
    let mut length = whole.clone();
    let place = length.len() - 1;
    length[place] ^= 1;
    says(&bench.refuses("length.fastq.gz", length), &["length of the member"]);
}

#[test]
fn records_that_damaged_gzip_spoiled_are_not_blamed() {
    let bench = bench("records_that_damaged_gzip_spoiled_are_not_blamed");
    let content = fastq(20_000, 7);
    // Stored blocks: what is flipped is content and nothing but the checksum tells.
    let stored = gzip(&content, 0);
    let middle = stored.len() / 2;
    let place = middle + first_of(b"\n+\n", &stored[middle..]) + 1;
    let mut flipped = stored;
    flipped[place] ^= 0x20;
    let error = bench.refuses("stored.fastq.gz", flipped);
    says(&error, &["corrupt gzip near byte", "checksum", "make no sense at line", "gzip -t", "copy it again"]);
    let near: usize = error.split("near byte ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
    assert!((place..place + 200_000).contains(&near), "{place}: {error}");
    // Any bit of a compressed member.
    let whole = gzip(&content, 6);
    for place in (20..whole.len() - 8).step_by(whole.len() / 60) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        let error = bench.refuses("flipped.fastq.gz", flipped);
        assert!(error.contains("corrupt gzip") || error.contains("truncated gzip"), "{place}: {error}");
    }
    // Sound gzip: the record is to blame; and where the member's end is far away, either may be.
    let mut far = b"@x\nACG\n+\nII\n".to_vec();
    says(&bench.refuses("sound.fastq.gz", gzip(&far, 6)), &["malformed FASTQ at line 4"]);
    far.extend(b"@r\nACGTACGT\n+\nIIIIIIII\n".repeat((70 << 20) / 24));
    says(&bench.refuses("far.fastq.gz", gzip(&far, 1)), &["malformed FASTQ at line 4", "gzip -t"]);
}

/// Where `wanted` begins first.
fn first_of(wanted: &[u8], bytes: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

#[test]
fn damaged_bgzf() {
    let bench = bench("damaged_bgzf");
    let whole = bgzf(&fastq(2000, 1), true);
    says(&bench.refuses("cut.fastq.gz", whole[..whole.len() - 40].to_vec()), &["truncated BGZF block", "copy it again"]);
    let mut flipped = whole.clone();
    flipped[5000] ^= 4;
    says(&bench.refuses("flip.fastq.gz", flipped), &["corrupt gzip near byte 0", "BGZF block"]);
    says(&bench.refuses("garbage.fastq.gz", [whole.as_slice(), b"garbage of some length"].concat()), &["garbage", "head -c"]);
}

#[test]
fn damaged_zstandard() {
    let bench = bench("damaged_zstandard");
    let content = fastq(2000, 1);
    let whole = zstd_frame(&content, true);
    for cut in [whole.len() / 2, whole.len() - 1, 10, 5] {
        let error = bench.refuses("cut.fastq.zst", whole[..cut].to_vec());
        says(&error, &["truncated Zstandard frame", &format!("byte {cut}"), "copy it again"]);
    }
    says(
        &bench.refuses("garbage.fastq.zst", [&whole, b"garbage".as_slice()].concat()),
        &["garbage after the Zstandard frame", &format!("byte {}", whole.len()), "head -c"],
    );
    says(&bench.refuses("zeros.fastq.zst", [&whole, [0; 9].as_slice()].concat()), &["garbage", &format!("byte {}", whole.len())]);
    let half_skipped = [&whole, [0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1].as_slice()].concat();
    says(&bench.refuses("skip.fastq.zst", half_skipped), &["truncated Zstandard frame", &format!("byte {}", whole.len() + 9)]);
    let mut checksum = whole.clone();
    let place = checksum.len() - 2;
    checksum[place] ^= 1;
    says(&bench.refuses("sum.fastq.zst", checksum), &["corrupt Zstandard near byte", "checksum", "zstd -t"]);
    // Raw blocks: what is flipped is content, and only the checksum at the frame's end tells.
    let mut state = 1_u64;
    let mut roll = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let mut noise: Vec<u8> = (0..400_000).map(|_| roll()).filter(|byte| !b"\r\n".contains(byte)).collect();
    noise.splice(0..0, *b"@a\nA\n+\nI\n@b\nAC\n+\nI\n@c\n");
    says(&bench.refuses("sound.fastq.zst", zstd_frame(&noise, true)), &["malformed FASTQ at line 8"]);
    let mut flipped = zstd_frame(&noise, true);
    let place = flipped.len() - 40;
    flipped[place] ^= 1;
    says(&bench.refuses("flipped.fastq.zst", flipped), &["corrupt Zstandard", "make no sense at line 8", "zstd -t"]);
    let window = |descriptor: u8| [b"\x28\xb5\x2f\xfd\0".as_slice(), &[descriptor], b"\x01\0\0"].concat();
    says(&bench.refuses("w.txt.zst", window(18 << 3)), &["Zstandard with a window of 256 MiB at byte 0", "--long=31", "pzstd"]);
    let huge = [b"\x28\xb5\x2f\xfd\xe0".as_slice(), &u64::MAX.to_le_bytes(), b"\x01\0\0"].concat();
    says(&bench.refuses("h.txt.zst", huge), &["window of 17592186044416 MiB"]);
    says(&bench.refuses("d.txt.zst", b"\x28\xb5\x2f\xfd\x01\0\x07\x01\0\0".to_vec()), &["dictionary", "-D DICTIONARY"]);
    // As large a window as is allowed.
    bench.slicer.index(&bench.put("w.txt.zst", window(17 << 3)), &|_| {}).unwrap();
}

#[test]
fn one_zstandard_frame_is_one_slice_and_says_so() {
    let bench = bench("one_zstandard_frame_is_one_slice_and_says_so");
    let content = fastq(2000, 1);
    let one = bench.put("one.fastq.zst", zstd_frame(&content, true));
    let summary = bench.slicer.index(&one, &|_| {}).unwrap();
    assert_eq!((summary.compression, summary.checkpoints, summary.most_slices), (Compression::Zstd, 1, Some(1)));
    says(&summary.note.unwrap(), &["one frame", "one slice", "zstd -dc FILE | bgzip > FILE.gz", "pzstd"]);
    says(&bench.slicer.inspect(&one).unwrap().indexed.unwrap().note.unwrap(), &["one slice"]);
    for partition in [Partition::Count(8), Partition::Bytes(1000), Partition::Records(10)] {
        assert_eq!(bench.slicer.slices(&one, partition).unwrap().len(), 1);
    }
    let many: Vec<u8> = content.chunks(100_000).flat_map(|part| zstd_frame(part, false)).collect();
    let many = bench.put("many.fastq.zst", many);
    let summary = bench.slicer.index(&many, &|_| {}).unwrap();
    let frames = content.len().div_ceil(100_000) as u64;
    assert_eq!((summary.checkpoints, summary.most_slices, summary.note), (frames, Some(frames), None));
    assert_eq!(bench.slicer.slices(&many, Partition::Count(100)).unwrap().len() as u64, frames);
    // A slice decodes from the frame that holds its first record, and no farther than the one that holds its last.
    let size = bench.stores.head(&many).unwrap().size;
    for (at, slice) in bench.slicer.slices(&many, Partition::Count(frames)).unwrap().iter().enumerate() {
        let metered = bench.stores.metered();
        let slicer = Slicer::new(metered.clone(), SideCars { root: bench.root.join("side-cars") });
        std::io::copy(&mut slicer.read(slice, 0).unwrap(), &mut std::io::sink()).unwrap();
        assert!(metered.bytes_fetched() < size / frames * 9 / 4, "{at}: {} of {size}", metered.bytes_fetched());
    }
}

#[test]
fn malformed_fastq() {
    let bench = bench("malformed_fastq");
    says(&bench.refuses("a.fastq", "@a\nAC\n+\nII\nb\nAC\n+\nII\n"), &["malformed FASTQ at line 5", "`@`", "`b`"]);
    says(&bench.refuses("b.fastq", "@a\nAC\n+\nII\n@b\nAC\nAC\n+\nIIII\n"), &["line 7", "`+`", "unwrapped"]);
    says(&bench.refuses("c.fastq", "@a\nACG\n+\nII\n"), &["line 4", "3 bases but 2 qualities"]);
    says(&bench.refuses("d.fastq", "@a\nAC\r\n+\nIIJ\n"), &["line 4", "2 bases but 3 qualities"]);
    says(&bench.refuses("e.fastq", "@a\nAC\n+\nII\n@b\nAC\n"), &["line 7", "ends inside a record"]);
    says(&bench.refuses("f.fastq", "@a\nAC\n+\nII\n\n@b\nAC\n+\nII\n"), &["line 6", "empty line"]);
    says(&bench.refuses("g.fastq", "\n"), &["line 1"]);
    let mut late = fastq(5000, 2);
    late.extend_from_slice(b"@x\nACG\n+\nII\n");
    says(&bench.refuses("h.fastq.gz", gzip(&late, 6)), &["line 20004", "3 bases but 2"]);
}

#[test]
fn malformed_fasta_and_csv() {
    let bench = bench("malformed_fasta_and_csv");
    says(&bench.refuses("b.fa", "AC\n>a\n"), &["malformed FASTA at line 1", "`A`"]);
    says(&bench.refuses("c.fa", "\n\n"), &["no record"]);
    says(&bench.refuses("d.csv", "a,b\n\"x,1\n2,3\n"), &["malformed CSV at line 2", "never closed"]);
}

#[test]
fn malformed_alignments_and_variants() {
    let bench = bench("malformed_alignments_and_variants");
    let whole = |(mut header, records): (Vec<u8>, Vec<u8>)| {
        header.extend_from_slice(&records);
        header
    };
    let good = whole(bam(40, 1));
    says(&bench.refuses("cut.bam", bgzf(&good[..good.len() - 5], true)), &["cut.bam", "malformed BAM in record 40", "cut short"]);
    says(&bench.refuses("header.bam", bgzf(b"BAM\x01\x09\0\0\0@HD", true)), &["malformed BAM header", "cut short"]);
    let mut impossible = good.clone();
    let first = bam(40, 1).0.len();
    impossible[first..first + 4].copy_from_slice(&5_u32.to_le_bytes());
    says(&bench.refuses("length.bam", bgzf(&impossible, true)), &["malformed BAM in record 1", "impossible length"]);
    says(&bench.refuses("bad.vcf", "##fileformat=VXF\n"), &["malformed VCF at line 1", "##fileformat=VCF"]);
    let regions = |name: &str, bytes: Vec<u8>, region: &str| {
        let uri = bench.put(name, bytes);
        bench.slicer.region_slices(&uri, &[region], &|_| {}).unwrap_err().to_string()
    };
    let variants = |rows: &str| bgzf(format!("##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\n{rows}").as_bytes(), true);
    says(&regions("x.vcf.gz", variants("1\tnine\t.\tA\tC\n"), "1"), &["x.vcf.gz", "record 1", "CHROM, POS and REF"]);
    says(&regions("u.vcf.gz", variants("1\t9\t.\tA\tC\n1\t8\t.\tA\tC\n"), "1"), &["record 2", "bcftools sort"]);
    says(&regions("p.vcf", b"##fileformat=VCFv4.3\n".to_vec(), "1"), &["regions need", "plain", "bcftools sort"]);
    says(&regions("r.vcf.gz", variants("1\t9\t.\tA\tC\n"), "2:5"), &["no reference `2`", "it has: 1"]);
    says(&regions("s.vcf.gz", variants("1\t9\t.\tA\tC\n"), "1:5-x"), &["`1:5-x` is no region"]);
}

#[test]
fn unknown_formats() {
    let name = |name: &str, bytes: &[u8]| detect(&MemoryObject::new(name, bytes.to_vec())).unwrap_err().to_string();
    says(&name("x.fastq.bz2", b"BZh91AY&SY"), &["bzip2"]);
    says(&name("x.cram", b"CRAM\x03\0"), &["CRAM"]);
    says(&name("x", b"\0\x01\x02\x03"), &["binary data", "00 01 02 03"]);
    for ending in ["parquet", "TIF", "las", "laz", "cram", "imzML", "arrow", "feather", "bam", "bcf"] {
        let page = name(&format!("lab/x.{ending}"), b"<html>\n<h1>Not found</h1>\n");
        says(&page, &["is called .", "begins with the text `<html>`", "error message saved in its place"]);
    }
}

#[test]
fn formats_told_by_name_and_content() {
    let format = |name: &str, bytes: &[u8]| detect(&MemoryObject::new(name, bytes.to_vec())).unwrap().format;
    // Outside the web `#` and `?` are characters of names.
    assert_eq!(format("ce#1.csv", b"a,b\n1,2\n"), Format::Csv);
    assert_eq!(format("what?.tsv.gz", &gzip(b"a\tb\n1\t2\n", 6)), Format::Tsv);
    assert_eq!(format("https://lab/t.csv?token=a.txt#b", b"a,b\n1,2\n"), Format::Csv);
    assert_eq!(format("https://lab/t?name=t.csv", b"a,b\n1,2\n"), Format::Text);
    let variants = b"##fileformat=VCFv4.2\n#CHROM\tPOS\n1\t2\n";
    assert_eq!(format("calls.csv", variants), Format::Vcf);
    assert_eq!(format("calls.txt", variants), Format::Text, "called .txt it is cut by lines");
}

#[test]
fn a_format_can_be_given() {
    let bench = bench("a_format_can_be_given");
    let uri = bench.put("part-00000", "a,b\n1,\"x\ny\"\n2,z\n");
    let cut = |format: &str| {
        let cut = Cut { format: Some(format.into()), ..Cut::by(Partition::Records(1)) };
        bench.slicer.cut(&uri, &cut, &|_| {})
    };
    let sizes = |slices: Vec<Slice>| {
        let size = |slice: &Slice| std::io::copy(&mut bench.slicer.read(slice, 0).unwrap(), &mut std::io::sink()).unwrap();
        slices.iter().map(size).collect::<Vec<_>>()
    };
    let told = bench.slicer.cut(&uri, &Cut::by(Partition::Records(1)), &|_| {}).unwrap();
    assert_eq!(told[0].format, "text");
    assert_eq!(sizes(told), [4, 5, 3, 4]);
    let given = cut("csv").unwrap();
    assert_eq!(given[0].format, "csv");
    assert_eq!(sizes(given), [4, 8, 4], "the index made for lines is not taken for one of rows");
    assert_eq!(sizes(cut("text").unwrap()), [4, 5, 3, 4]);
    says(&cut("csw").unwrap_err().to_string(), &["no format `csw`", "`csv`", "`parquet`"]);
    says(&cut("parquet").unwrap_err().to_string(), &["part-00000", "does not begin as parquet does"]);
}

#[test]
fn a_bgzf_object_cut_between_blocks_is_told() {
    let bench = bench("a_bgzf_object_cut_between_blocks_is_told");
    let whole = bgzf(&fastq(5000, 1), true);
    let note = |name: &str, bytes: &[u8]| bench.slicer.index(&bench.put(name, bytes.to_vec()), &|_| {}).unwrap().note;
    assert_eq!(note("whole.fastq.gz", &whole), None);
    let cut = note("cut.fastq.gz", &bgzf(&fastq(5000, 1), false)).unwrap();
    says(&cut, &["without its end-of-file block", "cut short"]);
    assert_eq!(note("cut.fastq.gz", &bgzf(&fastq(5000, 1), false)), Some(cut), "from the index too");
}

#[test]
fn options_that_do_nothing_are_refused() {
    let bench = bench("options_that_do_nothing_are_refused");
    let arrow = |name: &str, content: &str, options: ArrowOptions| {
        let uri = bench.put(name, content.as_bytes().to_vec());
        let slice = bench.slicer.cut(&uri, &Cut::by(Partition::Count(1)), &|_| {}).unwrap().remove(0);
        bench.slicer.arrow_with(&slice, &options).map(drop).map_err(|error| error.to_string())
    };
    let separated = || ArrowOptions { separator: Some(b';'), ..ArrowOptions::default() };
    let unheaded = || ArrowOptions { header_row: false, ..ArrowOptions::default() };
    arrow("a.csv", "a;b\n1;2\n", separated()).unwrap();
    arrow("a.csv", "a;b\n1;2\n", unheaded()).unwrap();
    says(&arrow("a.jsonl", "{\"a\":1}\n", separated()).unwrap_err(), &["JSON Lines", "`separator`", "`schema`"]);
    says(&arrow("a.fa", ">a\nAC\n", unheaded()).unwrap_err(), &["FASTA", "`header_row`", "`columns`"]);
}

#[test]
fn mates_that_do_not_pair() {
    let bench = bench("mates_that_do_not_pair");
    let (one, two) = (bench.put("1.fastq", fastq(10, 1)), bench.put("2.fastq.gz", gzip(&fastq(11, 1), 6)));
    let error = bench.slicer.paired_slices(&one, &two, Partition::Count(2)).unwrap_err().to_string();
    says(&error, &["1.fastq holds 10 reads", "2.fastq.gz holds 11", "pair"]);
    let fasta = bench.put("2.fa", ">a\nAC\n");
    says(&bench.slicer.paired_slices(&one, &fasta, Partition::Count(2)).unwrap_err().to_string(), &["fastq", "fasta"]);
    let odd = bench.slicer.grouped_slices(&bench.put("3.fastq", fastq(11, 1)), Partition::Count(2), 2);
    says(&odd.unwrap_err().to_string(), &["11 records", "groups of 2", "interleaved"]);
    let zero = bench.slicer.slices(&one, Partition::Count(0)).unwrap_err();
    assert!(matches!(zero, FormatError::Partition(_)), "{zero}");
}

#[test]
fn interleaved_mates_stay_together() {
    let bench = bench("interleaved_mates_stay_together");
    let uri = bench.put("interleaved.fastq.gz", gzip(&fastq(2000, 5), 6));
    let slices = bench.slicer.grouped_slices(&uri, Partition::Count(7), 2).unwrap();
    assert_eq!(slices.len(), 7);
    for slice in slices {
        let selection: neardata_formats::Selection = slice.selection_as().unwrap();
        assert_eq!(selection.stretches[0].records.map(|record| record % 2), [0, 0]);
    }
}
