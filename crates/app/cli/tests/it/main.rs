//! The `neardata` command from outside, on real input: slices, the platform, variants, kills, bad input.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod bad_input;
mod durable;
mod harness;
mod jobs;
mod kills;
mod platform;
mod slices;
mod variants;
