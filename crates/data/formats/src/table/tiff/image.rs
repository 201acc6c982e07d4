//! One image of a file: its size, its samples, and the chunks (tiles or strips) they lie in.

use neardata_core::ByteRange;

use super::file::{Entry, File, Ifd};
use super::tags::{self, compression};
use super::window::Window;
use crate::FormatError;

/// Larger images do not exist, and neither do larger chunks.
const SIDE_LIMIT: u64 = i32::MAX as u64;
/// Rows of an uncompressed image that is one strip are taken in chunks of about so many bytes.
const VIRTUAL_STRIP: u64 = 1 << 20;
/// Entries of the arrays of offsets and sizes that are read at once.
const ENTRIES_AT_ONCE: u64 = 32 * 1024;

/// Type of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// How one sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) kind: Kind,
    /// Bits in the file.
    pub(super) bits: u64,
}

impl Sample {
    /// Bytes of a sample when unpacked: samples of odd sizes get the next whole one.
    pub(super) fn bytes(self) -> usize {
        match self.bits {
            ..=8 => 1,
            9..=16 => 2,
            17..=32 => 4,
            _ => 8,
        }
    }

    /// Whether samples are whole bytes in the file.
    pub(super) fn is_whole(self) -> bool {
        self.bits == 8 * self.bytes() as u64
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Unsigned => "uint",
            Kind::Signed => "int",
            Kind::Float => "float",
        };
        write!(f, "{kind}{}", self.bits)
    }
}

/// An image: the full one, an overview, or a mask.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) ifd: Ifd,
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) bands: u64,
    /// Type of the samples, or why they cannot be decoded.
    pub(super) sample: Result<Sample, String>,
    /// Bits of the samples of one pixel.
    pub(super) pixel_bits: u64,
    /// Each band in chunks of its own.
    pub(super) planar: bool,
    pub(super) compression: u64,
    pub(super) predictor: u64,
    pub(super) photometric: u64,
    pub(super) fill_order: u64,
    pub(super) tiled: bool,
    /// Size of a chunk in pixels; the last strip may have fewer rows.
    pub(super) chunk: [u64; 2],
    /// Rows of one strip of the file are chunks of their own.
    virtual_strips: bool,
    offsets: Entry,
    sizes: Option<Entry>,
}

impl Image {
    pub(super) fn new(file: &File, ifd: Ifd) -> Result<Self, FormatError> {
        let number = |tag| file.number(&ifd, tag);
        let at = ifd.at;
        let needed = |tag, what: &str| number(tag)?.ok_or_else(|| file.damaged(at, format!("an image without {what}")));
        let (width, height) = (needed(tags::WIDTH, "a width")?, needed(tags::HEIGHT, "a height")?);
        let bands = number(tags::SAMPLES_PER_PIXEL)?.unwrap_or(1);
        if width == 0 || height == 0 || bands == 0 || width > SIDE_LIMIT || height > SIDE_LIMIT || bands > u64::from(u16::MAX) {
            return Err(file.damaged(at, format!("an image of {width} x {height} pixels and {bands} bands")));
        }
        let (sample, pixel_bits) = samples(file, &ifd, bands)?;
        let planar = bands > 1 && number(tags::PLANAR)? == Some(2);
        let tiled = ifd.get(tags::TILE_OFFSETS).is_some();
        let (offsets, sizes) = match tiled {
            true => (tags::TILE_OFFSETS, tags::TILE_BYTE_COUNTS),
            false => (tags::STRIP_OFFSETS, tags::STRIP_BYTE_COUNTS),
        };
        let offsets = *ifd.get(offsets).ok_or_else(|| file.damaged(at, "an image without tiles or strips"))?;
        let chunk = match tiled {
            true => [needed(tags::TILE_WIDTH, "a tile width")?, needed(tags::TILE_LENGTH, "a tile length")?],
            false => [width, number(tags::ROWS_PER_STRIP)?.unwrap_or(height).min(height)],
        };
        if chunk.iter().any(|side| *side == 0 || *side > SIDE_LIMIT) {
            return Err(file.damaged(at, format!("tiles of {} x {} pixels", chunk[0], chunk[1])));
        }
        let mut image = Self {
            width,
            height,
            bands,
            sample,
            pixel_bits,
            planar,
            compression: number(tags::COMPRESSION)?.unwrap_or(compression::NONE),
            predictor: number(tags::PREDICTOR)?.unwrap_or(1),
            photometric: number(tags::PHOTOMETRIC)?.unwrap_or(1),
            fill_order: number(tags::FILL_ORDER)?.unwrap_or(1),
            tiled,
            chunk,
            virtual_strips: false,
            offsets,
            sizes: ifd.get(sizes).copied(),
            ifd,
        };
        let uncompressed = image.compression == compression::NONE;
        if image.sizes.is_none() && !uncompressed {
            return Err(file.damaged(at, "an image without the sizes of its tiles or strips"));
        }
        let [across, down] = image.grid();
        // Sides below 2^31 and fewer than 2^16 bands: the product fits into 128 bits.
        let chunks = u128::from(across) * u128::from(down) * u128::from(image.planes());
        if u128::from(offsets.count) < chunks || image.sizes.is_some_and(|sizes| u128::from(sizes.count) < chunks) {
            let reason = format!("{chunks} tiles or strips, but {} offsets", offsets.count);
            return Err(file.damaged(offsets.at, reason));
        }
        // Nothing says that one strip has to be taken whole if it is not compressed.
        let rows = VIRTUAL_STRIP / image.row_bytes().clamp(1, VIRTUAL_STRIP);
        if !tiled && uncompressed && down == 1 && rows < height {
            image.chunk[1] = rows;
            image.virtual_strips = true;
        }
        Ok(image)
    }

