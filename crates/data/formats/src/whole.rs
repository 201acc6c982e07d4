//! Reading one slice as a file of its own: its records behind the object's header, in the format's own wrapping.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::Bytes;
use neardata_core::RangedRead;

use crate::gzip::BgzfEncoder;
use crate::read::{Part, RecordReader};
use crate::records::Format;
use crate::region::{RegionReader, RegionSelection, SequenceReader, SequenceSelection};
use crate::selection::Stretch;
use crate::table::Pieces;
use crate::{Compression, FormatError, selection};

/// Reads one slice of one object as a valid file: what its records are, behind the header of formats that have one (VCF, SAM, BAM,
/// BCF); BAM and BCF come as BGZF, everything else uncompressed.
///
/// Besides [`Read`] it is [`BufRead`], whose `fill_buf` gives the bytes without a copy, as does [`SliceReader::chunk`].
pub struct SliceReader {
    /// The header, until its bytes are wanted.
    unread: Option<Part>,
    /// What of the header is still to be handed out.
    header: Bytes,
    records: Records,
    bgzf: Option<BgzfEncoder>,
    /// Bytes that [`SliceReader::chunk`] gave and nobody has to see again.
    lent: usize,
}

/// Where a slice's records come from.
pub(crate) enum Records {
    Stretch(Box<RecordReader>),
    Region(Box<RegionReader>),
    Sequence(Box<SequenceReader>),
    Pieces(PieceReader),
}

/// A file that comes in pieces.
pub(crate) struct PieceReader {
    pieces: Pieces,
    current: Bytes,
}

impl PieceReader {
    fn fill(&mut self) -> Result<&[u8], FormatError> {
        while self.current.is_empty()
            && let Some(piece) = self.pieces.next()
        {
            self.current = piece?;
        }
        Ok(&self.current)
    }

    fn pass(&mut self, amount: usize) {
        self.current = self.current.slice(amount.min(self.current.len())..);
    }
}

impl Records {
    /// Makes sure that there are bytes at hand, unless this is the end, and gives them.
    pub(crate) fn fill(&mut self) -> Result<&[u8], FormatError> {
        match self {
            Records::Stretch(reader) => reader.fill(),
            Records::Region(reader) => reader.fill(),
            Records::Sequence(reader) => reader.fill(),
            Records::Pieces(reader) => reader.fill(),
        }
    }

    /// The bytes at hand.
    fn held(&self) -> &[u8] {
        match self {
            Records::Stretch(reader) => reader.held(),
            Records::Region(reader) => reader.held(),
            Records::Sequence(reader) => reader.held(),
            Records::Pieces(reader) => &reader.current,
        }
    }

    pub(crate) fn pass(&mut self, amount: usize) {
        match self {
            Records::Stretch(reader) => reader.consume(amount),
            Records::Region(reader) => reader.pass(amount),
            Records::Sequence(reader) => reader.pass(amount),
            Records::Pieces(reader) => reader.pass(amount),
        }
    }
}

impl SliceReader {
    /// A reader of the records of `part`, behind its header.
    pub fn new(part: Part) -> Result<Self, FormatError> {
        let preamble = part.stretch.preamble;
        let header = preamble.map(|preamble| header_part(&part.object, part.format, part.stretch.compression, preamble));
        let format = part.format;
        Ok(Self::behind(header, format, Records::Stretch(Box::new(RecordReader::new(part)?))))
    }

    /// A reader of the records of a region.
    pub(crate) fn of_region(
        object: Arc<dyn RangedRead>,
        format: Format,
        selection: RegionSelection,
    ) -> Result<Self, FormatError> {
        let header = header_part(&object, format, Compression::Bgzf, selection.preamble);
        let records = RegionReader::new(object, format, selection)?;
        Ok(Self::behind(Some(header), format, Records::Region(Box::new(records))))
    }

    /// A reader of a run of bases.
    pub(crate) fn of_sequence(object: Arc<dyn RangedRead>, selection: SequenceSelection) -> Result<Self, FormatError> {
        let records = SequenceReader::new(object, selection)?;
        Ok(Self::behind(None, Format::Fasta, Records::Sequence(Box::new(records))))
    }

    /// A reader of what a table format makes of a slice.
    pub(crate) fn of_pieces(pieces: Pieces) -> Self {
        let records = Records::Pieces(PieceReader { pieces, current: Bytes::new() });
        Self { unread: None, header: Bytes::new(), records, bgzf: None, lent: 0 }
    }

