//! Zstandard (RFC 8878): a decoder that says where frames begin. Decoding can start at a frame and nowhere else.

use neardata_core::ReadError;
use zstd::stream::raw::{Decoder, Operation};

use crate::gzip::{Boundary, Step};
use crate::input::Input;
use crate::{Compression, FormatError};

/// First bytes of a frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Second to fourth byte of a skippable frame; the first is 0x50 to 0x5f.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Frames that look back farther, and so need more memory, are refused: `zstd` does so too unless told otherwise.
const WINDOW_LIMIT: u64 = 128 << 20;

/// Whether an object that begins with `start` is Zstandard: a frame, maybe behind skippable ones.
pub(crate) fn begins(mut start: &[u8]) -> bool {
    loop {
        match start.split_first_chunk::<4>() {
            Some((magic, _)) if *magic == MAGIC => return true,
            Some((magic, rest)) if is_skippable(magic) => {
                let Some(length) = rest.first_chunk().map(|length| u32::from_le_bytes(*length)) else { return true };
                // What follows a long one is not at hand.
                let Some(next) = rest.get(4..).and_then(|rest| rest.get(length as usize..)) else { return true };
                start = next;
            }
            _ => return false,
        }
    }
}

fn is_skippable(magic: &[u8; 4]) -> bool {
    magic[0] & 0xf0 == 0x50 && magic[1..] == SKIPPABLE
}

/// Decodes a Zstandard object of one or more frames, from the start of one; verifies the checksums of frames that have one.
pub(crate) struct ZstdDecoder<'a> {
    name: String,
    input: Input<'a>,
    decoder: Decoder<'static>,
    in_frame: bool,
    /// Frames entered.
    frames: u64,
}

impl<'a> ZstdDecoder<'a> {
    /// Decodes from the start of a frame.
    pub(crate) fn new(name: &str, input: Input<'a>) -> Result<Self, FormatError> {
        let decoder =
            Decoder::new().map_err(|error| ReadError::Failed { name: name.to_owned(), detail: format!("Zstandard: {error}") })?;
        Ok(Self { name: name.to_owned(), input, decoder, in_frame: false, frames: 0 })
    }

    /// Offset in the object of the next byte to be decoded.
    pub(crate) fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Behind every byte of the object that what was put out needed, where that lies inside a frame.
    pub(crate) fn needed(&self) -> Option<u64> {
        // The library gives the last byte of a frame back while output waits for room, though it has used it.
        self.in_frame.then(|| self.input.offset() + 1)
    }

    /// Decodes more into `output` (not empty), up to where it is full or a frame begins.
    pub(crate) fn step(&mut self, output: &mut [u8]) -> Result<Step, FormatError> {
        loop {
            if self.in_frame {
                let produced = self.decode(output)?;
                if produced > 0 {
                    return Ok(Step { produced, boundary: Boundary::None, ended: false });
                }
                continue;
            }
            let boundary = match self.enter_frame()? {
                Some(offset) => Boundary::Member { bit: offset * 8 },
                None => Boundary::None,
            };
            return Ok(Step { produced: 0, ended: boundary == Boundary::None, boundary });
        }
    }

    fn decode(&mut self, output: &mut [u8]) -> Result<usize, FormatError> {
        let offset = self.input.offset();
        let available = self.input.available()?;
        let starved = available.is_empty();
        let status = self.decoder.run_on_buffers(available, output).map_err(|error| corrupt(&self.name, offset, error))?;
        self.input.advance(status.bytes_read);
        if status.remaining == 0 {
            self.in_frame = false;
        } else if starved && status.bytes_written == 0 {
            return Err(self.truncated());
        }
        Ok(status.bytes_written)
    }

