//! The type of a column of CSV, TSV or JSON Lines, told from its values.

use arrow_array::timezone::Tz;
use arrow_array::types::Date32Type;
use arrow_cast::parse::{Parser, string_to_datetime};
use arrow_schema::{DataType, TimeUnit};

use super::text::{finer_than, has_offset};

/// UTC as Arrow knows it without a table of time zones.
pub(crate) const UTC: &str = "+00:00";

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
    /// Takes one more field of CSV into account, which may be anything.
    pub(super) fn see(&mut self, value: &[u8]) {
        if is_missing(value) {
            return;
        }
        let text = std::str::from_utf8(value).unwrap_or_default();
        let boolean = self.boolean && is_boolean(text);
        let (date, local, zoned) = self.times(text);
        self.see_number(text);
        *self = Self { boolean, date, local, zoned, ..*self };
    }

    /// A value that can only be a number.
    pub(super) fn see_number(&mut self, text: &str) {
        let integer = is_integer(text);
        // Digits that are too many for an integer are a name, and so are those behind a zero: a number would not keep them.
        let float = self.float && (integer || (is_float(text) && !is_digits(text)));
        *self = Self { integer: self.integer && integer, float, ..Self::none() };
    }

    /// A value that can only be a boolean.
    pub(super) fn see_boolean(&mut self) {
        *self = Self { boolean: self.boolean, ..Self::none() };
    }

    /// A value that is text, however much it looks like a number.
    pub(super) fn see_text(&mut self, text: &str) {
        let (date, local, zoned) = self.times(text);
        *self = Self { date, local, zoned, ..Self::none() };
    }

    /// Seen, and nothing but text.
    fn none() -> Self {
        Self { seen: true, boolean: false, integer: false, float: false, date: false, local: false, zoned: false }
    }

    fn times(self, text: &str) -> (bool, bool, bool) {
        let time = if self.local || self.zoned { time_of(text) } else { None };
        (self.date && is_date(text), self.local && time == Some(false), self.zoned && time == Some(true))
    }

    /// Whether there was any value.
    pub(super) fn seen(self) -> bool {
        self.seen
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

pub(super) fn is_boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

/// Whether it is digits behind a zero, as postal codes and sample numbers are written: `08123`.
pub(super) fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    matches!(digits, [b'0', b'0'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit)
}

fn is_digits(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_integer(text: &str) -> bool {
    is_digits(text) && !is_code(text) && text.parse::<i64>().is_ok()
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let special = ["nan", "inf"].iter().any(|special| unsigned.eq_ignore_ascii_case(special));
    let number = |text: &str| text.parse().is_ok_and(f64::is_finite);
    special || (unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') && number(text))
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
    if finer_than(text, TimeUnit::Microsecond) {
        return None;
    }
    string_to_datetime(&UTC.parse::<Tz>().ok()?, text).ok()?;
    Some(has_offset(text))
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
        assert_eq!(kind(&["1", "-2", "", "NA", "0", "-0", "+5"]), "Int64");
        assert_eq!(kind(&["0.5", "007.25", "0"]), "Float64");
        assert_eq!(kind(&["1", "2.5", "1e3", ".5", "nan", "-inf"]), "Float64");
        assert_eq!(kind(&["true", "FALSE"]), "Boolean");
        assert_eq!(kind(&["2026-11-24"]), "Date32");
        assert_eq!(kind(&["2026-11-24T10:20:30.123", "2026-11-24 10:20:00"]), "Timestamp(µs)");
        assert_eq!(kind(&["1492-10-12T02:00:00"]), "Timestamp(µs)");
        assert_eq!(kind(&["2026-11-24T10:20:30Z", "2026-11-24T10:20:30+01:00"]), "Timestamp(µs, \"UTC\")");
        for text in [
            &["1", "x"][..],
            &[],
            &["NA", ""],
            &["99999999999999999999"],
            &["0x1f"],
            &["1", "true"],
            &["2026-13-01"],
            &["e5"],
            &["8123", "08123"],
            &["00", "1.5"],
            &["-01"],
            &["1e999"],
        ] {
            assert_eq!(kind(text), "Utf8", "{text:?}");
        }
        assert_eq!(kind(&["2026-11-24", "2026-11-24T10:20:30"]), "Utf8");
    }
}
