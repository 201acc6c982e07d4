//! Records (CRAMv3 §10), as they are stored.

use super::compression::{Arrays, Series};
use super::encoding::Streams;
use super::{Compression, Fault, SliceHeader};

/// Flags of alignments (SAMv1 §1.4).
pub(in crate::table::cram) const PAIRED: u16 = 0x1;
pub(in crate::table::cram) const UNMAPPED: u16 = 0x4;
pub(super) const MATE_UNMAPPED: u16 = 0x8;
pub(super) const REVERSE: u16 = 0x10;
pub(super) const MATE_REVERSE: u16 = 0x20;
pub(super) const FIRST: u16 = 0x40;
/// Flags of records.
pub(super) const QUALITIES: i32 = 0x1;
pub(super) const DETACHED: i32 = 0x2;
const DOWNSTREAM: i32 = 0x4;
pub(super) const NO_SEQUENCE: i32 = 0x8;
/// The template length stands in the record although its mate is in the slice; htslib knows it in all versions.
const TEMPLATE: i32 = 0x10;
/// What a record and a feature count for as memory.
const RECORD_COST: u64 = 64;
const FEATURE_COST: u64 = 16;

/// Lengths that an operation of a CIGAR can have.
const LENGTHS: std::ops::Range<i32> = 0..1 << 28;

/// Bytes of [`Decoded::bytes`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    begin: usize,
    end: usize,
}

/// A record.
#[derive(Clone, Debug, Default)]
pub(in crate::table::cram) struct Record {
    pub(in crate::table::cram) flags: u16,
    /// Flags of the record itself.
    pub(super) kind: i32,
    /// Number of its reference; -1: none.
    pub(in crate::table::cram) reference: i32,
    /// First position, from 1.
    pub(in crate::table::cram) start: i32,
    /// Last position, from 1; of a record without one on the reference, the first.
    pub(in crate::table::cram) end: i64,
    /// Bases of the read.
    pub(super) length: usize,
    /// Number of its read group; -1: none.
    pub(super) group: i32,
    pub(super) name: Span,
    pub(super) mate: Mate,
    /// Which record of the slice is its mate, where that follows it.
    pub(super) next: Option<usize>,
    /// Its template length where that is stored beside the mate.
    pub(super) template: Option<i32>,
    /// Line of the dictionary of tags, and their values.
    pub(super) line: usize,
    pub(super) tags: Vec<Span>,
    /// Begin and end of its features.
    pub(super) features: [usize; 2],
    pub(super) quality: i32,
    /// Bases of an unmapped read.
    pub(super) bases: Span,
    /// Qualities, if they are stored as an array.
    pub(super) qualities: Option<Span>,
}

/// What a record knows of its mate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mate {
    /// 1: reverse, 2: unmapped.
    pub(super) flags: i32,
    pub(super) reference: i32,
    pub(super) start: i32,
    pub(super) template: i32,
}

impl Default for Mate {
    fn default() -> Self {
        Self { flags: 0, reference: -1, start: 0, template: 0 }
    }
}

/// A difference from the reference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    pub(super) code: u8,
    /// Positions behind the feature before.
    pub(super) step: i32,
    pub(super) value: Value,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Length(i32),
    /// A base or the code of a substitution.
    Base(u8),
    Quality(u8),
    BaseAndQuality(u8, u8),
    Bytes(Span),
}

/// The records of a slice.
#[derive(Debug, Default)]
pub(in crate::table::cram) struct Decoded {
    pub(in crate::table::cram) records: Vec<Record>,
    pub(super) features: Vec<Feature>,
    bytes: Vec<u8>,
    /// Bases of the reference that the slice covers, if they are in it.
    pub(super) embedded: Option<Vec<u8>>,
}

impl Decoded {
    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        self.bytes.get(span.begin..span.end).unwrap_or_default()
    }

    pub(super) fn features(&self, record: &Record) -> &[Feature] {
        self.features.get(record.features[0]..record.features[1]).unwrap_or_default()
    }

    /// Keeps bytes, and says where.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Span {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span { begin, end: self.bytes.len() }
    }

    fn fill(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>) -> Result<Span, Fault> {
        let begin = self.bytes.len();
        fill(&mut self.bytes)?;
        Ok(Span { begin, end: self.bytes.len() })
    }
}

