//! Headers of containers and blocks (CRAMv3 §7, §8), read byte by byte from any source, each with its checksum.

use neardata_core::ReadError;

use crate::FormatError;

/// A container that holds more slices is damage: a slice is thousands of records.
const LANDMARKS_LIMIT: u32 = 1 << 20;
/// The last container of every whole file (CRAMv3 §9).
pub(super) const END_OF_FILE: [u8; 38] = [
    0x0f, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xe0, 0x45, 0x4f, 0x46, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x05, 0xbd,
    0xd9, 0x4f, 0x00, 0x01, 0x00, 0x06, 0x06, 0x01, 0x00, 0x01, 0x00, 0x01, 0x00, 0xee, 0x63, 0x01, 0x4b,
];
/// Bytes of the header in [`END_OF_FILE`].
pub(super) const END_OF_FILE_HEADER: usize = 23;

/// The header of a container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    /// Its bytes, checksum included.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the blocks behind it.
    pub(super) length: u64,
    /// Number of the reference; -1: none, -2: several.
    pub(super) reference: i32,
    /// First position, from 1.
    pub(super) start: i32,
    /// Positions covered.
    pub(super) span: i32,
    /// Records in it.
    pub(super) records: u64,
    /// Blocks in it.
    pub(super) blocks: u64,
    /// Slices in it.
    pub(super) slices: u64,
}

/// The header of a block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// How its content is compressed: 0 not at all, 1 gzip, …
    pub(super) method: u8,
    /// What it is: 0 the SAM header, …
    pub(super) content: u8,
    /// Stored bytes behind it; four bytes of checksum follow them.
    pub(super) stored: u64,
    /// Its size when decompressed.
    pub(super) raw: u64,
}

/// Why a header cannot be read.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The bytes end inside it.
    Ended,
    /// It makes no sense.
    Reason(&'static str),
    /// They cannot be had.
    Read(ReadError),
}

impl From<ReadError> for Wrong {
    fn from(error: ReadError) -> Self {
        Wrong::Read(error)
    }
}

impl Wrong {
    /// As an error of what begins at this byte of an object.
    pub(super) fn at(self, name: &str, offset: u64, what: &'static str) -> FormatError {
        match self {
            Wrong::Ended => FormatError::Truncated { name: name.to_owned(), what, offset },
            Wrong::Reason(reason) => damaged(name, offset, reason),
            Wrong::Read(error) => error.into(),
        }
    }
}

/// An error of a CRAM file.
pub(super) fn damaged(name: &str, offset: u64, reason: impl Into<String>) -> FormatError {
    FormatError::Damaged { name: name.to_owned(), format: "CRAM", offset, reason: reason.into() }
}

/// A source of bytes that keeps what it gave.
struct Taken<'n> {
    next: &'n mut dyn FnMut() -> Result<Option<u8>, ReadError>,
    bytes: Vec<u8>,
}

impl Taken<'_> {
    fn byte(&mut self) -> Result<u8, Wrong> {
        let byte = (self.next)()?.ok_or(Wrong::Ended)?;
        self.bytes.push(byte);
        Ok(byte)
    }

    fn u32(&mut self) -> Result<u32, Wrong> {
        Ok(u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]))
    }

    fn itf8(&mut self) -> Result<i32, Wrong> {
        itf8(|| self.byte())
    }

    fn ltf8(&mut self) -> Result<i64, Wrong> {
        ltf8(|| self.byte())
    }

    /// A count that cannot be negative.
    fn count(&mut self, what: &'static str) -> Result<u32, Wrong> {
        u32::try_from(self.itf8()?).map_err(|_| Wrong::Reason(what))
    }
}

/// CRAMv3 §2.3: the ones in front of the first byte tell how many bytes follow; the fifth gives four bits.
pub(super) fn itf8<E>(mut next: impl FnMut() -> Result<u8, E>) -> Result<i32, E> {
    let first = next()?;
    let more = first.leading_ones().min(4);
    let mut value = u32::from(first) & (0xff >> (more + 1));
    if more == 4 {
        value = u32::from(first) & 0x0f;
    }
    for place in 0..more {
        let byte = u32::from(next()?);
        value = if place == 3 { value << 4 | byte & 0x0f } else { value << 8 | byte };
    }
    Ok(value.cast_signed())
}

/// The same for 64 bits; nine bytes at most.
pub(super) fn ltf8<E>(mut next: impl FnMut() -> Result<u8, E>) -> Result<i64, E> {
    let first = next()?;
    let more = first.leading_ones();
    let mut value = if more >= 7 { 0 } else { u64::from(first) & (0xff >> (more + 1)) };
    for _ in 0..more {
        value = value << 8 | u64::from(next()?);
    }
    Ok(value.cast_signed())
}

