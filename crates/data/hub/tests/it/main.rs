//! The hub from outside: a real endpoint over HTTP, real clients.

mod durable;
mod faults;
mod harness;
mod http;
mod object_store_client;
mod raw;
