use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use neardata_core::{ObjectUri, Slice as CoreSlice};
use neardata_formats::{ArrowOptions, Batches, Bounds, Cut, FormatError, Partition, SideCars, SliceReader, Slicer};
use neardata_store::Stores;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{Failure, value_error};
use crate::settings;
use crate::slice::Slice;

/// Slices up to this size are read straight into the bytes that Python gets.
const AT_ONCE: u64 = 1 << 30;

/// The stores of this process, made when first needed.
static STORES: Mutex<Option<Made>> = Mutex::new(None);

struct Made {
    process: u32,
    environment: u64,
    stores: Stores,
}

/// Stores for the environment as it is now: a notebook may load credentials long after its first slice. A forked child makes its
/// own, as the threads that serve its parent's do not exist there.
///
/// To be called while attached to the interpreter, so that no other Python thread changes the environment meanwhile.
pub(crate) fn stores() -> Result<Stores, Failure> {
    crate::log::hand_on();
    let mut made = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let (process, environment) = (std::process::id(), settings::environment());
    match &*made {
        Some(made) if made.process == process && made.environment == environment => return Ok(made.stores.clone()),
        // Dropping the parent's would wait for its threads.
        Some(parents) if parents.process != process => std::mem::forget(made.take()),
        _ => {}
    }
    let stores = Stores::from_env()?;
    *made = Some(Made { process, environment, stores: stores.clone() });
    Ok(stores)
}

pub(crate) fn slicer() -> Result<Slicer, Failure> {
    Ok(Slicer::new(stores()?, SideCars { root: settings::side_cars()? }))
}

/// A slicer that only reads: slices say themselves where their side-cars lie.
pub(crate) fn reading() -> Result<Slicer, Failure> {
    Ok(Slicer::new(stores()?, SideCars { root: ObjectUri::from_path("/") }))
}

/// An address as a user writes it, made absolute: slices travel to other processes.
pub(crate) fn absolute(uri: &str) -> Result<ObjectUri, Failure> {
    let folder = std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned());
    Ok(uri.parse::<ObjectUri>()?.absolute(&folder))
}

/// The whole object at `uri`.
pub(crate) fn fetch(py: Python<'_>, uri: &ObjectUri) -> Result<Vec<u8>, Failure> {
    let stores = stores()?;
    py.detach(|| Ok(stores.get(uri)?.into()))
}

/// A reader of the exact uncompressed bytes of one object of a slice.
pub(crate) fn open(py: Python<'_>, slice: &CoreSlice, object: usize) -> Result<Box<dyn Read + Send>, Failure> {
    let slicer = reading()?;
    py.detach(|| Ok(Box::new(slicer.read(slice, object)?) as _))
}

/// The exact uncompressed bytes of one object of a slice.
pub(crate) fn read_all<'py>(py: Python<'py>, slice: &CoreSlice, object: usize) -> PyResult<Bound<'py, PyBytes>> {
    let slicer = reading()?;
    let mut reader = py.detach(|| slicer.read(slice, object)).map_err(Failure::from)?;
    // A size from a slice that someone made up must not cost memory before there are bytes.
    match reader.size().filter(|size| *size <= AT_ONCE) {
        Some(size) => PyBytes::new_with(py, size as usize, |buffer| {
            let filled = py.detach(|| fill(&mut reader, buffer).map_err(Failure::from));
            match filled? {
                true => Ok(()),
                false => Err(value_error("this slice does not hold as many bytes as it says; cut the object again")),
            }
        }),
        None => {
            let pieces = py.detach(|| gather(&mut reader))?;
            let size = pieces.iter().map(Bytes::len).sum();
            PyBytes::new_with(py, size, |buffer| {
                py.detach(|| join(&pieces, buffer));
                Ok(())
            })
        }
    }
}

