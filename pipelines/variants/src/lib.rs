//! From sliced reads to variants: index → align → range shuffle → call per region → merge.
//!
//! See `docs/variants.md` for what a user sees, [`shuffle`] for how alignments get from slices to regions, [`regions`] for where the
//! genome is cut.

pub mod alignment;
mod arguments;
pub mod coverage;
pub mod functions;
pub mod output;
pub mod reference;
pub mod regions;
pub mod shuffle;
pub mod targets;

pub use arguments::{Aligner, ArgumentsError, Caller, Lane, VariantsArguments};
pub use functions::register;