    fn behind(unread: Option<Part>, format: Format, records: Records) -> Self {
        let bgzf = format.entry().always_bgzf.then(BgzfEncoder::default);
        Self { unread, header: Bytes::new(), records, bgzf, lent: 0 }
    }

    /// The header, and the records without any wrapping.
    pub(crate) fn into_parts(self) -> Result<(Bytes, Records), FormatError> {
        Ok((self.unread.map(read_header).transpose()?.unwrap_or(self.header), self.records))
    }

    /// The same without the header, which is not fetched: it goes behind another slice of the same object.
    pub fn without_header(mut self) -> Self {
        self.unread = None;
        self.header = Bytes::new();
        self
    }

    /// The same without what marks the end of a file: another slice of the same object follows.
    pub fn without_end(mut self) -> Self {
        if let Some(bgzf) = &mut self.bgzf {
            bgzf.leave_open();
        }
        self
    }

    /// How many bytes it gives, where that is known before they are read.
    pub fn size(&self) -> Option<u64> {
        let records = match &self.records {
            Records::Stretch(reader) if self.bgzf.is_none() => reader.size()?,
            _ => return None,
        };
        let header = self.unread.as_ref().map_or(self.header.len() as u64, |part| part.stretch.to[1]);
        Some(records + header)
    }

    /// The next bytes, without a copy; empty at the end. Each call moves past what the one before gave.
    pub fn chunk(&mut self) -> Result<&[u8], FormatError> {
        self.give_back();
        self.fill()?;
        self.lent = self.held().len();
        Ok(self.held())
    }

    /// The next bytes as a value of their own, which may share memory with what was read; empty at the end.
    pub fn piece(&mut self) -> Result<Bytes, FormatError> {
        self.give_back();
        match &mut self.records {
            Records::Pieces(reader) => {
                reader.fill()?;
                Ok(std::mem::take(&mut reader.current))
            }
            _ => Ok(Bytes::copy_from_slice(self.chunk()?)),
        }
    }

    fn give_back(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        self.pass(lent);
    }

    /// Makes sure that there are bytes at hand, unless this is the end.
    fn fill(&mut self) -> Result<(), FormatError> {
        if let Some(part) = self.unread.take() {
            self.header = read_header(part)?;
        }
        let Some(bgzf) = &mut self.bgzf else {
            if self.header.is_empty() {
                self.records.fill()?;
            }
            return Ok(());
        };
        while bgzf.wants_input() {
            if !self.header.is_empty() {
                bgzf.write(&std::mem::take(&mut self.header));
                continue;
            }
            let chunk = self.records.fill()?;
            if chunk.is_empty() {
                bgzf.finish();
            } else {
                bgzf.write(chunk);
                let length = chunk.len();
                self.records.pass(length);
            }
        }
        Ok(())
    }

    /// The bytes at hand.
    fn held(&self) -> &[u8] {
        match &self.bgzf {
            Some(bgzf) => bgzf.ready(),
            None if !self.header.is_empty() => &self.header,
            None => self.records.held(),
        }
    }

    fn pass(&mut self, amount: usize) {
        match &mut self.bgzf {
            Some(bgzf) => bgzf.pass(amount),
            None if !self.header.is_empty() => self.header = self.header.slice(amount.min(self.header.len())..),
            None => self.records.pass(amount),
        }
    }
}

impl BufRead for SliceReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.give_back();
        self.fill()?;
        Ok(self.held())
    }

    fn consume(&mut self, amount: usize) {
        self.pass(amount);
    }
}

impl Read for SliceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(out.len());
        out[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

fn header_part(object: &Arc<dyn RangedRead>, format: Format, compression: Compression, preamble: selection::Preamble) -> Part {
    let stretch = Stretch::of_preamble(compression, preamble);
    Part { object: Arc::clone(object), side_car: None, format, stretch, verify_ends: false }
}

fn read_header(part: Part) -> Result<Bytes, FormatError> {
    let name = part.object.name().to_owned();
    let length = part.stretch.to[1].min(selection::PREAMBLE_LIMIT);
    let mut header = Vec::with_capacity(length.min(1 << 20) as usize);
    RecordReader::new(part)?
        .read_to_end(&mut header)
        .map_err(|error| FormatError::Broken { name, reason: format!("its header cannot be read: {error}") })?;
    Ok(header.into())
}
