//! A window as a GeoTIFF: its tiles as they are where it consists of whole ones, else its samples written again.

use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ByteRange, read_ranges};

use super::file::File;
use super::image::Image;
use super::pixels::{Block, Rows, worthwhile_gap};
use super::raster::{Level, Raster};
use super::tags::{self, compression, kind};
use super::window::Window;
use super::write::{Directory, Field, header};
use crate::FormatError;
use crate::table::Pieces;

/// Bytes fetched and handed on at once.
const PIECE: u64 = 8 << 20;
/// Strips of samples written again are about so long.
const STRIP: u64 = 256 << 10;
/// Longer values are left out.
const COPIED_LIMIT: u64 = 16 << 20;

/// Fields that say how the file lies, or point into it.
const STRUCTURE: [u16; 22] = [
    tags::NEW_SUBFILE_TYPE,
    255,
    tags::WIDTH,
    tags::HEIGHT,
    tags::STRIP_OFFSETS,
    tags::ROWS_PER_STRIP,
    tags::STRIP_BYTE_COUNTS,
    288,
    289,
    tags::TILE_WIDTH,
    tags::TILE_LENGTH,
    tags::TILE_OFFSETS,
    tags::TILE_BYTE_COUNTS,
    tags::SUB_IFDS,
    tags::MODEL_PIXEL_SCALE,
    tags::MODEL_TIEPOINT,
    tags::MODEL_TRANSFORMATION,
    tags::EXIF_IFD,
    tags::GPS_IFD,
    tags::INTEROPERABILITY_IFD,
    tags::RATIONAL_POLYNOMIALS,
    tags::GDAL_METADATA,
];
/// Fields of how samples are coded, which go when they are written again.
const CODING: [u16; 9] = [
    tags::COMPRESSION,
    tags::PHOTOMETRIC,
    tags::FILL_ORDER,
    tags::PLANAR,
    292,
    293,
    tags::PREDICTOR,
    tags::JPEG_TABLES,
    tags::LERC_PARAMETERS,
];
/// Fields of the full image that hold for its overviews.
const SHARED: [u16; 7] = [
    tags::COLOUR_MAP,
    tags::EXTRA_SAMPLES,
    tags::ICC_PROFILE,
    tags::GEO_KEYS,
    tags::GEO_DOUBLES,
    tags::GEO_TEXT,
    tags::GDAL_NODATA,
];

/// An image of the new file.
struct Part {
    directory: Directory,
    data: Pieces,
}

/// The window of a level, and of its mask if it has one.
pub(super) fn pieces(file: &Arc<File>, raster: &Raster, level: &Level, window: Window) -> Result<Pieces, FormatError> {
    refuse_old_jpeg(file, level)?;
    let mut parts = vec![part(file, raster, level, &level.image, window)?];
    if let Some(mask) = &level.mask {
        parts.push(part(file, raster, level, mask, window)?);
    }
    let (directories, data): (Vec<Directory>, Vec<Pieces>) = parts.into_iter().map(|part| (part.directory, part.data)).unzip();
    let header = header(file.layout, &directories);
    Ok(Box::new(std::iter::once(Ok(header.into())).chain(data.into_iter().flatten())))
}

/// Refuses windows that can be read neither as a copy of whole tiles nor decoded.
pub(super) fn check(file: &Arc<File>, level: &Level, windows: &[Window]) -> Result<(), FormatError> {
    refuse_old_jpeg(file, level)?;
    for image in [Some(&level.image), level.mask.as_ref()].into_iter().flatten() {
        // What can be decoded depends on the image, and on how wide a window is.
        let decoded = windows.iter().filter(|window| !window.is_aligned(image.chunk, [image.width, image.height]));
        if let Some(widest) = decoded.max_by_key(|window| window.width) {
            Rows::check(file, image, *widest)?;
        }
    }
    Ok(())
}

/// Its chunks need tables that lie elsewhere in the file, and it is not decoded.
fn refuse_old_jpeg(file: &File, level: &Level) -> Result<(), FormatError> {
    if level.image.compression != compression::OLD_JPEG {
        return Ok(());
    }
    let what = compression::name(level.image.compression);
    Err(file.unsupported(what, "convert it, as with `gdal_translate -co COMPRESS=JPEG`"))
}

