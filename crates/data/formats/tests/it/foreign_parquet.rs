//! Parquet as writers of all kinds have left it, put together here byte by byte: what every reader reads is read.

use std::io::Read;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, TimestampMillisecondArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use neardata_core::ObjectUri;
use neardata_formats::conformance::tables::{Order, PARTITIONS, TableSuite};
use neardata_formats::table::{Bound, Extent};
use neardata_formats::{Cut, FormatError, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, encode_arrow_schema};
use parquet::file::metadata::KeyValue;

/// A value of Thrift's compact protocol.
enum T {
    I16(i64),
    I32(i64),
    I64(i64),
    Text(&'static str),
    Struct(Vec<(u8, T)>),
    List(Vec<T>),
}

impl T {
    fn code(&self) -> u8 {
        match self {
            Self::I16(_) => 4,
            Self::I32(_) => 5,
            Self::I64(_) => 6,
            Self::Text(_) => 8,
            Self::List(_) => 9,
            Self::Struct(_) => 12,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::I16(number) | Self::I32(number) | Self::I64(number) => unsigned((number << 1 ^ number >> 63) as u64, out),
            Self::Text(text) => {
                unsigned(text.len() as u64, out);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Struct(fields) => {
                let mut last = 0;
                for (number, value) in fields {
                    match number - last {
                        step @ 1..=15 => out.push(step << 4 | value.code()),
                        _ => {
                            out.push(value.code());
                            unsigned(u64::from(*number) << 1, out);
                        }
                    }
                    value.write(out);
                    last = *number;
                }
                out.push(0);
            }
            Self::List(items) => {
                let code = items.first().map_or(12, Self::code);
                assert!(items.len() < 15);
                out.push((items.len() as u8) << 4 | code);
                items.iter().for_each(|item| item.write(out));
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

fn unsigned(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A file of one required column.
struct Made {
    /// Physical type; 1 is INT32, 7 a fixed number of bytes.
    physical: i64,
    length: Option<i64>,
    converted: Option<i64>,
    logical: Option<T>,
    groups: Vec<Group>,
    writer: &'static str,
    /// Instead of the true number of rows.
    rows: Option<i64>,
    /// Bytes that lie behind the first four and are not given out.
    hole: i64,
}

struct Group {
    rows: i64,
    pages: Vec<u8>,
    /// Offset that is given for a dictionary page.
    dictionary: Option<i64>,
    /// Instead of the true offset and number of bytes.
    data: Option<i64>,
    size: Option<i64>,
    more: Vec<(u8, T)>,
}

impl Made {
    fn of(groups: Vec<Group>) -> Self {
        Self { physical: 1, length: None, converted: None, logical: None, groups, writer: "made by hand", rows: None, hole: 0 }
    }

    fn bytes(self) -> Vec<u8> {
        let mut out = b"PAR1".to_vec();
        let mut rows = 0;
        let mut groups = Vec::new();
        for group in self.groups {
            let at = out.len() as i64 + self.hole;
            let size = group.size.unwrap_or(group.pages.len() as i64);
            out.extend(&group.pages);
            let mut chunk = vec![
                (1, T::I32(self.physical)),
                (2, T::List(vec![T::I32(0)])),
                (3, T::List(vec![T::Text("a")])),
                (4, T::I32(0)),
                (5, T::I64(group.rows)),
                (6, T::I64(size)),
                (7, T::I64(size)),
                (9, T::I64(group.data.unwrap_or(at))),
            ];
            chunk.extend(group.dictionary.map(|offset| (11, T::I64(offset))));
            chunk.extend(group.more);
            let chunk = T::Struct(vec![(2, T::I64(at)), (3, T::Struct(chunk))]);
            groups.push(T::Struct(vec![(1, T::List(vec![chunk])), (2, T::I64(size)), (3, T::I64(group.rows))]));
            rows += group.rows;
        }
        let mut column = vec![(1, T::I32(self.physical))];
        column.extend(self.length.map(|length| (2, T::I32(length))));
        column.extend([(3, T::I32(0)), (4, T::Text("a"))]);
        column.extend(self.converted.map(|converted| (6, T::I32(converted))));
        column.extend(self.logical.map(|logical| (10, logical)));
        let root = T::Struct(vec![(4, T::Text("schema")), (5, T::I32(1))]);
        let footer = T::Struct(vec![
            (1, T::I32(1)),
            (2, T::List(vec![root, T::Struct(column)])),
            (3, T::I64(self.rows.unwrap_or(rows))),
            (4, T::List(groups)),
            (6, T::Text(self.writer)),
        ]);
        let footer = footer.bytes();
        out.extend(&footer);
        out.extend((footer.len() as u32).to_le_bytes());
        out.extend(b"PAR1");
        out
    }
}

impl Group {
    fn of(rows: i64, pages: Vec<u8>) -> Self {
        Self { rows, pages, dictionary: None, data: None, size: None, more: Vec::new() }
    }
}

/// A page of so many values without levels.
fn page(values: i64, encoding: i64, data: &[u8]) -> Vec<u8> {
    let inner = vec![(1, T::I32(values)), (2, T::I32(encoding)), (3, T::I32(3)), (4, T::I32(3))];
    let size = data.len() as i64;
    let header = T::Struct(vec![(1, T::I32(0)), (2, T::I32(size)), (3, T::I32(size)), (5, T::Struct(inner))]);
    [&header.bytes(), data].concat()
}

fn dictionary(values: i64, data: &[u8]) -> Vec<u8> {
    let size = data.len() as i64;
    let inner = T::Struct(vec![(1, T::I32(values)), (2, T::I32(2))]);
    let header = T::Struct(vec![(1, T::I32(2)), (2, T::I32(size)), (3, T::I32(size)), (7, inner)]);
    [&header.bytes(), data].concat()
}

fn plain(values: &[i32]) -> Vec<u8> {
    page(values.len() as i64, 0, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// The bytes of a file in front of a hole of this length, and those behind it.
pub(crate) fn with_hole(hole: u64, values: &[i32]) -> (Vec<u8>, Vec<u8>) {
    let groups = values.chunks(3).map(|values| Group::of(values.len() as i64, plain(values))).collect();
    let mut front = Made { hole: hole as i64, ..Made::of(groups) }.bytes();
    let behind = front.split_off(4);
    (front, behind)
}

struct Corner {
    slicer: Slicer,
    stores: Stores,
    root: ObjectUri,
}

fn corner(name: &str) -> Corner {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let root: ObjectUri = format!("memory://foreign-parquet/{name}").parse().unwrap();
    let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("side-cars") });
    Corner { slicer, stores, root }
}

impl Corner {
    fn put(&self, bytes: Vec<u8>) -> ObjectUri {
        let uri = self.root.join("x.parquet");
        self.stores.put(&uri, bytes.into()).unwrap();
        uri
    }

    fn arrow(&self, uri: &ObjectUri) -> Vec<RecordBatch> {
        let slices = self.slicer.cut(uri, &Cut::by(Partition::Count(1)), &|_| {}).unwrap();
        slices.iter().flat_map(|slice| self.slicer.arrow(slice).unwrap()).map(Result::unwrap).collect()
    }

    fn copy(&self, uri: &ObjectUri) -> Vec<u8> {
        let slices = self.slicer.cut(uri, &Cut::by(Partition::Count(1)), &|_| {}).unwrap();
        let mut bytes = Vec::new();
        self.slicer.read(&slices[0], 0).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }
}

fn batch(column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("a", column, false)]).unwrap()
}

#[track_caller]
fn holds(name: &str, bytes: Vec<u8>, values: &[i32]) {
    let corner = corner(name);
    let suite = TableSuite::new(corner.stores.clone(), corner.slicer.clone(), corner.root.clone());
    let cuts: Vec<Cut> = PARTITIONS.iter().map(|partition| Cut::by(*partition)).collect();
    let expected = batch(Arc::new(Int32Array::from(values.to_vec())));
    assert_eq!(suite.check_against(&[("x.parquet", bytes)], &cuts, &[expected], Order::Kept), Ok(10));
}

/// `pyarrow.parquet` writes such row groups for tables without rows, and says a dictionary lies behind the data.
#[test]
fn row_groups_without_rows_hold_nothing_and_harm_nothing() {
    let empty = |at: i64| Group { dictionary: Some(at), data: Some(0), size: Some(15), ..Group::of(0, dictionary(0, &[])) };
    let file = vec![Group::of(2, plain(&[1, 2])), empty(40), Group::of(1, plain(&[3]))];
    holds("empty-between", Made::of(file).bytes(), &[1, 2, 3]);
    holds("only-empty", Made::of(vec![empty(4)]).bytes(), &[]);
    holds("no-groups", Made::of(vec![]).bytes(), &[]);
}

#[test]
fn what_others_write_besides_is_no_damage() {
    let values = [7, 8, 9, 10];
    // Dremio has lists of 16-bit numbers where statistics of sizes stand since, and a dictionary page at 0 where there is none.
    let shorts = T::Struct(vec![(1, T::I64(0)), (2, T::List(vec![T::I16(1), T::I16(2)])), (3, T::List(vec![T::I16(1)]))]);
    let group = Group { dictionary: Some(0), more: vec![(16, shorts)], ..Group::of(4, plain(&values)) };
    holds("dremio", Made::of(vec![group]).bytes(), &values);
    // The first versions of parquet-rs left the number of all rows at 0.
    holds("no-rows-in-all", Made { rows: Some(0), ..Made::of(vec![Group::of(4, plain(&values))]) }.bytes(), &values);
    // parquet-mr before 1.2.9 left the header of the dictionary out of the size (PARQUET-816).
    let words: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    // Codes of 2 bits, eight of them packed: 0 1 2 3.
    let pages = [dictionary(4, &words), page(4, 2, &[2, 3, 0b1110_0100, 0])].concat();
    let header = (dictionary(4, &words).len() - words.len()) as i64;
    let short = || Group { size: Some(pages.len() as i64 - header), ..Group::of(4, pages.clone()) };
    let both = Made { writer: "parquet-mr version 1.2.8", ..Made::of(vec![short(), short()]) };
    holds("parquet-mr", both.bytes(), &[values, values].concat());
    // Of any other writer that is damage.
    let corner = corner("short");
    let uri = corner.put(Made::of(vec![short()]).bytes());
    let slices = corner.slicer.cut(&uri, &Cut::by(Partition::Count(1)), &|_| {}).unwrap();
    let error = corner.slicer.arrow(&slices[0]).unwrap().find_map(Result::err).unwrap().to_string();
    assert!(error.contains("in column `a` of row group 0"), "{error}");
    // A logical type of the future is left out of copies.
    let logical = Some(T::Struct(vec![(99, T::Struct(vec![]))]));
    holds("future", Made { logical, ..Made::of(vec![Group::of(4, plain(&values))]) }.bytes(), &values);
}

/// As DuckDB writes them; `pyarrow` reads them like this, and no interval type of Arrow goes to other programs.
#[test]
fn intervals_are_twelve_bytes() {
    let words: Vec<u8> = (0..24).collect();
    let made = || Made { physical: 7, length: Some(12), converted: Some(21), ..Made::of(vec![Group::of(2, page(2, 0, &words))]) };
    let corner = corner("interval");
    let uri = corner.put(made().bytes());
    let batches = corner.arrow(&uri);
    assert_eq!(*batches[0].schema().field(0), Field::new("a", DataType::FixedSizeBinary(12), false));
    assert_eq!(batches[0].column(0).to_data().buffers()[0].as_slice(), words);
    let found = corner.slicer.inspect(&uri).unwrap().table.unwrap();
    assert_eq!(found.columns[0].kind, "FixedSizeBinary(12)");
    // The copy still says what they are.
    let copy = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(corner.copy(&uri))).unwrap();
    assert_eq!(copy.parquet_schema().column(0).converted_type(), parquet::basic::ConvertedType::INTERVAL);
}

/// `pyarrow` notes the zone in the Arrow schema and stores seconds, and at version 1.0 nanoseconds, in another unit.
#[test]
fn times_keep_their_zone_whatever_unit_they_are_stored_in() {
    let zone = || Some("Europe/Berlin".into());
    let instants: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3]).with_timezone("UTC"));
    let list = |unit, zone| DataType::List(Arc::new(Field::new_list_field(DataType::Timestamp(unit, zone), true)));
    let mut lists =
        arrow_array::builder::ListBuilder::new(arrow_array::builder::TimestampMillisecondBuilder::new().with_timezone("UTC"));
    (0..3).for_each(|value| lists.append_value([Some(value)]));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("t", instants.clone(), true),
        ("l", Arc::new(lists.finish()) as ArrayRef, true),
    ])
    .unwrap();
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        let noted = Schema::new(vec![
            Field::new("t", DataType::Timestamp(unit, zone()), true),
            Field::new("l", list(unit, zone()), true),
        ]);
        let mut bytes = Vec::new();
        let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new().with_skip_arrow_metadata(true);
        let mut writer = ArrowWriter::try_new_with_options(&mut bytes, batch.schema(), options).unwrap();
        writer.append_key_value_metadata(KeyValue::new("ARROW:schema".into(), encode_arrow_schema(&noted)));
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let corner = corner("zone");
        let uri = corner.put(bytes);
        for columns in [vec![], vec!["l".to_owned()]] {
            let cut = Cut { columns, ..Cut::by(Partition::Count(2)) };
            for slice in corner.slicer.cut(&uri, &cut, &|_| {}).unwrap() {
                let schema = corner.slicer.arrow(&slice).unwrap().schema();
                let mut copy = Vec::new();
                corner.slicer.read(&slice, 0).unwrap().read_to_end(&mut copy).unwrap();
                let noted = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(copy)).unwrap();
                let wanted = [DataType::Timestamp(TimeUnit::Millisecond, zone()), list(TimeUnit::Millisecond, zone())];
                let found: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
                assert_eq!(found, wanted.iter().skip(2 - found.len()).collect::<Vec<_>>(), "{unit:?}");
                assert!(noted.metadata().file_metadata().key_value_metadata().is_some());
                for batch in corner.slicer.arrow(&slice).unwrap() {
                    assert!(batch.unwrap().num_rows() > 0);
                }
            }
        }
    }
}

