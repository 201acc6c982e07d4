//! Indexing in parts, by threads and by calls, gives the very side-car that one pass gives.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use neardata_core::{ByteRange, MemoryObject, ObjectRef, ObjectUri, Pin, RangedRead, ReadError};
use neardata_formats::conformance::{
    AwkwardObject, Suite, awkward_texts, bam, bgzf, encodings, fasta, fastq, gzip, headed, lines, vcf,
};
use neardata_formats::{
    Compression, IndexOptions, IndexPart, Parallel, Partition, SideCars, Slicer, build_index, build_index_parallel, detect,
};
use neardata_store::{StoreOptions, Stores};
use proptest::prelude::*;

use crate::law::cases;

const OPTIONS: IndexOptions = IndexOptions { span: 40_000, point_span: 700 };

fn lab(corner: &str, point_span: u64) -> (Stores, Slicer, ObjectUri) {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = format!("memory://parallel/{corner}").parse().unwrap();
    let options = IndexOptions { point_span, ..OPTIONS };
    let side_cars = SideCars { root: root.join("cars") };
    // One thread where nothing else is asked for: the oracle.
    let one = Parallel { threads: 1, ..Parallel::default() };
    (stores.clone(), Slicer::new(stores, side_cars).with_options(options).with_parallel(one), root)
}

/// Side-car of one pass and of parts on threads; or the errors.
fn both(object: &AwkwardObject, options: IndexOptions, part: u64, threads: usize) -> [Result<Vec<u8>, String>; 2] {
    let reader = MemoryObject::new(object.name.clone(), object.stored.clone());
    let uri = format!("memory://both/{}", object.name).parse().unwrap();
    let source = ObjectRef { uri, store: None, pin: Pin::Etag("\"1\"".into()), size: object.stored.len() as u64 };
    let detected = match detect(&reader) {
        Ok(detected) => detected,
        Err(error) => return [Err(error.to_string()), Err(error.to_string())],
    };
    let parallel = Parallel { threads, part, above: 0 };
    let one = build_index(&reader, &source, detected, options, &|_| {});
    let many = build_index_parallel(&reader, &source, detected, options, parallel, &|_| {});
    [one, many].map(|built| built.map_err(|error| error.to_string()).map(|mut built| built.to_vec().unwrap()))
}

fn same(object: &AwkwardObject, options: IndexOptions, part: u64) {
    let [one, many] = both(object, options, part, 3);
    let differ = match (&one, &many) {
        (Ok(one), Ok(many)) => one.iter().zip(many).position(|(a, b)| a != b),
        _ => None,
    };
    assert!(
        one == many,
        "{} in parts of {part}, {options:?}: differ at {differ:?}: {:?} {:?}",
        object.name,
        one.err(),
        many.err()
    );
}

fn plain(name: &str, content: Vec<u8>) -> AwkwardObject {
    AwkwardObject { name: name.into(), stored: content.clone().into(), content, header: 0 }
}

/// In blocks of so many bytes.
fn small_blocks(name: &str, content: &[u8], length: usize) -> AwkwardObject {
    let stored: Vec<u8> = content.chunks(length).flat_map(|part| bgzf(part, false)).collect();
    let stored = [stored, bgzf(b"", true)].concat();
    AwkwardObject { name: format!("{name}.gz"), stored: stored.into(), content: content.to_vec(), header: 0 }
}

/// CSV in which commas, quotes and line ends stand wherever they hurt.
fn quoted(rows: u64) -> Vec<u8> {
    let cells = ["1", "\"a\nb\"", "\"\"\"\"", "\"x\r\ny,\n\n\"", "5\" pipe", "\"\n\"", "\"\"\"\n\"\"\""];
    let row = |row: u64| format!("{},{}\r\n", cells[(row % 7) as usize], cells[(row * 5 % 7) as usize]);
    (0..rows).map(row).collect::<String>().into_bytes()
}

