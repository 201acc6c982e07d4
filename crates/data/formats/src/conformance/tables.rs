//! The partition law for formats with a table of their own, and for formats of other crates.
//!
//! Records are compared as rows of Arrow: the rows of all slices of a partition are those of the whole object, each as often, and in
//! order where the format keeps one. Every slice survives its JSON text, stays below 1 KB beside its URIs, is not empty, and reads as
//! a file of the same format that holds just its rows. [`TableSuite::check_against`] takes the rows from whoever made the object;
//! without them the rows of the object's only slice have to do.
//!
//! ```no_run
//! use neardata_formats::conformance::tables::{Order, TableSuite};
//! # fn example(slicer: neardata_formats::Slicer, stores: neardata_store::Stores) -> Result<(), String> {
//! let suite = TableSuite::new(stores, slicer, "memory://my-format".parse().map_err(|_| "no URI")?);
//! suite.check(&[("measured.xyz", std::fs::read("measured.xyz").map_err(|error| error.to_string())?)], Order::Kept)
//! # }
//! ```

use std::io::Read;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use neardata_core::{ObjectUri, Slice};
use neardata_store::Stores;

use super::text;
use crate::{Bounds, Cut, Partition, Slicer};

/// Whether slices, one behind the other, give the records in the order of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They do.
    Kept,
    /// Records of a tile come from anywhere.
    Free,
}

/// Partitions every table format is asked for.
pub const PARTITIONS: &[Partition] = &[
    Partition::Count(1),
    Partition::Count(2),
    Partition::Count(7),
    Partition::Count(u64::MAX),
    Partition::Bytes(1),
    Partition::Bytes(1000),
    Partition::Bytes(u64::MAX),
    Partition::Records(1),
    Partition::Records(3),
    Partition::Records(u64::MAX),
    Partition::Tiles(1),
    Partition::Tiles(2),
    Partition::Tiles(9),
    Partition::Tiles(1000),
];

/// Most slices of one partition that are read; a partition into more is checked for its number only.
const SLICES_READ: usize = 120;

/// A slicer over a store, and the checks.
pub struct TableSuite {
    stores: Stores,
    slicer: Slicer,
    root: ObjectUri,
}

impl TableSuite {
    /// Checks of this slicer; objects are put below `root`.
    pub fn new(stores: Stores, slicer: Slicer, root: ObjectUri) -> Self {
        Self { stores, slicer, root }
    }

    /// Puts the objects of one thing (most formats have one object; the first names the thing) and checks every partition of
    /// [`PARTITIONS`] that its format offers.
    pub fn check(&self, objects: &[(&str, Vec<u8>)], order: Order) -> Result<(), String> {
        let cuts: Vec<Cut> = PARTITIONS.iter().map(|partition| Cut::by(*partition)).collect();
        match self.check_cuts(objects, &cuts, order)? {
            0 => Err(format!("{}: the format offers none of n, bytes, records and tiles", objects[0].0)),
            _ => Ok(()),
        }
    }

    /// Checks that each of these cuts holds every record once; returns how many of them the format offers.
    pub fn check_cuts(&self, objects: &[(&str, Vec<u8>)], cuts: &[Cut], order: Order) -> Result<usize, String> {
        let uri = self.put(objects)?;
        let whole = self.slicer.cut(&uri, &Cut::by(Partition::Count(1)), &|_| {}).map_err(text)?;
        let expected = self.rows_of(&whole, None)?;
        self.check_rows(&uri, cuts, &expected, None, order)
    }

    /// Checks that each of these cuts holds the records once that the object is known to have; returns how many of them the format
    /// offers. Only the columns that `expected` has are compared, with their types.
    pub fn check_against(
        &self,
        objects: &[(&str, Vec<u8>)],
        cuts: &[Cut],
        expected: &[RecordBatch],
        order: Order,
    ) -> Result<usize, String> {
        let uri = self.put(objects)?;
        let mut rows = Vec::new();
        for batch in expected {
            rows.extend(json_rows(batch)?);
        }
        self.check_rows(&uri, cuts, &rows, expected.first().map(RecordBatch::schema).as_deref(), order)
    }

