//! A part as Arrow: its records become BAM, and that becomes columns as those of BAM files do.

use arrow_array::RecordBatch;
use std::collections::BTreeMap;

use super::records::{Bases, Body, Decoded, Slice, write_bam};
use super::reference::Reference;
use super::walk::Walk;
use crate::FormatError;
use crate::columns::AlignmentRows;

/// What stands in the header.
pub(super) struct Names {
    /// References, by number.
    pub(super) references: Vec<String>,
    /// Read groups, by number.
    pub(super) groups: Vec<String>,
}

/// Gives batches.
pub(super) struct Rows {
    pub(super) walk: Walk,
    pub(super) rows: AlignmentRows,
    pub(super) names: Names,
    pub(super) reference: Option<Reference>,
    /// Batches that wait.
    pub(super) ready: std::collections::VecDeque<RecordBatch>,
    pub(super) over: bool,
}

impl Rows {
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>, FormatError> {
        while self.ready.is_empty() && !self.over {
            self.read()?;
        }
        Ok(self.ready.pop_front())
    }

    /// Reads one container.
    fn read(&mut self) -> Result<(), FormatError> {
        let Some(found) = self.walk.next()? else {
            self.over = true;
            self.ready.extend(self.rows.finish()?);
            return Ok(());
        };
        let (rows, names, reference, ready) = (&mut self.rows, &self.names, self.reference.as_ref(), &mut self.ready);
        let name = self.walk.object.name().to_owned();
        self.walk.open(&found, |body, slice, decoded, kept| {
            let sources = Sources::of(&name, rows.wants_sequence(), names, reference, slice, decoded, kept, body)?;
            let mut bam = Vec::new();
            for number in kept {
                let Some(record) = decoded.records.get(*number) else { continue };
                bam.clear();
                let bases = sources.of_record(record.reference);
                write_bam(&body.compression, decoded, record, &bases, &names.groups, &mut bam)
                    .map_err(|fault| fault.at(&name, found.at))?;
                rows.push(&bam)?;
                if rows.is_full() {
                    ready.extend(rows.finish()?);
                }
            }
            Ok(())
        })
    }
}

/// The bases of the reference that the records of a slice need.
enum Sources<'d> {
    Unwanted,
    Embedded(&'d Decoded, &'d Slice<'d>),
    /// By number of the reference: the first position, from 1, and the bases.
    Looked(BTreeMap<i32, (i64, Vec<u8>)>),
}

impl<'d> Sources<'d> {
    #[allow(clippy::too_many_arguments, reason = "all of a slice, and what is known of its file")]
    fn of(
        name: &str,
        wanted: bool,
        names: &Names,
        reference: Option<&Reference>,
        slice: &'d Slice<'d>,
        decoded: &'d Decoded,
        kept: &[usize],
        body: &Body<'_>,
    ) -> Result<Self, FormatError> {
        if !wanted {
            return Ok(Sources::Unwanted);
        }
        if decoded.embedded(&slice.header).is_some() {
            return Ok(Sources::Embedded(decoded, slice));
        }
        let mut extents: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        if body.compression.needs_reference() {
            for record in kept.iter().filter_map(|number| decoded.records.get(*number)) {
                if decoded.needs_reference(record) {
                    let extent = extents.entry(record.reference).or_insert((record.start.into(), record.end));
                    *extent = (extent.0.min(record.start.into()), extent.1.max(record.end));
                }
            }
        }
        let mut looked = BTreeMap::new();
        for (number, (start, end)) in extents {
            let sequence = usize::try_from(number).ok().and_then(|number| names.references.get(number));
            let sequence = sequence.ok_or_else(|| FormatError::Query(format!("{name}: its header has no reference {number}")))?;
            let reference = reference.ok_or_else(|| FormatError::NeedsReference { name: name.to_owned() })?;
            let found = match slice.header.reference {
                -2 => (start.max(1), reference.bases(sequence, start, end)?),
                _ => (i64::from(slice.header.start.max(1)), reference.of_slice(sequence, &slice.header)?),
            };
            looked.insert(number, found);
        }
        Ok(Sources::Looked(looked))
    }

    fn of_record(&self, reference: i32) -> Bases<'_> {
        match self {
            Sources::Unwanted => Bases::Unwanted,
            Sources::Embedded(decoded, slice) => decoded.embedded(&slice.header).unwrap_or(Bases::None),
            Sources::Looked(looked) => match looked.get(&reference) {
                Some((start, bases)) => Bases::Known { start: *start, bases },
                None => Bases::None,
            },
        }
    }
}
