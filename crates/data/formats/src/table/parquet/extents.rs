//! Smallest and largest values, from the statistics of column chunks.

use std::sync::Arc;

use arrow_array::{
    Array, Date32Array, Decimal128Array, Time32MillisecondArray, Time64MicrosecondArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

use super::footer::Footer;
use crate::table::description::{Bound, Extent};

/// Bytes of a text that is still shown.
const LONGEST_TEXT: usize = 64;

/// The extents of columns of numbers, dates, times and texts where every chunk knows them exactly.
pub(super) fn extents(footer: &Footer) -> Vec<Extent> {
    let schema = footer.metadata.file_metadata().schema_descr();
    let groups = || footer.metadata.row_groups().iter().filter(|group| group.num_rows() > 0);
    let extent = |leaf: usize| {
        let column = schema.column(leaf);
        let meaning = Meaning::of(&column)?;
        let mut extent: Option<(Value, Value)> = None;
        for group in groups() {
            let chunk = group.column(leaf);
            let statistics = chunk.statistics()?;
            if statistics.null_count_opt() == Some(chunk.num_values() as u64) {
                continue;
            }
            let (min, max) = range(statistics, &meaning)?;
            extent = Some(match extent {
                Some((low, high)) => (if min < low { min } else { low }, if max > high { max } else { high }),
                None => (min, max),
            });
        }
        let (min, max) = extent?;
        Some(Extent { name: column.path().string(), min: meaning.bound(min)?, max: meaning.bound(max)? })
    };
    (0..schema.num_columns()).filter_map(extent).collect()
}

/// A value of the statistics.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Value {
    Whole(i128),
    Float(f64),
    Text(String),
}

/// What the values of a column are.
enum Meaning {
    Number,
    Unsigned,
    Text,
    Date,
    /// In this unit since midnight.
    Time(TimeUnit),
    /// In this unit since 1970, of UTC or of wherever.
    Timestamp(TimeUnit, bool),
    /// Of so many digits, so many of them behind the point.
    Decimal(u8, i8),
}

impl Meaning {
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        if let Some(logical) = column.logical_type_ref() {
            return Some(match logical {
                LogicalType::Integer(integer) if integer.is_signed => Self::Number,
                LogicalType::Integer(_) => Self::Unsigned,
                LogicalType::String => Self::Text,
                LogicalType::Date => Self::Date,
                LogicalType::Time(time) => Self::Time(time.unit),
                LogicalType::Timestamp(timestamp) => Self::Timestamp(timestamp.unit, timestamp.is_adjusted_to_u_t_c),
                LogicalType::Decimal(_) => Self::decimal(column)?,
                _ => return None,
            });
        }
        Some(match column.converted_type() {
            ConvertedType::NONE if column.physical_type() != Type::BYTE_ARRAY => Self::Number,
            ConvertedType::INT_8 | ConvertedType::INT_16 | ConvertedType::INT_32 | ConvertedType::INT_64 => Self::Number,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => Self::Unsigned,
            ConvertedType::UTF8 => Self::Text,
            ConvertedType::DATE => Self::Date,
            ConvertedType::TIME_MILLIS => Self::Time(TimeUnit::MILLIS),
            ConvertedType::TIME_MICROS => Self::Time(TimeUnit::MICROS),
            ConvertedType::TIMESTAMP_MILLIS => Self::Timestamp(TimeUnit::MILLIS, true),
            ConvertedType::TIMESTAMP_MICROS => Self::Timestamp(TimeUnit::MICROS, true),
            ConvertedType::DECIMAL => Self::decimal(column)?,
            _ => return None,
        })
    }

    fn decimal(column: &ColumnDescriptor) -> Option<Self> {
        Some(Self::Decimal(column.type_precision().try_into().ok()?, column.type_scale().try_into().ok()?))
    }

    /// How people and programs read a value.
    fn bound(&self, value: Value) -> Option<Bound> {
        let whole = match value {
            Value::Float(number) => return Some(number.into()),
            Value::Text(text) => return Some(text.into()),
            Value::Whole(whole) => whole,
        };
        let (short, long) = (i32::try_from(whole).ok(), i64::try_from(whole).ok());
        let zone = |utc: bool| utc.then(|| Arc::from("+00:00"));
        let array: Box<dyn Array> = match self {
            Self::Date => Box::new(Date32Array::from(vec![short?])),
            Self::Time(TimeUnit::MILLIS) => Box::new(Time32MillisecondArray::from(vec![short?])),
            Self::Time(TimeUnit::MICROS) => Box::new(Time64MicrosecondArray::from(vec![long?])),
            Self::Time(TimeUnit::NANOS) => Box::new(Time64NanosecondArray::from(vec![long?])),
            Self::Timestamp(TimeUnit::MILLIS, utc) => {
                Box::new(TimestampMillisecondArray::from(vec![long?]).with_timezone_opt(zone(*utc)))
            }
            Self::Timestamp(TimeUnit::MICROS, utc) => {
                Box::new(TimestampMicrosecondArray::from(vec![long?]).with_timezone_opt(zone(*utc)))
            }
            Self::Timestamp(TimeUnit::NANOS, utc) => {
                Box::new(TimestampNanosecondArray::from(vec![long?]).with_timezone_opt(zone(*utc)))
            }
            Self::Decimal(digits, behind) => {
                Box::new(Decimal128Array::from(vec![whole]).with_precision_and_scale(*digits, *behind).ok()?)
            }
            _ => return long.map(Bound::from).or_else(|| u64::try_from(whole).ok().map(Bound::from)),
        };
        let options = FormatOptions::default();
        ArrayFormatter::try_new(array.as_ref(), &options).ok()?.value(0).try_to_string().ok().map(Bound::Text)
    }
}

/// The smallest and largest value of a chunk, if they are in the order of its type.
fn range(statistics: &Statistics, meaning: &Meaning) -> Option<(Value, Value)> {
    let unsigned = matches!(meaning, Meaning::Unsigned);
    if (unsigned || matches!(meaning, Meaning::Text)) && statistics.is_min_max_deprecated() {
        return None;
    }
    let whole = |number: i128| Some(Value::Whole(number));
    let (min, max) = match (statistics, meaning) {
        (Statistics::ByteArray(values), Meaning::Text) => {
            let text =
                |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST_TEXT).map(str::to_owned);
            if !(statistics.min_is_exact() && statistics.max_is_exact()) {
                return None;
            }
            (text(values.min_bytes_opt()?).map(Value::Text), text(values.max_bytes_opt()?).map(Value::Text))
        }
        (_, Meaning::Text) => return None,
        (Statistics::Int32(values), _) if unsigned => {
            (whole((*values.min_opt()? as u32).into()), whole((*values.max_opt()? as u32).into()))
        }
        (Statistics::Int64(values), _) if unsigned => {
            (whole((*values.min_opt()? as u64).into()), whole((*values.max_opt()? as u64).into()))
        }
        (Statistics::Int32(values), _) => (whole((*values.min_opt()?).into()), whole((*values.max_opt()?).into())),
        (Statistics::Int64(values), _) => (whole((*values.min_opt()?).into()), whole((*values.max_opt()?).into())),
        (Statistics::Float(values), _) => {
            (Some(Value::Float((*values.min_opt()?).into())), Some(Value::Float((*values.max_opt()?).into())))
        }
        (Statistics::Double(values), _) => (Some(Value::Float(*values.min_opt()?)), Some(Value::Float(*values.max_opt()?))),
        _ => return None,
    };
    let (min, max) = (min?, max?);
    (min <= max).then_some((min, max))
}
