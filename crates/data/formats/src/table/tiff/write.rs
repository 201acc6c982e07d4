//! The header and the directories of a file whose chunks follow in order.

use super::file::Layout;
use super::tags::{self, kind};

/// A field and its values, in the byte order of the file.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) tag: u16,
    pub(super) kind: u16,
    pub(super) count: u64,
    pub(super) data: Vec<u8>,
}

impl Field {
    /// Numbers of 16 bits where they fit, else of 32.
    pub(super) fn numbers(layout: Layout, tag: u16, numbers: &[u64]) -> Self {
        let kind = if numbers.iter().all(|number| *number <= u64::from(u16::MAX)) { kind::SHORT } else { kind::LONG };
        Self::of_kind(layout, tag, kind, numbers)
    }

    fn of_kind(layout: Layout, tag: u16, kind: u16, numbers: &[u64]) -> Self {
        let size = kind::size(kind).unwrap_or(8) as usize;
        let data = numbers.iter().flat_map(|number| layout.encode(*number, size)).collect();
        Self { tag, kind, count: numbers.len() as u64, data }
    }
}

/// One image: its fields but for those of offsets and sizes, and the sizes of its chunks.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) fields: Vec<Field>,
    pub(super) tiled: bool,
    pub(super) sizes: Vec<u64>,
}

impl Directory {
    fn chunk_tags(&self) -> [u16; 2] {
        match self.tiled {
            true => [tags::TILE_OFFSETS, tags::TILE_BYTE_COUNTS],
            false => [tags::STRIP_OFFSETS, tags::STRIP_BYTE_COUNTS],
        }
    }

    /// All fields in the order of their tags, with the chunks from `data` on.
    fn complete(&self, layout: Layout, data: &mut u64) -> Vec<Field> {
        let offsets: Vec<u64> = self
            .sizes
            .iter()
            .map(|size| {
                let offset = if *size == 0 { 0 } else { *data };
                *data += size;
                offset
            })
            .collect();
        let kind = if layout.big_tiff { kind::LONG8 } else { kind::LONG };
        let [offset_tag, size_tag] = self.chunk_tags();
        let mut fields = self.fields.clone();
        fields.push(Field::of_kind(layout, offset_tag, kind, &offsets));
        fields.push(Field::of_kind(layout, size_tag, kind, &self.sizes));
        fields.sort_by_key(|field| field.tag);
        fields
    }
}

/// Everything in front of the chunks: those of the first image follow, then those of the second.
/// The file becomes a BigTIFF where it is too large for anything else.
pub(super) fn header(mut layout: Layout, directories: &[Directory]) -> Vec<u8> {
    let data: u64 = directories.iter().flat_map(|directory| &directory.sizes).sum();
    let mut length = length_of(layout, directories);
    if !layout.big_tiff && length + data > u64::from(u32::MAX) {
        layout.big_tiff = true;
        length = length_of(layout, directories);
    }
    let word = if layout.big_tiff { 8 } else { 4 };
    let mut bytes = if layout.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
    if layout.big_tiff {
        for number in [43, 8, 0] {
            bytes.extend(layout.encode(number, 2));
        }
    } else {
        bytes.extend(layout.encode(42, 2));
    }
    bytes.extend(layout.encode((bytes.len() + word) as u64, word));
    let mut chunks = length;
    for (number, directory) in directories.iter().enumerate() {
        let fields = directory.complete(layout, &mut chunks);
        let last = number + 1 == directories.len();
        append(layout, &mut bytes, &fields, last);
    }
    bytes
}

/// The length of [`header`]: it does not depend on where the chunks lie.
fn length_of(layout: Layout, directories: &[Directory]) -> u64 {
    let word = if layout.big_tiff { 8 } else { 4 };
    let of_directory = |directory: &Directory| {
        let fields = directory.fields.iter().map(|field| field.data.len() as u64);
        let chunks = [word * directory.sizes.len() as u64; 2];
        let values: u64 = fields.chain(chunks).map(|length| if length <= word { 0 } else { length.next_multiple_of(2) }).sum();
        table_length(layout, directory.fields.len() as u64 + 2) + values
    };
    (if layout.big_tiff { 16 } else { 8 }) + directories.iter().map(of_directory).sum::<u64>()
}

fn table_length(layout: Layout, fields: u64) -> u64 {
    if layout.big_tiff { 16 + 20 * fields } else { 6 + 12 * fields }
}

/// Appends a directory and the values that do not fit into it.
fn append(layout: Layout, bytes: &mut Vec<u8>, fields: &[Field], last: bool) {
    let (word, count) = if layout.big_tiff { (8, 8) } else { (4, 2) };
    let mut values = Vec::new();
    let values_at = bytes.len() as u64 + table_length(layout, fields.len() as u64);
    bytes.extend(layout.encode(fields.len() as u64, count));
    for field in fields {
        bytes.extend(layout.encode(u64::from(field.tag), 2));
        bytes.extend(layout.encode(u64::from(field.kind), 2));
        bytes.extend(layout.encode(field.count, word));
        if field.data.len() <= word {
            bytes.extend(&field.data);
            bytes.resize(bytes.len() + word - field.data.len(), 0);
        } else {
            bytes.extend(layout.encode(values_at + values.len() as u64, word));
            values.extend(&field.data);
            values.resize(values.len().next_multiple_of(2), 0);
        }
    }
    let next = if last { 0 } else { values_at + values.len() as u64 };
    bytes.extend(layout.encode(next, word));
    bytes.extend(values);
}
