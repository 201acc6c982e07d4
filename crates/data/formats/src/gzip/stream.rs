use neardata_core::ReadError;

use super::header::{self, Header};
use super::inflate::{Inflater, Stop};
use crate::input::Input;
use crate::{Compression, FormatError};

/// A place at which decoding can start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// None here.
    None,
    /// The deflate data of a member begin at this bit of the object; nothing before is needed.
    Member { bit: u64 },
    /// A deflate block begins at this bit of the object; the last 32 KiB put out are needed.
    Block { bit: u64 },
}

/// What one step of a decoder gave.
pub(crate) struct Step {
    /// Bytes written to the output.
    pub(crate) produced: usize,
    /// The place after those bytes.
    pub(crate) boundary: Boundary,
    /// Nothing follows.
    pub(crate) ended: bool,
}

enum State {
    Header,
    Body,
    Trailer,
    End,
}

/// Decodes a gzip object of one or more members, from its start or from a [`Boundary`].
pub(crate) struct GzipDecoder<'a> {
    name: String,
    input: Input<'a>,
    inflater: Inflater,
    state: State,
    /// Whether checksums are verified; only possible for members decoded from their start.
    verify: bool,
    checksum: crc32fast::Hasher,
    member_length: u64,
    members: u64,
}

impl<'a> GzipDecoder<'a> {
    /// Decodes from the start of a member header, verifying checksums.
    pub(crate) fn new(name: &str, input: Input<'a>) -> Self {
        Self {
            name: name.to_owned(),
            input,
            inflater: Inflater::new(),
            state: State::Header,
            verify: true,
            checksum: crc32fast::Hasher::new(),
            member_length: 0,
            members: 0,
        }
    }

    /// Decodes from bit `bit` of the object, of which `input` begins at byte `bit / 8`, with what was put out before it.
    pub(crate) fn resume(name: &str, mut input: Input<'a>, bit: u64, window: &[u8]) -> Result<Self, FormatError> {
        let used_bits = (bit % 8) as u8;
        let mut inflater = Inflater::new();
        let (bits, value) = match used_bits {
            0 => (0, 0),
            _ => {
                let byte = input.byte()?.ok_or(FormatError::Truncated {
                    name: name.to_owned(),
                    what: "gzip",
                    offset: input.offset(),
                })?;
                (8 - used_bits, byte >> used_bits)
            }
        };
        if !inflater.restart(bits, value, window) {
            return Err(FormatError::Broken { name: name.to_owned(), reason: "its checkpoint cannot be restarted".into() });
        }
        Ok(Self { inflater, state: State::Body, verify: false, members: 1, ..Self::new(name, input) })
    }

    /// Offset in the object of the next byte to be decoded.
    pub(crate) fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// What a restart at the present place needs.
    pub(crate) fn window(&self, into: &mut Vec<u8>) {
        self.inflater.window(into);
    }

    /// Decodes more into `output` (not empty), up to where it is full, a member begins, or, if asked, a block ends.
    pub(crate) fn step(&mut self, output: &mut [u8], stop: Stop) -> Result<Step, FormatError> {
        loop {
            match self.state {
                State::Header => {
                    if !self.enter_member()? {
                        self.state = State::End;
                        continue;
                    }
                    let bit = self.input.offset() * 8;
                    return Ok(Step { produced: 0, boundary: Boundary::Member { bit }, ended: false });
                }
                State::Body => {
                    let step = self.decode(output, stop)?;
                    if step.produced > 0 || step.boundary != Boundary::None {
                        return Ok(step);
                    }
                }
                State::Trailer => {
                    self.check_trailer()?;
                    self.state = State::Header;
                }
                State::End => return Ok(Step { produced: 0, boundary: Boundary::None, ended: true }),
            }
        }
    }

    fn decode(&mut self, output: &mut [u8], stop: Stop) -> Result<Step, FormatError> {
        let offset = self.input.offset();
        let available = self.input.available()?;
        let starved = available.is_empty();
        let progress = self.inflater.inflate(available, output, stop).map_err(|reason| FormatError::Corrupt {
            name: self.name.clone(),
            compression: Compression::Gzip,
            offset,
            reason: reason.to_owned(),
        })?;
        self.input.advance(progress.consumed);
        if self.verify {
            self.checksum.update(&output[..progress.produced]);
            self.member_length += progress.produced as u64;
        }
        let mut boundary = Boundary::None;
        if progress.ended {
            self.state = State::Trailer;
        } else if starved && progress.produced == 0 {
            return Err(self.truncated());
        } else if let (Stop::Block, Some(unused)) = (stop, progress.between_blocks) {
            boundary = Boundary::Block { bit: self.input.offset() * 8 - u64::from(unused) };
        }
        Ok(Step { produced: progress.produced, boundary, ended: false })
    }

    /// Reads the next member's header; false at the end of the object.
    fn enter_member(&mut self) -> Result<bool, FormatError> {
        let start = self.input.offset();
        if self.members > 0 && !self.at_member(start)? {
            return Ok(false);
        }
        match header::read(&mut self.input)? {
            Header::Member => {}
            Header::Truncated => return Err(self.truncated()),
            Header::Foreign => return Err(self.corrupt(start, "no gzip member begins here")),
            Header::Invalid(reason) => return Err(self.corrupt(start, reason)),
        }
        self.inflater.reset();
        self.checksum.reset();
        self.member_length = 0;
        self.members += 1;
        self.state = State::Body;
        Ok(true)
    }

    /// After a member: whether another follows. Zero padding up to the end (tapes, block devices) is accepted.
    fn at_member(&mut self, start: u64) -> Result<bool, FormatError> {
        let Some(first) = self.input.available()?.first().copied() else { return Ok(false) };
        match first {
            0x1f => Ok(true),
            0 => {
                skip_zeros(&mut self.input)?;
                if self.input.available()?.is_empty() { Ok(false) } else { Err(self.garbage(start)) }
            }
            _ => Err(self.garbage(start)),
        }
    }

    fn check_trailer(&mut self) -> Result<(), FormatError> {
        let offset = self.input.offset();
        let trailer = self.input.exact(8)?;
        let Some((checksum, length)) = trailer.split_first_chunk::<4>().and_then(|(a, b)| Some((a, b.first_chunk::<4>()?)))
        else {
            return Err(self.truncated());
        };
        if self.verify {
            if u32::from_le_bytes(*checksum) != self.checksum.clone().finalize() {
                return Err(self.corrupt(offset, "the checksum (CRC-32) of the member does not fit its content"));
            }
            if u32::from_le_bytes(*length) != self.member_length as u32 {
                return Err(self.corrupt(offset, "the length of the member does not fit its content"));
            }
        }
        Ok(())
    }

    fn garbage(&self, offset: u64) -> FormatError {
        FormatError::TrailingGarbage { name: self.name.clone(), what: "gzip member", offset }
    }

    fn truncated(&self) -> FormatError {
        FormatError::Truncated { name: self.name.clone(), what: "gzip", offset: self.input.offset() }
    }

    fn corrupt(&self, offset: u64, reason: &str) -> FormatError {
        FormatError::Corrupt { name: self.name.clone(), compression: Compression::Gzip, offset, reason: reason.to_owned() }
    }
}

/// Moves past zero bytes.
pub(super) fn skip_zeros(input: &mut Input<'_>) -> Result<(), ReadError> {
    loop {
        let available = input.available()?;
        let zeros = available.iter().position(|byte| *byte != 0).unwrap_or(available.len());
        if zeros == 0 {
            return Ok(());
        }
        input.advance(zeros);
    }
}
