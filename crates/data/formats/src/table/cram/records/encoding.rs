//! How the values of a data series are encoded (CRAMv3 §3, §13), and the streams they come from.

use super::Fault;
use super::bits::Bits;
use super::cursor::Cursor;

/// Longer codes are damage: htslib reads none either.
const CODE_LIMIT: usize = 31;

/// Of numbers and bytes.
#[derive(Clone, Debug)]
pub(super) enum Encoding {
    /// Bytes or ITF-8 numbers of the external block of this number.
    External(i32),
    /// A canonical prefix code in the core block.
    Huffman(Huffman),
    /// So many bits in the core block, less an offset.
    Beta { offset: i32, bits: u32 },
    /// Sub-exponential codes in the core block.
    Subexponential { offset: i32, order: u32 },
    /// Elias gamma codes in the core block.
    Gamma { offset: i32 },
}

/// Of arrays of bytes.
#[derive(Clone, Debug)]
pub(super) enum ArrayEncoding {
    /// Length and values, each with an encoding of its own.
    Length { length: Encoding, values: Encoding },
    /// Bytes of an external block up to this one.
    Stop { stop: u8, block: i32 },
}

/// A canonical prefix code.
#[derive(Clone, Debug)]
pub(super) struct Huffman {
    /// By length and then by value.
    symbols: Vec<i32>,
    /// How many codes have each length.
    counts: Vec<u32>,
}

impl Encoding {
    /// Reads an encoding; none if the series has none.
    pub(super) fn read(from: &mut Cursor<'_>) -> Result<Option<Self>, Fault> {
        let kind = from.itf8()?;
        let mut parameters = from.run()?;
        let positive =
            |number: i32| u32::try_from(number).ok().filter(|number| *number <= 32).ok_or("an encoding has too many bits");
        Ok(Some(match kind {
            0 => return Ok(None),
            1 => Encoding::External(parameters.itf8()?),
            3 => Encoding::Huffman(Huffman::read(&mut parameters)?),
            6 => Encoding::Beta { offset: parameters.itf8()?, bits: positive(parameters.itf8()?)? },
            7 => Encoding::Subexponential { offset: parameters.itf8()?, order: positive(parameters.itf8()?)? },
            9 => Encoding::Gamma { offset: parameters.itf8()? },
            2 | 8 => return Err(Fault::Unread("Golomb codes")),
            _ => return Err("a data series has an encoding that does not fit it".into()),
        }))
    }

    pub(super) fn number(&self, from: &mut Streams<'_>) -> Result<i32, Fault> {
        match self {
            Encoding::External(block) => from.external(*block)?.itf8(),
            _ => self.code(from),
        }
    }

    pub(super) fn byte(&self, from: &mut Streams<'_>) -> Result<u8, Fault> {
        match self {
            Encoding::External(block) => from.external(*block)?.byte(),
            _ => u8::try_from(self.code(from)?).map_err(|_| "a byte is none".into()),
        }
    }

    /// Adds so many bytes.
    pub(super) fn bytes(&self, from: &mut Streams<'_>, count: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        from.spend(count as u64)?;
        match self {
            Encoding::External(block) => out.extend_from_slice(from.external(*block)?.take(count)?),
            _ => {
                for _ in 0..count {
                    out.push(self.byte(from)?);
                }
            }
        }
        Ok(())
    }

    fn code(&self, from: &mut Streams<'_>) -> Result<i32, Fault> {
        let core = &mut from.core;
        let (value, offset) = match self {
            Encoding::External(_) => return self.number(from),
            Encoding::Huffman(code) => return code.symbol(core),
            Encoding::Beta { offset, bits } => (core.number(*bits)?, offset),
            Encoding::Subexponential { offset, order } => match core.run_of(1)? {
                0 => (core.number(*order)?, offset),
                ones => {
                    let bits = order + ones - 1;
                    let top = 1_u32.checked_shl(bits).ok_or("a number of its records is too long")?;
                    (top.wrapping_add(core.number(bits)?), offset)
                }
            },
            Encoding::Gamma { offset } => {
                let bits = core.run_of(0)?;
                let top = 1_u32.checked_shl(bits).ok_or("a number of its records is too long")?;
                (top | core.number(bits)?, offset)
            }
        };
        Ok(value.cast_signed().wrapping_sub(*offset))
    }
}

impl Huffman {
    fn read(from: &mut Cursor<'_>) -> Result<Self, Fault> {
        let symbols = (0..from.count()?).map(|_| from.itf8()).collect::<Result<Vec<_>, _>>()?;
        let lengths = (0..from.count()?).map(|_| from.itf8()).collect::<Result<Vec<_>, _>>()?;
        if symbols.len() != lengths.len() || symbols.is_empty() {
            return Err("a prefix code has not as many lengths as symbols".into());
        }
        let mut codes = Vec::with_capacity(symbols.len());
        let mut counts = vec![0; CODE_LIMIT + 1];
        for (symbol, length) in symbols.into_iter().zip(lengths) {
            let count = usize::try_from(length).ok().and_then(|length| counts.get_mut(length));
            *count.ok_or("a prefix code has a length that makes no sense")? += 1;
            codes.push((length, symbol));
        }
        if counts[0] > 0 && codes.len() > 1 {
            return Err("a prefix code of several symbols has one without bits".into());
        }
        codes.sort_unstable();
        Ok(Self { symbols: codes.into_iter().map(|(_, symbol)| symbol).collect(), counts })
    }