#[test]
fn awkward_objects_have_the_side_car_of_one_pass() {
    for (name, content) in awkward_texts() {
        for object in encodings(&name, &content) {
            for part in [1, 100, 5000] {
                same(
                    &object,
                    IndexOptions { point_span: if part == 1 { 7 } else { 130 }, ..OPTIONS },
                    part.max(object.stored.len() as u64 / 300),
                );
            }
        }
    }
}

#[test]
fn larger_objects_have_the_side_car_of_one_pass() {
    let tabs: Vec<u8> = quoted(4000).iter().map(|byte| if *byte == b',' { b'\t' } else { *byte }).collect();
    let headed = [headed("h.vcf", vcf(1200, 5)), headed("h.bam", bam(1200, 6)), headed("long.bam", bam(9000, 7))].concat();
    let texts = [
        ("l.fastq", fastq(1500, 1)),
        ("l.fa", fasta(200, 2)),
        ("l.txt", lines(5000, 3)),
        ("l.csv", quoted(9000)),
        ("l.tsv", tabs),
    ];
    let objects = texts.iter().flat_map(|(name, content)| {
        let blocks = [900, 5000].map(|length| small_blocks(name, content, length));
        encodings(name, content).into_iter().chain(blocks)
    });
    for object in objects.chain(headed) {
        for part in [1500, 20_000, 70_000] {
            same(&object, OPTIONS, part);
            same(&object, IndexOptions { point_span: 66_000, ..OPTIONS }, part);
        }
    }
}

#[test]
fn records_and_headers_may_be_longer_than_parts() {
    let long = |name: &str, start: &[u8], end: &[u8]| {
        let middle: Vec<u8> = (0..3_500_000_u32).map(|at| b"ACGT"[(at % 4) as usize]).collect();
        plain(name, [start, &middle, end].concat())
    };
    let header = b"##contig=<ID=1>\n".repeat(9000);
    let vcf = [b"##fileformat=VCFv4.3\n".as_slice(), &header, b"#CHROM\n1\t2\n#3\t4\n1\t2\n"].concat();
    let objects = [
        long("long.txt", b"a\nb", b"\nc\n"),
        long("long.fa", b">a\nACGT\n>b\n", b"\n>c\nA\n>d"),
        long("name.fa", b">a\nACGT\n>b", b"\n>c\nA\n>d"),
        long("blank.fa", b"\n  \n", b">a\nAC\n"),
        long("long.csv", b"a,\"\n\"\n\"b", b"\n\",3\n4,5\n"),
        long("long.fastq", b"@a\nA\n+\nI\n@b\n", b"\n+\nI\n"),
        long("long.vcf", b"##fileformat=VCFv4.3\n##", b"\n#CHROM\n1\t2\n"),
        long("long-record.vcf", b"##fileformat=VCFv4.3\n#CHROM\n1\t2\t", b"\n1\t2\n"),
        plain("header.vcf", vcf.clone()),
        plain("only-header.vcf", vcf[..100_000].to_vec()),
        plain("spaces.fa", [b" \n".repeat(60_000).as_slice(), b">a\nAC\n>b\nA\n"].concat()),
        plain("spaces.csv", b"\n".repeat(100_000)),
        plain("blank-end.fastq", [fastq(300, 2), b"\r\n".repeat(30_000)].concat()),
        plain("blank-middle.fastq", [fastq(300, 2), b"\n".repeat(30_000), fastq(300, 3)].concat()),
    ];
    for object in objects {
        same(&object, OPTIONS, 11_111);
        same(&object, IndexOptions { point_span: 1 << 20, ..OPTIONS }, 1 << 20);
        let packed = AwkwardObject { name: format!("{}.gz", object.name), stored: bgzf(&object.content, true).into(), ..object };
        same(&packed, OPTIONS, 11_111);
        same(&packed, OPTIONS, 400_000);
    }
}

