//! gzip and BGZF: decoders that say where decoding can start again.

mod bgzf;
mod bgzf_writer;
mod header;
mod inflate;
mod stream;

pub(crate) use bgzf::{BLOCK_LIMIT, BgzfDecoder, BgzfStep};
pub(crate) use bgzf_writer::BgzfEncoder;
pub(crate) use header::{MAGIC, bgzf_block};
pub(crate) use inflate::{Stop, WINDOW};
pub(crate) use stream::{Boundary, GzipDecoder, Step};
