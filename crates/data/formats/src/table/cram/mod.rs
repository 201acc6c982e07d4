//! CRAM 3.0 and 3.1 (hts-specs CRAMv3). Containers of which all records are meant are copied as they are; others are decoded, without
//! the reference, and the records that are meant are written as new containers. Only Arrow needs the reference, for bases.

mod arrow;
mod container;
mod copy;
mod crai;
mod cut;
mod header;
mod index;
mod records;
mod reference;
mod region;
mod walk;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use neardata_core::{ObjectRef, RangedRead, SliceError};
use serde::Serialize;
use serde_json::Value;

use self::arrow::{Names, Rows};
use self::header::Head;
use self::reference::Reference;
use self::region::{Place, Planner};
use self::walk::{Choice, Walk};
use super::{Batches, Column, Cut, Description, Pieces, Surroundings, Table, TableFormat};
use crate::columns::AlignmentRows;
use crate::{FormatError, Progress};

/// What users are told they can ask for.
const OFFERED: [&str; 5] = ["n", "bytes", "records", "region", "reference"];
/// First bytes of every CRAM file.
const MAGIC: &[u8] = b"CRAM";
/// Where the reference stands in a selection.
const REFERENCE: &str = "reference";

/// CRAM as a [`TableFormat`].
pub(crate) struct Cram;

impl TableFormat for Cram {
    fn name(&self) -> &'static str {
        "cram"
    }

    fn sniff(&self, _name: &str, start: &[u8]) -> bool {
        start.starts_with(MAGIC) && start.get(4).is_some_and(|major| (1..=9).contains(major))
    }

    fn index_version(&self) -> u32 {
        1
    }

    fn open(&self, objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
        Ok(Box::new(CramTable::new(objects, None)?))
    }

    fn open_among(&self, objects: Vec<Arc<dyn RangedRead>>, around: Surroundings) -> Result<Box<dyn Table>, FormatError> {
        Ok(Box::new(CramTable::new(objects, Some(around))?))
    }
}

/// An opened CRAM file.
struct CramTable {
    object: Arc<dyn RangedRead>,
    head: Head,
    around: Option<Surroundings>,
    /// What the index beside the object says, if it was looked for and there is one.
    beside: OnceLock<Option<Vec<Place>>>,
}

impl CramTable {
    fn new(objects: Vec<Arc<dyn RangedRead>>, around: Option<Surroundings>) -> Result<Self, FormatError> {
        let held = objects.len();
        let object = objects.into_iter().next().ok_or(FormatError::NoSuchObject { asked: 0, held })?;
        let head = header::read(object.as_ref())?;
        Ok(Self { object, head, around, beside: OnceLock::new() })
    }

    /// What the index beside the object says.
    fn beside(&self) -> Result<Option<&[Place]>, FormatError> {
        if self.beside.get().is_none() {
            let found = match self.around.as_ref().and_then(|around| around.sources.first().map(|source| (around, source))) {
                Some((around, source)) => crai::beside(&around.stores, &source.uri, self.head.end(), self.object.size())?,
                None => None,
            };
            // Another thread may have been faster.
            let _ = self.beside.set(found);
        }
        Ok(self.beside.get().and_then(Option::as_deref))
    }

    fn containers(&self, index: Option<&dyn RangedRead>) -> Result<Vec<index::Entry>, FormatError> {
        let index = index.ok_or_else(|| FormatError::IndexGone {
            object: self.object.name().to_owned(),
            side_car: "its table of containers".to_owned(),
        })?;
        index::read(index, self.head.end(), self.object.size())
    }

    fn regions(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        let own: Vec<Place>;
        let places = match self.beside()? {
            Some(places) => places,
            None => {
                own = self.containers(index)?.iter().map(Place::of).collect();
                &own
            }
        };
        let (names, lengths) = self.head.references();
        let sorted = self.head.is_sorted();
        let planner = Planner { object: &self.object, names: &names, lengths: &lengths, places, sorted };
        let mut values = Vec::new();
        for region in &cut.regions {
            for selection in planner.slices(region, cut.partition)? {
                values.push(value(&selection)?);
            }
        }
        Ok(values)
    }

