//! The index: entries in blocks, each with its checksum, and a footer.
//!
//! | bytes | content |
//! | --- | --- |
//! | 72 · up to 256 | a block of entries, all but the last of 256 |
//! | 4 | CRC-32 of the block; and so on |
//! | 104 | footer: magic; number of spectra; flags; extents of x, y, z; shared m/z array; end of the XML; CRC-32 |

use std::io::{self, Write};

use neardata_core::{ByteRange, RangedRead};

use super::entry::{Array, ENTRY, Entry, u32_at, u64_at};
use super::number::Number;
use crate::FormatError;

/// Version of all this.
pub(super) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"NDIMZML\x01";
/// Entries of a block.
const BLOCK: u64 = 256;
const CHECKSUM: u64 = 4;
const STRIDE: u64 = BLOCK * ENTRY as u64 + CHECKSUM;
const FOOTER: usize = 104;
/// Blocks read at a time.
const BLOCKS_READ: u64 = 64;

/// What is true of all spectra.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Footer {
    pub(super) count: u64,
    /// The number types that hold all m/z and all intensities.
    pub(super) mz: Number,
    pub(super) intensity: Number,
    /// Whether some spectrum has a z, and whether all have.
    pub(super) some_z: bool,
    pub(super) all_z: bool,
    /// Smallest and largest x, y, z.
    pub(super) min: [i32; 3],
    pub(super) max: [i32; 3],
    /// The m/z array of all spectra, and its length, where they share one.
    pub(super) shared: Option<(Array, u32)>,
    /// What follows the last spectrum, from `</spectrumList>` to the end of the document element.
    pub(super) tail: ByteRange,
}

impl Footer {
    fn encode(&self) -> Vec<u8> {
        let (array, count) =
            self.shared.unwrap_or((Array { offset: 0, encoded: 0, number: self.mz, zlib: false, position: 0 }, 0));
        let flags = u32::from(self.mz.code())
            | u32::from(self.intensity.code()) << 4
            | u32::from(self.some_z) << 8
            | u32::from(self.all_z) << 9
            | u32::from(self.shared.is_some()) << 10
            | u32::from(array.zlib) << 11;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        for number in self.min.iter().chain(&self.max) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&count.to_le_bytes());
        for number in [array.offset, array.encoded, self.tail.start, self.tail.end] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(FOOTER - CHECKSUM as usize, 0);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let flags = u32_at(bytes, 16);
        let flag = |bit: u32| flags >> bit & 1 == 1;
        let three = |at: usize| [0, 4, 8].map(|axis| u32_at(bytes, at + axis) as i32);
        let mz = Number::from_code((flags & 7) as u8)?;
        let array = Array { offset: u64_at(bytes, 48), encoded: u64_at(bytes, 56), number: mz, zlib: flag(11), position: 0 };
        Some(Self {
            count: u64_at(bytes, 8),
            mz,
            intensity: Number::from_code((flags >> 4 & 7) as u8)?,
            some_z: flag(8),
            all_z: flag(9),
            min: three(20),
            max: three(32),
            shared: flag(10).then_some((array, u32_at(bytes, 44))),
            tail: ByteRange::new(u64_at(bytes, 64), u64_at(bytes, 72)),
        })
    }

    /// Reads the footer of an index of objects of these sizes.
    pub(super) fn read(index: &dyn RangedRead, xml: u64, ibd: u64) -> Result<Self, FormatError> {
        let start = index.size().checked_sub(FOOTER as u64).ok_or_else(|| broken(index, "it is shorter than its footer"))?;
        let bytes = index.read(ByteRange::new(start, index.size()))?;
        let (content, _) = bytes.split_at_checked(FOOTER - CHECKSUM as usize).unwrap_or_default();
        if !content.starts_with(&MAGIC) || crc32fast::hash(content) != u32_at(&bytes, content.len()) {
            return Err(broken(index, "the checksum of its footer does not fit"));
        }
        let footer = Self::decode(&bytes).ok_or_else(|| broken(index, "unknown number types"))?;
        if length(footer.count) != Some(start) || footer.tail.end > xml {
            return Err(broken(index, "it is not as long as its footer says"));
        }
        if let Some((array, count)) = &footer.shared {
            array.check(*count, ibd).map_err(|reason| broken(index, &reason))?;
        }
        Ok(footer)
    }
}

/// Length of the blocks of so many entries.
fn length(count: u64) -> Option<u64> {
    count.checked_mul(ENTRY as u64)?.checked_add(count.div_ceil(BLOCK).checked_mul(CHECKSUM)?)
}

