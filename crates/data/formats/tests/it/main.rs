//! Behaviour of the formats crate, seen from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod arrow;
mod cram;
mod errors;
mod fuzz;
mod imzml;
mod ipc;
mod large;
mod las;
mod law;
mod lazy;
mod npy;
mod parallel;
mod parquet;
mod regions;
mod sidecars;
mod tiff;
mod values;
