//! Reading one slice as a file of its own: its records behind the object's header, in the format's own wrapping.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::Bytes;
use neardata_core::RangedRead;

use crate::gzip::BgzfEncoder;
use crate::read::RecordReader;
use crate::records::Format;
use crate::region::{RegionReader, RegionSelection};
use crate::selection::Stretch;
use crate::table::Pieces;
use crate::{Compression, FormatError, selection};

/// Reads one slice of one object as a valid file: what its records are, behind the header of formats that have one (VCF, SAM, BAM,
/// BCF); BAM and BCF come as BGZF, everything else uncompressed.
///
/// Besides [`Read`] it is [`BufRead`], whose `fill_buf` gives the bytes without a copy, as does [`SliceReader::chunk`].
pub struct SliceReader {
    /// What of the header is still to be handed out.
    header: Bytes,
    records: Records,
    bgzf: Option<BgzfEncoder>,
    /// Bytes that [`SliceReader::chunk`] gave and nobody has to see again.
    lent: usize,
}

/// Where a slice's records come from.
enum Records {
    Stretch(Box<RecordReader>),
    Region(Box<RegionReader>),
    Pieces(PieceReader),
}

/// A file that comes in pieces.
struct PieceReader {
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
    fn fill(&mut self) -> Result<&[u8], FormatError> {
        match self {
            Records::Stretch(reader) => reader.fill(),
            Records::Region(reader) => reader.fill(),
            Records::Pieces(reader) => reader.fill(),
        }
    }

    fn pass(&mut self, amount: usize) {
        match self {
            Records::Stretch(reader) => reader.consume(amount),
            Records::Region(reader) => reader.pass(amount),
            Records::Pieces(reader) => reader.pass(amount),
        }
    }
}

impl SliceReader {
    /// A reader of `stretch` of `object`, with its side-car where the stretch needs one.
    pub fn new(
        object: Arc<dyn RangedRead>,
        index: Option<&dyn RangedRead>,
        format: Format,
        stretch: Stretch,
    ) -> Result<Self, FormatError> {
        let header = match stretch.preamble {
            Some(preamble) => {
                stretch.check(format.name(), object.size(), index.map(RangedRead::size))?;
                read_preamble(&object, format, Stretch::of_preamble(stretch.compression, preamble))?
            }
            None => Bytes::new(),
        };
        Ok(Self::behind(header, format, Records::Stretch(Box::new(RecordReader::new(object, index, format, stretch)?))))
    }

    /// A reader of the records of a region.
    pub(crate) fn of_region(
        object: Arc<dyn RangedRead>,
        format: Format,
        selection: RegionSelection,
    ) -> Result<Self, FormatError> {
        let preamble = selection.preamble;
        let records = RegionReader::new(Arc::clone(&object), format, selection)?;
        let header = read_preamble(&object, format, Stretch::of_preamble(Compression::Bgzf, preamble))?;
        Ok(Self::behind(header, format, Records::Region(Box::new(records))))
    }

    /// A reader of what a table format makes of a slice.
    pub(crate) fn of_pieces(pieces: Pieces) -> Self {
        let records = Records::Pieces(PieceReader { pieces, current: Bytes::new() });
        Self { header: Bytes::new(), records, bgzf: None, lent: 0 }
    }

    fn behind(header: Bytes, format: Format, records: Records) -> Self {
        Self { header, records, bgzf: format.entry().always_bgzf.then(BgzfEncoder::default), lent: 0 }
    }

    /// The same without the header: it goes behind another slice of the same object.
    pub fn without_header(mut self) -> Self {
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

    /// The next bytes, without a copy; empty at the end. Each call moves past what the one before gave.
    pub fn chunk(&mut self) -> Result<&[u8], FormatError> {
        self.give_back();
        self.lent = self.fill()?.len();
        self.held()
    }

    fn give_back(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        self.pass(lent);
    }

    /// Makes sure that there are bytes at hand, unless this is the end.
    fn fill(&mut self) -> Result<&[u8], FormatError> {
        let Some(bgzf) = &mut self.bgzf else {
            return if self.header.is_empty() { self.records.fill() } else { Ok(&self.header) };
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
        Ok(bgzf.ready())
    }

    /// What [`SliceReader::fill`] gave.
    fn held(&mut self) -> Result<&[u8], FormatError> {
        match &self.bgzf {
            Some(bgzf) => Ok(bgzf.ready()),
            None if !self.header.is_empty() => Ok(&self.header),
            None => self.records.fill(),
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
        Ok(self.fill()?)
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

fn read_preamble(object: &Arc<dyn RangedRead>, format: Format, stretch: Stretch) -> Result<Bytes, FormatError> {
    let length = stretch.to[1].min(selection::PREAMBLE_LIMIT);
    let mut header = Vec::with_capacity(length.min(1 << 20) as usize);
    RecordReader::new(Arc::clone(object), None, format, stretch)?.read_to_end(&mut header).map_err(|error| {
        FormatError::Broken { name: object.name().to_owned(), reason: format!("its header cannot be read: {error}") }
    })?;
    Ok(header.into())
}