#[test]
fn damaged_objects_fail_as_in_one_pass() {
    let mut wrong = fastq(900, 4);
    let at = wrong.len() / 2;
    wrong.insert(at, b'\n');
    let unequal = [fastq(300, 1), b"@a\nAC\n+\nI\n".to_vec(), fastq(300, 2)].concat();
    let mut objects = vec![
        plain("wrong.fastq", wrong),
        plain("unequal.fastq", unequal),
        plain("open.csv", [quoted(900), b"\"".to_vec(), quoted(900)].concat()),
        plain("no.vcf", lines(900, 1)),
        plain("no.fa", lines(900, 1)),
    ];
    let (header, mut reads) = bam(4000, 1);
    reads[300_000..300_400].fill(0x7f);
    let stored = bgzf(&[header, reads].concat(), true);
    objects.push(AwkwardObject { name: "wrong.bam".into(), stored: stored.into(), content: Vec::new(), header: 0 });
    let block = bgzf(&fastq(900, 1), true);
    for at in (0..block.len()).step_by(block.len() / 60) {
        let mut flipped = block.clone();
        flipped[at] ^= 0x55;
        for stored in [flipped, block[..at].to_vec(), [&block[..at], &[0; 99], &block[at..]].concat()] {
            objects.push(AwkwardObject {
                name: format!("b{at}.fastq.gz"),
                stored: stored.into(),
                content: Vec::new(),
                header: 0,
            });
        }
    }
    for behind in [vec![0; 40_000], vec![7; 40_000], [vec![0; 90_000], vec![1]].concat(), gzip(b"@a\nA\n+\nI\n", 6)] {
        let stored = [block.clone(), behind].concat();
        objects.push(AwkwardObject { name: "behind.fastq.gz".into(), stored: stored.into(), content: Vec::new(), header: 0 });
    }
    for object in objects {
        for part in [1000, 7000, 50_000] {
            same(&object, OPTIONS, part);
        }
    }
}

#[test]
fn objects_indexed_in_parts_obey_the_law() {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = "memory://parallel/law".parse().unwrap();
    let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") })
        .with_options(IndexOptions { span: 40_000, point_span: 3000 })
        .with_parallel(Parallel { threads: 3, part: 6000, above: 0 });
    let suite = Suite::new(stores, slicer, root.join("objects"));
    for (name, content) in
        awkward_texts().into_iter().chain([("q.csv".to_owned(), quoted(3000)), ("l.fa".to_owned(), fasta(99, 1))])
    {
        for object in encodings(&name, &content) {
            suite.check(&object).unwrap();
        }
    }
    for object in headed("h.vcf", vcf(900, 3)) {
        suite.check(&object).unwrap();
    }
}

/// The side-car's bytes.
fn side_car(stores: &Stores, uri: &ObjectUri) -> Vec<u8> {
    stores.get(uri).unwrap().to_vec()
}

#[test]
fn parts_are_indexed_by_calls() {
    let (stores, slicer, root) = lab("calls", 700);
    let objects = [("c.csv", quoted(4000)), ("c.fa", fasta(100, 2)), ("c.fastq", fastq(900, 3)), ("c.txt", Vec::new())];
    for object in objects.iter().flat_map(|(name, content)| encodings(name, content)).chain(headed("c.bam", bam(90, 1))) {
        let uri = root.join(&object.name);
        stores.put(&uri, object.stored.clone()).unwrap();
        let parts = slicer.index_parts(&uri, Some(5)).unwrap();
        let index = |part: &IndexPart| {
            let text = serde_json::to_string(part).unwrap();
            assert!(text.len() < 1024);
            slicer.index_part(&serde_json::from_str(&text).unwrap(), &|_| {}).unwrap()
        };
        let mut partials: Vec<Vec<u8>> = parts.iter().map(index).collect();
        partials.reverse();
        let joined = slicer.join_index(&uri, &partials, &|_| {}).unwrap();
        assert!(joined.built);
        let by_calls = side_car(&stores, &joined.side_car.uri);
        stores.delete(&joined.side_car.uri).unwrap();
        let alone = slicer.index(&uri, &|_| {}).unwrap();
        assert!(by_calls == side_car(&stores, &alone.side_car.uri), "{}", object.name);
        assert!(slicer.index_parts(&uri, Some(5)).unwrap().is_empty(), "there is nothing to do");
        let again = slicer.slices(&uri, Partition::Count(3)).unwrap();
        let mut bytes = Vec::new();
        for slice in &again {
            slicer.read_records(slice, 0).unwrap().read_to_end(&mut bytes).unwrap();
        }
        assert!(bytes == object.content[object.header..], "{}", object.name);
    }
}

