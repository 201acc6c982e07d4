//! The `neardata` command from outside, on real input: slices, the platform, variants, kills, bad input.

mod bad_input;
mod harness;
mod jobs;
mod kills;
mod platform;
mod slices;
mod variants;
