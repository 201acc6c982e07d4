//! The records of a container (CRAMv3 §8, §10), decoded without the reference and written again.
//!
//! A record keeps its differences from the reference as they are stored; bases are made of them only where they are asked for.

mod bam;
mod bits;
mod blocks;
mod bounds;
mod compression;
mod cursor;
mod encoding;
mod mates;
mod record;
mod slice;
mod write;

use std::borrow::Cow;

pub(super) use self::bam::{Bases, write_bam};
pub(super) use self::compression::Compression;
pub(super) use self::mates::resolve;
pub(super) use self::record::{Decoded, Record};
pub(super) use self::slice::{Body, Slice, SliceHeader};
pub(super) use self::write::write;
use super::container::damaged;
use crate::FormatError;

/// Why records cannot be had.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// The bytes make no sense.
    Damage(Cow<'static, str>),
    /// They do, but are not read here.
    Unread(&'static str),
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Self {
        Fault::Damage(Cow::Borrowed(reason))
    }
}

impl Fault {
    /// As an error of the container that begins at this byte of an object.
    pub(super) fn at(self, name: &str, offset: u64) -> FormatError {
        match self {
            Fault::Damage(reason) => damaged(name, offset, reason),
            Fault::Unread(what) => FormatError::Unsupported {
                name: name.to_owned(),
                format: "CRAM",
                what: what.to_owned(),
                remedy: "write it again with `samtools view -C -T REFERENCE -o NEW.cram FILE`".to_owned(),
            },
        }
    }
}
