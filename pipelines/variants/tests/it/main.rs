//! What the pipeline promises, shown on real reads: simulated by `dwgsim` from a real genome, run by the engine, and compared with
//! the same tools run by hand on the whole input.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without ends it")]

mod errors;
mod exactness;
mod genome;
mod runner;