    fn symbol(&self, core: &mut Bits<'_>) -> Result<i32, Fault> {
        let (mut code, mut first, mut index) = (0_u64, 0_u64, 0_u64);
        for (length, count) in self.counts.iter().enumerate() {
            if length > 0 {
                code = code << 1 | u64::from(core.bit()?);
                first <<= 1;
            }
            let count = u64::from(*count);
            if let Some(place) = code.checked_sub(first).filter(|place| *place < count) {
                let symbol = self.symbols.get((index + place) as usize);
                return symbol.copied().ok_or("a prefix code has no such symbol".into());
            }
            index += count;
            first += count;
        }
        Err("a prefix code has no such symbol".into())
    }
}

impl ArrayEncoding {
    /// Reads an encoding; none if the series has none.
    pub(super) fn read(from: &mut Cursor<'_>) -> Result<Option<Self>, Fault> {
        let kind = from.itf8()?;
        let mut parameters = from.run()?;
        Ok(Some(match kind {
            0 => return Ok(None),
            4 => {
                let [length, values] = [Encoding::read(&mut parameters)?, Encoding::read(&mut parameters)?];
                let (length, values) = length.zip(values).ok_or("arrays have no encoding of their lengths or values")?;
                ArrayEncoding::Length { length, values }
            }
            5 => ArrayEncoding::Stop { stop: parameters.byte()?, block: parameters.itf8()? },
            _ => return Err("a series of arrays has an encoding that does not fit it".into()),
        }))
    }

    /// Adds the bytes of the next array.
    pub(super) fn array(&self, from: &mut Streams<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            ArrayEncoding::Length { length, values } => {
                let length = usize::try_from(length.number(from)?).map_err(|_| "an array has a negative length")?;
                values.bytes(from, length, out)
            }
            ArrayEncoding::Stop { stop, block } => {
                let stream = from.external(*block)?;
                let length = memchr::memchr(*stop, stream.0).ok_or("an array has no end")?;
                out.extend_from_slice(stream.take(length)?);
                stream.byte().map(drop)
            }
        }
    }
}

/// The blocks of a slice, unpacked, each read from its front.
pub(super) struct Streams<'s> {
    core: Bits<'s>,
    external: Vec<(i32, Cursor<'s>)>,
    /// Bytes that its records may still take: codes of no bits make something of nothing.
    left: u64,
}

impl<'s> Streams<'s> {
    pub(super) fn new(core: &'s [u8], external: impl Iterator<Item = (i32, &'s [u8])>) -> Self {
        /// Bytes that the records of any slice may take, and how many times those of its blocks.
        const LEAST: u64 = 64 << 20;
        const TIMES: u64 = 2;
        let mut all = core.len() as u64;
        let mut external: Vec<_> = external.map(|(number, bytes)| (number, Cursor(bytes))).collect();
        external.sort_by_key(|(number, _)| *number);
        all += external.iter().map(|(_, stream)| stream.0.len() as u64).sum::<u64>();
        Self { core: Bits::new(core), external, left: LEAST + TIMES * all }
    }

    fn external(&mut self, block: i32) -> Result<&mut Cursor<'s>, Fault> {
        let place = self.external.binary_search_by_key(&block, |(number, _)| *number);
        let stream = place.ok().and_then(|place| self.external.get_mut(place));
        stream.map(|(_, stream)| stream).ok_or("a block of its records is missing".into())
    }

    /// Counts what records take.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or("its records take more room than its blocks explain")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::{Cursor, put_itf8};
    use super::{Encoding, Streams};

    fn encoding(kind: i32, numbers: &[i32]) -> Encoding {
        let (mut bytes, mut parameters) = (Vec::new(), Vec::new());
        numbers.iter().for_each(|number| put_itf8(&mut parameters, *number));
        put_itf8(&mut bytes, kind);
        put_itf8(&mut bytes, parameters.len() as i32);
        Encoding::read(&mut Cursor(&[bytes, parameters].concat())).unwrap().unwrap()
    }

    fn numbers(encoding: &Encoding, core: &[u8], count: usize) -> Vec<i32> {
        let mut streams = Streams::new(core, std::iter::empty());
        (0..count).map(|_| encoding.number(&mut streams).unwrap()).collect()
    }

    /// The examples of CRAMv3 §13.
    #[test]
    fn codes_are_those_of_the_specification() {
        // Symbols A to F with lengths 1, 3, 3, 3, 4, 4: 0, 100, 101, 110, 1110, 1111.
        let huffman = encoding(3, &[6, 65, 66, 67, 68, 69, 70, 6, 1, 3, 3, 3, 4, 4]);
        assert_eq!(numbers(&huffman, &[0b0100_1011, 0b1011_1011, 0b1100_0000], 6), [65, 66, 67, 68, 69, 70]);
        assert_eq!(numbers(&encoding(3, &[1, 7, 1, 0]), &[], 5), [7; 5]);
        assert_eq!(numbers(&encoding(6, &[-10, 3]), &[0b0000_0111, 0b1000_0000], 3), [10, 11, 17]);
        // 1, 2, 3, 4, 5: 1 010 011 00100 00101.
        assert_eq!(numbers(&encoding(9, &[0]), &[0b1010_0110, 0b0100_0010, 0b1000_0000], 5), [1, 2, 3, 4, 5]);
        // Order 2: 0 is 000, 3 is 011, 4 is 1000, 8 is 110000.
        assert_eq!(numbers(&encoding(7, &[0, 2]), &[0b0000_1110, 0b0011_0000], 4), [0, 3, 4, 8]);
        let mut end = Streams::new(&[], std::iter::empty());
        assert!(huffman.number(&mut end).is_err() && encoding(1, &[3]).number(&mut end).is_err());
    }
}