#[test]
fn extents_are_exact() {
    let big = (1_u64 << 53) + 1;
    let schema = Schema::new(vec![
        Field::new("i", DataType::Int64, true),
        Field::new("u", DataType::UInt64, true),
        Field::new("f", DataType::Float32, true),
        Field::new("d", DataType::Date32, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("z", DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into())), true),
        Field::new("m", DataType::Decimal128(9, 2), true),
        Field::new("s", DataType::Utf8, true),
        Field::new("none", DataType::Int32, true),
    ]);
    let group = |number: i64| {
        let instant = 1_706_659_200_000 + number;
        let column = |kind: &DataType| -> ArrayRef {
            let instants = TimestampMillisecondArray::from(vec![Some(instant), None]);
            match kind {
                DataType::Int64 => Arc::new(arrow_array::Int64Array::from(vec![Some(big as i64 - 1 + number), None])),
                DataType::UInt64 => Arc::new(UInt64Array::from(vec![Some(big + u64::MAX / 2 + number as u64), None])),
                DataType::Float32 => Arc::new(arrow_array::Float32Array::from(vec![Some(0.5 - number as f32), None])),
                DataType::Date32 => Arc::new(arrow_array::Date32Array::from(vec![Some(19_753 + number as i32), None])),
                DataType::Timestamp(TimeUnit::Millisecond, _) => Arc::new(instants),
                DataType::Timestamp(..) => {
                    let micros = arrow_array::TimestampMicrosecondArray::from(vec![Some(instant * 1000), None]);
                    Arc::new(micros.with_timezone("Europe/Berlin"))
                }
                DataType::Decimal128(..) => Arc::new(
                    arrow_array::Decimal128Array::from(vec![Some(-105 + number as i128), None])
                        .with_precision_and_scale(9, 2)
                        .unwrap(),
                ),
                DataType::Utf8 => Arc::new(arrow_array::StringArray::from(vec![Some(format!("word {number}")), None])),
                _ => Arc::new(Int32Array::from(vec![None, None])),
            }
        };
        let columns = schema.fields().iter().map(|field| column(field.data_type())).collect();
        RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap()
    };
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::new(schema.clone()), None).unwrap();
    for number in [1, 0, 2] {
        writer.write(&group(number)).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    let corner = corner("extents");
    let found = corner.slicer.inspect(&corner.put(bytes)).unwrap().table.unwrap();
    let extent = |name: &str, min: Bound, max: Bound| Extent { name: name.into(), min, max };
    let text = |text: &str| Bound::Text(text.into());
    let expected = [
        extent("i", (big as i64 - 1).into(), (big as i64 + 1).into()),
        extent("u", (big + u64::MAX / 2).into(), (big + u64::MAX / 2 + 2).into()),
        extent("f", (-1.5).into(), 0.5.into()),
        extent("d", text("2024-01-31"), text("2024-02-02")),
        extent("t", text("2024-01-31T00:00:00"), text("2024-01-31T00:00:00.002")),
        extent("z", text("2024-01-31T00:00:00Z"), text("2024-01-31T00:00:00.002Z")),
        extent("m", text("-1.05"), text("-1.03")),
        extent("s", text("word 0"), text("word 2")),
    ];
    assert_eq!(found.extents, expected);
    let json = serde_json::to_string(&found).unwrap();
    assert!(json.contains(r#"{"name":"i","min":9007199254740992,"max":9007199254740994}"#), "{json}");
}

/// Brotli is copied but not decoded: what could never be read is refused when it is asked for.
#[test]
fn a_part_of_a_row_group_that_cannot_be_decoded_is_refused_when_cut() {
    let group = |values: &[i32]| {
        let mut group = Group::of(values.len() as i64, plain(values));
        group.more = Vec::new();
        group
    };
    let made = Made::of(vec![group(&[1, 2]), group(&[3])]);
    let mut bytes = made.bytes();
    // Field 4 of both chunks, the codec: 4 is Brotli.
    let footer = bytes.len() - 8 - u32::from_le_bytes(*bytes[bytes.len() - 8..].first_chunk().unwrap()) as usize;
    let codec = [0x19, 0x18, 0x01, b'a', 0x15, 0];
    let places: Vec<usize> = (footer..bytes.len() - 6).filter(|at| bytes[*at..*at + 6] == codec).collect();
    assert_eq!(places.len(), 2);
    places.iter().for_each(|at| bytes[at + 5] = 8);
    let corner = corner("brotli");
    let uri = corner.put(bytes);
    for count in [1, 2] {
        assert_eq!(corner.slicer.cut(&uri, &Cut::by(Partition::Count(count)), &|_| {}).unwrap().len() as u64, count);
    }
    for partition in [Partition::Count(3), Partition::Records(1)] {
        let error = corner.slicer.cut(&uri, &Cut::by(partition), &|_| {}).unwrap_err();
        assert!(matches!(error, FormatError::Unsupported { .. }) && error.to_string().contains("row group 0"), "{error}");
    }
    assert!(corner.slicer.cut(&uri, &Cut::by(Partition::Records(2)), &|_| {}).is_ok());
}
