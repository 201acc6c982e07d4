//! The dimensions of point records, under the names laspy gives them (LAS 1.4 R15, sections 2.6 and 2.8.2.2).

use super::header::Header;
use super::le::{f64_at, text_at, u8_at};

/// Bytes of one entry of the extra bytes record.
const EXTRA: usize = 192;

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    /// Some bits of a byte: shift, and mask behind it.
    Bits(u8, u8),
    /// Bytes without a type.
    Raw(usize),
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bits(..) => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
            Kind::Raw(size) => size,
        }
    }
}

/// A dimension: a column of the Arrow form.
#[derive(Clone, Debug)]
pub(super) struct Dimension {
    pub(super) name: String,
    /// First byte within the record.
    pub(super) at: usize,
    pub(super) kind: Kind,
    /// Values a record, one behind the other.
    pub(super) lanes: usize,
    /// Scale and offset of each lane, where values are scaled.
    pub(super) scaling: Option<[[f64; 2]; 3]>,
}

impl Dimension {
    pub(super) fn width(&self) -> usize {
        self.kind.size() * self.lanes
    }
}

/// All dimensions of an object, in the order of its records.
pub(super) fn dimensions(header: &Header) -> Vec<Dimension> {
    let mut all = Vec::new();
    for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
        let scaling = Some([[header.scale[axis], header.offset[axis]]; 3]);
        all.push(Dimension { name: name.into(), at: 4 * axis, kind: Kind::I32, lanes: 1, scaling });
    }
    let mut add =
        |name: &str, at: usize, kind: Kind| all.push(Dimension { name: name.into(), at, kind, lanes: 1, scaling: None });
    add("intensity", 12, Kind::U16);
    let (gps, colour, nir, wave);
    if header.point_format < 6 {
        add("return_number", 14, Kind::Bits(0, 7));
        add("number_of_returns", 14, Kind::Bits(3, 7));
        add("scan_direction_flag", 14, Kind::Bits(6, 1));
        add("edge_of_flight_line", 14, Kind::Bits(7, 1));
        add("classification", 15, Kind::Bits(0, 31));
        add("synthetic", 15, Kind::Bits(5, 1));
        add("key_point", 15, Kind::Bits(6, 1));
        add("withheld", 15, Kind::Bits(7, 1));
        add("scan_angle_rank", 16, Kind::I8);
        add("user_data", 17, Kind::U8);
        add("point_source_id", 18, Kind::U16);
        let format = header.point_format;
        gps = matches!(format, 1 | 3 | 4 | 5).then_some(20);
        colour = matches!(format, 2 | 3 | 5).then_some(if format == 2 { 20 } else { 28 });
        nir = None;
        wave = matches!(format, 4 | 5).then_some(header.named - 29);
    } else {
        add("return_number", 14, Kind::Bits(0, 15));
        add("number_of_returns", 14, Kind::Bits(4, 15));
        add("synthetic", 15, Kind::Bits(0, 1));
        add("key_point", 15, Kind::Bits(1, 1));
        add("withheld", 15, Kind::Bits(2, 1));
        add("overlap", 15, Kind::Bits(3, 1));
        add("scanner_channel", 15, Kind::Bits(4, 3));
        add("scan_direction_flag", 15, Kind::Bits(6, 1));
        add("edge_of_flight_line", 15, Kind::Bits(7, 1));
        add("classification", 16, Kind::U8);
        add("user_data", 17, Kind::U8);
        add("scan_angle", 18, Kind::I16);
        add("point_source_id", 20, Kind::U16);
        gps = Some(22);
        colour = matches!(header.point_format, 7 | 8 | 10).then_some(30);
        nir = matches!(header.point_format, 8 | 10).then_some(36);
        wave = matches!(header.point_format, 9 | 10).then_some(header.named - 29);
    }
    if let Some(at) = gps {
        add("gps_time", at, Kind::F64);
    }
    if let Some(at) = colour {
        ["red", "green", "blue"].iter().enumerate().for_each(|(band, name)| add(name, at + 2 * band, Kind::U16));
    }
    if let Some(at) = nir {
        add("nir", at, Kind::U16);
    }
    if let Some(at) = wave {
        add("wavepacket_index", at, Kind::U8);
        add("wavepacket_offset", at + 1, Kind::U64);
        add("wavepacket_size", at + 9, Kind::U32);
        add("return_point_wave_location", at + 13, Kind::F32);
        ["x_t", "y_t", "z_t"].iter().enumerate().for_each(|(axis, name)| add(name, at + 17 + 4 * axis, Kind::F32));
    }
    extra_bytes(header, &mut all);
    all
}

/// Dimensions of the extra bytes; what is not described is one dimension `ExtraBytes`.
fn extra_bytes(header: &Header, all: &mut Vec<Dimension>) {
    let mut at = header.named;
    let described = header.vlrs.iter().find(|vlr| vlr.is("LASF_Spec", 4));
    for entry in described.map_or(&[][..], |vlr| vlr.content()).chunks_exact(EXTRA) {
        let Some(mut dimension) = extra(entry, at) else { break };
        if dimension.width() == 0 || at + dimension.width() > header.record {
            break;
        }
        at += dimension.width();
        unique(&mut dimension.name, all);
        all.push(dimension);
    }
    if at < header.record {
        let mut name = "ExtraBytes".to_owned();
        unique(&mut name, all);
        all.push(Dimension { name, at, kind: Kind::Raw(header.record - at), lanes: 1, scaling: None });
    }
}

fn unique(name: &mut String, all: &[Dimension]) {
    while name.is_empty() || all.iter().any(|other| other.name == *name) {
        name.push('_');
    }
}

fn extra(entry: &[u8], at: usize) -> Option<Dimension> {
    let (code, options) = (u8_at(entry, 2), u8_at(entry, 3));
    let name = text_at(entry, 4, 32);
    if code == 0 {
        return Some(Dimension { name, at, kind: Kind::Raw(usize::from(options)), lanes: 1, scaling: None });
    }
    let kinds = [Kind::U8, Kind::I8, Kind::U16, Kind::I16, Kind::U32, Kind::I32, Kind::U64, Kind::I64, Kind::F32, Kind::F64];
    let (lanes, kind) = (usize::from(code - 1) / 10 + 1, *kinds.get(usize::from(code - 1) % 10)?);
    let (scaled, moved) = (options & 8 != 0, options & 16 != 0);
    let scaling = (scaled || moved).then(|| {
        [0, 1, 2].map(|lane| {
            let scale = if scaled { f64_at(entry, 112 + 8 * lane) } else { 1.0 };
            [scale, if moved { f64_at(entry, 136 + 8 * lane) } else { 0.0 }]
        })
    });
    (lanes <= 3).then_some(Dimension { name, at, kind, lanes, scaling })
}
