//! Measures region queries of one object: what planning them fetches, and what reading their header and their records does.
//!
//! ```text
//! region_bench URI SIDE_CARS < regions               # one region a line; one JSON line for each
//! ```

use std::error::Error;
use std::io::BufRead;

use neardata_core::ObjectUri;
use neardata_formats::{SideCars, Slicer};
use neardata_store::Stores;

fn main() -> Result<(), Box<dyn Error>> {
    neardata_store::keep_freed_buffers();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [uri, side_cars] = &arguments[..] else { return Err("usage: region_bench URI SIDE_CARS < regions".into()) };
    let (uri, root): (ObjectUri, ObjectUri) = (uri.parse()?, side_cars.parse()?);
    let stores = Stores::from_env()?;
    let slicer = Slicer::new(stores.clone(), SideCars { root });
    for region in std::io::stdin().lock().lines() {
        let region = region?;
        let before = stores.bytes_fetched();
        let slices = slicer.region_slices(&uri, &[&region], &|_| {})?;
        let planned = stores.bytes_fetched();
        let mut bytes = 0;
        for slice in &slices {
            let mut reader = slicer.read(slice, 0)?;
            loop {
                match reader.chunk()?.len() {
                    0 => break,
                    length => bytes += length,
                }
            }
        }
        let (index, fetched) = (planned - before, stores.bytes_fetched() - planned);
        // Every slice reads the object's header as well, to be a valid file.
        let header: u64 = slices.iter().filter_map(|slice| slice.selection["preamble"]["stop"].as_u64()).sum();
        let records = fetched - header;
        println!(r#"{{"region":"{region}","index":{index},"header":{header},"records":{records},"bytes":{bytes}}}"#);
    }
    Ok(())
}