    /// Passes over skippable frames and reads the header of the next frame; gives where it begins, or nothing at the object's end.
    fn enter_frame(&mut self) -> Result<Option<u64>, FormatError> {
        loop {
            let offset = self.input.offset();
            let head = self.input.exact(4)?;
            match head.first_chunk() {
                _ if head.is_empty() => return Ok(None),
                Some(magic) if *magic == MAGIC => {
                    self.read_header(offset)?;
                    return Ok(Some(offset));
                }
                Some(magic) if is_skippable(magic) => self.skip()?,
                None if MAGIC.starts_with(&head) => return Err(self.truncated()),
                _ if self.frames > 0 => {
                    return Err(FormatError::TrailingGarbage { name: self.name.clone(), what: "Zstandard frame", offset });
                }
                _ => return Err(corrupt(&self.name, offset, "no Zstandard frame begins here")),
            }
        }
    }

    fn skip(&mut self) -> Result<(), FormatError> {
        let length = self.input.exact(4)?;
        let Some(length) = length.first_chunk() else { return Err(self.truncated()) };
        let mut left = u32::from_le_bytes(*length) as usize;
        while left > 0 {
            let skipped = self.input.available()?.len().min(left);
            if skipped == 0 {
                return Err(self.truncated());
            }
            self.input.advance(skipped);
            left -= skipped;
        }
        Ok(())
    }

    /// Reads the frame header behind the magic bytes (§3.1.1.1) and lets the decoder have it.
    fn read_header(&mut self, offset: u64) -> Result<(), FormatError> {
        let Some(descriptor) = self.input.byte()? else { return Err(self.truncated()) };
        let single_segment = descriptor & 0x20 != 0;
        let window_length = usize::from(!single_segment);
        let dictionary_length = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size_length = match descriptor >> 6 {
            0 => usize::from(single_segment),
            flag => 1 << flag,
        };
        let fields = self.input.exact(window_length + dictionary_length + size_length)?;
        let parts = fields
            .split_at_checked(window_length)
            .and_then(|(window, rest)| Some((window, rest.split_at_checked(dictionary_length)?)))
            .filter(|(_, (_, size))| size.len() == size_length);
        let Some((window, (dictionary, size))) = parts else { return Err(self.truncated()) };
        if dictionary.iter().any(|byte| *byte != 0) {
            return Err(self.unsupported("a dictionary", "zstd -dc -D DICTIONARY FILE | pzstd -c > NEW.zst"));
        }
        let window = match window.first() {
            Some(byte) => window_size(*byte),
            None => number(size) + if size_length == 2 { 256 } else { 0 },
        };
        if window > WINDOW_LIMIT {
            let what = format!("a window of {} MiB at byte {offset}", window.div_ceil(1 << 20));
            return Err(self.unsupported(&what, "zstd -dc --long=31 FILE | pzstd -c > NEW.zst"));
        }
        let header = [&MAGIC, [descriptor].as_slice(), &fields].concat();
        let status = self.decoder.run_on_buffers(&header, &mut []).map_err(|error| corrupt(&self.name, offset, error))?;
        if status.bytes_read != header.len() {
            return Err(corrupt(&self.name, offset, "its frame header is not understood"));
        }
        self.in_frame = true;
        self.frames += 1;
        Ok(())
    }

    fn truncated(&self) -> FormatError {
        FormatError::Truncated { name: self.name.clone(), what: "Zstandard frame", offset: self.input.offset() }
    }

    fn unsupported(&self, what: &str, command: &str) -> FormatError {
        let remedy = format!("recompress it: `{command}`");
        FormatError::Unsupported { name: self.name.clone(), format: "Zstandard", what: what.to_owned(), remedy }
    }
}

fn corrupt(name: &str, offset: u64, reason: impl ToString) -> FormatError {
    FormatError::Corrupt { name: name.to_owned(), compression: Compression::Zstd, offset, reason: reason.to_string() }
}

/// §3.1.1.1.2: eight steps between powers of two.
fn window_size(descriptor: u8) -> u64 {
    let base = 1_u64 << (10 + (descriptor >> 3));
    base + base / 8 * u64::from(descriptor & 7)
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
