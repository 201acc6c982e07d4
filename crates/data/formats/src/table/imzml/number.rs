use arrow_schema::DataType;

/// How one value of an array is stored; always little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Number {
    const ALL: [Self; 6] = [Self::I8, Self::I16, Self::I32, Self::I64, Self::F32, Self::F64];

    pub(super) fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Bytes of one value.
    pub(super) fn width(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    pub(super) fn arrow(self) -> DataType {
        match self {
            Self::I8 => DataType::Int8,
            Self::I16 => DataType::Int16,
            Self::I32 => DataType::Int32,
            Self::I64 => DataType::Int64,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
        }
    }

    /// The one type that both fit: themselves if equal.
    pub(super) fn common(self, other: Self) -> Self {
        if self == other { self } else { Self::F64 }
    }

    /// The values, as 64-bit floats; every width but that of `I64` is exact.
    pub(super) fn values(self, bytes: &[u8]) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::I8 => Box::new(bytes.iter().map(|byte| f64::from(*byte as i8))),
            Self::I16 => Box::new(chunks(bytes).map(|chunk| f64::from(i16::from_le_bytes(chunk)))),
            Self::I32 => Box::new(chunks(bytes).map(|chunk| f64::from(i32::from_le_bytes(chunk)))),
            Self::I64 => Box::new(chunks(bytes).map(|chunk| i64::from_le_bytes(chunk) as f64)),
            Self::F32 => Box::new(chunks(bytes).map(|chunk| f64::from(f32::from_le_bytes(chunk)))),
            Self::F64 => Box::new(chunks(bytes).map(f64::from_le_bytes)),
        }
    }
}

fn chunks<const WIDTH: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; WIDTH]> + '_ {
    bytes.as_chunks::<WIDTH>().0.iter().copied()
}
