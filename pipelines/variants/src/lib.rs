//! From sliced reads to variants: index → align → range shuffle → call per region → merge.
//!
//! See `docs/variants.md` for what a user sees, [`shuffle`] for how alignments get from slices to regions, [`regions`] for where the
//! genome is cut.

pub mod alignment;
mod arguments;
mod compare;
pub mod coverage;
mod driver;
pub mod functions;
mod manifest;
pub mod output;
mod plan;
mod publish;
pub mod reference;
pub mod regions;
mod report;
pub mod reproduce;
pub mod shuffle;
pub mod targets;

pub use arguments::{Aligner, ArgumentsError, Caller, Lane, VariantsArguments};
pub use compare::{Accuracy, Score, compare};
pub use driver::VariantsPipeline;
pub use functions::register;
pub use manifest::{CallNote, InputNote, Manifest, OutputNote, StageSum};
pub use plan::{Plan, Volume, plan};
