//! Made-up tables and cuts, for the property tests of table formats: whatever was put into an object comes out of its slices once.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Decimal128Builder, FixedSizeBinaryBuilder, Float64Builder, Int32Builder, Int64Builder, LargeStringBuilder,
    ListBuilder, MapBuilder, StringBuilder, StringViewBuilder, TimestampMicrosecondBuilder, UInt8Builder,
};
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, StructArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{DataType, Field, Fields, Schema};
use neardata_core::ObjectUri;
use neardata_formats::conformance::tables::{Order, TableSuite};
use neardata_formats::{Cut, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;

use crate::law::cases;

/// Numbers from a seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }

    fn word(&mut self) -> String {
        let length = self.roll(12);
        (0..length).map(|_| self.pick(&['a', 'b', 'Z', ' ', '"', 'é', '\n', '😀'])).collect()
    }
}

/// Some partition into not too many slices.
pub(crate) fn partition() -> impl Strategy<Value = Partition> {
    prop_oneof![
        (1_u64..40).prop_map(Partition::Count),
        (50_u64..20_000).prop_map(Partition::Bytes),
        (1_u64..60).prop_map(Partition::Records),
        (1_u64..40).prop_map(Partition::Tiles),
    ]
}

/// A suite of its own corner of memory.
pub(crate) fn suite(format: &str) -> TableSuite {
    static STORES: std::sync::LazyLock<Stores> = std::sync::LazyLock::new(|| Stores::new(StoreOptions::default()).unwrap());
    let root: ObjectUri = format!("memory://random/{format}").parse().unwrap();
    let slicer = Slicer::new(STORES.clone(), SideCars { root: root.join("side-cars") });
    TableSuite::new(STORES.clone(), slicer, root.join("objects"))
}

/// Checks cuts by these partitions; tiles give records in any order, other slices in this.
pub(crate) fn check(
    suite: &TableSuite,
    objects: &[(&str, Vec<u8>)],
    partitions: &[Partition],
    expected: &RecordBatch,
    order: Order,
) -> Result<(), TestCaseError> {
    for partition in partitions {
        let order = if matches!(partition, Partition::Tiles(_)) { Order::Free } else { order };
        let checked = suite.check_against(objects, &[Cut::by(*partition)], std::slice::from_ref(expected), order);
        checked.map_err(TestCaseError::fail)?;
    }
    Ok(())
}

const KINDS: u64 = 14;
const WORDS: [&str; 4] = ["one", "two", "", "three and more"];

fn column(kind: u64, rows: usize, nullable: bool, dice: &mut Dice) -> ArrayRef {
    macro_rules! filled {
        ($builder:expr, $value:expr) => {{
            let mut builder = $builder;
            for _ in 0..rows {
                match nullable && dice.roll(4) == 0 {
                    true => builder.append_null(),
                    false => builder.append_value($value),
                }
            }
            Arc::new(builder.finish())
        }};
    }
    match kind {
        0 => filled!(Int64Builder::new(), dice.roll(u64::MAX) as i64),
        1 => filled!(StringBuilder::new(), dice.word()),
        2 => filled!(BooleanBuilder::new(), dice.roll(2) == 0),
        3 => filled!(Float64Builder::new(), dice.roll(1 << 50) as f64 / 1024.0 - 3e5),
        4 => list(ListBuilder::new(Int32Builder::new()), rows, nullable, dice, |items, dice| {
            items.append_option((dice.roll(5) > 0).then(|| dice.roll(1000) as i32));
        }),
        5 => list(ListBuilder::new(ListBuilder::new(StringBuilder::new())), rows, nullable, dice, |items, dice| {
            (0..dice.roll(3)).for_each(|_| items.values().append_value(dice.word()));
            items.append(dice.roll(4) > 0);
        }),
        6 => filled!(TimestampMicrosecondBuilder::new().with_timezone("+00:00"), dice.roll(1 << 50) as i64),
        7 => filled!(Decimal128Builder::new().with_precision_and_scale(20, 3).unwrap(), dice.roll(1 << 60) as i128 - 7),
        8 => filled!(LargeStringBuilder::new(), dice.word()),
        9 => filled!(UInt8Builder::new(), dice.roll(256) as u8),
        10 => filled!(StringViewBuilder::new(), dice.word().repeat(3)),
        11 => {
            let mut builder = FixedSizeBinaryBuilder::new(5);
            for _ in 0..rows {
                match nullable && dice.roll(4) == 0 {
                    true => builder.append_null(),
                    false => builder.append_value(&dice.roll(u64::MAX).to_le_bytes()[..5]).unwrap(),
                }
            }
            Arc::new(builder.finish())
        }
        12 => {
            // All batches of an Arrow file share a dictionary.
            let keys = (0..rows).map(|_| (!nullable || dice.roll(4) > 0).then(|| dice.roll(4) as i32));
            let keys = Int32Array::from_iter(keys);
            Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(WORDS.to_vec()))))
        }
        _ => {
            let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
            for _ in 0..rows {
                for entry in 0..dice.roll(3) {
                    maps.keys().append_value(format!("{entry}"));
                    maps.values().append_option((dice.roll(3) > 0).then(|| dice.roll(9) as i32));
                }
                maps.append(!nullable || dice.roll(4) > 0).unwrap();
            }
            Arc::new(maps.finish())
        }
    }
}

