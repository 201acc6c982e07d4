//! The headers in front of pages, read before the `parquet` crate sees a page: it takes room as they say.

/// What matters of a page header (struct `PageHeader` of the Parquet format, in Thrift's compact protocol).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Its own length in bytes.
    pub(super) length: usize,
    pub(super) kind: i64,
    /// Size of the page behind the header.
    pub(super) compressed: i64,
    pub(super) uncompressed: i64,
    /// Values of a data page, nulls among them, or of a dictionary.
    pub(super) values: i64,
    /// Rows, which only data pages of version 2 say.
    pub(super) rows: Option<i64>,
}

pub(super) const DATA_PAGE: i64 = 0;
pub(super) const INDEX_PAGE: i64 = 1;
pub(super) const DICTIONARY_PAGE: i64 = 2;
pub(super) const DATA_PAGE_V2: i64 = 3;

/// Structs deeper than this are none of Parquet's.
const DEPTH: u32 = 8;

/// Why a header could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The bytes end before the header does.
    Short,
    /// It is no page header.
    Malformed,
}

/// The header that `bytes` begin with.
pub(super) fn parse(bytes: &[u8]) -> Result<PageHeader, Failure> {
    let mut input = Input { bytes, at: 0 };
    let mut header = PageHeader { kind: -1, compressed: -1, uncompressed: -1, ..PageHeader::default() };
    let mut field = 0;
    while let Some(kind) = input.field(&mut field)? {
        match (field, kind) {
            (1, Kind::Number) => header.kind = input.number()?,
            (2, Kind::Number) => header.uncompressed = input.number()?,
            (3, Kind::Number) => header.compressed = input.number()?,
            (5 | 7 | 8, Kind::Struct) => {
                let version_2 = field == 8;
                let mut inner = 0;
                while let Some(kind) = input.field(&mut inner)? {
                    match (inner, kind) {
                        (1, Kind::Number) => header.values = input.number()?,
                        (3, Kind::Number) if version_2 => header.rows = Some(input.number()?),
                        _ => input.skip(kind, DEPTH)?,
                    }
                }
            }
            _ => input.skip(kind, DEPTH)?,
        }
    }
    let fits = |number: i64| (0..=i64::from(i32::MAX)).contains(&number);
    if !(fits(header.kind) && fits(header.compressed) && fits(header.uncompressed) && fits(header.values)) {
        return Err(Failure::Malformed);
    }
    if header.rows.is_some_and(|rows| !fits(rows)) {
        return Err(Failure::Malformed);
    }
    header.length = input.at;
    Ok(header)
}

/// Types of Thrift's compact protocol that are told apart here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Byte,
    Number,
    Double,
    Binary,
    List,
    Struct,
}

impl Kind {
    fn of(code: u8) -> Result<Self, Failure> {
        Ok(match code {
            1 | 2 => Self::Flag,
            3 => Self::Byte,
            4..=6 => Self::Number,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            12 => Self::Struct,
            _ => return Err(Failure::Malformed),
        })
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, Failure> {
        let byte = *self.bytes.get(self.at).ok_or(Failure::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Failure> {
        let left = (self.bytes.len() - self.at) as u64;
        if bytes > left {
            return Err(if bytes > u64::from(u32::MAX) { Failure::Malformed } else { Failure::Short });
        }
        self.at += bytes as usize;
        Ok(())
    }

    fn unsigned(&mut self) -> Result<u64, Failure> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Failure::Malformed)
    }

    fn number(&mut self) -> Result<i64, Failure> {
        let number = self.unsigned()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The next field of a struct: sets its number and gives its type; none at the end of the struct.
    fn field(&mut self, number: &mut i64) -> Result<Option<Kind>, Failure> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *number = match byte >> 4 {
            0 => self.number()?,
            step => number.checked_add(i64::from(step)).ok_or(Failure::Malformed)?,
        };
        Kind::of(byte & 0x0f).map(Some)
    }

    fn skip(&mut self, kind: Kind, depth: u32) -> Result<(), Failure> {
        let depth = depth.checked_sub(1).ok_or(Failure::Malformed)?;
        match kind {
            Kind::Flag => {}
            Kind::Byte => self.pass(1)?,
            Kind::Number => drop(self.unsigned()?),
            Kind::Double => self.pass(8)?,
            Kind::Binary => {
                let length = self.unsigned()?;
                self.pass(length)?;
            }
            Kind::List => {
                let byte = self.byte()?;
                let kind = Kind::of(byte & 0x0f)?;
                let count = if byte >> 4 == 15 { self.unsigned()? } else { u64::from(byte >> 4) };
                for _ in 0..count {
                    // Flags in a list take a byte each, unlike those in a struct.
                    self.skip(if kind == Kind::Flag { Kind::Byte } else { kind }, depth)?;
                }
            }
            Kind::Struct => {
                let mut number = 0;
                while let Some(kind) = self.field(&mut number)? {
                    self.skip(kind, depth)?;
                }
            }
        }
        Ok(())
    }
}
