//! Arrow IPC files: every row in one slice, copies that other readers open, and damage that stays an error.

use std::io::{Cursor, Read};
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, Int32Builder, ListBuilder, StringDictionaryBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
    StructArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::Schema;
use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::tables::{Order, PARTITIONS, TableSuite};
use neardata_formats::{Cut, FormatError, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};

/// Rows of every kind of column: plain, with nulls, of dictionaries, of views, nested, repeated.
fn rows(first: i64, rows: i64) -> RecordBatch {
    let range = || first..first + rows;
    let mix = |row: i64| row.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
    let mut words = StringDictionaryBuilder::<Int32Type>::new();
    // All batches of a file share a dictionary.
    (0..7).for_each(|word| drop(words.append(format!("word {word}"))));
    let mut lists = ListBuilder::new(Int32Builder::new());
    let mut pairs = FixedSizeListBuilder::new(Float32Builder::new(), 2);
    for row in range() {
        words.append_value(format!("word {}", row % 7));
        for item in 0..row % 4 {
            lists.values().append_option((item != 2).then_some(item as i32 + row as i32));
        }
        lists.append(row % 5 != 0);
        pairs.values().append_slice(&[row as f32, -row as f32]);
        pairs.append(row % 6 != 0);
    }
    let text = |row: i64| format!("{:x} {}", mix(row), "and more ".repeat((row % 3) as usize));
    let words: ArrayRef = Arc::new(words.finish().slice(7, rows as usize));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(range().map(mix)));
    let floats: ArrayRef = Arc::new(Float64Array::from_iter(range().map(|row| (row % 3 != 0).then_some(row as f64 / 8.0))));
    let inner = StructArray::try_from(vec![("n", numbers.clone()), ("w", words.clone())]).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("row", Arc::new(Int64Array::from_iter_values(range()))),
        ("number", numbers),
        ("float", floats),
        ("text", Arc::new(StringArray::from_iter_values(range().map(text)))),
        ("view", Arc::new(StringViewArray::from_iter(range().map(|row| (row % 4 != 1).then(|| text(row)))))),
        ("word", words),
        ("list", Arc::new(lists.finish())),
        ("pair", Arc::new(pairs.finish())),
        ("flag", Arc::new(BooleanArray::from_iter(range().map(|row| (row % 9 != 0).then_some(row % 2 == 0))))),
        ("nothing", Arc::new(NullArray::new(rows as usize))),
        ("inner", Arc::new(inner)),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap();
    let schema = batch.schema().as_ref().clone().with_metadata([("pandas".to_owned(), "{}".to_owned())]);
    batch.with_schema(Arc::new(schema)).unwrap()
}

fn file(total: i64, batch: i64, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &rows(0, 1).schema(), options).unwrap();
    writer.write_metadata("note", "kept");
    for first in (0..total).step_by(batch as usize) {
        writer.write(&rows(first, batch.min(total - first))).unwrap();
        // A batch without rows changes nothing.
        writer.write(&rows(0, 0)).unwrap();
    }
    writer.into_inner().unwrap()
}

const CODECS: [Option<CompressionType>; 3] = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];

struct Corner {
    slicer: Slicer,
    stores: Stores,
    root: ObjectUri,
}

impl Corner {
    fn new() -> Self {
        static STORES: std::sync::LazyLock<Stores> = std::sync::LazyLock::new(|| Stores::new(StoreOptions::default()).unwrap());
        static CORNERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = CORNERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root: ObjectUri = format!("memory://ipc/{number}").parse().unwrap();
        let slicer = Slicer::new(STORES.clone(), SideCars { root: root.join("side-cars") });
        Self { slicer, stores: STORES.clone(), root }
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> ObjectUri {
        let uri = self.root.join(name);
        self.stores.put(&uri, bytes.into()).unwrap();
        uri
    }

    fn cut(&self, uri: &ObjectUri, cut: &Cut) -> Result<Vec<Slice>, FormatError> {
        self.slicer.cut(uri, cut, &|_| {})
    }

    fn read(&self, slice: &Slice) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.slicer.read(slice, 0).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }
}