fn list<B: arrow_array::builder::ArrayBuilder>(
    mut builder: ListBuilder<B>,
    rows: usize,
    nullable: bool,
    dice: &mut Dice,
    mut item: impl FnMut(&mut B, &mut Dice),
) -> ArrayRef {
    for _ in 0..rows {
        let present = !nullable || dice.roll(4) > 0;
        (0..if present { dice.roll(4) } else { 0 }).for_each(|_| item(builder.values(), dice));
        builder.append(present);
    }
    Arc::new(builder.finish())
}

/// A table of some columns of any kinds, some of them inside of structs.
fn table(rows: usize, dice: &mut Dice) -> RecordBatch {
    let columns = 1 + dice.roll(5);
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for number in 0..columns {
        let nullable = dice.roll(3) > 0;
        let array = column(dice.roll(KINDS), rows, nullable, dice);
        let (field, array) = match dice.roll(4) {
            0 => {
                let inner: Fields =
                    vec![Field::new("v", array.data_type().clone(), nullable), Field::new("n", DataType::Int64, true)].into();
                let nulls = (dice.roll(2) == 0).then(|| (0..rows).map(|_| dice.roll(3) > 0).collect::<Vec<bool>>().into());
                let outer = Field::new(format!("c{number}"), DataType::Struct(inner.clone()), true);
                let numbers = column(0, rows, true, dice);
                (outer, Arc::new(StructArray::new(inner, vec![array, numbers], nulls)) as ArrayRef)
            }
            _ => (Field::new(format!("c{number}"), array.data_type().clone(), nullable), array),
        };
        fields.push(field);
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// The table in pieces of any sizes, some without a row.
fn pieces(table: &RecordBatch, dice: &mut Dice) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < table.num_rows() {
        let rows = (dice.roll(40) as usize).min(table.num_rows() - at);
        pieces.push(table.slice(at, rows));
        at += rows;
    }
    pieces
}

fn parquet(table: &RecordBatch, dice: &mut Dice) -> Vec<u8> {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::GZIP(GzipLevel::default()),
    ];
    let properties = WriterProperties::builder()
        .set_compression(dice.pick(&codecs))
        .set_writer_version(dice.pick(&[WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0]))
        .set_data_page_row_count_limit(1 + dice.roll(30) as usize)
        .set_write_batch_size(1 + dice.roll(20) as usize)
        .set_dictionary_enabled(dice.roll(2) == 0)
        .build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, table.schema(), Some(properties)).unwrap();
    for piece in pieces(table, dice) {
        writer.write(&piece).unwrap();
        if dice.roll(3) > 0 {
            writer.flush().unwrap();
        }
    }
    writer.close().unwrap();
    out
}

fn ipc(table: &RecordBatch, dice: &mut Dice) -> Vec<u8> {
    let codec = dice.pick(&[None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)]);
    let options = IpcWriteOptions::default().try_with_compression(codec).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &table.schema(), options).unwrap();
    pieces(table, dice).iter().for_each(|piece| writer.write(piece).unwrap());
    writer.into_inner().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(40), ..ProptestConfig::default() })]

    #[test]
    fn rows_of_columnar_files_are_those_put_in(seed: u64, rows in 0_usize..110, parquets: bool, some: bool, cut in partition()) {
        let dice = &mut Dice(seed);
        let table = table(rows, dice);
        let (name, bytes) = match parquets {
            true => ("x.parquet", parquet(&table, dice)),
            false => ("x.arrow", ipc(&table, dice)),
        };
        let chosen: Vec<usize> = (0..table.num_columns()).filter(|_| !some || dice.roll(2) == 0).collect();
        let chosen = if chosen.is_empty() { vec![0] } else { chosen };
        let expected = table.project(&chosen).unwrap();
        let columns = match chosen.len() < table.num_columns() {
            true => expected.schema().fields().iter().map(|field| field.name().clone()).collect(),
            false => Vec::new(),
        };
        let cut = Cut { columns, ..Cut::by(cut) };
        let checked = suite("columnar").check_against(&[(name, bytes)], &[cut], &[expected], Order::Kept);
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}
