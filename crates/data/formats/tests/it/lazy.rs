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
