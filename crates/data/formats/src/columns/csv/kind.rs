//! The type of a column, told from its values.

use arrow_array::types::{Date32Type, TimestampNanosecondType};
use arrow_cast::parse::Parser;
use arrow_schema::{DataType, TimeUnit};

/// What stands for a missing value in columns that are not text. In text only an empty field is missing: `NA` may be a country.
const MISSING: [&[u8]; 7] = [b"", b"NA", b"N/A", b"n/a", b"null", b"NULL", b"None"];

pub(super) fn is_missing(value: &[u8]) -> bool {
    value.len() <= 4 && MISSING.contains(&value)
}

/// What the values of a column seen so far may be.
#[derive(Clone, Copy)]
pub(super) struct Guess {
    seen: bool,
    boolean: bool,
    integer: bool,
    float: bool,
    date: bool,
    /// Without a time zone, and with one.
    local: bool,
    zoned: bool,
}

impl Default for Guess {
    fn default() -> Self {
        Self { seen: false, boolean: true, integer: true, float: true, date: true, local: true, zoned: true }
    }
}

impl Guess {
    /// Takes one more value into account.
    pub(super) fn see(&mut self, value: &[u8]) {
        if is_missing(value) {
            return;
        }
        self.seen = true;
        let text = std::str::from_utf8(value).unwrap_or_default();
        let integer = is_integer(text);
        self.integer &= integer;
        // Digits that are too many for an integer are a name: a float would not keep them.
        self.float &= integer || (is_float(text) && !is_digits(text));
        self.boolean &= text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
        self.date &= is_date(text);
        let time = if self.local || self.zoned { time_of(text) } else { None };
        self.local &= time == Some(false);
        self.zoned &= time == Some(true);
    }

    /// The narrowest type that holds all values seen; text if there was none.
    pub(super) fn kind(self) -> DataType {
        match self {
            Guess { seen: false, .. } => DataType::Utf8,
            Guess { boolean: true, .. } => DataType::Boolean,
            Guess { integer: true, .. } => DataType::Int64,
            Guess { float: true, .. } => DataType::Float64,
            Guess { date: true, .. } => DataType::Date32,
            Guess { local: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
            Guess { zoned: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        }
    }
}

fn is_digits(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_integer(text: &str) -> bool {
    is_digits(text) && text.parse::<i64>().is_ok()
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let special = ["nan", "inf"].iter().any(|special| unsigned.eq_ignore_ascii_case(special));
    special || (unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') && text.parse::<f64>().is_ok())
}

/// `2026-11-24`.
fn is_date(text: &str) -> bool {
    has_shape(text, b"dddd-dd-dd") && text.len() == 10 && Date32Type::parse(text).is_some()
}

/// ISO 8601 date and time; whether it has a time zone. None if it is something else, or finer than a microsecond.
fn time_of(text: &str) -> Option<bool> {
    let (date, behind) = (text.get(..10)?, text.get(10..)?);
    if !has_shape(date, b"dddd-dd-dd") || !has_shape(behind, b"?dd:dd:dd") || !behind.starts_with(['T', ' ']) {
        return None;
    }
    let fraction = behind.split_once('.').map_or("", |(_, fraction)| fraction);
    if fraction.bytes().take_while(u8::is_ascii_digit).count() > 6 {
        return None;
    }
    TimestampNanosecondType::parse(text)?;
    Some(behind.ends_with(['Z', 'z']) || behind.contains(['+', '-']))
}

/// Whether `text` begins so: `d` is a digit, `?` anything.
fn has_shape(text: &str, shape: &[u8]) -> bool {
    let fits = |(byte, wanted): (u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        b'?' => true,
        wanted => byte == *wanted,
    };
    text.len() >= shape.len() && text.bytes().zip(shape).all(fits)
}

#[cfg(test)]
mod tests {
    use super::Guess;

    #[test]
    fn types_are_the_narrowest_that_hold_every_value() {
        let kind = |values: &[&str]| {
            let mut guess = Guess::default();
            values.iter().for_each(|value| guess.see(value.as_bytes()));
            guess.kind().to_string()
        };
        assert_eq!(kind(&["1", "-2", "", "NA"]), "Int64");
        assert_eq!(kind(&["1", "2.5", "1e3", ".5", "nan", "-inf"]), "Float64");
        assert_eq!(kind(&["true", "FALSE"]), "Boolean");
        assert_eq!(kind(&["2026-11-24"]), "Date32");
        assert_eq!(kind(&["2026-11-24T10:20:30.123", "2026-11-24 10:20:00"]), "Timestamp(µs)");
        assert_eq!(kind(&["2026-11-24T10:20:30Z", "2026-11-24T10:20:30+01:00"]), "Timestamp(µs, \"UTC\")");
        for text in
            [&["1", "x"][..], &[], &["NA", ""], &["99999999999999999999"], &["0x1f"], &["1", "true"], &["2026-13-01"], &["e5"]]
        {
            assert_eq!(kind(text), "Utf8", "{text:?}");
        }
        assert_eq!(kind(&["2026-11-24", "2026-11-24T10:20:30"]), "Utf8");
    }
}
