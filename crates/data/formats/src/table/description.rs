use std::fmt;

use serde::{Deserialize, Serialize};

/// What is known of an object without looking at its records, or after one pass over them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Number of records, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// What a record is called, in the plural: `points`, `spectra`.
    pub unit: String,
    /// Size when uncompressed, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncompressed: Option<u64>,
    /// Columns of its Arrow form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Smallest and largest values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extents: Vec<Extent>,
    /// Anything else worth a line: (name, value), in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<(String, String)>,
    /// The first records, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preview: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Column {
    /// The columns of an Arrow schema.
    pub fn of(schema: &arrow_schema::Schema) -> Vec<Self> {
        let column = |field: &arrow_schema::FieldRef| Self { name: field.name().clone(), kind: field.data_type().to_string() };
        schema.fields().iter().map(column).collect()
    }
}

/// The values of one dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extent {
    /// `x`, `m/z`, …
    pub name: String,
    /// The smallest.
    pub min: Bound,
    /// The largest.
    pub max: Bound,
}

/// A smallest or largest value, exact. In JSON a number or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// A whole number.
    Integer(i64),
    /// A whole number that signed ones of 64 bits do not reach.
    Unsigned(u64),
    /// A finite number.
    Float(f64),
    /// A text, a date or a time in the form of ISO 8601, a decimal number, or an infinite one.
    Text(String),
}

impl From<f64> for Bound {
    fn from(number: f64) -> Self {
        if number.is_finite() { Self::Float(number) } else { Self::Text(number.to_string()) }
    }
}

impl From<i64> for Bound {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Bound {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for Bound {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or(Self::Unsigned(number), Self::Integer)
    }
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_survive_their_json() {
        let numbers = [i64::MIN, -1, 0, (1 << 53) + 1, i64::MAX].map(Bound::from).into_iter();
        let more = [u64::MAX, 1 << 63, 7].map(Bound::from).into_iter().chain([0.5, -3.0, 1e300, f64::INFINITY].map(Bound::from));
        for bound in numbers.chain(more).chain([Bound::Text("2024-01-31".into())]) {
            let json = serde_json::to_string(&bound).unwrap();
            assert_eq!(serde_json::from_str::<Bound>(&json).unwrap(), bound, "{json}");
        }
    }
}