#[test]
fn partial_indexes_that_do_not_belong_together_are_refused() {
    let (stores, slicer, root) = lab("refused", 700);
    let uri = root.join("r.csv");
    stores.put(&uri, quoted(4000).into()).unwrap();
    let partials = |uri: &ObjectUri| -> Vec<Vec<u8>> {
        slicer.index_parts(uri, Some(4)).unwrap().iter().map(|part| slicer.index_part(part, &|_| {}).unwrap()).collect()
    };
    let good = partials(&uri);
    let join = |partials: &[Vec<u8>]| slicer.join_index(&uri, partials, &|_| {}).map(|_| ()).map_err(|error| error.to_string());
    assert!(join(&good[1..]).unwrap_err().contains("partial index is unusable"));
    assert!(join(&good[..3]).unwrap_err().contains("no parts from byte"));
    assert!(join(&[good.clone(), vec![good[2].clone()]].concat()).unwrap_err().contains("too many"));
    assert!(join(&[]).is_err());
    let mut damaged = good.clone();
    for at in 0..good[1].len() {
        damaged[1].clone_from(&good[1]);
        damaged[1][at] ^= 1;
        assert!(join(&damaged).is_err(), "byte {at}");
        damaged[1].truncate(at);
        assert!(join(&damaged).is_err(), "cut at {at}");
    }
    stores.put(&uri, quoted(4001).into()).unwrap();
    assert!(join(&good).unwrap_err().contains("another version"));
    assert!(join(&partials(&uri)).is_ok());
}

#[test]
fn no_part_is_gone_over_twice() {
    // Single-line sequences, and quoted fields as wide as a part, among them.
    let one_line = [b">a\n".to_vec(), b"ACGT".repeat(1_500_000), b"\n>b\n".to_vec(), b"ACGT".repeat(100_000)].concat();
    let wide = format!("1,\"{}\"\n", "text with, line ends\n".repeat(20_000)).repeat(12).into_bytes();
    let vcf = [vcf(60_000, 1).0, vcf(60_000, 1).1].concat();
    let texts = [
        ("t.txt", lines(60_000, 1)),
        ("t.vcf", vcf),
        ("t.fa", fasta(3000, 1)),
        ("one.fa", one_line),
        ("t.csv", quoted(300_000)),
        ("wide.csv", wide),
        ("t.fastq", fastq(15_000, 1)),
        ("t.bam", [bam(40_000, 1).0, bam(40_000, 1).1].concat()),
        ("t.jsonl", b"{\"a\": 1, \"b\": \"x\"}\n".repeat(100_000)),
    ];
    for (name, content) in texts {
        let binary = name.ends_with(".bam");
        for stored in [content.clone(), bgzf(&content, true)].into_iter().skip(usize::from(binary)) {
            let size = stored.len() as u64;
            let reader = MemoryObject::new(name, stored);
            let source = ObjectRef { uri: "memory://p/t".parse().unwrap(), store: None, pin: Pin::WeakSize, size };
            let detected = detect(&reader).unwrap();
            let before = reader.bytes_fetched();
            let parallel = Parallel { threads: 2, part: size / 6, above: 0 };
            build_index_parallel(&reader, &source, detected, IndexOptions::default(), parallel, &|_| {}).unwrap();
            // Looking for a block, and the rest of the last one, take some at each border.
            let at_borders = if detected.compression == Compression::Plain { 0 } else { 7 * 384 * 1024 };
            let fetched = reader.bytes_fetched() - before;
            assert!(fetched <= size + at_borders, "{name}: {fetched} of {size} bytes, {detected:?}");
        }
    }
}

