//! Point clouds made up record by record: every point format, with and without extra bytes, plain and compressed.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, UInt8Array, UInt16Array};
use laz::{LasZipCompressor, LazVlrBuilder};
use neardata_formats::conformance::tables::Order;
use proptest::prelude::*;

use crate::law::cases;
use crate::random::{Dice, check, partition, suite};

/// Bytes of a record of each point format.
const SIZES: [usize; 11] = [20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67];
/// Point formats that LAZ has without wave packets.
const COMPRESSED: [usize; 7] = [0, 1, 2, 3, 6, 7, 8];
const SCALE: [f64; 3] = [0.01, 0.25, 1e-3];
const OFFSET: [f64; 3] = [1000.0, -7.5, 0.0];

pub(crate) struct Cloud {
    pub(crate) bytes: Vec<u8>,
    /// What of its points is known.
    pub(crate) points: RecordBatch,
}

/// The header of a file of so many points, which follow it.
pub(crate) fn header(format: usize, record: usize, points: u64) -> Vec<u8> {
    let (minor, size) = match format {
        0..=3 => (2, 227_u16),
        4 | 5 => (3, 235),
        _ => (4, 375),
    };
    let mut header = vec![0; usize::from(size)];
    header[..4].copy_from_slice(b"LASF");
    (header[24], header[25], header[104]) = (1, minor, format as u8);
    header[94..96].copy_from_slice(&size.to_le_bytes());
    header[96..100].copy_from_slice(&u32::from(size).to_le_bytes());
    header[105..107].copy_from_slice(&(record as u16).to_le_bytes());
    match minor {
        4 => header[247..255].copy_from_slice(&points.to_le_bytes()),
        _ => header[107..111].copy_from_slice(&(points as u32).to_le_bytes()),
    }
    for axis in 0..3 {
        header[131 + 8 * axis..139 + 8 * axis].copy_from_slice(&SCALE[axis].to_le_bytes());
        header[155 + 8 * axis..163 + 8 * axis].copy_from_slice(&OFFSET[axis].to_le_bytes());
    }
    header
}

fn cloud(format: usize, points: u64, compressed: bool, dice: &mut Dice) -> Cloud {
    let extra = dice.roll(4) as usize;
    let record = SIZES[format] + extra;
    let gps = match format {
        1 | 3 | 4 | 5 => Some(20),
        6.. => Some(22),
        _ => None,
    };
    let red = [None, None, Some(20), Some(28), None, Some(28), None, Some(30), Some(30), None, Some(30)][format];
    let mut records = Vec::new();
    let (mut places, mut times) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
    let (mut intensities, mut sources, mut classes, mut reds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..points {
        let mut bytes: Vec<u8> = (0..record).map(|_| dice.roll(256) as u8).collect();
        for axis in 0..3 {
            // Many points on few places, and some far away.
            let place = if dice.roll(9) == 0 { dice.roll(1 << 32) as i32 } else { dice.roll(12) as i32 };
            bytes[4 * axis..4 * axis + 4].copy_from_slice(&place.to_le_bytes());
            places[axis].push(f64::from(place) * SCALE[axis] + OFFSET[axis]);
        }
        if let Some(at) = gps {
            let time = dice.roll(1 << 40) as f64 / 64.0;
            bytes[at..at + 8].copy_from_slice(&time.to_le_bytes());
            times.push(time);
        }
        let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        intensities.push(number(12));
        sources.push(number(if format < 6 { 18 } else { 20 }));
        classes.push(if format < 6 { bytes[15] & 31 } else { bytes[16] });
        reds.extend(red.map(number));
        records.extend(bytes);
    }
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (name, values) in ["x", "y", "z"].into_iter().zip(places) {
        columns.push((name, Arc::new(Float64Array::from(values))));
    }
    columns.push(("intensity", Arc::new(UInt16Array::from(intensities))));
    columns.push(("point_source_id", Arc::new(UInt16Array::from(sources))));
    columns.push(("classification", Arc::new(UInt8Array::from(classes))));
    columns.extend(gps.map(|_| ("gps_time", Arc::new(Float64Array::from(times)) as ArrayRef)));
    columns.extend(red.map(|_| ("red", Arc::new(UInt16Array::from(reds)) as ArrayRef)));
    let header = header(format, record, points);
    let bytes = match compressed {
        true => laz(header, format, extra, &records, 1 + dice.roll(60) as u32),
        false => [header, records].concat(),
    };
    Cloud { bytes, points: RecordBatch::try_from_iter(columns).unwrap() }
}

/// The same as LAZ, in chunks of so many points.
fn laz(mut file: Vec<u8>, format: usize, extra: usize, records: &[u8], chunk: u32) -> Vec<u8> {
    let builder = LazVlrBuilder::default().with_point_format(format as u8, extra as u16).unwrap();
    let vlr = builder.with_fixed_chunk_size(chunk).build();
    let mut content = Vec::new();
    vlr.write_to(&mut content).unwrap();
    file[100] = 1;
    file[104] |= 0x80;
    let mut head = vec![0; 54];
    head[2..2 + 14].copy_from_slice(b"laszip encoded");
    head[18..20].copy_from_slice(&22204_u16.to_le_bytes());
    head[20..22].copy_from_slice(&(content.len() as u16).to_le_bytes());
    file.extend(head);
    file.extend(content);
    let data = file.len();
    file[96..100].copy_from_slice(&(data as u32).to_le_bytes());
    let mut out = Cursor::new(file);
    out.set_position(data as u64);
    let mut compressor = LasZipCompressor::new(out, vlr).unwrap();
    compressor.compress_many(records).unwrap();
    compressor.done().unwrap();
    compressor.into_inner().into_inner()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30), ..ProptestConfig::default() })]

    #[test]
    fn points_are_those_put_in(seed: u64, points in 0_u64..110, format in 0_usize..11, compress: bool, cuts in [partition(), partition()]) {
        let compressed = compress && points > 0 && COMPRESSED.contains(&format);
        let Cloud { bytes, points } = cloud(format, points, compressed, &mut Dice(seed));
        check(&suite("las"), &[("p.las", bytes)], &cuts, &points, Order::Kept)?;
    }
}