/// Fills the buffer; false if the reader gives less or more.
fn fill(reader: &mut SliceReader, buffer: &mut [u8]) -> Result<bool, FormatError> {
    let mut at = 0;
    loop {
        let chunk = reader.chunk()?;
        if chunk.is_empty() {
            return Ok(at == buffer.len());
        }
        let Some(room) = buffer.get_mut(at..at + chunk.len()) else { return Ok(false) };
        room.copy_from_slice(chunk);
        at += chunk.len();
    }
}

/// All bytes of a slice whose size nobody knows before; they are joined once it is known, since a buffer that grows is copied each time.
fn gather(reader: &mut SliceReader) -> Result<Vec<Bytes>, Failure> {
    let mut pieces = Vec::new();
    loop {
        let piece = reader.piece()?;
        if piece.is_empty() {
            return Ok(pieces);
        }
        pieces.push(piece);
    }
}

fn join(pieces: &[Bytes], mut buffer: &mut [u8]) {
    for piece in pieces {
        let (room, rest) = buffer.split_at_mut(piece.len());
        room.copy_from_slice(piece);
        buffer = rest;
    }
}

/// A slice as Arrow record batches.
pub(crate) fn batches(py: Python<'_>, slice: &CoreSlice, options: &ArrowOptions) -> Result<Batches, Failure> {
    let slicer = reading()?;
    py.detach(|| Ok(slicer.arrow_with(slice, options)?))
}

/// What a caller asked for, in the words of `neardata.slices`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Request {
    n: Option<u64>,
    bytes: Option<u64>,
    records: Option<u64>,
    tiles: Option<u64>,
    regions: Vec<String>,
    bounds: Option<[f64; 4]>,
    window: Option<[f64; 2]>,
    resolution: Option<f64>,
    level: Option<u32>,
    columns: Vec<String>,
    reference: Option<String>,
    header: bool,
    one_line_rows: bool,
    format: Option<String>,
}

impl TryFrom<Request> for Cut {
    type Error = PyErr;

    fn try_from(request: Request) -> PyResult<Self> {
        let Request { n, bytes, records, tiles, regions, bounds, window, resolution, level, columns, .. } = request;
        let Request { reference, header, one_line_rows, format, .. } = request;
        let partition = (n.map(Partition::Count))
            .or(bytes.map(Partition::Bytes))
            .or(records.map(Partition::Records))
            .or(tiles.map(Partition::Tiles));
        let bounds = bounds.map(|[x0, y0, x1, y1]| Bounds { min: [x0, y0], max: [x1, y1] });
        let reference = reference.as_deref().map(absolute).transpose()?;
        Ok(Cut { format, partition, regions, bounds, window, resolution, level, columns, reference, header, one_line_rows })
    }
}

/// Cuts an object, or a pair of objects, into slices.
#[pyfunction]
pub(crate) fn slices(py: Python<'_>, uri: &str, request: Request, mate2: Option<&str>) -> PyResult<Vec<Slice>> {
    let cut = Cut::try_from(request)?;
    let uri = absolute(uri)?;
    let mate2 = mate2.map(absolute).transpose()?;
    let slicer = slicer()?;
    let slices = match (&mate2, cut.partition) {
        (None, _) => py.detach(|| slicer.cut(&uri, &cut, &|_| {})),
        (Some(mate2), Some(partition)) => {
            cut.only("paired reads", &["n", "bytes", "records"]).map_err(Failure::from)?;
            py.detach(|| slicer.paired_slices(&uri, mate2, partition))
        }
        (Some(_), None) => return Err(value_error("mates are cut by n, bytes or records")),
    };
    Ok(slices.map_err(Failure::from)?.into_iter().map(Slice::from).collect())
}

/// What an object is, as JSON.
#[pyfunction]
pub(crate) fn inspect(py: Python<'_>, uri: &str) -> PyResult<String> {
    let uri = absolute(uri)?;
    let slicer = slicer()?;
    let found = py.detach(|| slicer.inspect(&uri)).map_err(Failure::from)?;
    serde_json::to_string(&found).map_err(|error| value_error(error.to_string()))
}
