//! Records as a container of one slice: features as they were stored, every data series in an external block of its own, names kept, and
//! mates told by each record itself, since they may be in another slice now.

use std::collections::BTreeMap;

use super::blocks::{Around, COMPRESSION_HEADER, CORE, EXTERNAL, SLICE_HEADER, container, put};
use super::compression::{ARRAYS, Arrays, SERIES, Series};
use super::cursor::put_itf8;
use super::record::{DETACHED, Decoded, Feature, MATE_REVERSE, MATE_UNMAPPED, NO_SEQUENCE, QUALITIES, Record, UNMAPPED, Value};
use super::{Compression, Fault, SliceHeader};

/// Numbers of the blocks: data series from 1 on, arrays behind them, then the reference. Tags have numbers far above.
const FIRST_SERIES: i32 = 1;
const FIRST_ARRAY: i32 = FIRST_SERIES + SERIES.len() as i32;
const EMBEDDED: i32 = FIRST_ARRAY + ARRAYS.len() as i32;
/// Encodings.
const TO_EXTERNAL: i32 = 1;
const TO_ARRAY: i32 = 4;

/// The external blocks as they fill.
#[derive(Default)]
struct Blocks(BTreeMap<i32, Vec<u8>>);

impl Blocks {
    fn number(&mut self, series: Series, value: i32) {
        put_itf8(self.0.entry(FIRST_SERIES + series as i32).or_default(), value);
    }

    fn bytes(&mut self, series: Series, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.entry(FIRST_SERIES + series as i32).or_default().extend_from_slice(bytes);
        }
    }

    fn array(&mut self, block: i32, bytes: &[u8]) {
        let out = self.0.entry(block).or_default();
        put_itf8(out, bytes.len() as i32);
        out.extend_from_slice(bytes);
    }
}

/// Writes the records of a slice that `kept` numbers, whose mates and names are known. The slice covers what it did, so that its
/// checksum of the reference stays true.
pub(in crate::table::cram) fn write(
    compression: &Compression,
    header: &SliceHeader,
    decoded: &Decoded,
    kept: &[usize],
) -> Result<Vec<u8>, Fault> {
    let mut blocks = Blocks::default();
    let mut bases = 0;
    for record in kept.iter().filter_map(|number| decoded.records.get(*number)) {
        bases += record.length as i64;
        put_record(&mut blocks, compression, header, decoded, record);
    }
    let mut body = Vec::new();
    put(&mut body, COMPRESSION_HEADER, 0, &compression_header(compression, &blocks));
    let landmark = body.len();
    // Encodings name no block for the bases of the reference, so they come behind the header.
    if let Some(reference) = &decoded.embedded {
        blocks.0.insert(EMBEDDED, reference.clone());
    }
    put(&mut body, SLICE_HEADER, 0, &slice_header(header, decoded, kept, &blocks));
    put(&mut body, CORE, 0, &[]);
    for (number, bytes) in &blocks.0 {
        put(&mut body, EXTERNAL, *number, bytes);
    }
    let around = Around {
        reference: header.reference,
        start: header.start,
        span: header.span,
        records: kept.len() as i32,
        counter: counter(header, kept),
        bases,
        blocks: blocks.0.len() as i32 + 3,
    };
    if i32::try_from(body.len()).is_err() {
        return Err(Fault::Unread("records that take more than 2 GiB in a container"));
    }
    Ok(container(&around, &[landmark as i32], &body))
}

fn counter(header: &SliceHeader, kept: &[usize]) -> i64 {
    header.counter.wrapping_add(kept.first().map_or(0, |first| *first as i64))
}

fn put_record(blocks: &mut Blocks, compression: &Compression, header: &SliceHeader, decoded: &Decoded, record: &Record) {
    blocks.number(Series::BF, record.flags.into());
    blocks.number(Series::CF, record.kind & (QUALITIES | NO_SEQUENCE) | DETACHED);
    if header.reference == -2 {
        blocks.number(Series::RI, record.reference);
    }
    blocks.number(Series::RL, record.length as i32);
    blocks.number(Series::AP, record.start);
    blocks.number(Series::RG, record.group);
    blocks.array(FIRST_ARRAY + Arrays::RN as i32, decoded.bytes(record.name));
    let mate = i32::from(record.flags & MATE_REVERSE != 0) | i32::from(record.flags & MATE_UNMAPPED != 0) << 1;
    blocks.number(Series::MF, mate);
    blocks.number(Series::NS, record.mate.reference);
    blocks.number(Series::NP, record.mate.start);
    blocks.number(Series::TS, record.mate.template);
    blocks.number(Series::TL, record.line as i32);
    let tags = compression.lines.get(record.line).map(Vec::as_slice).unwrap_or_default();
    for (tag, value) in tags.iter().zip(&record.tags) {
        blocks.array(*tag, decoded.bytes(*value));
    }
    if record.flags & UNMAPPED == 0 {
        let features = decoded.features(record);
        blocks.number(Series::FN, features.len() as i32);
        features.iter().for_each(|feature| put_feature(blocks, decoded, feature));
        blocks.number(Series::MQ, record.quality);
    } else {
        blocks.bytes(Series::BA, decoded.bytes(record.bases));
    }
    if let Some(qualities) = record.qualities {
        blocks.bytes(Series::QS, decoded.bytes(qualities));
    }
}

