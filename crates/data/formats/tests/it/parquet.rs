//! Parquet: every row in one slice, copies that other readers open, and damage that stays an error.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, StringDictionaryBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, StructArray};
use bytes::Bytes;
use neardata_core::ObjectUri;
use neardata_formats::conformance::tables::{Order, PARTITIONS, TableSuite};
use neardata_formats::{Cut, FormatError, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};

/// Rows of every kind of column: plain, with nulls, of a dictionary, nested, repeated.
fn rows(first: i64, rows: i64) -> RecordBatch {
    let range = || first..first + rows;
    let mix = |row: i64| row.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
    let mut words = StringDictionaryBuilder::<Int32Type>::new();
    let mut lists = ListBuilder::new(Int32Builder::new());
    for row in range() {
        words.append_value(format!("word {}", row % 7));
        for item in 0..row % 4 {
            lists.values().append_option((item != 2).then_some(item as i32 + row as i32));
        }
        lists.append(row % 5 != 0);
    }
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(range().map(mix)));
    let floats: ArrayRef = Arc::new(Float64Array::from_iter(range().map(|row| (row % 3 != 0).then_some(row as f64 / 8.0))));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(range().map(|row| format!("{:x}", mix(row)))));
    let inner = StructArray::try_from(vec![("n", numbers.clone()), ("f", floats.clone())]).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("row", Arc::new(Int64Array::from_iter_values(range()))),
        ("number", numbers),
        ("float", floats),
        ("text", texts),
        ("word", Arc::new(words.finish())),
        ("list", Arc::new(lists.finish())),
        ("inner", Arc::new(inner)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn file(total: i64, group: usize, compression: Compression, version: WriterVersion) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_max_row_group_row_count(Some(group))
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(50)
        .build();
    let batch = rows(0, total);
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties)).unwrap();
    writer.append_key_value_metadata(parquet::file::metadata::KeyValue::new("note".into(), "kept".to_owned()));
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    out
}

fn codecs() -> Vec<(&'static str, Compression)> {
    vec![
        ("none", Compression::UNCOMPRESSED),
        ("snappy", Compression::SNAPPY),
        ("zstd", Compression::ZSTD(ZstdLevel::default())),
        ("gzip", Compression::GZIP(GzipLevel::default())),
        ("lz4", Compression::LZ4_RAW),
    ]
}

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
        let root: ObjectUri = format!("memory://parquet/{number}").parse().unwrap();
        let slicer = Slicer::new(STORES.clone(), SideCars { root: root.join("side-cars") });
        Self { slicer, stores: STORES.clone(), root }
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> ObjectUri {
        let uri = self.root.join(name);
        self.stores.put(&uri, bytes.into()).unwrap();
        uri
    }
}

#[test]
fn the_partition_law_holds() {
    let corner = Corner::new();
    let suite = TableSuite::new(corner.stores.clone(), corner.slicer.clone(), corner.root.join("law"));
    let cuts: Vec<Cut> = PARTITIONS.iter().map(|partition| Cut::by(*partition)).collect();
    for (name, codec) in codecs() {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for (total, group) in [(0, 10), (1, 10), (90, 1000), (1100, 400)] {
                let object = [(format!("{name}-{total}-{version:?}.parquet"), file(total, group, codec, version))];
                let object: Vec<(&str, Vec<u8>)> = object.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
                if total > 0 {
                    assert_eq!(suite.check_against(&object, &cuts, &[rows(0, total)], Order::Kept).unwrap(), 10);
                } else {
                    let uri = corner.put("empty.parquet", object[0].1.clone());
                    assert!(corner.slicer.cut(&uri, &Cut::by(Partition::Count(3)), &|_| {}).unwrap().is_empty());
                }
            }
        }
    }
}

/// The rows of a file that the `parquet` crate reads by itself.
fn read_alone(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn copies_are_files_with_these_rows_and_columns() {
    use std::io::Read;
    let corner = Corner::new();
    let uri = corner.put("x.parquet", file(1000, 400, Compression::SNAPPY, WriterVersion::PARQUET_1_0));
    for columns in [vec![], vec!["row"], vec!["inner", "list", "row"], vec!["text", "row"]] {
        for partition in [Partition::Count(2), Partition::Count(5), Partition::Records(333)] {
            let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
            let cut = Cut { partition: Some(partition), columns: columns.clone(), ..Cut::default() };
            let mut next = 0;
            for slice in corner.slicer.cut(&uri, &cut, &|_| {}).unwrap() {
                let mut bytes = Vec::new();
                corner.slicer.read(&slice, 0).unwrap().read_to_end(&mut bytes).unwrap();
                let batches = read_alone(bytes.clone());
                let held: usize = batches.iter().map(RecordBatch::num_rows).sum();
                let whole = rows(next, held as i64);
                let keep: Vec<usize> = whole
                    .schema()
                    .fields()
                    .iter()
                    .enumerate()
                    .filter(|(_, field)| columns.is_empty() || columns.contains(field.name()))
                    .map(|(number, _)| number)
                    .collect();
                let expected = whole.project(&keep).unwrap();
                let mut at = 0;
                for batch in batches {
                    assert_eq!(batch.columns(), expected.slice(at, batch.num_rows()).columns(), "{cut:?} from row {next}");
                    at += batch.num_rows();
                }
                next += held as i64;
                let metadata = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
                let pairs = metadata.metadata().file_metadata().key_value_metadata().unwrap();
                assert!(pairs.iter().any(|pair| pair.key == "note" && pair.value.as_deref() == Some("kept")));
            }
            assert_eq!(next, 1000);
        }
    }
    let unknown = Cut { columns: vec!["nothing".into()], ..Cut::default() };
    let error = corner.slicer.cut(&uri, &unknown, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("no column `nothing`") && error.contains("`row`"), "{error}");
}

/// Inspects, cuts, reads and copies; whatever the bytes are, this returns.
fn exercise(corner: &Corner, bytes: Vec<u8>) -> Result<u64, FormatError> {
    let uri = corner.put("damaged.parquet", bytes);
    corner.slicer.inspect(&uri)?;
    let mut good = 0;
    for partition in [Partition::Count(1), Partition::Count(3)] {
        for slice in corner.slicer.cut(&uri, &Cut::by(partition), &|_| {})?.iter().take(4) {
            good += corner.slicer.arrow(slice)?.take(50).filter(Result::is_ok).count() as u64;
            let mut copy = std::io::Read::take(corner.slicer.read(slice, 0)?, 10_000_000);
            good += std::io::copy(&mut copy, &mut std::io::sink()).unwrap_or(0);
        }
    }
    Ok(good)
}

#[test]
fn flipped_bits_and_cut_files_are_errors_at_worst() {
    let corner = Corner::new();
    for (place, (_, codec)) in codecs().into_iter().enumerate() {
        let version = if place % 2 == 0 { WriterVersion::PARQUET_1_0 } else { WriterVersion::PARQUET_2_0 };
        let whole = file(60, 40, codec, version);
        assert!(exercise(&corner, whole.clone()).unwrap() > 0);
        for length in (4..whole.len()).step_by(whole.len() / 60) {
            assert!(exercise(&corner, whole[..length].to_vec()).is_err(), "{length} bytes");
        }
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            let _ = exercise(&corner, damaged);
        }
    }
}
