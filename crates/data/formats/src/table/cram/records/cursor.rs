use super::super::container;
use super::Fault;

/// Bytes, taken from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'b>(pub(super) &'b [u8]);

impl<'b> Cursor<'b> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("its bytes end too early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.0.split_first().ok_or("its bytes end too early")?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn itf8(&mut self) -> Result<i32, Fault> {
        container::itf8(|| self.byte())
    }

    pub(super) fn ltf8(&mut self) -> Result<i64, Fault> {
        container::ltf8(|| self.byte())
    }

    /// A count of things, or of bytes, that follow: each takes a byte at least.
    pub(super) fn count(&mut self) -> Result<usize, Fault> {
        let count = usize::try_from(self.itf8()?).map_err(|_| "it has a negative count")?;
        if count > self.0.len() { Err("it counts more than there is".into()) } else { Ok(count) }
    }

    /// A run of bytes behind its length.
    pub(super) fn run(&mut self) -> Result<Cursor<'b>, Fault> {
        let length = self.count()?;
        self.take(length).map(Cursor)
    }

    /// Seven bits a byte, the highest first; a set top bit says that more follow (CRAMcodecs §1).
    pub(super) fn uint7(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for _ in 0..5 {
            let byte = self.byte()?;
            value = value << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number of a block is too long".into())
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?.first_chunk().ok_or("its bytes end too early")?;
        Ok(u32::from_le_bytes(*bytes))
    }
}

pub(super) fn put_itf8(out: &mut Vec<u8>, value: i32) {
    let [a, b, c, d] = value.to_be_bytes();
    match value {
        0..0x80 => out.push(d),
        0x80..0x4000 => out.extend([0x80 | c, d]),
        0x4000..0x20_0000 => out.extend([0xc0 | b, c, d]),
        0x20_0000..0x1000_0000 => out.extend([0xe0 | a, b, c, d]),
        _ => out.extend([0xf0 | a >> 4, a << 4 | b >> 4, b << 4 | c >> 4, c << 4 | d >> 4, d & 0x0f]),
    }
}

pub(super) fn put_ltf8(out: &mut Vec<u8>, value: i64) {
    let bits = value.cast_unsigned();
    // Each byte more gives seven bits, the ninth eight.
    let more = (0..8).find(|more| bits >> (7 * (more + 1)) == 0).unwrap_or(8_usize);
    let bytes = bits.to_be_bytes();
    let ones = !(0xff_u32 >> more) as u8;
    if more == 8 {
        out.push(0xff);
        out.extend(bytes);
    } else {
        let (first, rest) = (bytes[7 - more], &bytes[8 - more..]);
        out.push(ones | first);
        out.extend(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, put_itf8, put_ltf8};

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for shift in 0..64 {
            for value in [(1_i64 << shift).wrapping_sub(1), 1 << shift, -1 << shift, -5 >> shift] {
                let mut bytes = Vec::new();
                put_ltf8(&mut bytes, value);
                assert_eq!(Cursor(&bytes).ltf8(), Ok(value));
                bytes.clear();
                put_itf8(&mut bytes, value as i32);
                let mut cursor = Cursor(&bytes);
                assert_eq!((cursor.itf8(), cursor.0.len()), (Ok(value as i32), 0));
            }
        }
    }
}
