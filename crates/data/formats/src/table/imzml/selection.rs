use neardata_core::SliceError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NAME;
use super::entry::Entry;
use super::index::Footer;
use crate::FormatError;

/// What a slice of imzML holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// Spectra `[a, b)` of the list, from 0.
    pub(super) spectra: [u64; 2],
    /// How many of them lie within `bounds`.
    pub(super) count: u64,
    /// Smallest x, smallest y, largest x, largest y; all in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bounds: Option<[i32; 4]>,
    /// Lowest and highest m/z, both in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Window>,
    /// Where spectra share one m/z array that is in order: the values `[a, b)` of it that lie in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peaks: Option<[u32; 2]>,
    /// Columns of the Arrow form; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) columns: Vec<String>,
}

/// A range of m/z. In JSON its ends are texts: readers of JSON may round a number, and a peak at the very end would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[String; 2]", into = "[String; 2]")]
pub(super) struct Window {
    low: f64,
    high: f64,
}

impl Window {
    pub(super) fn new([low, high]: [f64; 2]) -> Self {
        Self { low, high }
    }

    pub(super) fn holds(&self, mz: f64) -> bool {
        self.low <= mz && mz <= self.high
    }
}

impl From<Window> for [String; 2] {
    fn from(window: Window) -> Self {
        [window.low, window.high].map(|end| format!("{end:?}"))
    }
}

impl TryFrom<[String; 2]> for Window {
    type Error = std::num::ParseFloatError;

    fn try_from([low, high]: [String; 2]) -> Result<Self, Self::Error> {
        Ok(Self { low: low.parse()?, high: high.parse()? })
    }
}

impl Selection {
    pub(super) fn of(value: &Value, footer: &Footer) -> Result<Self, FormatError> {
        let wrong = |reason: String| SliceError::Selection { format: NAME.into(), reason };
        let selection = Self::deserialize(value).map_err(|error| wrong(error.to_string()))?;
        let [first, end] = selection.spectra;
        if first > end || end > footer.count {
            return Err(wrong(format!("spectra {first} to {end} of {}", footer.count)).into());
        }
        if let Some([from, to]) = selection.peaks
            && (selection.window.is_none() || from > to || footer.shared.is_none_or(|(_, count)| to > count))
        {
            return Err(wrong(format!("peaks {from} to {to} are not in its m/z array")).into());
        }
        Ok(selection)
    }

    pub(super) fn to_value(&self) -> Result<Value, FormatError> {
        Ok(serde_json::to_value(self).map_err(SliceError::Malformed)?)
    }

    pub(super) fn holds(&self, entry: &Entry) -> bool {
        within(self.bounds, entry.x, entry.y)
    }
}

/// Whether a pixel lies in a rectangle, edges in.
pub(super) fn within(bounds: Option<[i32; 4]>, x: i32, y: i32) -> bool {
    bounds.is_none_or(|[min_x, min_y, max_x, max_y]| (min_x..=max_x).contains(&x) && (min_y..=max_y).contains(&y))
}
