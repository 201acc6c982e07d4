//! From sliced reads to variants: index → align → range shuffle → call per region → merge.
//!
//! See `docs/variants.md` for what a user sees, [`shuffle`] for how alignments get from slices to regions.

pub mod alignment;
pub mod reference;
pub mod shuffle;
