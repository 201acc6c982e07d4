//! The schema of a file as Arrow has it, and as it can be written again.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use super::footer::Footer;
use super::{FORMAT, damaged};
use crate::FormatError;
use crate::table::contain::contain;

/// The Arrow schema of the file: as its writer noted it, else as Parquet's own types have it.
///
/// Two types are as `pyarrow` gives them, where the `parquet` crate decides otherwise: intervals are 12 bytes, since no type of Arrow
/// that other programs take has months, days and milliseconds; times keep the zone that was noted though Parquet stores them in
/// another unit.
pub(super) fn arrow_schema(footer: &Footer, name: &str) -> Result<Schema, FormatError> {
    let pairs = footer.metadata.file_metadata().key_value_metadata();
    contain(name, FORMAT, 0, || {
        let schema = || {
            let descriptor = for_arrow(footer)?;
            let schema = parquet_to_arrow_schema(&descriptor, pairs)?;
            if pairs.is_none() || !descriptor.columns().iter().any(|leaf| is_instant(leaf.self_type())) {
                return Ok(schema);
            }
            // Of bare numbers the crate takes whatever was noted.
            let bare = without(footer, &|node| is_instant(node) || is_unknown(node) || is_interval(node))?;
            let noted = parquet_to_arrow_schema(&bare, pairs)?;
            Ok(Schema::new_with_metadata(with_zones(schema.fields(), noted.fields()), schema.metadata().clone()))
        };
        schema().map_err(|error: ParquetError| damaged(name, 0, &format!("its schema is none of Arrow's: {error}")))
    })
}

/// The schema as it is decoded: unknown annotations say nothing, and intervals are 12 bytes (months, days and milliseconds, least
/// significant byte first).
pub(super) fn for_arrow(footer: &Footer) -> Result<SchemaDescPtr, ParquetError> {
    without(footer, &|node| is_unknown(node) || is_interval(node))
}

/// The schema without annotations that the `parquet` crate does not know and hence cannot write.
pub(super) fn without_unknown(footer: &Footer) -> Result<SchemaDescPtr, ParquetError> {
    without(footer, &is_unknown)
}

fn is_unknown(node: &Type) -> bool {
    matches!(node.get_basic_info().logical_type_ref(), Some(LogicalType::_Unknown { .. }))
}

fn is_interval(node: &Type) -> bool {
    node.is_primitive() && node.get_basic_info().converted_type() == ConvertedType::INTERVAL
}

/// Whether values are points in time, which may have a zone.
fn is_instant(node: &Type) -> bool {
    let info = node.get_basic_info();
    match info.logical_type_ref() {
        Some(LogicalType::Timestamp(timestamp)) => timestamp.is_adjusted_to_u_t_c,
        _ => matches!(info.converted_type(), ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS),
    }
}

/// The schema without the annotations of the types that are to be bare.
fn without(footer: &Footer, bare: &dyn Fn(&Type) -> bool) -> Result<SchemaDescPtr, ParquetError> {
    let descriptor = footer.metadata.file_metadata().schema_descr_ptr();
    let root = descriptor.root_schema_ptr();
    let stripped = strip(&root, bare)?;
    Ok(if Arc::ptr_eq(&root, &stripped) { descriptor } else { Arc::new(SchemaDescriptor::new(stripped)) })
}

fn strip(node: &TypePtr, bare: &dyn Fn(&Type) -> bool) -> Result<TypePtr, ParquetError> {
    let info = node.get_basic_info();
    let id = info.has_id().then(|| info.id());
    match node.as_ref() {
        Type::PrimitiveType { .. } if !bare(node) => Ok(node.clone()),
        Type::PrimitiveType { physical_type, type_length, .. } => {
            let builder = Type::primitive_type_builder(info.name(), *physical_type).with_repetition(info.repetition());
            builder.with_length(*type_length).with_id(id).build().map(Arc::new)
        }
        Type::GroupType { fields, .. } => {
            let stripped = fields.iter().map(|field| strip(field, bare)).collect::<Result<Vec<_>, _>>()?;
            let same = stripped.iter().zip(fields).all(|(stripped, field)| Arc::ptr_eq(stripped, field));
            if same && !bare(node) {
                return Ok(node.clone());
            }
            let mut builder = Type::group_type_builder(info.name()).with_fields(stripped).with_id(id);
            if info.has_repetition() {
                builder = builder.with_repetition(info.repetition());
            }
            if !bare(node) {
                builder = builder.with_converted_type(info.converted_type()).with_logical_type(info.logical_type_ref().cloned());
            }
            builder.build().map(Arc::new)
        }
    }
}

/// The fields with the time zones of those that were noted.
fn with_zones(fields: &Fields, noted: &Fields) -> Fields {
    match fields.len() == noted.len() {
        true => fields.iter().zip(noted).map(|(field, noted)| with_zone(field, noted)).collect(),
        false => fields.clone(),
    }
}

fn with_zone(field: &FieldRef, noted: &FieldRef) -> FieldRef {
    use DataType::{FixedSizeList, LargeList, List, Map, Struct, Timestamp};
    let kind = match (field.data_type(), noted.data_type()) {
        (Timestamp(unit, Some(_)), Timestamp(_, Some(zone))) => Timestamp(*unit, Some(zone.clone())),
        (Struct(fields), Struct(noted)) => Struct(with_zones(fields, noted)),
        (List(item), List(noted)) => List(with_zone(item, noted)),
        (LargeList(item), LargeList(noted)) => LargeList(with_zone(item, noted)),
        (FixedSizeList(item, length), FixedSizeList(noted, _)) => FixedSizeList(with_zone(item, noted), *length),
        (Map(item, sorted), Map(noted, _)) => Map(with_zone(item, noted), *sorted),
        _ => return field.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(kind))
}
