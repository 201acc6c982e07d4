//! XML as a stream of events with their places, in bounded memory.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use neardata_core::{ByteRange, Chunks, RangedRead, ReadError};
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::FORMAT;
use crate::FormatError;

/// A longer tag, text or comment is refused.
const EVENT_LIMIT: usize = 16 << 20;
/// Elements deeper in each other are refused; imzML needs ten.
const DEPTH_LIMIT: u32 = 64;
/// The byte-order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// What is read first of an object of which only the head is wanted; every further piece is twice as long.
const FIRST_PIECE: u64 = 16 << 10;
const LAST_PIECE: u64 = 1 << 20;

/// Events of an XML document, none of them expanded: entities stay what they are, document types are refused.
pub(super) struct Xml<'a> {
    name: String,
    size: u64,
    reader: Reader<Source<'a>>,
    buffer: Vec<u8>,
    depth: u32,
}

impl<'a> Xml<'a> {
    /// From the first byte on, in small pieces: for who wants the head only.
    pub(super) fn head(object: &'a dyn RangedRead) -> Self {
        let size = object.size();
        let (mut at, mut length) = (0, FIRST_PIECE);
        let pieces = std::iter::from_fn(move || {
            let piece = ByteRange::new(at, at.saturating_add(length).min(size));
            (at, length) = (piece.end, (length * 2).min(LAST_PIECE));
            (!piece.is_empty()).then(|| object.read(piece))
        });
        Self::over(object, Box::new(pieces))
    }

    /// All of it.
    pub(super) fn all(object: &'a dyn RangedRead) -> Self {
        Self::over(object, object.stream(ByteRange::new(0, object.size())))
    }

    fn over(object: &'a dyn RangedRead, chunks: Chunks<'a>) -> Self {
        let source = Source { chunks, current: Bytes::new(), at: 0, spent: 0, begun: false, mark: 0, failed: None, ended: false };
        Self {
            name: object.name().to_owned(),
            size: object.size(),
            reader: Reader::from_reader(source),
            buffer: Vec::new(),
            depth: 0,
        }
    }

    /// The next event and where it stands.
    pub(super) fn next(&mut self) -> Result<(Event<'_>, ByteRange), FormatError> {
        let Self { name, size, reader, buffer, depth } = self;
        buffer.clear();
        reader.get_mut().spent = 0;
        let start = reader.buffer_position() + reader.get_ref().mark;
        let event = match reader.read_event_into(buffer) {
            Ok(event) => event,
            Err(error) => return Err(failure(name, *size, reader, &error)),
        };
        match &event {
            Event::Start(_) => *depth += 1,
            Event::End(_) => *depth = depth.saturating_sub(1),
            Event::DocType(_) => return Err(document_type(name)),
            Event::Eof if *depth > 0 => return Err(FormatError::Truncated { name: name.clone(), what: FORMAT, offset: *size }),
            _ => {}
        }
        if *depth > DEPTH_LIMIT {
            return Err(damaged(name, start, format!("elements lie more than {DEPTH_LIMIT} deep in each other")));
        }
        Ok((event, ByteRange::new(start, reader.buffer_position() + reader.get_ref().mark)))
    }
}

/// An error of this format at a place of the XML.
pub(super) fn damaged(name: &str, offset: u64, reason: impl Into<String>) -> FormatError {
    FormatError::Damaged { name: name.to_owned(), format: FORMAT, offset, reason: reason.into() }
}

fn document_type(name: &str) -> FormatError {
    FormatError::Unsupported {
        name: name.to_owned(),
        format: FORMAT,
        what: "a document type declaration".into(),
        remedy: "remove it: imzML has none, and entities of its own would have to be expanded".into(),
    }
}

fn failure(name: &str, size: u64, reader: &mut Reader<Source<'_>>, error: &quick_xml::Error) -> FormatError {
    let offset = reader.error_position() + reader.get_ref().mark;
    let source = reader.get_mut();
    if let Some(error) = source.failed.take() {
        return error.into();
    }
    if source.ended && matches!(error, quick_xml::Error::Syntax(_)) {
        return FormatError::Truncated { name: name.to_owned(), what: FORMAT, offset: size };
    }
    damaged(name, offset, error.to_string())
}

/// The value of an attribute as it stands, with nothing expanded.
pub(super) fn attribute<'t>(tag: &'t BytesStart<'_>, key: &[u8]) -> Option<std::borrow::Cow<'t, [u8]>> {
    let mut attributes = tag.attributes();
    attributes.with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == key).map(|attribute| attribute.value)
}

/// Pieces of an object as what the XML reader reads from.
struct Source<'a> {
    chunks: Chunks<'a>,
    current: Bytes,
    at: usize,
    /// Bytes taken for the event that is being read.
    spent: usize,
    begun: bool,
    /// Length of the byte-order mark, which the XML reader does not see and does not count.
    mark: u64,
    failed: Option<ReadError>,
    ended: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.spent > EVENT_LIMIT {
            return Err(io::Error::other(format!("a tag or text of more than {} MiB", EVENT_LIMIT >> 20)));
        }
        while self.at == self.current.len() && !self.ended {
            self.at = 0;
            match self.chunks.next() {
                None => (self.ended, self.current) = (true, Bytes::new()),
                Some(Ok(chunk)) => {
                    self.current = chunk;
                    if !std::mem::replace(&mut self.begun, true) && self.current.starts_with(MARK) {
                        (self.at, self.mark) = (MARK.len(), MARK.len() as u64);
                    }
                }
                Some(Err(error)) => {
                    (self.ended, self.current, self.failed) = (true, Bytes::new(), Some(error));
                    return Err(io::Error::other("the object could not be read"));
                }
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.spent = self.spent.saturating_add(count);
        self.at = self.at.saturating_add(count).min(self.current.len());
    }
}
