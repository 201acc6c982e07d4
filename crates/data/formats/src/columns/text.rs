//! Text in the types of columns, exactly: what is none of a type, or would lose something, is said.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::timezone::Tz;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};

use super::kind::UTC;

/// Names of the zone in which a time without an offset is what it says.
const UTC_NAMES: [&str; 8] = ["UTC", "Etc/UTC", "Z", "Zulu", "GMT", "Etc/GMT", "Etc/Zulu", "UCT"];

/// Why text is not of a type.
#[derive(Debug)]
pub(super) enum Misfit {
    /// The value in a row is none of it.
    Value {
        row: usize,
        /// What it should be.
        expected: String,
    },
    /// Arrow has no way from text to the type.
    Type(ArrowError),
}

/// `values` in the type `kind`. The first that does not fit is an error; none becomes null.
pub(super) fn typed(values: StringArray, kind: &DataType) -> Result<ArrayRef, Misfit> {
    let safe = |kind: &DataType| {
        let options = CastOptions { safe: true, ..CastOptions::default() };
        cast_with_options(&values, kind, &options).map_err(Misfit::Type)
    };
    let array = match kind {
        DataType::Utf8 => return Ok(Arc::new(values)),
        DataType::Timestamp(unit, Some(zone)) if zone.parse::<Tz>().is_err() => {
            in_zone(&safe(&DataType::Timestamp(*unit, Some(UTC.into())))?, *unit, zone)
        }
        _ => safe(kind)?,
    };
    let naive_is_wrong = match kind {
        DataType::Timestamp(_, Some(zone)) => zone.parse::<Tz>().is_err() && !UTC_NAMES.contains(&zone.as_ref()),
        _ => false,
    };
    let misfit = |row: usize, text: &str| -> Option<String> {
        if array.is_null(row) {
            return Some(kind.to_string());
        }
        match kind {
            DataType::Float64 if array.as_primitive::<Float64Type>().value(row).is_infinite() => overflow(text, kind),
            DataType::Float32 if array.as_primitive::<Float32Type>().value(row).is_infinite() => overflow(text, kind),
            DataType::Timestamp(unit, _) if finer_than(text, *unit) => Some(format!("{kind} without loss: it is finer")),
            DataType::Timestamp(..) if naive_is_wrong && !has_offset(text) => Some(format!(
                "{kind}: it has no offset (`Z`, `+01:00`); read it as `timestamp`, without a zone, and convert that"
            )),
            _ => None,
        }
    };
    let checked =
        !(kind.is_integer() || matches!(kind, DataType::Boolean | DataType::Date32)) || array.null_count() > values.null_count();
    if checked {
        let mut filled = values.iter().enumerate().filter_map(|(row, value)| Some((row, value?)));
        if let Some((row, expected)) = filled.find_map(|(row, text)| Some((row, misfit(row, text)?))) {
            return Err(Misfit::Value { row, expected });
        }
    }
    Ok(array)
}

/// Instants are the same in every zone: only the type says in which they are shown.
pub(crate) fn in_zone(array: &ArrayRef, unit: TimeUnit, zone: &Arc<str>) -> ArrayRef {
    let zone = Arc::clone(zone);
    match unit {
        TimeUnit::Second => Arc::new(array.as_primitive::<TimestampSecondType>().clone().with_timezone(zone)),
        TimeUnit::Millisecond => Arc::new(array.as_primitive::<TimestampMillisecondType>().clone().with_timezone(zone)),
        TimeUnit::Microsecond => Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone(zone)),
        TimeUnit::Nanosecond => Arc::new(array.as_primitive::<TimestampNanosecondType>().clone().with_timezone(zone)),
    }
}

/// A number beyond what the type holds; infinity itself is written with letters.
fn overflow(text: &str, kind: &DataType) -> Option<String> {
    text.bytes().any(|byte| byte.is_ascii_digit()).then(|| format!("{kind}: it is beyond the largest"))
}

/// Whether a time is written in more digits than the unit keeps.
pub(super) fn finer_than(text: &str, unit: TimeUnit) -> bool {
    let kept = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().take_while(u8::is_ascii_digit).skip(kept).any(|digit| digit != b'0')
}

/// Whether a date and time says how far from UTC it is.
pub(super) fn has_offset(text: &str) -> bool {
    let time = text.get(10..).unwrap_or_default();
    time.ends_with(['Z', 'z']) || time.contains(['+', '-'])
}