#[test]
fn the_partition_law_holds() {
    let corner = Corner::new();
    let suite = TableSuite::new(corner.stores.clone(), corner.slicer.clone(), corner.root.join("law"));
    let cuts: Vec<Cut> = PARTITIONS.iter().map(|partition| Cut::by(*partition)).collect();
    for (number, codec) in CODECS.into_iter().enumerate() {
        for (total, batch) in [(1, 10), (90, 1000), (110, 1), (1100, 400)] {
            let object = [(&*format!("{number}-{total}.arrow"), file(total, batch, codec))];
            assert_eq!(suite.check_against(&object, &cuts, &[rows(0, total)], Order::Kept).unwrap(), 10);
        }
        let uri = corner.put("empty.arrow", file(0, 10, codec));
        assert!(corner.cut(&uri, &Cut::by(Partition::Count(3))).unwrap().is_empty());
    }
}

#[test]
fn copies_are_files_with_these_rows_and_columns() {
    let corner = Corner::new();
    for codec in CODECS {
        let uri = corner.put("x.feather", file(1000, 400, codec));
        for columns in [vec![], vec!["row"], vec!["inner", "list", "row"], vec!["word", "row"], vec!["nothing", "view", "row"]] {
            for partition in [Partition::Count(2), Partition::Count(5), Partition::Records(333)] {
                let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
                let cut = Cut { partition: Some(partition), columns, ..Cut::default() };
                let mut next = 0;
                for slice in corner.cut(&uri, &cut).unwrap() {
                    next = compare(&corner, &slice, &cut, next);
                }
                assert_eq!(next, 1000);
            }
        }
        let unknown = Cut { columns: vec!["missing".into()], ..Cut::default() };
        let error = corner.cut(&uri, &unknown).unwrap_err().to_string();
        assert!(error.contains("no column `missing`") && error.contains("`row`"), "{error}");
    }
}

/// Compares the copy of a slice that begins with row `next` to what was written; gives the row behind it.
fn compare(corner: &Corner, slice: &Slice, cut: &Cut, next: i64) -> i64 {
    let mut reader = FileReader::try_new(Cursor::new(corner.read(slice)), None).unwrap();
    assert_eq!(reader.custom_metadata().get("note").map(String::as_str), Some("kept"));
    assert_eq!(reader.schema().metadata().get("pandas").map(String::as_str), Some("{}"));
    let copied: Vec<RecordBatch> = reader.by_ref().map(Result::unwrap).collect();
    let streamed: Vec<RecordBatch> = corner.slicer.arrow(slice).unwrap().map(Result::unwrap).collect();
    let held: usize = copied.iter().map(RecordBatch::num_rows).sum();
    let whole = rows(next, held as i64);
    let chosen = |name: &str| cut.columns.is_empty() || cut.columns.iter().any(|column| column == name);
    let schema = whole.schema();
    let keep: Vec<usize> = (0..whole.num_columns()).filter(|number| chosen(schema.field(*number).name())).collect();
    let expected = whole.project(&keep).unwrap();
    for batches in [copied, streamed] {
        let mut at = 0;
        for batch in batches {
            assert_eq!(batch.columns(), expected.slice(at, batch.num_rows()).columns(), "{cut:?} from row {next}");
            at += batch.num_rows();
        }
        assert_eq!(at, held);
    }
    next + held as i64
}

#[test]
fn rows_without_columns_are_counted() {
    let corner = Corner::new();
    let schema = Arc::new(Schema::empty());
    let options = RecordBatchOptions::new().with_row_count(Some(10));
    let batch = RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options).unwrap();
    let mut writer = FileWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch).unwrap();
    let uri = corner.put("nothing.arrow", writer.into_inner().unwrap());
    let slices = corner.cut(&uri, &Cut::by(Partition::Records(3))).unwrap();
    let held = |slice: &Slice| -> usize { corner.slicer.arrow(slice).unwrap().map(|batch| batch.unwrap().num_rows()).sum() };
    assert_eq!(slices.iter().map(held).collect::<Vec<_>>(), [3, 3, 3, 3, 3, 3, 2]);
    let copy = FileReader::try_new(Cursor::new(corner.read(&slices[3])), None).unwrap();
    assert_eq!(copy.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 3);
}

