//! What the footer says, for people.

use std::collections::BTreeSet;

use neardata_core::RangedRead;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use super::footer::Footer;
use super::rows::arrow_schema;
use crate::FormatError;
use crate::table::description::{Column, Description, Extent};

pub(super) fn describe(object: &dyn RangedRead, footer: &Footer) -> Result<Description, FormatError> {
    let metadata = &footer.metadata;
    let file = metadata.file_metadata();
    let chunks = || metadata.row_groups().iter().flat_map(|group| group.columns());
    let uncompressed = chunks().map(|chunk| chunk.uncompressed_size().max(0) as u64).fold(0, u64::saturating_add);
    let codecs: BTreeSet<String> = chunks().map(codec).collect();
    let mut facts = vec![("row groups".to_owned(), metadata.num_row_groups().to_string())];
    if !codecs.is_empty() {
        facts.push(("compression".to_owned(), codecs.into_iter().collect::<Vec<_>>().join(", ")));
    }
    if let Some(writer) = file.created_by() {
        facts.push(("created by".to_owned(), writer.to_owned()));
    }
    if let Some(pairs) = file.key_value_metadata().filter(|pairs| !pairs.is_empty()) {
        let keys: Vec<&str> = pairs.iter().map(|pair| pair.key.as_str()).collect();
        facts.push(("key-value metadata".to_owned(), keys.join(", ")));
    }
    Ok(Description {
        records: Some(footer.rows),
        unit: "rows".to_owned(),
        uncompressed: Some(uncompressed),
        columns: Column::of(&arrow_schema(footer, object.name())?),
        extents: extents(footer),
        facts,
        preview: Vec::new(),
    })
}

fn codec(chunk: &ColumnChunkMetaData) -> String {
    // `ZSTD(ZstdLevel(1))` and the like: the level is not in the file.
    let name = format!("{:?}", chunk.compression());
    name.split('(').next().unwrap_or(&name).to_owned()
}

/// Smallest and largest values of columns of plain numbers, from the statistics of their chunks, where every chunk has them.
fn extents(footer: &Footer) -> Vec<Extent> {
    let schema = footer.metadata.file_metadata().schema_descr();
    let groups = || footer.metadata.row_groups().iter().filter(|group| group.num_rows() > 0);
    let extent = |leaf: usize| {
        let column = schema.column(leaf);
        let unsigned = match (column.logical_type_ref(), column.converted_type()) {
            (None, ConvertedType::NONE) => false,
            (Some(LogicalType::Integer(integer)), _) => !integer.is_signed,
            _ => return None,
        };
        let mut extent: Option<(f64, f64)> = None;
        for group in groups() {
            let chunk = group.column(leaf);
            let statistics = chunk.statistics()?;
            if statistics.null_count_opt() == Some(chunk.num_values() as u64) {
                continue;
            }
            let (min, max) = range(statistics, unsigned)?;
            extent = Some(extent.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
        }
        let (min, max) = extent?;
        Some(Extent { name: column.path().string(), min, max })
    };
    (0..schema.num_columns()).filter_map(extent).collect()
}

fn range(statistics: &Statistics, unsigned: bool) -> Option<(f64, f64)> {
    let (min, max) = match statistics {
        Statistics::Int32(values) if unsigned => (f64::from(*values.min_opt()? as u32), f64::from(*values.max_opt()? as u32)),
        Statistics::Int64(values) if unsigned => (*values.min_opt()? as u64 as f64, *values.max_opt()? as u64 as f64),
        Statistics::Int32(values) => (f64::from(*values.min_opt()?), f64::from(*values.max_opt()?)),
        Statistics::Int64(values) => (*values.min_opt()? as f64, *values.max_opt()? as f64),
        Statistics::Float(values) => (f64::from(*values.min_opt()?), f64::from(*values.max_opt()?)),
        Statistics::Double(values) => (*values.min_opt()?, *values.max_opt()?),
        _ => return None,
    };
    (min <= max).then_some((min, max))
}
