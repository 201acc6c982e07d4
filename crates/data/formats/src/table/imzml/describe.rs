use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::head::Head;
use super::index::Footer;
use super::number::Number;
use crate::table::{Column, Description};

/// The columns of the Arrow form, the same of every pair: nothing of a spectrum is null but a z that it does not have.
pub(super) fn schema(footer: &Footer) -> SchemaRef {
    Arc::new(Schema::new(fields(!footer.all_z, footer.mz, footer.intensity)))
}

fn fields(nullable_z: bool, mz: Number, intensity: Number) -> Vec<Field> {
    let list = |name: &str, number: Number| Field::new(name, DataType::List(Arc::new(item(number))), false);
    vec![
        Field::new("spectrum", DataType::UInt64, false),
        Field::new("x", DataType::Int32, false),
        Field::new("y", DataType::Int32, false),
        Field::new("z", DataType::Int32, nullable_z),
        list("mz", mz),
        list("intensity", intensity),
    ]
}

/// The items of a column of lists.
pub(super) fn item(number: Number) -> Field {
    Field::new("item", number.arrow(), false)
}

/// What is known from the head, and from the footer of the index once there is one.
pub(super) fn describe(head: &Head, footer: Option<&Footer>) -> Description {
    let columns = match (footer, head.numbers()) {
        (Some(footer), _) => Column::of(&schema(footer)),
        // The head does not tell whether all have a z.
        (None, (Some(mz), Some(intensity))) => Column::of(&Schema::new(fields(true, mz, intensity))),
        _ => Vec::new(),
    };
    let records = footer.map(|footer| footer.count).or(head.spectra);
    Description { records, unit: "spectra".into(), columns, facts: head.facts(), ..Description::default() }
}
