//! Types of columns as people write them: `name:type,…`, or a JSON object.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::ArrowOptions;
use crate::FormatError;

const TYPES: &str = "bool, int8 to int64, uint8 to uint64, float32, float64, text, date, timestamp, timestamp[s|ms|us|ns], \
                     timestamp[us, UTC], timestamp[us, +02:00], decimal(9, 2), list<int32>";

impl ArrowOptions {
    /// Types of columns from text: `name:type,…`, or the same as a JSON object where a name has a comma or colon in it. Types are
    /// `bool`, `int8` to `int64`, `uint8` to `uint64`, `float32`, `float64`, `text`, `date`, `timestamp` (of microseconds, without a
    /// zone), `timestamp[ms]`, `timestamp[us, UTC]`, `decimal(9, 2)`, `list<…>` of one of them, and any as Arrow writes it (`Int32`).
    ///
    /// ```
    /// use neardata_formats::ArrowOptions;
    /// let schema = ArrowOptions::schema_of("id:text,info.AC:list<int64>,when:timestamp[us, UTC]")?;
    /// assert_eq!(schema, ArrowOptions::schema_of(r#"{"id": "text", "info.AC": "list<int64>", "when": "timestamp[us, UTC]"}"#)?);
    /// # Ok::<(), neardata_formats::FormatError>(())
    /// ```
    pub fn schema_of(text: &str) -> Result<SchemaRef, FormatError> {
        let text = text.trim();
        let pairs = if text.starts_with('{') { of_json(text)? } else { of_list(text)? };
        let mut fields: Vec<Field> = Vec::with_capacity(pairs.len());
        for (name, kind) in pairs {
            let data_type = kind_of(&kind).ok_or_else(|| {
                FormatError::Query(format!("`{}` is no type that column `{name}` could have; types are: {TYPES}", kind.trim()))
            })?;
            if fields.iter().any(|field| *field.name() == name) {
                return Err(FormatError::Query(format!("the schema names the column `{name}` twice")));
            }
            fields.push(Field::new(name, data_type, true));
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}

fn of_json(text: &str) -> Result<Vec<(String, String)>, FormatError> {
    let map: std::collections::BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|error| FormatError::Query(format!("the schema is no JSON object of names and types ({error}): `{text}`")))?;
    Ok(map.into_iter().collect())
}

fn of_list(text: &str) -> Result<Vec<(String, String)>, FormatError> {
    let pair = |part: &str| {
        let (name, kind) = part.split_once(':').filter(|(name, _)| !name.trim().is_empty()).ok_or_else(|| {
            let help = "write `name:type,…`, or a JSON object where a name has a comma or colon in it";
            FormatError::Query(format!("`{part}` in the schema is no name and type; {help}"))
        })?;
        Ok((name.trim().to_owned(), kind.to_owned()))
    };
    parts(text).into_iter().map(pair).collect()
}

/// What stands between commas, those inside brackets aside.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|letter: char| {
        depth += i32::from(matches!(letter, '[' | '(' | '<')) - i32::from(matches!(letter, ']' | ')' | '>'));
        letter == ',' && depth == 0
    })
    .collect()
}

fn kind_of(text: &str) -> Option<DataType> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    Some(match lower.as_str() {
        "bool" | "boolean" => DataType::Boolean,
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "uint8" => DataType::UInt8,
        "uint16" => DataType::UInt16,
        "uint32" => DataType::UInt32,
        "uint64" => DataType::UInt64,
        "float32" => DataType::Float32,
        "float64" => DataType::Float64,
        "text" | "string" | "utf8" => DataType::Utf8,
        "date" | "date32" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => return bracketed(text, &lower).or_else(|| text.parse().ok()),
    })
}

/// `list<int32>`, `timestamp[us, UTC]`, `decimal(9, 2)`.
fn bracketed(text: &str, lower: &str) -> Option<DataType> {
    let inside = |begin: &str, end: &str| {
        let length = lower.strip_prefix(begin)?.strip_suffix(end)?.len();
        text.get(begin.len()..begin.len() + length)
    };
    if let Some(item) = inside("list<", ">") {
        return Some(DataType::List(Arc::new(Field::new("item", kind_of(item)?, true))));
    }
    if let Some(inside) = inside("timestamp[", "]") {
        let (unit, zone) = inside.split_once(',').map_or((inside, None), |(unit, zone)| (unit, Some(zone.trim())));
        let unit = match unit.trim() {
            "s" => TimeUnit::Second,
            "ms" => TimeUnit::Millisecond,
            "us" => TimeUnit::Microsecond,
            "ns" => TimeUnit::Nanosecond,
            _ => return None,
        };
        let zone = zone.map(|zone| zone.strip_prefix("tz=").unwrap_or(zone));
        return if zone == Some("") { None } else { Some(DataType::Timestamp(unit, zone.map(Into::into))) };
    }
    let digits = inside("decimal(", ")").or_else(|| inside("decimal128(", ")"))?;
    let (precision, scale) = digits.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let fits = (1..=38).contains(&precision) && (0..=precision as i8).contains(&scale);
    fits.then_some(DataType::Decimal128(precision, scale))
}

#[cfg(test)]
mod tests {
    use super::ArrowOptions;

    #[test]
    fn schemas_are_read_from_text() {
        let shown = |text: &str| -> Vec<String> {
            let schema = ArrowOptions::schema_of(text).unwrap();
            schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
        };
        assert_eq!(
            shown("a:int64, b.c:list<float32>,d:timestamp[ms, +02:00],e:Timestamp(µs, \"UTC\"),f:decimal(9, 2),g:String,h:UInt8"),
            [
                "a Int64",
                "b.c List(Float32)",
                "d Timestamp(ms, \"+02:00\")",
                "e Timestamp(µs, \"UTC\")",
                "f Decimal128(9, 2)",
                "g Utf8",
                "h UInt8"
            ]
        );
        assert_eq!(shown(r#"{"a:,b": "timestamp[us, tz=Europe/Madrid]"}"#), ["a:,b Timestamp(µs, \"Europe/Madrid\")"]);
        for (wrong, words) in [
            ("a", "`a` in the schema is no name and type"),
            ("", "no name and type"),
            (":int64", "no name and type"),
            ("a:int65", "`int65` is no type that column `a` could have"),
            ("a:decimal(99, 2)", "is no type"),
            ("a:timestamp[h]", "is no type"),
            ("a:list<", "is no type"),
            ("a:int64,a:text", "`a` twice"),
            ("{\"a\":1}", "no JSON object of names and types"),
        ] {
            let error = ArrowOptions::schema_of(wrong).unwrap_err().to_string();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }
}
