//! Behaviour of the formats crate, seen from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod arrow;
mod cram;
mod cram_damage;
mod cram_made;
mod cram_records;
mod errors;
mod foreign_parquet;
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
mod random;
mod random_las;
mod regions;
mod sidecars;
mod tiff;
mod values;
