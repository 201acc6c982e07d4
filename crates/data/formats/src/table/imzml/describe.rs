use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::head::Head;
use super::index::Footer;
use super::number::Number;
use crate::table::{Column, Description};

/// The columns of the Arrow form. Nothing of a spectrum is null but a z that only others have.
pub(super) fn schema(footer: &Footer) -> SchemaRef {
    let z = footer.some_z.then_some(!footer.all_z);
    Arc::new(Schema::new(fields(z, footer.mz, footer.intensity)))
}

fn fields(nullable_z: Option<bool>, mz: Number, intensity: Number) -> Vec<Field> {
    let list = |name: &str, number: Number| Field::new(name, DataType::List(Arc::new(item(number))), false);
    let mut fields = vec![
        Field::new("spectrum", DataType::UInt64, false),
        Field::new("x", DataType::Int32, false),
        Field::new("y", DataType::Int32, false),
    ];
    fields.extend(nullable_z.map(|nullable| Field::new("z", DataType::Int32, nullable)));
    fields.extend([list("mz", mz), list("intensity", intensity)]);
    fields
}

/// The items of a column of lists.
pub(super) fn item(number: Number) -> Field {
    Field::new("item", number.arrow(), false)
}

/// What is known from the head, and from the footer of the index once there is one.
pub(super) fn describe(head: &Head, footer: Option<&Footer>) -> Description {
    let columns = match (footer, head.numbers()) {
        (Some(footer), _) => Column::of(&schema(footer)),
        // The head does not tell whether there is a z.
        (None, (Some(mz), Some(intensity))) => Column::of(&Schema::new(fields(None, mz, intensity))),
        _ => Vec::new(),
    };
    let records = footer.map(|footer| footer.count).or(head.spectra);
    Description { records, unit: "spectra".into(), columns, facts: head.facts(), ..Description::default() }
}
