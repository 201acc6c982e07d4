//! The hub from outside: a real endpoint over HTTP, real clients.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod durable;
mod faults;
mod figures;
mod harness;
mod http;
mod layers;
mod object_store_client;
mod raw;