impl Span {
    pub(super) fn is_empty(self) -> bool {
        self.begin == self.end
    }
}

/// What records are decoded with.
struct Decoder<'d, 's> {
    compression: &'d Compression,
    streams: Streams<'s>,
    out: Decoded,
}

/// Decodes all records of a slice.
pub(super) fn decode(compression: &Compression, header: &SliceHeader, mut streams: Streams<'_>) -> Result<Decoded, Fault> {
    streams.spend(header.records.saturating_mul(RECORD_COST))?;
    let mut decoder = Decoder { compression, streams, out: Decoded::default() };
    let mut before = header.start;
    for number in 0..header.records as usize {
        let record = decoder.record(number, header, before)?;
        if record.next.is_some_and(|next| next as u64 >= header.records) {
            return Err("a mate lies behind its slice".into());
        }
        before = record.start;
        decoder.out.records.push(record);
    }
    Ok(decoder.out)
}

impl Decoder<'_, '_> {
    fn number(&mut self, series: Series) -> Result<i32, Fault> {
        self.compression.number(series, &mut self.streams)
    }

    fn byte(&mut self, series: Series) -> Result<u8, Fault> {
        self.compression.byte(series, &mut self.streams)
    }

    fn array(&mut self, arrays: Arrays) -> Result<Span, Fault> {
        let (compression, streams) = (self.compression, &mut self.streams);
        self.out.fill(|out| compression.array(arrays, streams, out))
    }

    fn run(&mut self, series: Series, count: usize) -> Result<Span, Fault> {
        let (compression, streams) = (self.compression, &mut self.streams);
        self.out.fill(|out| compression.bytes(series, streams, count, out))
    }

    fn record(&mut self, number: usize, header: &SliceHeader, before: i32) -> Result<Record, Fault> {
        let flags = u16::try_from(self.number(Series::BF)?).map_err(|_| "a record has impossible flags")?;
        let kind = self.number(Series::CF)?;
        let reference = if header.reference == -2 { self.number(Series::RI)? } else { header.reference };
        let length = usize::try_from(self.number(Series::RL)?).map_err(|_| "a read has a negative length")?;
        let place = self.number(Series::AP)?;
        let start = if self.compression.delta { before.wrapping_add(place) } else { place };
        if reference < -1 || start < 0 || (header.reference >= 0 && start < header.start) {
            return Err("a record lies at an impossible place".into());
        }
        self.streams.spend(length as u64)?;
        let mut record = Record { flags, kind, reference, length, start, end: start.into(), ..Record::default() };
        record.group = self.number(Series::RG)?;
        if self.compression.names {
            record.name = self.array(Arrays::RN)?;
        }
        self.mate(number, &mut record)?;
        self.tags(&mut record)?;
        if flags & UNMAPPED == 0 {
            self.features(&mut record)?;
            record.quality = self.number(Series::MQ)?;
        } else if length > 0 {
            record.bases = self.run(Series::BA, length)?;
        }
        if kind & QUALITIES != 0 {
            record.qualities = Some(self.run(Series::QS, length)?);
        }
        Ok(record)
    }

    fn mate(&mut self, number: usize, record: &mut Record) -> Result<(), Fault> {
        if record.kind & DETACHED != 0 {
            let flags = self.number(Series::MF)?;
            if !self.compression.names {
                record.name = self.array(Arrays::RN)?;
            }
            let [reference, start, template] = [self.number(Series::NS)?, self.number(Series::NP)?, self.number(Series::TS)?];
            record.mate = Mate { flags, reference, start, template };
            return Ok(());
        }
        if record.kind & DOWNSTREAM != 0 {
            let between = usize::try_from(self.number(Series::NF)?).map_err(|_| "a mate lies before its record")?;
            record.next = Some(number + 1 + between);
        }
        if record.kind & TEMPLATE != 0 {
            record.template = Some(self.number(Series::TS)?);
        }
        Ok(())
    }

