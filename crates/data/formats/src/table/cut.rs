use neardata_core::ObjectUri;
use serde::{Deserialize, Serialize};

use crate::{FormatError, Partition};

/// Partitions into more slices than this are refused: a few bytes can claim any number of records.
const MOST_SLICES: u64 = 1 << 20;

/// Refuses to make so many slices of what a header claims.
pub(crate) fn refuse_too_many(object: &str, count: u64) -> Result<(), FormatError> {
    if count <= MOST_SLICES {
        return Ok(());
    }
    let reason = format!("would be cut into {count} slices; ask for {MOST_SLICES} at most");
    Err(FormatError::Query(format!("{object}: {reason}")))
}

/// A rectangle in the coordinates of the object: x to the right, y as the format counts it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Smallest x and y.
    pub min: [f64; 2],
    /// Largest x and y.
    pub max: [f64; 2],
}

/// What is asked of an object: how to partition it, or what of it to query, and what of each record to keep.
///
/// ```
/// use neardata_formats::{Cut, Partition};
/// let cut = Cut { partition: Some(Partition::Count(8)), columns: vec!["x".into()], ..Cut::default() };
/// assert!(cut.only("LAS", &["n", "columns"]).is_ok());
/// assert_eq!(cut.only("LAS", &["n"]).unwrap_err().to_string(), "slices of LAS cannot be asked for by `columns`; they can by `n`");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cut {
    /// Name of the format to take it for; told from the object if absent.
    pub format: Option<String>,
    /// How to partition; with a query, what to do with what it finds (one slice if absent).
    pub partition: Option<Partition>,
    /// Genomic regions, one slice each.
    pub regions: Vec<String>,
    /// What overlaps this rectangle.
    pub bounds: Option<Bounds>,
    /// Values of the measured axis, both ends in: m/z of spectra.
    pub window: Option<[f64; 2]>,
    /// The coarsest spacing that still serves, in the units of the coordinates.
    pub resolution: Option<f64>,
    /// Level of a pyramid; 0 is full resolution.
    pub level: Option<u32>,
    /// Names of the columns to keep; all if empty.
    pub columns: Vec<String>,
    /// Address of the FASTA that alignments were stored with, for those who decode their bases.
    pub reference: Option<ObjectUri>,
    /// Whether the first row is a header: it is in no slice, and in front of what is read of each.
    pub header: bool,
    /// The caller's word that each row of CSV or TSV is one line: none holds a line end in quotes. Then no pass is needed to cut it.
    pub one_line_rows: bool,
}

impl Cut {
    /// A partition and nothing else.
    pub fn by(partition: Partition) -> Self {
        Self { partition: Some(partition), ..Self::default() }
    }

    /// The options given, by the names users know them by.
    pub fn options(&self) -> Vec<&'static str> {
        let partition = self.partition.map(|partition| match partition {
            Partition::Count(_) => "n",
            Partition::Bytes(_) => "bytes",
            Partition::Records(_) => "records",
            Partition::Tiles(_) => "tiles",
        });
        let queries = [
            ("region", !self.regions.is_empty()),
            ("bounds", self.bounds.is_some()),
            ("window", self.window.is_some()),
            ("resolution", self.resolution.is_some()),
            ("level", self.level.is_some()),
            ("columns", !self.columns.is_empty()),
            ("reference", self.reference.is_some()),
            ("header", self.header),
            ("one_line_rows", self.one_line_rows),
        ];
        partition.into_iter().chain(queries.into_iter().filter(|(_, given)| *given).map(|(name, _)| name)).collect()
    }

    /// Refuses options the format does not offer, numbers that mean nothing and rectangles that are inside out.
    pub fn only(&self, format: &'static str, offered: &[&str]) -> Result<(), FormatError> {
        if let Some(option) = self.options().into_iter().find(|option| !offered.contains(option)) {
            let offered = offered.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(FormatError::NotOffered { format, option, offered });
        }
        match self.partition {
            Some(Partition::Count(0)) => return Err(FormatError::Partition("0 slices")),
            Some(Partition::Bytes(0)) => return Err(FormatError::Partition("slices of 0 bytes")),
            Some(Partition::Records(0)) => return Err(FormatError::Partition("slices of 0 records")),
            Some(Partition::Tiles(0)) => return Err(FormatError::Partition("0 tiles")),
            Some(Partition::Tiles(count)) => refuse_too_many(format, count)?,
            _ => {}
        }
        if let Some(Bounds { min, max }) = self.bounds
            && !(min[0] <= max[0] && min[1] <= max[1] && min.iter().chain(&max).all(|number| number.is_finite()))
        {
            return Err(FormatError::Query("bounds are min x, min y, max x, max y, each minimum at most its maximum".into()));
        }
        if let Some([low, high]) = self.window
            && !(low <= high && low.is_finite() && high.is_finite())
        {
            return Err(FormatError::Query("a window is its lowest and its highest value".into()));
        }
        if self.resolution.is_some_and(|resolution| !(resolution.is_finite() && resolution > 0.0)) {
            return Err(FormatError::Query("a resolution is a distance above 0".into()));
        }
        Ok(())
    }
}
