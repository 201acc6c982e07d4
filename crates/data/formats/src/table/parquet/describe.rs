//! What the footer says, for people.

use std::collections::BTreeSet;

use neardata_core::RangedRead;
use parquet::file::metadata::ColumnChunkMetaData;

use super::extents::extents;
use super::footer::Footer;
use super::schema::arrow_schema;
use crate::FormatError;
use crate::table::description::{Column, Description};

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
