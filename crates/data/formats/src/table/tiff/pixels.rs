//! The samples of a window, a row of chunks at a time.

use std::sync::Arc;

use neardata_core::{ByteRange, read_ranges};

use super::codec::{Codec, Failure};
use super::file::File;
use super::image::{Image, Kind, Sample};
use super::tags;
use super::window::Window;
use crate::FormatError;

/// More samples are not held at once.
const BLOCK_LIMIT: u128 = 512 << 20;
/// About so many bytes of the object are held at once.
const FETCH: u64 = 16 << 20;
const REMEDY: &str = "convert it, as with `gdal_translate -of COG -co COMPRESS=DEFLATE`";

/// Rows of pixels.
#[derive(Debug)]
pub(super) struct Block {
    /// Column and row of the first pixel in the image, and how many there are.
    pub(super) window: Window,
    /// The samples of each band that was asked for, row by row, least significant byte first.
    pub(super) bands: Vec<Vec<u8>>,
}

/// Reads a window of an image, a row of chunks at a time.
pub(super) struct Rows {
    file: Arc<File>,
    image: Arc<Image>,
    codec: Codec,
    window: Window,
    /// Numbers of the bands asked for.
    bands: Vec<usize>,
    /// One sample of what is not stored.
    fill: Vec<u8>,
    /// Next row of chunks, and the one behind the last.
    next: u64,
    end: u64,
}

/// A chunk that is to be fetched.
struct Wanted {
    range: ByteRange,
    col: u64,
    plane: Option<usize>,
}

impl Rows {
    /// Whether such a window of all bands is of a kind that is decoded, before anything of it is fetched.
    pub(super) fn check(file: &Arc<File>, image: &Arc<Image>, window: Window) -> Result<(), FormatError> {
        let bands = (0..image.bands as usize).collect();
        Self::new(Arc::clone(file), Arc::clone(image), window, bands, None).map(drop)
    }

    /// `nodata` is the value of chunks that are not stored.
    pub(super) fn new(
        file: Arc<File>,
        image: Arc<Image>,
        window: Window,
        bands: Vec<usize>,
        nodata: Option<&str>,
    ) -> Result<Self, FormatError> {
        let tables = match image.ifd.get(tags::JPEG_TABLES) {
            Some(entry) => file.raw(entry)?.to_vec(),
            None => Vec::new(),
        };
        let codec = Codec::new(&image, file.layout.big_endian, tables).map_err(|failure| refuse(&file, image.ifd.at, failure))?;
        let size = codec.sample.bytes() as u128;
        let bytes_per_pixel = size * bands.len().max(1) as u128;
        let rows = u128::from(image.chunk[1]);
        if rows * u128::from(window.width) * bytes_per_pixel > BLOCK_LIMIT {
            let what = format!("rows of tiles of {} x {} pixels", window.width, image.chunk[1]);
            return Err(file.unsupported(what, "cut it into more and narrower windows"));
        }
        let samples = u128::from(image.bands / image.planes());
        if rows * u128::from(image.chunk[0]) * samples * size > BLOCK_LIMIT {
            let what = format!("tiles or strips of {} x {} pixels", image.chunk[0], image.chunk[1]);
            return Err(file.unsupported(what, REMEDY));
        }
        let fill = nodata.and_then(|nodata| fill(codec.sample, nodata)).unwrap_or_else(|| vec![0; codec.sample.bytes()]);
        let (_, [next, end]) = window.chunks(image.chunk);
        Ok(Self { file, image, codec, window, bands, fill, next, end })
    }

    /// How samples are stored.
    pub(super) fn sample(&self) -> Sample {
        self.codec.sample
    }

