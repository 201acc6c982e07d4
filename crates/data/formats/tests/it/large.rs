//! Offsets beyond 32 bits.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use neardata_core::ObjectUri;
use neardata_formats::{Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};

const FAR: u64 = (4 << 30) + 12_345;

/// A sparse text file beyond 4 GiB: one enormous line, of zero bytes for the most part, between ordinary ones.
#[test]
fn lines_beyond_four_gibibytes_are_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.txt");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(format!("first\n{}", " ".repeat(100_000)).as_bytes()).unwrap();
    file.seek(SeekFrom::Start(FAR)).unwrap();
    file.write_all(b"\nlast but one\nlast").unwrap();
    drop(file);

    let stores = Stores::new(StoreOptions::default()).unwrap();
    let slicer = Slicer::new(stores, SideCars { root: ObjectUri::from_path(folder.path().join("side-cars")) });
    let uri = ObjectUri::from_path(&path);
    let summary = slicer.index(&uri, &|_| {}).unwrap();
    assert_eq!((summary.records, summary.uncompressed), (4, FAR + 18));
    let slices = slicer.slices(&uri, Partition::Records(1)).unwrap();
    let text = |number: usize| {
        let mut text = String::new();
        slicer.read(&slices[number], 0).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!((text(0).as_str(), text(2).as_str(), text(3).as_str()), ("first\n", "last but one\n", "last"));
    let mut middle = slicer.read(&slices[1], 0).unwrap();
    let mut length = 0;
    loop {
        let held = middle.fill_buf().unwrap().len();
        if held == 0 {
            break;
        }
        length += held;
        middle.consume(held);
    }
    assert_eq!(length as u64, FAR - 6 + 1);
}
