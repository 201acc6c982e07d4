//! The hub from outside: a real endpoint over HTTP, real clients.

mod harness;
mod object_store_client;
