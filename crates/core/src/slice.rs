use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::{IndexRef, ObjectRef, canonical};

/// Why a text is not a slice.
#[derive(Debug, Error)]
pub enum SliceError {
    /// The text is not JSON of the right shape.
    #[error("not a slice: {0}; a slice is one line of JSON as `neardata slice` prints it")]
    Malformed(#[from] serde_json::Error),
    /// The slice was written by a later version.
    #[error("slice version {0} is newer than this program understands (1); use the `neardata` that wrote it")]
    Version(u32),
    /// The selection does not have the shape its format needs.
    #[error("the selection of this `{format}` slice is malformed: {reason}")]
    Selection {
        /// the slice's format
        format: String,
        /// what is wrong
        reason: String,
    },
}

/// A typed, lazily read part of one object (or of a pair of objects read together).
///
/// A slice is a small value: canonical JSON, below 1 KB beside its URIs, without any credential. Any worker that can reach the
/// objects can read it without seeing the rest of them. `selection` belongs to the format; only that format's module looks inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Version of this shape; 1.
    pub v: u32,
    /// Format name as registered (`fastq`, `fasta`, `text`, …).
    pub format: String,
    /// The objects: one, or two for paired reads.
    pub objects: Vec<ObjectRef>,
    /// What part, in the format's own terms.
    pub selection: Value,
    /// The side-car indexes, one an object where the format needs one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub index: Vec<IndexRef>,
}

impl Slice {
    /// The version written by this program.
    pub const VERSION: u32 = 1;

    /// Reads a slice from its JSON text.
    pub fn from_json(text: &str) -> Result<Self, SliceError> {
        let slice: Slice = serde_json::from_str(text)?;
        if slice.v > Self::VERSION {
            return Err(SliceError::Version(slice.v));
        }
        Ok(slice)
    }

    /// The canonical JSON text: keys sorted, no blanks; equal slices give equal texts.
    pub fn to_json(&self) -> String {
        canonical::to_string(self)
    }

    /// SHA-256 of the canonical text, in hex.
    pub fn digest(&self) -> String {
        canonical::digest(self)
    }

    /// The selection as the type `T` of the format.
    pub fn selection_as<T: serde::de::DeserializeOwned>(&self) -> Result<T, SliceError> {
        T::deserialize(&self.selection)
            .map_err(|error| SliceError::Selection { format: self.format.clone(), reason: error.to_string() })
    }
}
