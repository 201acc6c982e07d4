//! Reading slices.

use neardata_core::{ObjectRef, Slice};

use super::Slicer;
use crate::columns::{self, ArrowOptions, Opened};
use crate::lazy::PlainSelection;
use crate::read::{Part, RecordReader};
use crate::selection::{Selection, Stretch};
use crate::table::Batches;
use crate::whole::SliceReader;
use crate::{Compression, Format, FormatError};

impl Slicer {
    /// Reads object number `object` (from 0) of a slice as a file of its own: its records, uncompressed, behind the object's header if
    /// its format has one; BAM and BCF as BGZF.
    pub fn read(&self, slice: &Slice, object: usize) -> Result<SliceReader, FormatError> {
        if let Some(format) = self.table_named(&slice.format) {
            return self.read_table(&format, slice, object).map(SliceReader::of_pieces);
        }
        if slice.selection.get("region").is_some() {
            let (format, source) = (format_of(slice)?, object_of(slice, object)?);
            return SliceReader::of_region(self.stores.open(source)?, format, slice.selection_as()?);
        }
        if slice.selection.get("sequence").is_some() {
            return SliceReader::of_sequence(self.stores.open(object_of(slice, object)?)?, slice.selection_as()?);
        }
        SliceReader::new(self.part(slice, object)?)
    }

    /// Whether the bytes of the second slice may follow those of the first, without header, to make one file of both.
    pub fn joins(&self, first: &Slice, second: &Slice) -> bool {
        let same = first.objects == second.objects;
        let headed = |slice: &Slice| {
            let stretches = slice.selection.get("stretches").and_then(|stretches| stretches.as_array());
            slice.selection.get("preamble").is_some()
                || stretches.is_some_and(|stretches| stretches.iter().any(|stretch| stretch.get("preamble").is_some()))
        };
        first.format == second.format
            && self.table_named(&first.format).is_none()
            && Format::from_name(&first.format).is_some()
            && (same || !(headed(first) || headed(second)))
    }

    /// A slice as Arrow record batches, with all its columns.
    pub fn arrow(&self, slice: &Slice) -> Result<Batches, FormatError> {
        self.arrow_with(slice, &ArrowOptions::default())
    }

    /// Reads object number `object` (from 0) of a slice: exactly the uncompressed bytes of its records, without any header.
    pub fn read_records(&self, slice: &Slice, object: usize) -> Result<RecordReader, FormatError> {
        RecordReader::new(self.part(slice, object)?)
    }

    /// A slice as Arrow record batches. What the columns of each format are is in `docs/formats/`. Of the options, formats with a
    /// table of their own know `columns`.
    pub fn arrow_with(&self, slice: &Slice, options: &ArrowOptions) -> Result<Batches, FormatError> {
        refuse_idle(slice, options)?;
        if let Some(format) = self.table_named(&slice.format) {
            return self.table_batches(&format, slice, &options.columns);
        }
        let (format, source) = (format_of(slice)?, object_of(slice, options.object)?);
        let query = slice.selection.get("region").or(slice.selection.get("sequence"));
        let (compression, first, headed) = match query {
            Some(_) => (Compression::Bgzf, 0, true),
            None => {
                let Stretch { compression, records, from, preamble, .. } = self.part(slice, options.object)?.stretch;
                // Cut without a pass, it does not know how many records lie before it; only whether there are any.
                let first = if slice.selection.get("bytes").is_some() { u64::from(from[1] > 0) } else { records[0] };
                (compression, first, preamble.is_some())
            }
        };
        let object = self.stores.open(source)?;
        let (header, reader) = self.read(slice, options.object)?.into_parts()?;
        columns::batches(Opened { object, format, compression, headed, first, header }, reader, options)
    }

    fn part(&self, slice: &Slice, object: usize) -> Result<Part, FormatError> {
        let (format, source) = (format_of(slice)?, object_of(slice, object)?);
        let on_word = slice.selection.get("bytes").is_some();
        let stretch: Stretch = if on_word {
            slice.selection_as::<PlainSelection>()?.into()
        } else {
            let Selection { mut stretches } = slice.selection_as()?;
            if object >= stretches.len() {
                return Err(FormatError::NoSuchObject { asked: object, held: stretches.len() });
            }
            stretches.swap_remove(object)
        };
        let side_car = match (stretch.window, slice.index.get(object)) {
            (Some(_), Some(index)) => Some(self.open_side_car(source, index)?),
            _ => None,
        };
        let verify_ends = on_word && matches!(format, Format::Csv | Format::Tsv);
        Ok(Part { object: self.stores.open(source)?, side_car, format, stretch, verify_ends })
    }
}

/// Refuses options that its format does not know, rather than passing over them.
fn refuse_idle(slice: &Slice, options: &ArrowOptions) -> Result<(), FormatError> {
    let (format, title) = match Format::from_name(&slice.format) {
        Some(format) => (Some(format), format.title()),
        None => (None, "this format"),
    };
    let rows = matches!(format, Some(Format::Csv | Format::Tsv));
    let typed = rows || matches!(format, Some(Format::Jsonl | Format::Vcf | Format::Bcf));
    let idle = [
        ("schema", options.schema.is_some() && !typed),
        ("separator", options.separator.is_some() && !rows),
        ("header_row", !options.header_row && !rows),
    ];
    match idle.into_iter().find(|(_, idle)| *idle) {
        Some((option, _)) => {
            let offered = if typed { "`columns`, `schema`" } else { "`columns`" }.to_owned();
            Err(FormatError::NotOffered { format: title, option, offered })
        }
        None => Ok(()),
    }
}

fn format_of(slice: &Slice) -> Result<Format, FormatError> {
    Format::from_name(&slice.format).ok_or_else(|| FormatError::Unknown {
        name: "this slice".into(),
        found: format!("`{}`", slice.format),
        remedy: "A later version of the program may have written it".into(),
    })
}

pub(crate) fn object_of(slice: &Slice, object: usize) -> Result<&ObjectRef, FormatError> {
    slice.objects.get(object).ok_or(FormatError::NoSuchObject { asked: object, held: slice.objects.len() })
}
