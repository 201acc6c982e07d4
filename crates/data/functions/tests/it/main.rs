//! What a call is, from outside.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod child;
mod command;
mod frames;
mod spec;

use std::path::Path;

use neardata_core::ObjectUri;
use neardata_formats::SideCars;
use neardata_functions::{CallContext, ContextOptions};
use neardata_store::Stores;

/// A call with its scratch folder, outputs and side-cars below `folder`.
fn call(folder: &Path, slices: Vec<neardata_core::Slice>) -> CallContext {
    let scratch = folder.join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    CallContext::new(ContextOptions {
        stores: Stores::from_env().unwrap(),
        side_cars: SideCars { root: ObjectUri::from_path(folder.join("side-cars")) },
        slices,
        outputs: ObjectUri::from_path(folder.join("outputs")),
        scratch,
    })
}
