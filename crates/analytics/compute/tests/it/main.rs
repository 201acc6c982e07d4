//! The engine from outside. The test binary is also its worker: see `support`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod engine;
mod faults;
mod python;
mod resume;
mod service;
mod support;
