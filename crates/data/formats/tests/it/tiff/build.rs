//! TIFF files of all layouts, seeded.

use std::io::Write;

/// How an image lies in its file.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) size: [u64; 2],
    pub(super) bands: u64,
    /// Bytes of a sample.
    pub(super) bytes: usize,
    /// Tiles of this size; strips of the full width and so many rows if the first is 0.
    pub(super) chunk: [u64; 2],
    pub(super) planar: bool,
    /// 1 none, 8 deflate, 50000 ZSTD, 32773 PackBits.
    pub(super) compression: u64,
    pub(super) big_endian: bool,
    pub(super) big_tiff: bool,
    /// Size of a pixel; the upper left corner is (1000, 2000).
    pub(super) pixel: Option<[f64; 2]>,
    /// Overviews, each half as large.
    pub(super) overviews: u32,
    /// Every third chunk is not stored.
    pub(super) sparse: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            size: [50, 40],
            bands: 2,
            bytes: 2,
            chunk: [16, 16],
            planar: false,
            compression: 8,
            big_endian: false,
            big_tiff: false,
            pixel: Some([0.5, 0.25]),
            overviews: 0,
            sparse: false,
        }
    }
}

/// The sample at a place; levels differ.
pub(super) fn sample(spec: &Spec, level: u32, band: u64, row: u64, col: u64) -> u64 {
    let mut hash = (u64::from(level) << 60 ^ band << 50 ^ row << 25 ^ col).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash ^ hash >> 29) & (u64::MAX >> (64 - 8 * spec.bytes))
}

/// Where the chunks of level 0 lie, in the order of the file's grid.
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) chunks: Vec<(u64, u64)>,
}

pub(super) fn build(spec: &Spec) -> File {
    let word = if spec.big_tiff { 8 } else { 4 };
    let number = |number: u64, size: usize| {
        let mut bytes = number.to_le_bytes()[..size].to_vec();
        if spec.big_endian {
            bytes.reverse();
        }
        bytes
    };
    let mut bytes = if spec.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
    bytes.extend(number(if spec.big_tiff { 43 } else { 42 }, 2));
    if spec.big_tiff {
        bytes.extend([number(8, 2), number(0, 2)].concat());
    }
    let mut link = bytes.len();
    bytes.extend(number(0, word));
    let mut first_chunks = Vec::new();
    for level in 0..=spec.overviews {
        let size = spec.size.map(|side| (side >> level).max(1));
        let chunks = chunks(spec, level, size);
        let places: Vec<(u64, u64)> = chunks
            .iter()
            .map(|chunk| {
                let at = if chunk.is_empty() { 0 } else { bytes.len() as u64 };
                bytes.extend(chunk);
                (at, chunk.len() as u64)
            })
            .collect();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let at = bytes.len() as u64;
        bytes.splice(link..link + word, number(at, word));
        // Tag, type, size of a value, values.
        let short = |tag, values: Vec<u64>| (tag, 3_u64, 2, values);
        let pointers = |tag, values: Vec<u64>| if spec.big_tiff { (tag, 16, 8, values) } else { (tag, 4, 4, values) };
        let doubles = |tag, values: &[f64]| (tag, 12, 8, values.iter().map(|value| value.to_bits()).collect());
        let offsets = places.iter().map(|place| place.0).collect();
        let sizes = places.iter().map(|place| place.1).collect();
        let mut fields = vec![
            short(254_u64, vec![u64::from(level > 0)]),
            short(256, vec![size[0]]),
            short(257, vec![size[1]]),
            short(258, vec![8 * spec.bytes as u64; spec.bands as usize]),
            short(259, vec![spec.compression]),
            short(262, vec![1]),
            short(277, vec![spec.bands]),
            short(284, vec![if spec.planar { 2 } else { 1 }]),
        ];
        if spec.chunk[0] > 0 {
            fields.extend([short(322, vec![spec.chunk[0]]), short(323, vec![spec.chunk[1]])]);
            fields.extend([pointers(324, offsets), pointers(325, sizes)]);
        } else {
            fields.extend([short(278, vec![spec.chunk[1]]), pointers(273, offsets), pointers(279, sizes)]);
        }
        if let (Some([x, y]), 0) = (spec.pixel, level) {
            fields.push(doubles(33550, &[x, y, 0.0]));
            fields.push(doubles(33922, &[0.0, 0.0, 0.0, 1000.0, 2000.0, 0.0]));
            fields.push(short(34735, vec![1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32631]));
        }
        fields.sort_by_key(|field| field.0);
        let mut values_at = bytes.len() + if spec.big_tiff { 16 + 20 * fields.len() } else { 6 + 12 * fields.len() };
        let mut values = Vec::new();
        bytes.extend(number(fields.len() as u64, if spec.big_tiff { 8 } else { 2 }));
        for (tag, kind, size, field) in fields {
            let data: Vec<u8> = field.iter().flat_map(|value| number(*value, size)).collect();
            bytes.extend([number(tag, 2), number(kind, 2), number(field.len() as u64, word)].concat());
            if data.len() <= word {
                bytes.extend(&data);
                bytes.resize(bytes.len() + word - data.len(), 0);
            } else {
                bytes.extend(number(values_at as u64, word));
                values_at += data.len();
                values.extend(data);
            }
        }
        link = bytes.len();
        bytes.extend(number(0, word));
        bytes.extend(values);
        if level == 0 {
            first_chunks = places;
        }
    }
    File { bytes, chunks: first_chunks }
}

fn chunks(spec: &Spec, level: u32, size: [u64; 2]) -> Vec<Vec<u8>> {
    let tiled = spec.chunk[0] > 0;
    let [width, height] = if tiled { spec.chunk } else { [size[0], spec.chunk[1]] };
    let planes = if spec.planar { spec.bands } else { 1 };
    let mut chunks = Vec::new();
    for plane in 0..planes {
        for top in (0..size[1]).step_by(height as usize) {
            for left in (0..size[0]).step_by(width as usize) {
                if spec.sparse && chunks.len() % 3 == 1 {
                    chunks.push(Vec::new());
                    continue;
                }
                let rows = if tiled { height } else { height.min(size[1] - top) };
                let mut data = Vec::new();
                for row in top..top + rows {
                    for col in left..left + width {
                        for band in if spec.planar { plane..plane + 1 } else { 0..spec.bands } {
                            let mut bytes = sample(spec, level, band, row, col).to_le_bytes()[..spec.bytes].to_vec();
                            if spec.big_endian {
                                bytes.reverse();
                            }
                            data.extend(bytes);
                        }
                    }
                }
                chunks.push(compress(spec.compression, &data));
            }
        }
    }
    chunks
}

fn compress(compression: u64, data: &[u8]) -> Vec<u8> {
    match compression {
        1 => data.to_vec(),
        8 => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        50000 => zstd::encode_all(data, 1).unwrap(),
        _ => data.chunks(128).flat_map(|run| [&[(run.len() - 1) as u8], run].concat()).collect(),
    }
}
