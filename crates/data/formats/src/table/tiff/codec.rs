//! From the bytes of a chunk to samples.

use std::io::Read;

use jpeg_decoder::{ColorTransform, PixelFormat};
use weezl::{BitOrder, LzwStatus, decode::Decoder};

use super::image::{Image, Kind, Sample};
use super::tags::{self, compression};

/// Output grows in such steps, so that a few bytes that claim to be many cost little.
const STEP: usize = 256 * 1024;

/// Why a chunk could not be decoded.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its bytes are damaged.
    Damaged(String),
    /// It is of a kind that is not decoded here.
    Unsupported(String),
}

/// Decodes one chunk after the other of an image.
pub(super) struct Codec {
    /// How samples are stored.
    pub(super) sample: Sample,
    compression: u64,
    predictor: u64,
    big_endian: bool,
    /// Samples of one pixel in a chunk.
    samples: usize,
    /// Pixels in a row of a chunk.
    width: usize,
    row_bytes: usize,
    /// Quantisation and Huffman tables that chunks of JPEG share.
    jpeg_tables: Vec<u8>,
    /// JPEG stores luma and chroma where RGB is meant.
    ycbcr: bool,
}

impl Codec {
    /// The codec of an image; says what is not supported before anything is fetched.
    pub(super) fn new(image: &Image, big_endian: bool, jpeg_tables: Vec<u8>) -> Result<Self, Failure> {
        let unsupported = |what: String| Err(Failure::Unsupported(what));
        let sample = image.sample.clone().map_err(Failure::Unsupported)?;
        let jpeg = image.compression == compression::JPEG;
        match image.compression {
            compression::NONE | compression::LZW | compression::DEFLATE | compression::OLD_DEFLATE => {}
            compression::PACKBITS | compression::ZSTD | compression::JPEG => {}
            code => return unsupported(format!("{} compression", compression::name(code))),
        }
        if image.fill_order != 1 {
            return unsupported("bits in reverse order (FillOrder 2)".into());
        }
        if jpeg && (sample != Sample { kind: Kind::Unsigned, bits: 8 }) {
            return unsupported(format!("JPEG of {sample}"));
        }
        if image.photometric == tags::YCBCR_COLOURS && !jpeg {
            return unsupported("YCbCr colours outside JPEG".into());
        }
        match image.predictor {
            1 => {}
            2 if sample.is_whole() => {}
            3 if sample.kind == Kind::Float => {}
            other => return unsupported(format!("predictor {other} for {sample}")),
        }
        Ok(Self {
            sample,
            compression: image.compression,
            predictor: if jpeg { 1 } else { image.predictor },
            big_endian,
            samples: if image.planar { 1 } else { image.bands as usize },
            width: image.chunk[0] as usize,
            row_bytes: image.row_bytes() as usize,
            jpeg_tables,
            ycbcr: image.photometric == tags::YCBCR_COLOURS,
        })
    }