    /// Number of chunks in a row and in a column.
    pub(super) fn grid(&self) -> [u64; 2] {
        [self.width.div_ceil(self.chunk[0]), self.height.div_ceil(self.chunk[1])]
    }

    /// Number of planes that have chunks of their own.
    pub(super) fn planes(&self) -> u64 {
        if self.planar { self.bands } else { 1 }
    }

    /// The whole image.
    pub(super) fn window(&self) -> Window {
        Window { col: 0, row: 0, width: self.width, height: self.height }
    }

    /// Bytes of one row of a chunk when uncompressed; rows begin at whole bytes.
    pub(super) fn row_bytes(&self) -> u64 {
        // Below 2^31 times 2^16 times 2^16 bits, so nothing overflows.
        (self.chunk[0] * (self.pixel_bits / self.planes())).div_ceil(8)
    }

    /// Rows of the chunks of a row of chunks: tiles are always whole, the last strip is not.
    pub(super) fn chunk_rows(&self, row: u64) -> u64 {
        if self.tiled { self.chunk[1] } else { self.chunk[1].min(self.height.saturating_sub(row * self.chunk[1])) }
    }

    /// Where the chunks of these columns and rows of the grid lie, row by row; the ranges of chunks that are not stored are empty.
    pub(super) fn places(&self, file: &File, plane: u64, cols: [u64; 2], rows: [u64; 2]) -> Result<Vec<ByteRange>, FormatError> {
        let [across, down] = self.grid();
        if self.virtual_strips {
            return self.virtual_places(file, plane, rows);
        }
        let mut places = Vec::new();
        let first = plane * across * down;
        let mut row = rows[0];
        while row < rows[1] {
            // Rows whose entries lie close are read at once.
            let width = cols[1] - cols[0];
            let stride = if width * 4 >= across { (ENTRIES_AT_ONCE / across).max(1) } else { 1 };
            let end = rows[1].min(row + stride);
            let span = [first + row * across + cols[0], first + (end - 1) * across + cols[1]];
            let offsets = file.numbers(&self.offsets, span[0], span[1])?;
            let sizes = match &self.sizes {
                Some(sizes) => file.numbers(sizes, span[0], span[1])?,
                None => {
                    let rows = (row..end).flat_map(|row| std::iter::repeat_n(row, across as usize));
                    rows.take(offsets.len()).map(|row| self.row_bytes() * self.chunk_rows(row)).collect()
                }
            };
            for line in 0..(end - row) as usize {
                let line = line * across as usize..line * across as usize + width as usize;
                let (offsets, sizes) = (offsets.get(line.clone()), sizes.get(line));
                for (offset, size) in offsets.unwrap_or_default().iter().zip(sizes.unwrap_or_default()) {
                    places.push(self.place(file, *offset, *size)?);
                }
            }
            row = end;
        }
        Ok(places)
    }

    fn place(&self, file: &File, offset: u64, size: u64) -> Result<ByteRange, FormatError> {
        if offset == 0 || size == 0 {
            return Ok(ByteRange::new(0, 0));
        }
        let end = offset.checked_add(size).ok_or_else(|| file.damaged(self.offsets.at, "a tile or strip lies too far"))?;
        let range = ByteRange::new(offset, end);
        file.inside(range)?;
        Ok(range)
    }

    fn virtual_places(&self, file: &File, plane: u64, rows: [u64; 2]) -> Result<Vec<ByteRange>, FormatError> {
        let offset = file.numbers(&self.offsets, plane, plane + 1)?.first().copied().unwrap_or_default();
        let place = |row: u64| {
            let start = offset.saturating_add(row * self.chunk[1] * self.row_bytes());
            self.place(file, start, self.chunk_rows(row) * self.row_bytes())
        };
        (rows[0]..rows[1]).map(place).collect()
    }
}

/// The type of the samples, and the bits of all samples of a pixel.
fn samples(file: &File, ifd: &Ifd, bands: u64) -> Result<(Result<Sample, String>, u64), FormatError> {
    let all = |tag, default| match ifd.get(tag) {
        Some(entry) => file.numbers(entry, 0, entry.count.min(bands)),
        None => Ok(vec![default]),
    };
    let (bits, formats) = (all(tags::BITS_PER_SAMPLE, 1)?, all(tags::SAMPLE_FORMAT, 1)?);
    let (Some(first), Some(format)) = (bits.first().copied(), formats.first().copied()) else {
        return Err(file.damaged(ifd.at, "samples without a size"));
    };
    if bits.iter().any(|bits| *bits == 0 || *bits > 4096) {
        return Err(file.damaged(ifd.at, "samples of impossible sizes"));
    }
    let uniform = bits.iter().all(|bits| *bits == first);
    let pixel_bits = if uniform { first * bands } else { bits.iter().sum() };
    let kind = match (format, first) {
        _ if !uniform => Err("bands of different sizes".to_owned()),
        _ if formats.iter().any(|other| *other != format) => Err("bands of different types".to_owned()),
        (1 | 4, ..=32 | 64) => Ok(Kind::Unsigned),
        (2, 8 | 16 | 32 | 64) => Ok(Kind::Signed),
        (3, 16 | 32 | 64) => Ok(Kind::Float),
        (5 | 6, _) => Err("complex numbers".to_owned()),
        _ => Err(format!("samples of {first} bits and format {format}")),
    };
    Ok((kind.map(|kind| Sample { kind, bits: first }), pixel_bits))
}