fn part(file: &Arc<File>, raster: &Raster, level: &Level, image: &Arc<Image>, window: Window) -> Result<Part, FormatError> {
    let is_mask = !Arc::ptr_eq(image, &level.image);
    let mut fields = copied_fields(file, image)?;
    let number = |tag, value| Field::numbers(file.layout, tag, &[value]);
    let kind = if is_mask { tags::MASK } else { 0 };
    let kind = Field { kind: kind::LONG, count: 1, data: file.layout.encode(kind, 4), tag: tags::NEW_SUBFILE_TYPE };
    fields.extend([kind, number(tags::WIDTH, window.width), number(tags::HEIGHT, window.height)]);
    if !is_mask {
        share_fields(file, raster, &mut fields)?;
        fields.extend(descriptive_fields(file, raster, level, window)?);
        fields.extend(raster.geo.fields(file, level.scale, &window));
    }
    let (sizes, data) = if window.is_aligned(image.chunk, [image.width, image.height]) {
        let side = |tag, axis: usize| number(tag, image.chunk[axis]);
        match image.tiled {
            true => fields.extend([side(tags::TILE_WIDTH, 0), side(tags::TILE_LENGTH, 1)]),
            false => fields.push(side(tags::ROWS_PER_STRIP, 1)),
        }
        copied(file, image, window)?
    } else {
        fields.retain(|field| !CODING.contains(&field.tag) && !tags::YCBCR.contains(&field.tag));
        let photometric = if image.photometric == tags::YCBCR_COLOURS { 2 } else { image.photometric };
        fields.extend([number(tags::COMPRESSION, compression::NONE), number(tags::PHOTOMETRIC, photometric)]);
        let rows = (STRIP / row_bytes(image, window).max(1)).clamp(1, window.height);
        fields.push(number(tags::ROWS_PER_STRIP, rows));
        written_again(file, image, window, rows, raster.nodata.as_deref().filter(|_| !is_mask))?
    };
    let tiled = fields.iter().any(|field| field.tag == tags::TILE_WIDTH);
    Ok(Part { directory: Directory { fields, tiled, sizes }, data })
}

/// Everything that stays as it is.
fn copied_fields(file: &File, image: &Image) -> Result<Vec<Field>, FormatError> {
    let mut fields: Vec<Field> = Vec::new();
    for entry in &image.ifd.entries {
        let structural = STRUCTURE.contains(&entry.tag) || tags::OLD_JPEG.contains(&entry.tag) || kind::IFD.contains(&entry.kind);
        let again = fields.iter().any(|field| field.tag == entry.tag);
        if structural || again || entry.count == 0 || entry.whole().len() > COPIED_LIMIT {
            continue;
        }
        fields.push(Field { tag: entry.tag, kind: entry.kind, count: entry.count, data: file.raw(entry)?.to_vec() });
    }
    Ok(fields)
}

/// What only the directory of the full image says.
fn share_fields(file: &File, raster: &Raster, fields: &mut Vec<Field>) -> Result<(), FormatError> {
    for entry in SHARED.iter().filter_map(|tag| raster.full().ifd.get(*tag)) {
        if entry.count > 0 && entry.whole().len() <= COPIED_LIMIT && !fields.iter().any(|field| field.tag == entry.tag) {
            fields.push(Field { tag: entry.tag, kind: entry.kind, count: entry.count, data: file.raw(entry)?.to_vec() });
        }
    }
    Ok(())
}

/// What changes with the window: GDAL's metadata without the statistics of the whole, and rational polynomials from its corner.
fn descriptive_fields(file: &File, raster: &Raster, level: &Level, window: Window) -> Result<Vec<Field>, FormatError> {
    let mut fields = Vec::new();
    let full = raster.full();
    let whole = level.scale == [1.0, 1.0] && window == full.window();
    if let Some(entry) = full.ifd.get(tags::GDAL_METADATA).filter(|entry| entry.whole().len() <= COPIED_LIMIT) {
        let data = file.raw(entry)?;
        let data = if whole { data.to_vec() } else { without_statistics(&data) };
        fields.push(Field { tag: entry.tag, kind: entry.kind, count: data.len() as u64, data });
    }
    if let Some(entry) = full.ifd.get(tags::RATIONAL_POLYNOMIALS).filter(|entry| entry.count == 92 && level.scale == [1.0, 1.0]) {
        let mut numbers = file.doubles(&full.ifd, entry.tag)?;
        // The third and fourth are the offsets of line and sample.
        if let [_, _, line, sample, ..] = numbers.as_mut_slice() {
            *line -= window.row as f64;
            *sample -= window.col as f64;
        }
        let data = numbers.iter().flat_map(|number| file.layout.encode(number.to_bits(), 8)).collect();
        fields.push(Field { tag: entry.tag, kind: kind::DOUBLE, count: numbers.len() as u64, data });
    }
    Ok(fields)
}

