//! Numbers of TIFF 6.0, BigTIFF, GeoTIFF 1.1 and GDAL.

pub(super) const NEW_SUBFILE_TYPE: u16 = 254;
pub(super) const WIDTH: u16 = 256;
pub(super) const HEIGHT: u16 = 257;
pub(super) const BITS_PER_SAMPLE: u16 = 258;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC: u16 = 262;
pub(super) const FILL_ORDER: u16 = 266;
pub(super) const STRIP_OFFSETS: u16 = 273;
pub(super) const SAMPLES_PER_PIXEL: u16 = 277;
pub(super) const ROWS_PER_STRIP: u16 = 278;
pub(super) const STRIP_BYTE_COUNTS: u16 = 279;
pub(super) const PLANAR: u16 = 284;
pub(super) const PREDICTOR: u16 = 317;
pub(super) const COLOUR_MAP: u16 = 320;
pub(super) const TILE_WIDTH: u16 = 322;
pub(super) const TILE_LENGTH: u16 = 323;
pub(super) const TILE_OFFSETS: u16 = 324;
pub(super) const TILE_BYTE_COUNTS: u16 = 325;
pub(super) const SUB_IFDS: u16 = 330;
pub(super) const EXTRA_SAMPLES: u16 = 338;
pub(super) const SAMPLE_FORMAT: u16 = 339;
pub(super) const JPEG_TABLES: u16 = 347;
/// First and last of the tags of the JPEG of TIFF 6.0, which hold offsets.
pub(super) const OLD_JPEG: std::ops::RangeInclusive<u16> = 512..=521;
/// Coefficients, sub-sampling, positioning of YCbCr, and its reference black and white.
pub(super) const YCBCR: std::ops::RangeInclusive<u16> = 529..=532;
pub(super) const MODEL_PIXEL_SCALE: u16 = 33550;
pub(super) const MODEL_TIEPOINT: u16 = 33922;
pub(super) const MODEL_TRANSFORMATION: u16 = 34264;
pub(super) const EXIF_IFD: u16 = 34665;
pub(super) const ICC_PROFILE: u16 = 34675;
pub(super) const GEO_KEYS: u16 = 34735;
pub(super) const GEO_DOUBLES: u16 = 34736;
pub(super) const GEO_TEXT: u16 = 34737;
pub(super) const GPS_IFD: u16 = 34853;
pub(super) const INTEROPERABILITY_IFD: u16 = 40965;
pub(super) const GDAL_METADATA: u16 = 42112;
pub(super) const GDAL_NODATA: u16 = 42113;
pub(super) const RATIONAL_POLYNOMIALS: u16 = 50844;
pub(super) const LERC_PARAMETERS: u16 = 50674;

/// Bits of [`NEW_SUBFILE_TYPE`].
pub(super) const REDUCED: u64 = 1;
pub(super) const MASK: u64 = 4;

pub(super) const YCBCR_COLOURS: u64 = 6;

/// Codes of [`COMPRESSION`].
pub(super) mod compression {
    pub(crate) const NONE: u64 = 1;
    pub(crate) const LZW: u64 = 5;
    pub(crate) const OLD_JPEG: u64 = 6;
    pub(crate) const JPEG: u64 = 7;
    pub(crate) const DEFLATE: u64 = 8;
    pub(crate) const PACKBITS: u64 = 32773;
    pub(crate) const OLD_DEFLATE: u64 = 32946;
    pub(crate) const ZSTD: u64 = 50000;

    /// What people call it.
    pub(crate) fn name(code: u64) -> String {
        let name = match code {
            NONE => "none",
            2 => "CCITT RLE",
            3 => "CCITT Group 3 fax",
            4 => "CCITT Group 4 fax",
            LZW => "LZW",
            OLD_JPEG => "JPEG as of TIFF 6.0",
            JPEG => "JPEG",
            DEFLATE | OLD_DEFLATE => "deflate",
            PACKBITS => "PackBits",
            34712 => "JPEG 2000",
            34887 => "LERC",
            34925 => "LZMA",
            ZSTD => "ZSTD",
            50001 => "WebP",
            50002 | 52546 => "JPEG XL",
            _ => return format!("code {code}"),
        };
        name.to_owned()
    }
}

/// Types of values.
pub(super) mod kind {
    pub(crate) const SHORT: u16 = 3;
    pub(crate) const LONG: u16 = 4;
    pub(crate) const DOUBLE: u16 = 12;
    pub(crate) const LONG8: u16 = 16;
    /// Types whose values are offsets of directories.
    pub(crate) const IFD: [u16; 2] = [13, 18];

    /// Bytes of one value; `None` for a type that is not known.
    pub(crate) fn size(kind: u16) -> Option<u64> {
        Some(match kind {
            1 | 2 | 6 | 7 => 1,
            SHORT | 8 => 2,
            LONG | 9 | 11 | 13 => 4,
            5 | 10 | DOUBLE | LONG8 | 17 | 18 => 8,
            _ => return None,
        })
    }
}