    /// Understands a selection.
    fn choice(&self, selection: &Value) -> Result<Choice, SliceError> {
        let (first, size) = (self.head.end(), self.object.size());
        if selection.get("region").is_some() {
            let region: region::RegionSelection = serde_json::from_value(selection.clone()).map_err(SliceError::Malformed)?;
            return region.check(first, size).map(Choice::Region);
        }
        let part: cut::Part = serde_json::from_value(selection.clone()).map_err(SliceError::Malformed)?;
        part.check(first, size).map(Choice::Records)
    }

    /// The reference that a selection names.
    fn reference(&self, selection: &Value) -> Result<Option<Reference>, FormatError> {
        let Some((named, around)) = selection.get(REFERENCE).zip(self.around.as_ref()) else { return Ok(None) };
        let source: ObjectRef = serde_json::from_value(named.clone()).map_err(SliceError::Malformed)?;
        Reference::open(&around.stores, &around.side_cars, source).map(Some)
    }

    fn rows(&self, columns: &[String]) -> Result<AlignmentRows, FormatError> {
        AlignmentRows::new(self.object.name(), "CRAM", self.head.references().0, columns)
    }
}

fn value(selection: &impl Serialize) -> Result<Value, FormatError> {
    Ok(serde_json::to_value(selection).map_err(SliceError::Malformed)?)
}

impl Table for CramTable {
    fn describe(&self) -> Result<Description, FormatError> {
        let columns = Column::of(&self.rows(&[])?.schema());
        Ok(Description { columns, ..self.head.describe() })
    }

    fn needs_index(&self, cut: &Cut) -> bool {
        // What is wrong with the index beside the object is told when it is used.
        cut.regions.is_empty() || matches!(self.beside(), Ok(None))
    }

    fn reads_need_index(&self, _cut: &Cut) -> bool {
        false
    }

    fn build_index(&self, out: &mut dyn Write, progress: &dyn Fn(Progress)) -> Result<Description, FormatError> {
        let found = index::build(self.object.as_ref(), self.head.end(), out, progress)?;
        let mut description = self.describe()?;
        description.records = Some(found.records);
        let more = [("containers", found.containers), ("slices in them", found.slices)];
        description.facts.extend(more.map(|(name, count)| (name.to_owned(), count.to_string())));
        Ok(description)
    }

    fn cut(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        cut.only("CRAM", &OFFERED)?;
        let reference = match (&cut.reference, &self.around) {
            (Some(address), Some(around)) => Some(value(&Reference::find(&around.stores, &around.side_cars, address)?)?),
            _ => None,
        };
        let mut values = match cut.regions.is_empty() {
            true => cut::cut(&self.containers(index)?, cut.partition).iter().map(value).collect::<Result<_, _>>()?,
            false => self.regions(cut, index)?,
        };
        if let Some(reference) = reference {
            for selection in values.iter_mut().filter_map(Value::as_object_mut) {
                selection.insert(REFERENCE.to_owned(), reference.clone());
            }
        }
        Ok(values)
    }

    fn bytes(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError> {
        if object > 0 {
            return Err(FormatError::NoSuchObject { asked: object, held: 1 });
        }
        Ok(Box::new(copy::Copy::new(Arc::clone(&self.object), self.head.bytes(), self.choice(selection)?)))
    }

    fn arrow(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
        self.arrow_of(selection, index, &[])
    }

    fn arrow_of(
        &self,
        selection: &Value,
        _index: Option<Arc<dyn RangedRead>>,
        columns: &[String],
    ) -> Result<Batches, FormatError> {
        let rows = self.rows(columns)?;
        let schema = rows.schema();
        let mut rows = Rows {
            walk: Walk::new(Arc::clone(&self.object), self.choice(selection)?),
            reference: if rows.wants_sequence() { self.reference(selection)? } else { None },
            rows,
            names: Names { references: self.head.references().0, groups: self.head.groups() },
            ready: VecDeque::new(),
            over: false,
        };
        Ok(Batches::new(schema, std::iter::from_fn(move || rows.next_batch().transpose())))
    }
}