fn without_statistics(metadata: &[u8]) -> Vec<u8> {
    const ITEM: &[u8] = b"<Item name=\"STATISTICS_";
    const END: &[u8] = b"</Item>\n";
    let (mut kept, mut rest) = (Vec::with_capacity(metadata.len()), metadata);
    while let Some(start) = memchr::memmem::find(rest, ITEM)
        && let Some(length) = memchr::memmem::find(&rest[start..], END)
    {
        kept.extend_from_slice(rest[..start].trim_ascii_end());
        kept.push(b'\n');
        rest = &rest[start + length + END.len()..];
    }
    kept.extend_from_slice(rest);
    kept
}

/// The chunks of the window as they lie in the object: their sizes and their bytes.
fn copied(file: &Arc<File>, image: &Image, window: Window) -> Result<(Vec<u64>, Pieces), FormatError> {
    let (cols, rows) = window.chunks(image.chunk);
    let mut places = Vec::new();
    for plane in 0..image.planes() {
        places.extend(image.places(file, plane, cols, rows)?);
    }
    let sizes = places.iter().map(ByteRange::len).collect();
    let file = Arc::clone(file);
    let mut ranges = places.into_iter().filter(|range| !range.is_empty()).flat_map(pieces_of).peekable();
    let groups = std::iter::from_fn(move || {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(range) = ranges.next_if(|range| group.is_empty() || bytes + range.len() <= PIECE) {
            bytes += range.len();
            group.push(range);
        }
        (!group.is_empty()).then(|| read_ranges(file.object.as_ref(), &group, worthwhile_gap(&group)))
    });
    let pieces = groups.flat_map(|group| match group {
        Ok(pieces) => pieces.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error.into())],
    });
    Ok((sizes, Box::new(pieces)))
}

/// A long range in pieces.
fn pieces_of(range: ByteRange) -> impl Iterator<Item = ByteRange> {
    (0..range.len().div_ceil(PIECE)).map(move |piece| {
        let start = range.start + piece * PIECE;
        ByteRange::new(start, range.end.min(start + PIECE))
    })
}

/// Bytes of a row of all bands of a window.
fn row_bytes(image: &Image, window: Window) -> u64 {
    (window.width * image.pixel_bits).div_ceil(8)
}

/// The samples of the window without compression, in strips of so many rows: their sizes and their bytes.
fn written_again(
    file: &Arc<File>,
    image: &Arc<Image>,
    window: Window,
    rows: u64,
    nodata: Option<&str>,
) -> Result<(Vec<u64>, Pieces), FormatError> {
    let bands = (0..image.bands as usize).collect();
    let blocks = Rows::new(Arc::clone(file), Arc::clone(image), window, bands, nodata)?;
    let strip = |strip: u64| rows.min(window.height - strip * rows) * row_bytes(image, window);
    let sizes = (0..window.height.div_ceil(rows)).map(strip).collect();
    let (sample, big_endian) = (blocks.sample(), file.layout.big_endian);
    let whole = sample.is_whole();
    let pieces = blocks.map(move |block| {
        let block = block?;
        Ok(if whole { interleave(&block, sample.bytes(), big_endian) } else { pack(&block, sample.bits, sample.bytes()) })
    });
    Ok((sizes, Box::new(pieces)))
}

/// The samples pixel by pixel.
fn interleave(block: &Block, size: usize, big_endian: bool) -> Bytes {
    if block.bands.len() == 1 && (size == 1 || !big_endian) {
        return Bytes::copy_from_slice(&block.bands[0]);
    }
    let mut bytes = vec![0; block.bands.iter().map(Vec::len).sum()];
    let stride = size * block.bands.len();
    for (band, samples) in block.bands.iter().enumerate() {
        for (pixel, sample) in bytes.chunks_exact_mut(stride).zip(samples.chunks_exact(size)) {
            let target = &mut pixel[band * size..(band + 1) * size];
            target.copy_from_slice(sample);
            if big_endian {
                target.reverse();
            }
        }
    }
    bytes.into()
}

/// The samples pixel by pixel, of so many bits each; rows begin at whole bytes.
fn pack(block: &Block, bits: u64, size: usize) -> Bytes {
    let width = block.window.width as usize;
    let mut bytes = Vec::new();
    for row in 0..block.window.height as usize {
        let (mut held, mut count) = (0_u64, 0);
        for pixel in row * width..(row + 1) * width {
            for samples in &block.bands {
                let sample =
                    samples[pixel * size..(pixel + 1) * size].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
                held = held << bits | sample;
                count += bits;
                while count >= 8 {
                    count -= 8;
                    bytes.push((held >> count) as u8);
                }
                held &= (1 << count) - 1;
            }
        }
        if count > 0 {
            bytes.push((held << (8 - count)) as u8);
        }
    }
    bytes.into()
}