fn broken(index: &dyn RangedRead, reason: &str) -> FormatError {
    FormatError::SideCar { name: index.name().to_owned(), reason: reason.to_owned() }
}

/// Writes entries as they come.
pub(super) struct Writer<'o> {
    out: &'o mut dyn Write,
    block: Vec<u8>,
    footer: Option<Footer>,
    first: Option<Entry>,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        Self { out, block: Vec::with_capacity(STRIDE as usize), footer: None, first: None }
    }

    pub(super) fn push(&mut self, entry: &Entry) -> io::Result<()> {
        let first = *self.first.get_or_insert(*entry);
        let at = [entry.x, entry.y, entry.z.unwrap_or(0)];
        let footer = self.footer.get_or_insert(Footer {
            count: 0,
            mz: entry.mz.number,
            intensity: entry.intensity.number,
            some_z: false,
            all_z: true,
            min: at,
            max: at,
            shared: Some((entry.mz, entry.count)),
            tail: ByteRange::new(0, 0),
        });
        footer.count += 1;
        footer.mz = footer.mz.common(entry.mz.number);
        footer.intensity = footer.intensity.common(entry.intensity.number);
        footer.some_z |= entry.z.is_some();
        footer.all_z &= entry.z.is_some();
        for ((min, max), at) in footer.min.iter_mut().zip(&mut footer.max).zip(at) {
            (*min, *max) = (at.min(*min), at.max(*max));
        }
        footer.shared = footer.shared.filter(|_| entry.shares_mz(&first));
        entry.encode(&mut self.block);
        if footer.count.is_multiple_of(BLOCK) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let checksum = crc32fast::hash(&self.block);
        self.block.extend_from_slice(&checksum.to_le_bytes());
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    /// Writes the rest; `tail` is what follows the spectra in the XML.
    pub(super) fn finish(mut self, tail: ByteRange) -> io::Result<Footer> {
        self.flush()?;
        let none = Footer {
            count: 0,
            mz: Number::F64,
            intensity: Number::F32,
            some_z: false,
            all_z: false,
            min: [0; 3],
            max: [0; 3],
            shared: None,
            tail,
        };
        let footer = Footer { tail, ..self.footer.unwrap_or(none) };
        self.out.write_all(&footer.encode())?;
        self.out.flush()?;
        Ok(footer)
    }
}

/// Entries of an index, some blocks at a time.
pub(super) struct Walk {
    /// Entries that are still to come.
    next: u64,
    end: u64,
    /// Sizes of the objects.
    xml: u64,
    ibd: u64,
}

impl Walk {
    /// The entries `[first, end)`; objects of these sizes.
    pub(super) fn new(spectra: [u64; 2], xml: u64, ibd: u64) -> Self {
        Self { next: spectra[0], end: spectra[1], xml, ibd }
    }

    /// The next entries with their ordinals; `None` at the end. Every entry lies within its objects.
    pub(super) fn step(&mut self, index: &dyn RangedRead, footer: &Footer) -> Result<Option<Vec<(u64, Entry)>>, FormatError> {
        let end = self.end.min(footer.count);
        if self.next >= end {
            return Ok(None);
        }
        let first_block = self.next / BLOCK;
        let last_block = end.div_ceil(BLOCK).min(first_block + BLOCKS_READ);
        let last_entry = (last_block * BLOCK).min(footer.count);
        let range =
            ByteRange::new(first_block * STRIDE, first_block * STRIDE + length(last_entry - first_block * BLOCK).unwrap_or(0));
        let bytes = index.read(range)?;
        let mut entries = Vec::with_capacity((last_entry - first_block * BLOCK) as usize);
        for (block, number) in bytes.chunks(STRIDE as usize).zip(first_block..) {
            let (content, checksum) = block.split_at(block.len().saturating_sub(CHECKSUM as usize));
            if crc32fast::hash(content) != u32_at(checksum, 0) {
                return Err(broken(index, &format!("the checksum of block {number} does not fit")));
            }
            for (bytes, ordinal) in content.as_chunks::<ENTRY>().0.iter().zip(number * BLOCK..) {
                if ordinal < self.next || ordinal >= end {
                    continue;
                }
                let entry = Entry::decode(bytes).ok_or_else(|| broken(index, "unknown number types"))?;
                let outside = |reason| broken(index, &format!("spectrum {ordinal}: {reason}"));
                entry.check(self.xml, self.ibd).map_err(outside)?;
                entries.push((ordinal, entry));
            }
        }
        self.next = last_entry.min(end);
        Ok(Some(entries))
    }
}