    /// The samples of so many rows, pixel by pixel, each [`Sample::bytes`] long, least significant byte first.
    pub(super) fn decode(&self, bytes: &[u8], rows: usize) -> Result<Vec<u8>, Failure> {
        let expected = self.row_bytes * rows;
        let mut samples = match self.compression {
            compression::JPEG => self.jpeg(bytes, rows)?,
            compression::LZW => lzw(bytes, expected)?,
            compression::PACKBITS => packbits(bytes, expected)?,
            compression::ZSTD => {
                let decoder = zstd::Decoder::new(bytes).map_err(|error| Failure::Damaged(error.to_string()))?;
                read_up_to(decoder, expected)?
            }
            compression::NONE => bytes[..expected.min(bytes.len())].to_vec(),
            _ => read_up_to(flate2::read::ZlibDecoder::new(bytes), expected)?,
        };
        if samples.len() < expected {
            return Err(Failure::Damaged(format!("a tile or strip holds {} bytes, not {expected}", samples.len())));
        }
        samples.truncate(expected);
        if !self.sample.is_whole() {
            return Ok(self.unpack(&samples));
        }
        if self.predictor == 3 {
            return Ok(self.undo_float_predictor(&samples));
        }
        let size = self.sample.bytes();
        if self.big_endian && size > 1 {
            samples.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if self.predictor == 2 {
            for row in samples.chunks_exact_mut(self.row_bytes) {
                match size {
                    1 => undo_differences::<1>(row, self.samples),
                    2 => undo_differences::<2>(row, self.samples),
                    4 => undo_differences::<4>(row, self.samples),
                    _ => undo_differences::<8>(row, self.samples),
                }
            }
        }
        Ok(samples)
    }

    /// Samples of 1 to 7, 9 to 15 or 17 to 31 bits, most significant bit first, as whole numbers.
    fn unpack(&self, packed: &[u8]) -> Vec<u8> {
        let (bits, size) = (self.sample.bits, self.sample.bytes());
        let mut unpacked = Vec::with_capacity(packed.len() / self.row_bytes.max(1) * self.width * self.samples * size);
        for row in packed.chunks_exact(self.row_bytes) {
            let (mut held, mut count, mut bytes) = (0_u64, 0, row.iter());
            for _ in 0..self.width * self.samples {
                while count < bits {
                    held = held << 8 | u64::from(*bytes.next().unwrap_or(&0));
                    count += 8;
                }
                count -= bits;
                let sample = held >> count & ((1 << bits) - 1);
                unpacked.extend_from_slice(&sample.to_le_bytes()[..size]);
            }
        }
        unpacked
    }

    /// Rows hold differences of bytes, all most significant bytes first.
    fn undo_float_predictor(&self, samples: &[u8]) -> Vec<u8> {
        let size = self.sample.bytes();
        let mut floats = vec![0; samples.len()];
        let mut row = vec![0; self.row_bytes];
        for (differences, floats) in samples.chunks_exact(self.row_bytes).zip(floats.chunks_exact_mut(self.row_bytes)) {
            row.copy_from_slice(differences);
            undo_differences::<1>(&mut row, self.samples);
            let length = self.row_bytes / size;
            for (place, float) in floats.chunks_exact_mut(size).enumerate() {
                for (byte, target) in float.iter_mut().rev().enumerate() {
                    *target = row[byte * length + place];
                }
            }
        }
        floats
    }

    fn jpeg(&self, bytes: &[u8], rows: usize) -> Result<Vec<u8>, Failure> {
        let damaged = |error: &dyn std::fmt::Display| Failure::Damaged(format!("JPEG: {error}"));
        let whole = join_tables(&self.jpeg_tables, bytes);
        let mut decoder = jpeg_decoder::Decoder::new(whole.as_slice());
        // The tags say what the components are, as libtiff has it; markers inside the JPEG do not count.
        decoder.set_color_transform(match self.samples {
            3 if self.ycbcr => ColorTransform::YCbCr,
            3 => ColorTransform::RGB,
            4 => ColorTransform::CMYK,
            _ => ColorTransform::None,
        });
        decoder.read_info().map_err(|error| damaged(&error))?;
        let info = decoder.info().ok_or_else(|| damaged(&"it has no header"))?;
        let (width, height) = (usize::from(info.width), usize::from(info.height));
        let components = match info.pixel_format {
            PixelFormat::L8 => 1,
            PixelFormat::RGB24 => 3,
            PixelFormat::CMYK32 => 4,
            PixelFormat::L16 => return Err(Failure::Unsupported("JPEG of more than 8 bits".into())),
        };
        if width != self.width || height < rows || height > rows.next_multiple_of(16) || components != self.samples {
            let is = format!("a tile or strip is of {width} x {height} pixels and {components} components");
            return Err(damaged(&format!("{is}, not of {} x {rows} and {}", self.width, self.samples)));
        }
        let mut pixels = decoder.decode().map_err(|error| damaged(&error))?;
        if components == 4 {
            // The decoder takes all files of four components for those of Adobe, which hold the inverse.
            pixels.iter_mut().for_each(|sample| *sample = !*sample);
        }
        Ok(pixels)
    }
}

/// The abbreviated image behind the tables it needs.
fn join_tables(tables: &[u8], image: &[u8]) -> Vec<u8> {
    match (tables.strip_suffix(&[0xff, 0xd9]), image.strip_prefix(&[0xff, 0xd8])) {
        (Some(tables), Some(image)) if tables.len() >= 2 => [tables, image].concat(),
        _ => image.to_vec(),
    }
}

/// Up to `expected` bytes; memory grows with what there is.
fn read_up_to(reader: impl Read, expected: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(expected.min(STEP));
    match reader.take(expected as u64).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Damaged(error.to_string())),
    }
}

fn lzw(bytes: &[u8], expected: usize) -> Result<Vec<u8>, Failure> {
    // Very old writers put the least significant bit first; their first code, which clears the table, tells.
    let mut decoder = match bytes {
        [0, second, ..] if second & 1 == 1 => Decoder::new(BitOrder::Lsb, 8),
        _ => Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let (mut output, mut done, mut read) = (Vec::new(), 0, 0);
    while done < expected {
        output.resize(expected.min(done + STEP), 0);
        let result = decoder.decode_bytes(&bytes[read..], &mut output[done..]);
        read += result.consumed_in;
        done += result.consumed_out;
        match result.status {
            Ok(LzwStatus::Ok) if result.consumed_out > 0 || result.consumed_in > 0 => {}
            Ok(_) => break,
            Err(error) => return Err(Failure::Damaged(format!("LZW: {error}"))),
        }
    }
    output.truncate(done);
    Ok(output)
}

fn packbits(mut bytes: &[u8], expected: usize) -> Result<Vec<u8>, Failure> {
    let short = || Failure::Damaged("PackBits: a run is cut short".into());
    let mut output = Vec::with_capacity(expected.min(STEP));
    while output.len() < expected {
        let Some((head, rest)) = bytes.split_first() else { break };
        bytes = rest;
        match *head as i8 {
            -128 => {}
            head @ 0.. => {
                let (run, rest) = rest.split_at_checked(head as usize + 1).ok_or_else(short)?;
                output.extend_from_slice(run);
                bytes = rest;
            }
            head => {
                let (byte, rest) = rest.split_first().ok_or_else(short)?;
                output.resize(output.len() + 1 + usize::from(head.unsigned_abs()), *byte);
                bytes = rest;
            }
        }
    }
    Ok(output)
}

/// Each sample of `SIZE` bytes is stored as the difference to that of the pixel before.
fn undo_differences<const SIZE: usize>(row: &mut [u8], samples: usize) {
    let number = |bytes: [u8; SIZE]| {
        let mut whole = [0; 8];
        whole[..SIZE].copy_from_slice(&bytes);
        u64::from_le_bytes(whole)
    };
    let (row, _) = row.as_chunks_mut::<SIZE>();
    for at in samples..row.len() {
        let sum = number(row[at]).wrapping_add(number(row[at - samples]));
        row[at].copy_from_slice(&sum.to_le_bytes()[..SIZE]);
    }
}