impl Container {
    /// Reads a header and verifies its checksum.
    pub(super) fn read(next: &mut dyn FnMut() -> Result<Option<u8>, ReadError>) -> Result<Self, Wrong> {
        let mut from = Taken { next, bytes: Vec::new() };
        let length = u64::try_from(from.u32()?.cast_signed()).map_err(|_| Wrong::Reason("a container has a negative length"))?;
        let [reference, start, span] = [from.itf8()?, from.itf8()?, from.itf8()?];
        let records = u64::from(from.count("a container has a negative number of records")?);
        from.ltf8()?;
        from.ltf8()?;
        let blocks = u64::from(from.count("a container has a negative number of blocks")?);
        let slices = from.count("a container has a negative number of slices")?;
        if slices > LANDMARKS_LIMIT {
            return Err(Wrong::Reason("a container has more than a million slices"));
        }
        for _ in 0..slices {
            let place = from.count("a slice lies before its container")?;
            if u64::from(place) > length {
                return Err(Wrong::Reason("a slice lies behind its container"));
            }
        }
        let checksum = crc32fast::hash(&from.bytes);
        if from.u32()? != checksum {
            return Err(Wrong::Reason("the checksum of a container header does not fit"));
        }
        if reference < -2 {
            return Err(Wrong::Reason("a container names an impossible reference"));
        }
        Ok(Self { bytes: from.bytes, length, reference, start, span, records, blocks, slices: u64::from(slices) })
    }

    /// Bytes from its header to its end.
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64 + self.length
    }

    /// Whether it is the one that ends a file.
    pub(super) fn ends_file(&self) -> bool {
        self.bytes == END_OF_FILE[..END_OF_FILE_HEADER]
    }
}

impl Block {
    /// Reads a header; `left` bytes of its container are left, and must hold it, its content and its checksum.
    pub(super) fn read(next: &mut dyn FnMut() -> Result<Option<u8>, ReadError>, left: u64) -> Result<Self, Wrong> {
        let mut from = Taken { next, bytes: Vec::new() };
        let [method, content] = [from.byte()?, from.byte()?];
        from.itf8()?;
        let stored = u64::from(from.count("a block has a negative size")?);
        let raw = u64::from(from.count("a block has a negative size")?);
        if from.bytes.len() as u64 + stored + 4 > left {
            return Err(Wrong::Reason("a block is longer than its container"));
        }
        Ok(Self { bytes: from.bytes, method, content, stored, raw })
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, Container, END_OF_FILE, END_OF_FILE_HEADER, Taken};

    fn with<T>(bytes: &[u8], read: impl FnOnce(&mut Taken<'_>) -> T) -> T {
        let mut rest = bytes.iter().copied();
        read(&mut Taken { next: &mut || Ok(rest.next()), bytes: Vec::new() })
    }

    #[test]
    fn numbers_are_those_of_the_specification() {
        let itf8 = |bytes: &[u8]| with(bytes, |from| from.itf8().ok());
        assert_eq!(itf8(&[0x7f]), Some(127));
        assert_eq!(itf8(&[0x80, 0x80]), Some(128));
        assert_eq!(itf8(&[0xdf, 0xff, 0xff]), Some((1 << 21) - 1));
        assert_eq!(itf8(&[0xe1, 0, 0, 0]), Some(1 << 24));
        assert_eq!(itf8(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(-1));
        assert_eq!(itf8(&[0xff, 0xff, 0xff, 0xff, 0x0e]), Some(-2));
        assert_eq!(itf8(&[0xff, 0xff]), None);
        let ltf8 = |bytes: &[u8]| with(bytes, |from| from.ltf8().ok());
        assert_eq!(ltf8(&[0x40]), Some(64));
        assert_eq!(ltf8(&[0xc0, 0x01, 0x02]), Some(258));
        assert_eq!(ltf8(&[0xff; 9]), Some(-1));
        assert_eq!(ltf8(&[0xfe, 1, 0, 0, 0, 0, 0, 0]), Some(1 << 48));
    }

    #[test]
    fn the_last_container_is_one() {
        let mut bytes = END_OF_FILE.iter().copied();
        let container = Container::read(&mut || Ok(bytes.next())).unwrap();
        assert!(container.ends_file());
        assert_eq!((container.bytes.len(), container.size()), (END_OF_FILE_HEADER, 38));
        let block = Block::read(&mut || Ok(bytes.next()), container.length).unwrap();
        assert_eq!(block.stored, 6);
    }
}
