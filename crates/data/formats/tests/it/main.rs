//! Behaviour of the formats crate, seen from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod errors;
mod fuzz;
mod large;
mod las;
mod law;
mod npy;
mod sidecars;
