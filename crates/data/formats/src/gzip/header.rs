//! Headers of gzip members (RFC 1952) and of BGZF blocks (SAM specification, section 4.1).

use neardata_core::ReadError;

use crate::input::Input;

/// The two bytes every gzip member begins with, and the only compression method there is.
pub(crate) const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Longest name or comment accepted; longer ones are no honest header.
const TEXT_LIMIT: usize = 64 * 1024;

const HAS_CRC: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// What came where a member header was expected.
pub(crate) enum Header {
    /// A member; the input stands at its deflate data.
    Member,
    /// Not a gzip magic number; nothing but these bytes was consumed.
    Foreign,
    /// The input ended inside the header.
    Truncated,
    /// The header breaks the rules.
    Invalid(&'static str),
}

/// Reads one member header.
pub(crate) fn read(input: &mut Input<'_>) -> Result<Header, ReadError> {
    for expected in &MAGIC[..2] {
        match input.byte()? {
            Some(byte) if byte == *expected => {}
            Some(_) => return Ok(Header::Foreign),
            None => return Ok(Header::Truncated),
        }
    }
    let fixed = input.exact(8)?;
    if fixed.len() < 8 {
        return Ok(Header::Truncated);
    }
    let flags = fixed[1];
    if fixed[0] != MAGIC[2] {
        return Ok(Header::Invalid("unknown compression method"));
    }
    if flags & RESERVED != 0 {
        return Ok(Header::Invalid("reserved header flags are set"));
    }
    if flags & HAS_EXTRA != 0 {
        let length = input.exact(2)?;
        if length.len() < 2 {
            return Ok(Header::Truncated);
        }
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let extra = input.exact(length)?;
        if extra.len() < length {
            return Ok(Header::Truncated);
        }
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        if flags & flag != 0 {
            match skip_text(input)? {
                TextEnd::Found => {}
                TextEnd::Missing => return Ok(Header::Truncated),
                TextEnd::TooLong => return Ok(Header::Invalid("name or comment longer than 64 KiB")),
            }
        }
    }
    if flags & HAS_CRC != 0 && input.exact(2)?.len() < 2 {
        return Ok(Header::Truncated);
    }
    Ok(Header::Member)
}

enum TextEnd {
    Found,
    Missing,
    TooLong,
}

fn skip_text(input: &mut Input<'_>) -> Result<TextEnd, ReadError> {
    for _ in 0..TEXT_LIMIT {
        match input.byte()? {
            Some(0) => return Ok(TextEnd::Found),
            Some(_) => {}
            None => return Ok(TextEnd::Missing),
        }
    }
    Ok(TextEnd::TooLong)
}

/// The whole size of the block, from the `BC` subfield of a header's extra field.
pub(crate) fn bgzf_block_size(mut extra: &[u8]) -> Option<u32> {
    while let [id1, id2, low, high, rest @ ..] = extra {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let content = rest.get(..length)?;
        if (*id1, *id2, length) == (b'B', b'C', 2) {
            return Some(u32::from(u16::from_le_bytes([content[0], content[1]])) + 1);
        }
        extra = &rest[length..];
    }
    None
}

/// The whole size of the BGZF block whose first bytes are `start` (18 suffice for what bgzip writes); `None` if it is no such block.
pub(crate) fn bgzf_block(start: &[u8]) -> Option<u32> {
    if start.len() < 12 || start[..3] != MAGIC || start[3] & HAS_EXTRA == 0 || start[3] & RESERVED != 0 {
        return None;
    }
    let length = usize::from(u16::from_le_bytes([start[10], start[11]]));
    bgzf_block_size(start.get(12..12 + length)?)
}