/// Counts how many reads are under way at once.
struct Watched {
    object: MemoryObject,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl RangedRead for Watched {
    fn name(&self) -> &str {
        self.object.name()
    }

    fn size(&self) -> u64 {
        self.object.size()
    }

    fn read(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(20));
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.object.read(range)
    }

    fn bytes_fetched(&self) -> u64 {
        self.object.bytes_fetched()
    }
}

#[test]
fn parts_are_read_at_once_and_not_too_many() {
    let object = MemoryObject::new("w.txt", lines(100_000, 1));
    let size = object.size();
    let reader = Watched { object, now: AtomicUsize::new(0), most: AtomicUsize::new(0) };
    let source = ObjectRef { uri: "memory://p/w.txt".parse().unwrap(), store: None, pin: Pin::WeakSize, size };
    let parallel = Parallel { threads: 3, part: size / 12, above: 0 };
    let detected = detect(&reader).unwrap();
    build_index_parallel(&reader, &source, detected, IndexOptions::default(), parallel, &|_| {}).unwrap();
    assert!((2..=3).contains(&reader.most.into_inner()));
}

#[test]
fn progress_goes_up_to_the_end() {
    let object = plain("p.txt", lines(400_000, 1));
    let reader = MemoryObject::new(object.name.clone(), object.stored.clone());
    let size = object.stored.len() as u64;
    let source = ObjectRef { uri: "memory://p/p.txt".parse().unwrap(), store: None, pin: Pin::WeakSize, size };
    let seen = std::cell::RefCell::new(Vec::new());
    let parallel = Parallel { threads: 2, part: 1 << 20, above: 0 };
    let tell = |progress: neardata_formats::Progress| seen.borrow_mut().push(progress.done);
    build_index_parallel(&reader, &source, detect(&reader).unwrap(), IndexOptions::default(), parallel, &tell).unwrap();
    let seen = seen.into_inner();
    assert!(seen.is_sorted() && seen.len() > 3 && seen.last() == Some(&size), "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(60), ..ProptestConfig::default() })]

    #[test]
    fn any_object_in_any_parts_has_the_side_car_of_one_pass(
        records in 0_u64..900, seed: u64, which in 0_usize..6, way in 0_usize..27, cut in 0_usize..90,
        part in 1_u64..60_000, point_span in 1_u64..9000, threads in 2_usize..5,
    ) {
        let (name, mut content) = match which {
            0 => ("p.fastq", fastq(records, seed)),
            1 => ("p.fa", fasta(records / 8, seed)),
            2 => ("p.csv", quoted(records)),
            3 => ("p.vcf", [vcf(records, seed).0, vcf(records, seed).1].concat()),
            _ => ("p.txt", lines(records, seed)),
        };
        content.truncate(content.len().saturating_sub(cut));
        let objects = encodings(name, &content);
        let object = match objects.get(way) {
            Some(object) if !way.is_multiple_of(3) => object.clone(),
            Some(_) => plain(name, content),
            None => small_blocks(name, &content, 1 + seed as usize % 9000),
        };
        let part = part.max(object.stored.len() as u64 / 500);
        let options = IndexOptions { point_span, ..OPTIONS };
        let [one, many] = both(&object, options, part, threads);
        prop_assert!(one == many, "{} {part} {point_span}: {:?} {:?}", object.name, one.err(), many.err());
    }
}
