use std::time::Duration;

use thiserror::Error;

/// A text that is not an amount.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not {what}; write for example {example}")]
pub struct ParseQuantityError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// Bytes from a text such as `512`, `10G`, `64KiB`, `1.5MB`; powers of 1024 for `K`, `KiB`, …, of 1000 for `KB`, ….
///
/// ```
/// assert_eq!(neardata_core::parse_bytes("10G"), Ok(10 << 30));
/// assert_eq!(neardata_core::parse_bytes("1.5kB"), Ok(1500));
/// assert!(neardata_core::parse_bytes("many").is_err());
/// ```
pub fn parse_bytes(text: &str) -> Result<u64, ParseQuantityError> {
    let bad = || ParseQuantityError { text: text.to_owned(), what: "a number of bytes", example: "512M, 10GiB or 1.5GB" };
    let (number, unit) = split_number(text);
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(bad()),
    };
    if factor == 1.0 {
        return number.parse().map_err(|_| bad());
    }
    let number: f64 = number.parse().map_err(|_| bad())?;
    Ok((number * factor) as u64)
}

/// A duration from a text such as `90`, `90s`, `15m`, `2h`, `250ms`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, ParseQuantityError> {
    let bad = || ParseQuantityError { text: text.to_owned(), what: "a duration", example: "90s, 15m or 2h" };
    let (number, unit) = split_number(text);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "" | "s" => number,
        "ms" => number / 1000.0,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86400.0,
        _ => return Err(bad()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| bad())
}

fn split_number(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// A number of bytes as a person reads it: `1.39 MB`, in powers of 1000.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if amount < 10.0 => format!("{amount:.2} {}", UNITS[unit]),
        _ => format!("{amount:.1} {}", UNITS[unit]),
    }
}