#[test]
fn what_it_is_and_what_it_is_not() {
    let corner = Corner::new();
    let uri = corner.put("no-ending", file(1000, 400, None));
    let found = corner.slicer.inspect(&uri).unwrap();
    let table = found.table.unwrap();
    assert_eq!((table.records, table.unit.as_str(), table.columns.len()), (Some(1000), "rows", 11));
    assert!(table.facts.contains(&("record batches".to_owned(), "6".to_owned())), "{:?}", table.facts);

    let mut stream = StreamWriter::try_new(Vec::new(), &rows(0, 1).schema()).unwrap();
    stream.write(&rows(0, 10)).unwrap();
    let uri = corner.put("x.arrows", stream.into_inner().unwrap());
    let error = corner.cut(&uri, &Cut::by(Partition::Count(2))).unwrap_err();
    assert!(matches!(error, FormatError::Unsupported { .. }) && error.to_string().contains("pyarrow.ipc.new_file"), "{error}");

    let region = Cut { regions: vec!["chr1".into()], ..Cut::default() };
    let uri = corner.put("x.arrow", file(10, 10, None));
    assert!(matches!(corner.cut(&uri, &region), Err(FormatError::NotOffered { .. })));
}

/// Inspects, cuts, reads and copies; whatever the bytes are, this returns.
fn exercise(corner: &Corner, bytes: Vec<u8>) -> Result<u64, FormatError> {
    let uri = corner.put("damaged.arrow", bytes);
    corner.slicer.inspect(&uri)?;
    let mut good = 0;
    let columns = vec!["row".to_owned(), "word".to_owned()];
    let cuts = [Partition::Count(1), Partition::Count(3)].map(Cut::by);
    for cut in cuts.into_iter().chain([Cut { columns, ..Cut::default() }]) {
        for slice in corner.cut(&uri, &cut)?.iter().take(4) {
            good += corner.slicer.arrow(slice)?.take(50).filter(Result::is_ok).count() as u64;
            let mut copy = corner.slicer.read(slice, 0)?.take(10_000_000);
            good += std::io::copy(&mut copy, &mut std::io::sink()).unwrap_or(0);
        }
    }
    Ok(good)
}

#[test]
fn flipped_bits_and_cut_files_are_errors_at_worst() {
    let corner = Corner::new();
    for codec in CODECS {
        let whole = file(60, 40, codec);
        assert!(exercise(&corner, whole.clone()).unwrap() > 0);
        for length in (8..whole.len()).step_by(whole.len() / 60) {
            assert!(exercise(&corner, whole[..length].to_vec()).is_err(), "{length} bytes");
        }
        for at in (0..whole.len()).step_by(13) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at / 13 % 8);
            let _ = exercise(&corner, damaged);
        }
        // Offsets, lengths and counts: those of blocks are in the footer, those of columns in the first messages of batches.
        let footer = whole.len() - 10 - u32::from_le_bytes(*whole[whole.len() - 10..].first_chunk().unwrap()) as usize;
        let message = whole.windows(4).skip(8).enumerate().filter(|(_, bytes)| *bytes == [0xff; 4]).map(|(at, _)| at + 8);
        let values: &[u32] = if codec.is_some() { &[0x7fff_ffff] } else { &[1, 0x7fff_ffff] };
        let places = message.skip(1).take(2).flat_map(|at| at..at + 600).chain(footer..whole.len() - 10).step_by(4);
        for at in places {
            for value in values {
                let mut damaged = whole.clone();
                damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
                let _ = exercise(&corner, damaged);
            }
        }
    }
}
