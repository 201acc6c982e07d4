use super::Fault;

/// The bits of a core block, the highest of each byte first.
pub(super) struct Bits<'b> {
    bytes: &'b [u8],
    /// The next bit.
    at: usize,
}

impl<'b> Bits<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn bit(&mut self) -> Result<u32, Fault> {
        let byte = self.bytes.get(self.at / 8).ok_or("the bits of its records end too early")?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit.into())
    }

    /// A number of so many bits, 32 at most.
    pub(super) fn number(&mut self, bits: u32) -> Result<u32, Fault> {
        let mut value = 0;
        for _ in 0..bits {
            value = value << 1 | self.bit()?;
        }
        Ok(value)
    }

    /// How many bits in a row are `bit`; the one behind them is passed too.
    pub(super) fn run_of(&mut self, bit: u32) -> Result<u32, Fault> {
        let mut length = 0;
        while self.bit()? == bit {
            length += 1;
            if length > 32 {
                return Err("a number of its records is too long".into());
            }
        }
        Ok(length)
    }
}