    fn tags(&mut self, record: &mut Record) -> Result<(), Fault> {
        let (compression, streams) = (self.compression, &mut self.streams);
        record.line = usize::try_from(compression.number(Series::TL, streams)?).map_err(|_| "a record has unknown tags")?;
        // A container whose records have no tags may do without a dictionary.
        let none = Vec::new();
        let tags = match compression.lines.get(record.line) {
            Some(tags) => tags,
            None if record.line == 0 => &none,
            None => return Err("a record has unknown tags".into()),
        };
        streams.spend(FEATURE_COST * tags.len() as u64)?;
        for tag in tags {
            record.tags.push(self.out.fill(|out| compression.tag(*tag, streams, out))?);
        }
        Ok(())
    }

    fn features(&mut self, record: &mut Record) -> Result<(), Fault> {
        let count = u64::try_from(self.number(Series::FN)?).map_err(|_| "a record has a negative number of features")?;
        self.streams.spend(FEATURE_COST.saturating_mul(count))?;
        let begin = self.out.features.len();
        for _ in 0..count {
            let code = self.byte(Series::FC)?;
            let step = self.number(Series::FP)?;
            let value = match code {
                b'B' => Value::BaseAndQuality(self.byte(Series::BA)?, self.byte(Series::QS)?),
                b'X' => Value::Base(self.byte(Series::BS)?),
                b'i' => Value::Base(self.byte(Series::BA)?),
                b'Q' => Value::Quality(self.byte(Series::QS)?),
                b'b' => Value::Bytes(self.array(Arrays::BB)?),
                b'q' => Value::Bytes(self.array(Arrays::QQ)?),
                b'I' => Value::Bytes(self.array(Arrays::IN)?),
                b'S' => Value::Bytes(self.array(Arrays::SC)?),
                b'D' => Value::Length(self.number(Series::DL)?),
                b'N' => Value::Length(self.number(Series::RS)?),
                b'P' => Value::Length(self.number(Series::PD)?),
                b'H' => Value::Length(self.number(Series::HC)?),
                _ => return Err("a record has an unknown feature".into()),
            };
            if step < 0 || matches!(value, Value::Length(length) if !LENGTHS.contains(&length)) {
                return Err("the features of a record lie at impossible places".into());
            }
            self.out.features.push(Feature { code, step, value });
        }
        record.features = [begin, self.out.features.len()];
        record.end = end(record, &self.out.features[begin..])?;
        Ok(())
    }
}

impl Feature {
    /// Bases of the read and positions of the reference it stands for.
    pub(super) fn extent(&self) -> [u64; 2] {
        match (self.code, self.value) {
            (b'X' | b'B', _) => [1, 1],
            (b'i', _) => [1, 0],
            (b'b', Value::Bytes(span)) => [(span.end - span.begin) as u64; 2],
            (b'I' | b'S', Value::Bytes(span)) => [(span.end - span.begin) as u64, 0],
            (b'D' | b'N', Value::Length(length)) => [0, length.max(0) as u64],
            _ => [0, 0],
        }
    }
}

/// The last position: what is no feature matches the reference.
fn end(record: &Record, features: &[Feature]) -> Result<i64, Fault> {
    let (mut place, mut read, mut consumed) = (0_u64, 0_u64, 0_u64);
    for feature in features {
        place += feature.step as u64;
        // Features that stand for no bases may lie behind the last.
        if place == 0 || place > record.length as u64 + 1 {
            return Err("a feature lies outside its read".into());
        }
        let matching = (place - 1).saturating_sub(read);
        let [bases, positions] = feature.extent();
        read += matching + bases;
        consumed += matching + positions;
    }
    consumed += (record.length as u64).saturating_sub(read);
    if read > record.length as u64 && record.length > 0 || consumed > i32::MAX as u64 {
        return Err("the features of a record are longer than its read".into());
    }
    Ok((i64::from(record.start) + consumed as i64 - 1).max(record.start.into()))
}
