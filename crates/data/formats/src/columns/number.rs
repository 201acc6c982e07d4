//! Decimal numbers as samtools and bcftools print them.

use std::fmt::Write;

/// Significant digits.
const DIGITS: i32 = 6;

/// Writes `value` as C does with `%g`: six significant digits, no zeros at the end, an exponent where it is small or large.
pub(super) fn write_general(value: f32, out: &mut String) {
    if value.is_nan() {
        out.push_str(if value.is_sign_negative() { "-nan" } else { "nan" });
        return;
    }
    if value.is_infinite() {
        out.push_str(if value < 0.0 { "-inf" } else { "inf" });
        return;
    }
    let scientific = format!("{:.*e}", DIGITS as usize - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Writing to a string does not fail.
    let _ = if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or_default();
        out.write_str(trimmed(&format!("{value:.decimals$}")))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs())
    };
}

/// Without zeros at the end, where there is a point.
fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_as_samtools_prints_them() {
        for (value, expected) in [
            (0.0_f32, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (9.9e-19, "9.9e-19"),
            (2e10, "2e+10"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456.7, "123457"),
            (999_999.5, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.009_999_999, "0.01"),
            (2.345_678_9, "2.34568"),
            (f32::MAX, "3.40282e+38"),
            (f32::from_bits(1), "1.4013e-45"),
            (f32::INFINITY, "inf"),
            (f32::NEG_INFINITY, "-inf"),
            (f32::NAN, "nan"),
        ] {
            let mut out = String::new();
            super::write_general(value, &mut out);
            assert_eq!(out, expected);
        }
    }
}