    fn check_rows(
        &self,
        uri: &ObjectUri,
        cuts: &[Cut],
        expected: &[String],
        columns: Option<&Schema>,
        order: Order,
    ) -> Result<usize, String> {
        let mut offered = 0;
        for cut in cuts {
            let slices = match self.slicer.cut(uri, cut, &|_| {}) {
                Ok(slices) => slices,
                Err(crate::FormatError::NotOffered { .. }) => continue,
                Err(error) => return Err(format!("{uri} cut by {cut:?}: {error}")),
            };
            offered += 1;
            let said = |problem: String| format!("{uri} cut by {cut:?}: {problem}");
            if slices.len() > SLICES_READ {
                continue;
            }
            let found = self.checked_rows(&slices, columns).map_err(said)?;
            same(found, expected.to_vec(), order).map_err(said)?;
            if let Some(Partition::Count(most) | Partition::Tiles(most)) = cut.partition
                && slices.len() as u64 > most
            {
                return Err(said(format!("{} slices", slices.len())));
            }
        }
        Ok(offered)
    }

    /// Checks a query: its rows are those of the whole object that `keep` keeps, given as JSON objects.
    pub fn check_query(
        &self,
        objects: &[(&str, Vec<u8>)],
        query: &Cut,
        keep: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<u64, String> {
        let uri = self.put(objects)?;
        let whole = self.slicer.cut(&uri, &Cut::by(Partition::Count(1)), &|_| {}).map_err(text)?;
        let mut expected = Vec::new();
        for row in self.rows_of(&whole, None)? {
            if keep(&serde_json::from_str(&row).map_err(text)?) {
                expected.push(row);
            }
        }
        let held = expected.len() as u64;
        let slices = self.slicer.cut(&uri, query, &|_| {}).map_err(text)?;
        same(self.checked_rows(&slices, None)?, expected, Order::Free).map_err(|problem| format!("{query:?}: {problem}"))?;
        Ok(held)
    }

    /// Checks that a slice of the object is refused once the object is another, and that cutting again gives the new records.
    pub fn check_overwritten(&self, objects: &[(&str, Vec<u8>)], later: &[(&str, Vec<u8>)]) -> Result<(), String> {
        let everywhere = Cut { bounds: Some(Bounds { min: [f64::MIN; 2], max: [f64::MAX; 2] }), ..Cut::default() };
        for cut in [Cut::by(Partition::Count(2)), Cut::by(Partition::Tiles(2)), everywhere] {
            let uri = self.put(objects)?;
            let Ok(old) = self.slicer.cut(&uri, &cut, &|_| {}) else { continue };
            let before = self.rows_of(&old, None)?;
            self.put(later)?;
            for slice in &old {
                match self.rows_of(std::slice::from_ref(slice), None) {
                    Err(error) if error.contains("changed") => {}
                    Err(error) => return Err(format!("a slice of the former object fails, but does not say why: {error}")),
                    Ok(_) => return Err(format!("{cut:?}: a slice of the former object is read from the later one")),
                }
            }
            let after = self.rows_of(&self.slicer.cut(&uri, &cut, &|_| {}).map_err(text)?, None)?;
            if after == before {
                return Err(format!("{cut:?}: the later object gives the records of the former"));
            }
        }
        Ok(())
    }

    fn put(&self, objects: &[(&str, Vec<u8>)]) -> Result<ObjectUri, String> {
        for (name, bytes) in objects {
            self.stores.put(&self.root.join(name), bytes.clone().into()).map_err(text)?;
        }
        Ok(self.root.join(objects[0].0))
    }

    /// The rows of slices one behind the other, each slice looked at from all sides.
    fn checked_rows(&self, slices: &[Slice], columns: Option<&Schema>) -> Result<Vec<String>, String> {
        let mut rows = Vec::new();
        for (position, slice) in slices.iter().enumerate() {
            let held = self.checked(slice, columns).map_err(|problem| format!("slice {position}: {problem}"))?;
            rows.extend(held);
        }
        Ok(rows)
    }

    fn checked(&self, slice: &Slice, columns: Option<&Schema>) -> Result<Vec<String>, String> {
        let json = slice.to_json();
        let uris: usize = slice.objects.iter().map(|object| object.uri.to_string().len()).sum::<usize>()
            + slice.index.iter().map(|index| index.uri.to_string().len()).sum::<usize>();
        if json.len() - uris >= 1024 {
            return Err(format!("its text has {} bytes beside its URIs", json.len() - uris));
        }
        let again = Slice::from_json(&json).map_err(text)?;
        if again != *slice {
            return Err("it does not survive its text".into());
        }
        let rows = self.rows_of(&[again], columns)?;
        if rows.is_empty() {
            return Err("it holds no record".into());
        }
        self.reads_as_a_file(slice, &rows, columns)?;
        Ok(rows)
    }

    /// The bytes of a slice are an object of the same format with the same rows.
    fn reads_as_a_file(&self, slice: &Slice, rows: &[String], columns: Option<&Schema>) -> Result<(), String> {
        let copy = self.root.join("read-again");
        let mut uris = Vec::new();
        for (number, object) in slice.objects.iter().enumerate() {
            let mut bytes = Vec::new();
            self.slicer.read(slice, number).map_err(text)?.read_to_end(&mut bytes).map_err(text)?;
            let name = object.uri.to_string();
            let uri = copy.join(name.rsplit('/').next().unwrap_or(&name));
            self.stores.put(&uri, bytes.into()).map_err(text)?;
            uris.push(uri);
        }
        let file = self.slicer.cut(&uris[0], &Cut::by(Partition::Count(1)), &|_| {}).map_err(text)?;
        same(self.rows_of(&file, columns)?, rows.to_vec(), Order::Kept).map_err(|problem| format!("read as a file: {problem}"))
    }

    /// Rows as JSON texts; of these columns only where some are given.
    fn rows_of(&self, slices: &[Slice], columns: Option<&Schema>) -> Result<Vec<String>, String> {
        let names: Vec<String> = columns.iter().flat_map(|schema| schema.fields()).map(|field| field.name().clone()).collect();
        let mut rows = Vec::new();
        for slice in slices {
            let mut batches = self.slicer.arrow(slice).and_then(|batches| batches.select(&names)).map_err(text)?;
            let schema = batches.schema();
            let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
            if let Some(expected) = columns.filter(|expected| types(expected) != types(&schema)) {
                return Err(format!("columns of the types {:?} instead of {:?}", types(&schema), types(expected)));
            }
            while let Some(batch) = batches.next_batch() {
                let batch = batch.map_err(text)?;
                if batch.schema() != schema {
                    return Err("a batch has another schema than its stream".into());
                }
                rows.extend(json_rows(&batch)?);
            }
        }
        Ok(rows)
    }
}

fn json_rows(batch: &RecordBatch) -> Result<Vec<String>, String> {
    let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch).and_then(|()| writer.finish()).map_err(text)?;
    let lines = String::from_utf8(writer.into_inner()).map_err(text)?;
    Ok(lines.lines().map(str::to_owned).collect())
}

fn same(mut found: Vec<String>, mut expected: Vec<String>, order: Order) -> Result<(), String> {
    if order == Order::Free {
        found.sort_unstable();
        expected.sort_unstable();
    }
    if found == expected {
        return Ok(());
    }
    let (held, differ) = (found.len(), found.iter().zip(&expected).position(|(a, b)| a != b));
    let at = differ.unwrap_or(held.min(expected.len()));
    let show = |rows: &[String]| rows.get(at).map_or_else(|| "nothing".into(), |row| row.chars().take(200).collect::<String>());
    Err(format!(
        "{held} records, {} expected; the first that differs is number {at}: {} instead of {}",
        expected.len(),
        show(&found),
        show(&expected)
    ))
}
