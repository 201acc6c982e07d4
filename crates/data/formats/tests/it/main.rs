//! Behaviour of the formats crate, seen from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod cram;
mod errors;
mod fuzz;
mod large;
mod law;
mod lazy;
mod npy;
mod regions;
mod sidecars;