fn put_feature(blocks: &mut Blocks, decoded: &Decoded, feature: &Feature) {
    blocks.bytes(Series::FC, &[feature.code]);
    blocks.number(Series::FP, feature.step);
    match feature.value {
        Value::Length(length) => {
            let series = match feature.code {
                b'D' => Series::DL,
                b'N' => Series::RS,
                b'P' => Series::PD,
                _ => Series::HC,
            };
            blocks.number(series, length);
        }
        Value::Base(base) => blocks.bytes(if feature.code == b'X' { Series::BS } else { Series::BA }, &[base]),
        Value::Quality(quality) => blocks.bytes(Series::QS, &[quality]),
        Value::BaseAndQuality(base, quality) => {
            blocks.bytes(Series::BA, &[base]);
            blocks.bytes(Series::QS, &[quality]);
        }
        Value::Bytes(span) => {
            let arrays = match feature.code {
                b'b' => Arrays::BB,
                b'q' => Arrays::QQ,
                b'I' => Arrays::IN,
                _ => Arrays::SC,
            };
            blocks.array(FIRST_ARRAY + arrays as i32, decoded.bytes(span));
        }
    }
}

fn compression_header(compression: &Compression, blocks: &Blocks) -> Vec<u8> {
    let mut preserved = b"RN\x01AP\x00RR".to_vec();
    preserved.push(compression.reference.into());
    preserved.extend(b"SM");
    preserved.extend(compression.matrix);
    preserved.extend(b"TD");
    put_itf8(&mut preserved, compression.dictionary.len() as i32);
    preserved.extend_from_slice(&compression.dictionary);
    let mut keys = 5;
    if !compression.forward {
        preserved.extend(b"QO\x00");
        keys += 1;
    }
    let mut series = Vec::new();
    let mut count = 0;
    let numbers = SERIES.iter().zip(FIRST_SERIES..).map(|(key, block)| (key, block, false));
    let arrays = ARRAYS.iter().zip(FIRST_ARRAY..).map(|(key, block)| (key, block, true));
    for (key, block, is_array) in numbers.chain(arrays).filter(|(_, block, _)| blocks.0.contains_key(block)) {
        series.extend_from_slice(&key[..]);
        put_encoding(&mut series, block, is_array);
        count += 1;
    }
    let mut tags: Vec<i32> = compression.lines.iter().flatten().copied().collect();
    tags.sort_unstable();
    tags.dedup();
    let mut encodings = Vec::new();
    for tag in &tags {
        put_itf8(&mut encodings, *tag);
        put_encoding(&mut encodings, *tag, true);
    }
    let mut header = Vec::new();
    for (count, map) in [(keys, preserved), (count, series), (tags.len() as i32, encodings)] {
        let mut counted = Vec::new();
        put_itf8(&mut counted, count);
        put_itf8(&mut header, (counted.len() + map.len()) as i32);
        header.extend(counted);
        header.extend(map);
    }
    header
}

fn put_encoding(out: &mut Vec<u8>, block: i32, is_array: bool) {
    let mut external = Vec::new();
    put_itf8(&mut external, block);
    let mut plain = vec![TO_EXTERNAL as u8, external.len() as u8];
    plain.extend(external);
    if is_array {
        // Length and bytes of each array lie behind each other in one block.
        out.extend([TO_ARRAY as u8, 2 * plain.len() as u8]);
        out.extend_from_slice(&plain);
    }
    out.extend(plain);
}

fn slice_header(header: &SliceHeader, decoded: &Decoded, kept: &[usize], blocks: &Blocks) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [header.reference, header.start, header.span, kept.len() as i32] {
        put_itf8(&mut bytes, number);
    }
    super::cursor::put_ltf8(&mut bytes, counter(header, kept));
    put_itf8(&mut bytes, blocks.0.len() as i32 + 1);
    put_itf8(&mut bytes, blocks.0.len() as i32);
    blocks.0.keys().for_each(|number| put_itf8(&mut bytes, *number));
    put_itf8(&mut bytes, if decoded.embedded.is_some() { EMBEDDED } else { -1 });
    bytes.extend(header.md5);
    bytes
}