    fn block(&self, row: u64) -> Result<Block, FormatError> {
        let first = (row * self.image.chunk[1]).max(self.window.row);
        let end = ((row + 1) * self.image.chunk[1]).min(self.window.row + self.window.height);
        let window = Window { row: first, height: end - first, ..self.window };
        let mut block = None;
        let wanted = self.wanted(row)?;
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |wanted: &&Wanted| {
                bytes += wanted.range.len();
                bytes <= FETCH
            };
            let few = rest.iter().take_while(fits).count();
            let (group, behind) = rest.split_at(few.max(1));
            rest = behind;
            let ranges: Vec<ByteRange> = group.iter().map(|wanted| wanted.range).collect();
            for (wanted, bytes) in group.iter().zip(read_ranges(self.file.object.as_ref(), &ranges, worthwhile_gap(&ranges))?) {
                if wanted.range.is_empty() {
                    continue;
                }
                let rows = self.image.chunk_rows(row) as usize;
                let refuse = |failure| refuse(&self.file, wanted.range.start, failure);
                let samples = self.codec.decode(&bytes, rows).map_err(refuse)?;
                let block = block.get_or_insert_with(|| self.blank(window));
                self.copy(&samples, wanted, row, block);
            }
        }
        Ok(block.unwrap_or_else(|| self.blank(window)))
    }

    /// The chunks of a row that hold something of what was asked for.
    fn wanted(&self, row: u64) -> Result<Vec<Wanted>, FormatError> {
        let (cols, _) = self.window.chunks(self.image.chunk);
        if self.bands.is_empty() {
            return Ok(Vec::new());
        }
        let planes: Vec<Option<usize>> =
            if self.image.planar { self.bands.iter().copied().map(Some).collect() } else { vec![None] };
        let limit = 4 * self.image.row_bytes() * self.image.chunk[1] + (64 << 10);
        let mut wanted = Vec::new();
        for plane in planes {
            let places = self.image.places(&self.file, plane.unwrap_or(0) as u64, cols, [row, row + 1])?;
            for (col, range) in (cols[0]..cols[1]).zip(places) {
                if range.len() > limit {
                    let reason = format!("a tile or strip of {} bytes for {limit} at most", range.len());
                    return Err(self.file.damaged(range.start, reason));
                }
                wanted.push(Wanted { range, col, plane });
            }
        }
        Ok(wanted)
    }

    /// Pixels that are not stored.
    fn blank(&self, window: Window) -> Block {
        let pixels = (window.width * window.height) as usize;
        let band = || match self.fill.iter().all(|byte| *byte == 0) {
            true => vec![0; pixels * self.fill.len()],
            false => self.fill.repeat(pixels),
        };
        Block { window, bands: self.bands.iter().map(|_| band()).collect() }
    }

    /// Copies what a chunk holds of the block.
    fn copy(&self, samples: &[u8], from: &Wanted, row: u64, block: &mut Block) {
        let [chunk_width, chunk_height] = self.image.chunk;
        let window = block.window;
        let first = (from.col * chunk_width).max(window.col);
        let end = ((from.col + 1) * chunk_width).min(window.col + window.width);
        let size = self.codec.sample.bytes();
        let samples_per_pixel = (self.image.bands / self.image.planes()) as usize;
        for (band, target) in self.bands.iter().zip(&mut block.bands) {
            if from.plane.is_some_and(|plane| plane != *band) {
                continue;
            }
            let sample = if self.image.planar { 0 } else { *band };
            for line in 0..window.height {
                let pixel = (window.row + line - row * chunk_height) * chunk_width + (first - from.col * chunk_width);
                let start = (pixel as usize * samples_per_pixel + sample) * size;
                let at = (line * window.width + (first - window.col)) as usize * size;
                let line = &mut target[at..at + (end - first) as usize * size];
                if samples_per_pixel == 1 {
                    line.copy_from_slice(&samples[start..start + line.len()]);
                    continue;
                }
                let pixels = samples[start..].chunks(samples_per_pixel * size);
                for (target, pixel) in line.chunks_exact_mut(size).zip(pixels) {
                    target.copy_from_slice(&pixel[..size]);
                }
            }
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Block, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.next;
        self.next += 1;
        (row < self.end).then(|| self.block(row))
    }
}

/// Gaps up to this are fetched with what surrounds them: all together are at most a sixty-fourth more, or 16 bytes a chunk, what GDAL
/// writes between the tiles of a COG.
pub(super) fn worthwhile_gap(ranges: &[ByteRange]) -> u64 {
    let bytes: u64 = ranges.iter().map(ByteRange::len).sum();
    (bytes / (64 * ranges.len().max(1) as u64)).max(16)
}

fn refuse(file: &File, offset: u64, failure: Failure) -> FormatError {
    match failure {
        Failure::Damaged(reason) => file.damaged(offset, reason),
        Failure::Unsupported(what) => file.unsupported(what, REMEDY),
    }
}

/// The bytes of one sample of this value, if it has it.
fn fill(sample: Sample, value: &str) -> Option<Vec<u8>> {
    let size = sample.bytes();
    let number: f64 = value.parse().ok()?;
    match (sample.kind, size) {
        (Kind::Float, 8) => Some(number.to_le_bytes().to_vec()),
        (Kind::Float, 4) => Some((number as f32).to_le_bytes().to_vec()),
        (Kind::Float, _) => None,
        (Kind::Unsigned, _) => Some(value.parse().unwrap_or(number as u64).to_le_bytes()[..size].to_vec()),
        (Kind::Signed, _) => Some(value.parse().unwrap_or(number as i64).to_le_bytes()[..size].to_vec()),
    }
}
