//! Large plain objects are cut without a pass over them, and just as exactly.

use std::io::Read;

use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::{fasta, lines, vcf};
use neardata_formats::{Cut, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use proptest::prelude::*;

fn lab(corner: &str) -> (Stores, Slicer, ObjectUri) {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = format!("memory://lazy/{corner}").parse().unwrap();
    (stores.clone(), Slicer::new(stores, SideCars { root: root.join("cars") }).with_lazy_above(1), root)
}

fn read(slicer: &Slicer, slice: &Slice) -> Vec<u8> {
    let slice = Slice::from_json(&slice.to_json()).unwrap();
    assert!(slice.to_json().len() < 1024);
    let mut reader = slicer.read(&slice, 0).unwrap();
    let size = reader.size();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(size, Some(bytes.len() as u64), "the size of these bytes is known before they are read");
    bytes
}

/// Cuts without an index, and gives the slices' bytes without their header.
fn parts(name: &str, header: &[u8], content: &[u8], count: u64) -> Vec<Vec<u8>> {
    let (stores, slicer, root) = lab(name);
    let uri = root.join(name);
    stores.put(&uri, [header, content].concat().into()).unwrap();
    let before = stores.bytes_fetched();
    let slices = slicer.cut(&uri, &Cut::by(Partition::Count(count)), &|_| {}).unwrap();
    let looked_at = stores.bytes_fetched() - before;
    assert!(looked_at <= (256 + 64 * count) << 10, "{name}: {looked_at} bytes for {count} slices");
    assert!(slices.iter().all(|slice| slice.selection.get("bytes").is_some()), "{name} was indexed");
    assert_eq!(slices.len() as u64, count);
    let behind = |slice| {
        let bytes = read(&slicer, slice);
        assert!(bytes.starts_with(header) && bytes.len() > header.len(), "{name}: a slice without its header or a record");
        bytes[header.len()..].to_vec()
    };
    slices.iter().map(behind).collect()
}

#[test]
fn lines_and_sequences_are_cut_without_a_pass() {
    let (header, records) = vcf(120_000, 3);
    let sam = (b"@HD\tVN:1.6\n@CO\tx\n".to_vec(), b"r\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\t@III\n".repeat(90_000));
    let mut unended = lines(200_000, 5);
    unended.pop();
    let objects = [
        ("l.txt", Vec::new(), lines(200_000, 4), b"".as_slice()),
        ("no-end.txt", Vec::new(), unended, b""),
        ("l.vcf", header, records, b""),
        ("l.sam", sam.0, sam.1, b"r"),
        ("l.fa", Vec::new(), fasta(9000, 6), b">"),
    ];
    for (name, header, content, first) in objects {
        for count in [1, 2, 7, 64] {
            let parts = parts(name, &header, &content, count);
            assert_eq!(parts.concat(), content, "{name} in {count}");
            assert!(parts.iter().all(|part| part.starts_with(first)), "{name} in {count}");
            let whole = parts[..parts.len() - 1].iter().all(|part| part.ends_with(b"\n"));
            assert!(whole, "{name} in {count}: a record is split");
        }
    }
}

fn one_line_rows(count: u64, header: bool) -> Cut {
    Cut { header, one_line_rows: true, ..Cut::by(Partition::Count(count)) }
}

#[test]
fn rows_are_cut_without_a_pass_on_the_callers_word() {
    let (stores, slicer, root) = lab("rows");
    let rows: String = (0..90_000).map(|row| format!("{row},\"said \"\"{row}\"\", twice\",5\" pipe\r\n")).collect();
    for (name, separator) in [("a.csv", ","), ("b.tsv", "\t")] {
        let content = format!("number,text,size\r\n{rows}").replace(',', separator);
        let first = content.find('\n').unwrap() + 1;
        let uri = root.join(name);
        stores.put(&uri, content.clone().into()).unwrap();
        for (count, header) in [(1, false), (7, false), (40, true)] {
            let slices = slicer.cut(&uri, &one_line_rows(count, header), &|_| {}).unwrap();
            assert_eq!(slices.len() as u64, count);
            assert!(slices.iter().all(|slice| slice.selection.get("bytes").is_some()), "{name} was indexed");
            let parts: Vec<Vec<u8>> = slices.iter().map(|slice| read(&slicer, slice)).collect();
            let skip = if header { first } else { 0 };
            let joined: Vec<u8> = parts.iter().flat_map(|part| &part[skip..]).copied().collect();
            assert_eq!(joined, content.as_bytes()[skip..], "{name} in {count}");
            assert!(parts.iter().all(|part| part.ends_with(b"\r\n") && part[..skip] == content.as_bytes()[..skip]));
            let counted: usize = slices.iter().map(|slice| arrow_rows(&slicer, slice)).sum();
            assert_eq!(counted, 90_000, "{name} in {count}: the header row is a row of no slice");
        }
    }
    let error = slicer.cut(&root.join("a.csv"), &Cut { columns: vec!["x".into()], ..one_line_rows(2, false) }, &|_| {});
    assert!(error.unwrap_err().to_string().contains("`one_line_rows`"));
}

fn arrow_rows(slicer: &Slicer, slice: &Slice) -> usize {
    slicer.arrow(slice).unwrap().map(|batch| batch.unwrap().num_rows()).sum()
}

#[test]
fn what_cannot_be_cut_lazily_is_indexed() {
    let (stores, slicer, root) = lab("indexed");
    let rows = b"1,\"a\nb\"\n".repeat(40_000);
    for (name, content, partition) in [
        ("quoted.csv", rows.clone(), Partition::Count(4)),
        ("counted.txt", lines(50_000, 1), Partition::Records(1000)),
        ("few.txt", lines(40, 1), Partition::Count(30)),
        ("long.txt", [b"a\n".as_slice(), &vec![b'x'; 9 << 20], b"\nb\n"].concat(), Partition::Count(3)),
        ("none.vcf", b"##fileformat=VCFv4.2\n#CHROM\n".to_vec(), Partition::Count(3)),
    ] {
        let uri = root.join(name);
        stores.put(&uri, content.clone().into()).unwrap();
        let slices = slicer.cut(&uri, &Cut::by(partition), &|_| {}).unwrap();
        assert!(slices.iter().all(|slice| slice.selection.get("stretches").is_some()), "{name}");
        let mut bytes = Vec::new();
        for slice in &slices {
            slicer.read_records(slice, 0).unwrap().read_to_end(&mut bytes).unwrap();
        }
        assert_eq!(bytes, if name == "none.vcf" { Vec::new() } else { content }, "{name}");
    }
    let uri = root.join("known.txt");
    stores.put(&uri, lines(50_000, 2).into()).unwrap();
    slicer.index(&uri, &|_| {}).unwrap();
    let slices = slicer.cut(&uri, &Cut::by(Partition::Count(4)), &|_| {}).unwrap();
    assert!(slices[0].selection.get("stretches").is_some(), "an index that is there is used");
}

#[test]
fn a_changed_object_is_refused() {
    let (stores, slicer, root) = lab("changed");
    let uri = root.join("c.txt");
    stores.put(&uri, lines(50_000, 1).into()).unwrap();
    let slices = slicer.cut(&uri, &Cut::by(Partition::Count(2)), &|_| {}).unwrap();
    stores.put(&uri, lines(50_000, 2).into()).unwrap();
    let error = slicer.read(&slices[1], 0).and_then(|mut reader| reader.chunk().map(<[u8]>::to_vec)).unwrap_err().to_string();
    assert!(error.contains("changed since it was indexed"), "{error}");
}

proptest! {
    /// Whoever gave the word wrongly is told by one of the slices, unless no cut fell inside quotes.
    #[test]
    fn rows_of_several_lines_are_never_split_unnoticed(seed in any::<u64>(), count in 2_u64..9, many in 1_u64..40) {
        let (stores, slicer, root) = lab("word");
        let mut state = seed;
        let mut roll = |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        let mut content = Vec::new();
        let mut ends = std::collections::BTreeSet::from([0]);
        while content.len() < 200_000 {
            match roll(many) {
                0 => content.extend(format!("x,\"{}\"\n", "line\n".repeat(roll(4000) as usize)).bytes()),
                number => content.extend(format!("{number},\"a \"\"b\"\"\",5\"\n").bytes()),
            }
            ends.insert(content.len());
        }
        let uri = root.join("w.csv");
        stores.put(&uri, content.clone().into()).unwrap();
        let slices = slicer.cut(&uri, &one_line_rows(count, false), &|_| {}).unwrap();
        let mut joined = Vec::new();
        let mut told = false;
        for slice in &slices {
            told |= slicer.read(slice, 0).unwrap().read_to_end(&mut joined).is_err();
        }
        let whole = slices.iter().all(|slice| match slice.selection.get("bytes") {
            Some(bytes) => ends.contains(&(bytes[0].as_u64().unwrap() as usize)),
            None => true,
        });
        prop_assert_eq!(told, !whole, "{} slices", slices.len());
        prop_assert!(told || joined == content);
    }

    #[test]
    fn any_selection_is_refused_or_read(from in any::<u64>(), to in 0_u64..3_000_000, stop in any::<u64>(), length in any::<u64>()) {
        let (stores, slicer, root) = lab("any");
        let uri = root.join("a.vcf");
        let (header, records) = vcf(20_000, 1);
        let content = [header, records].concat();
        stores.put(&uri, content.clone().into()).unwrap();
        let mut slice = slicer.cut(&uri, &Cut::by(Partition::Count(1)), &|_| {}).unwrap().remove(0);
        slice.selection = serde_json::json!({ "bytes": [from % 4_000_000, to], "preamble": { "bit": 0, "length": length, "stop": stop } });
        if let Ok(mut reader) = slicer.read(&slice, 0) {
            let mut bytes = Vec::new();
            let _ = reader.read_to_end(&mut bytes);
            prop_assert!(bytes.len() <= 2 * content.len());
        }
    }
}
