//! The engine from outside. The test binary is also its worker: see `support`.

mod engine;
mod faults;
mod python;
mod resume;
mod service;
mod support;
