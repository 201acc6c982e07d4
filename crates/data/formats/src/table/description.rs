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
    pub min: f64,
    /// The largest.
    pub max: f64,
}
