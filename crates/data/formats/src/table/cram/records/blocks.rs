//! Blocks (CRAMv3 §8): verified and unpacked.

use std::borrow::Cow;

use libdeflater::{CompressionLvl, Compressor, Decompressor};
use noodles_cram::io::Reader;
use noodles_cram::io::reader::Container;

use super::cursor::{Cursor, put_itf8};
use super::{Fault, bounds};

/// gzip makes nothing smaller than this part of it.
const GZIP_RATIO: u64 = 1032;
/// libdeflate's level for what is written.
const LEVEL: i32 = 5;
const RAW: u8 = 0;
const GZIP: u8 = 1;
/// Content of blocks.
pub(super) const COMPRESSION_HEADER: u8 = 1;
pub(super) const SLICE_HEADER: u8 = 2;
pub(super) const EXTERNAL: u8 = 4;
pub(super) const CORE: u8 = 5;

/// What may still be unpacked of a container.
#[derive(Clone, Copy)]
pub(in crate::table::cram) struct Room {
    pub(super) bytes: u64,
    /// Records in it.
    pub(super) records: u64,
}

/// A block as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Block<'b> {
    method: u8,
    /// What is in it.
    pub(super) content: u8,
    /// Its number, which encodings name it by.
    pub(super) number: i32,
    raw: u64,
    stored: &'b [u8],
}

impl<'b> Block<'b> {
    /// Takes a block and verifies its checksum.
    pub(super) fn read(from: &mut Cursor<'b>) -> Result<Self, Fault> {
        let whole = from.0;
        let [method, content] = [from.byte()?, from.byte()?];
        let number = from.itf8()?;
        let [stored, raw] = [from.itf8()?, from.itf8()?].map(usize::try_from);
        let (Ok(stored), Ok(raw)) = (stored, raw) else { return Err("a block has a negative size".into()) };
        let stored = from.take(stored)?;
        let summed = &whole[..whole.len() - from.0.len()];
        if crc32fast::hash(summed) != from.u32()? {
            return Err("the checksum of a block does not fit".into());
        }
        // An empty block may say any method.
        let method = if raw == 0 { RAW } else { method };
        Ok(Self { method, content, number, raw: raw as u64, stored })
    }

    /// Its content.
    pub(super) fn unpack(&self, room: &mut Room) -> Result<Cow<'b, [u8]>, Fault> {
        room.bytes = room.bytes.checked_sub(self.raw).ok_or("its blocks unpack to more than 512 MiB")?;
        let unpacked: Cow<'b, [u8]> = match self.method {
            RAW => self.stored.get(..self.raw as usize).unwrap_or_default().into(),
            GZIP => self.gunzip()?.into(),
            2..=8 => {
                bounds::check(self.method, self.stored, self.raw, room.records)?;
                self.decode()?.into()
            }
            _ => return Err(Fault::Unread("blocks of an unknown compression")),
        };
        if unpacked.len() as u64 == self.raw { Ok(unpacked) } else { Err("a block unpacks to another size than it says".into()) }
    }

    fn gunzip(&self) -> Result<Vec<u8>, Fault> {
        if self.raw > (self.stored.len() as u64).saturating_mul(GZIP_RATIO) {
            return Err("a block says that it is larger than it is".into());
        }
        let mut unpacked = vec![0; self.raw as usize];
        let length = Decompressor::new().gzip_decompress(self.stored, &mut unpacked);
        unpacked.truncate(length.map_err(|_| "a block cannot be unpacked")?);
        Ok(unpacked)
    }

    /// Unpacks with the codecs of `noodles_cram`, which takes blocks in slices in containers only: one is made around this block.
    fn decode(&self) -> Result<Vec<u8>, Fault> {
        let failed = |error: std::io::Error| Fault::Damage(format!("a block cannot be unpacked ({error})").into());
        let mut header = Vec::new();
        // No reference, no records; two blocks behind it, the second with the number 0; no embedded reference, no checksum.
        for number in [-1, 0, 0, 0, 0, 2, 1, 0, -1] {
            put_itf8(&mut header, number);
        }
        header.extend([0; 16]);
        let mut body = Vec::with_capacity(self.stored.len() + 128);
        seal(&mut body, RAW, SLICE_HEADER, 0, header.len(), &header);
        seal(&mut body, RAW, CORE, 0, 0, &[]);
        seal(&mut body, self.method, EXTERNAL, 0, self.raw as usize, self.stored);
        let bytes = container(&Around { reference: -1, blocks: 3, ..Around::default() }, &[0], &body);
        let mut container = Container::default();
        Reader::new(&bytes[..]).read_container(&mut container).map_err(failed)?;
        let slice = container.slices().next().ok_or("a block cannot be unpacked")?.map_err(failed)?;
        let (_, mut external) = slice.decode_blocks().map_err(failed)?;
        Ok(external.pop().ok_or("a block cannot be unpacked")?.1.into_owned())
    }
}

/// What the header of a container says.
#[derive(Default)]
pub(super) struct Around {
    pub(super) reference: i32,
    pub(super) start: i32,
    pub(super) span: i32,
    pub(super) records: i32,
    pub(super) counter: i64,
    pub(super) bases: i64,
    pub(super) blocks: i32,
}

/// A container of these blocks.
pub(super) fn container(around: &Around, landmarks: &[i32], body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    for number in [around.reference, around.start, around.span, around.records] {
        put_itf8(&mut bytes, number);
    }
    super::cursor::put_ltf8(&mut bytes, around.counter);
    super::cursor::put_ltf8(&mut bytes, around.bases);
    put_itf8(&mut bytes, around.blocks);
    put_itf8(&mut bytes, landmarks.len() as i32);
    landmarks.iter().for_each(|place| put_itf8(&mut bytes, *place));
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Adds a block: gzipped if that makes it smaller.
pub(super) fn put(out: &mut Vec<u8>, content: u8, number: i32, raw: &[u8]) {
    let mut compressor = Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default());
    let mut packed = vec![0; compressor.gzip_compress_bound(raw.len())];
    match compressor.gzip_compress(raw, &mut packed) {
        Ok(length) if length < raw.len() => seal(out, GZIP, content, number, raw.len(), packed.get(..length).unwrap_or_default()),
        _ => seal(out, RAW, content, number, raw.len(), raw),
    }
}

fn seal(out: &mut Vec<u8>, method: u8, content: u8, number: i32, raw: usize, stored: &[u8]) {
    let begin = out.len();
    out.extend([method, content]);
    put_itf8(out, number);
    put_itf8(out, stored.len() as i32);
    put_itf8(out, raw as i32);
    out.extend_from_slice(stored);
    let checksum = crc32fast::hash(&out[begin..]);
    out.extend(checksum.to_le_bytes());
}
