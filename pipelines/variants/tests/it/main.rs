//! What the pipeline promises, shown on real reads: simulated by `dwgsim` from a real genome, run by the engine, and compared with
//! the same tools run by hand on the whole input.

mod errors;
mod exactness;
mod genome;
mod runner;
