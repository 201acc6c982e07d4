//! Where the pixels lie: GeoTIFF's model tags and keys.

use super::file::{File, Ifd};
use super::tags::{self, kind};
use super::window::Window;
use super::write::Field;
use crate::table::Bounds;
use crate::{FormatError, table::Extent};

/// Coordinates are trusted to this part of a pixel, so that bounds computed from the edges of pixels do not touch the next ones.
const TOLERANCE: f64 = 1e-6;
/// GeoKeys.
const MODEL_TYPE: u64 = 1024;
const RASTER_TYPE: u64 = 1025;
const CITATION: u64 = 1026;
const GEOGRAPHIC: u64 = 2048;
const GEOGRAPHIC_CITATION: u64 = 2049;
const PROJECTED: u64 = 3072;
const PROJECTED_CITATION: u64 = 3073;
const USER_DEFINED: u64 = 32767;

/// From pixels to coordinates: `x = a col + b row + c`, `y = d col + e row + f`, where whole numbers are the corners of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) c: f64,
    pub(super) d: f64,
    pub(super) e: f64,
    pub(super) f: f64,
}

impl Affine {
    pub(super) const IDENTITY: Self = Self { a: 1.0, b: 0.0, c: 0.0, d: 0.0, e: 1.0, f: 0.0 };

    pub(super) fn apply(&self, col: f64, row: f64) -> [f64; 2] {
        [self.a * col + self.b * row + self.c, self.d * col + self.e * row + self.f]
    }

    /// The same for pixels that are so many times as large.
    pub(super) fn scaled(&self, x: f64, y: f64) -> Self {
        Self { a: self.a * x, b: self.b * y, d: self.d * x, e: self.e * y, ..*self }
    }

    /// The same for pixels counted from another one.
    fn shifted(&self, col: f64, row: f64) -> Self {
        let [c, f] = self.apply(col, row);
        Self { c, f, ..*self }
    }

    /// The column and row of a point.
    fn pixel(&self, x: f64, y: f64) -> [f64; 2] {
        let determinant = self.a * self.e - self.b * self.d;
        let (x, y) = (x - self.c, y - self.f);
        [(self.e * x - self.b * y) / determinant, (self.a * y - self.d * x) / determinant]
    }

    /// Columns and rows of the pixels that a rectangle overlaps, of an image of this size; `None` where there are none.
    pub(super) fn window(&self, bounds: &Bounds, width: u64, height: u64) -> Option<Window> {
        let Bounds { min, max } = bounds;
        let corners = [[min[0], min[1]], [max[0], min[1]], [min[0], max[1]], [max[0], max[1]]];
        let [mut low, mut high] = [[f64::INFINITY; 2], [f64::NEG_INFINITY; 2]];
        for [x, y] in corners {
            let pixel = self.pixel(x, y);
            // Numbers too large to compute with are no number, and pass.
            low = [low[0].min(pixel[0]), low[1].min(pixel[1])];
            high = [high[0].max(pixel[0]), high[1].max(pixel[1])];
        }
        let clip = |low: f64, high: f64, size: u64| {
            let first = (low + TOLERANCE).floor();
            // A line or a point lies in the pixel behind it.
            let end = (high - TOLERANCE).ceil().max(first + 1.0);
            // Conversions to whole numbers saturate.
            let (first, end) = (first.max(0.0) as u64, (end.max(0.0) as u64).min(size));
            (first < end).then(|| (first, end - first))
        };
        let ((col, width), (row, height)) = (clip(low[0], high[0], width)?, clip(low[1], high[1], height)?);
        Some(Window { col, row, width, height })
    }
}

/// The georeference of a file.
#[derive(Clone, Debug)]
pub(super) struct Geo {
    /// From pixels of the full image to coordinates, if the file says it.
    pub(super) transform: Option<Affine>,
    /// Ground control points: column, row, depth, x, y, z each; where there is no transformation.
    control_points: Vec<f64>,
    /// Coordinates in the tags are of the centres of pixels.
    of_centres: bool,
    /// `EPSG:32618`, or what the file calls it.
    pub(super) crs: Option<String>,
}

impl Geo {
    pub(super) fn new(file: &File, ifd: &Ifd) -> Result<Self, FormatError> {
        let keys = match ifd.get(tags::GEO_KEYS) {
            Some(entry) => file.numbers(entry, 0, entry.count)?,
            None => Vec::new(),
        };
        let key = |wanted| keys.chunks_exact(4).skip(1).find(|key| key[0] == wanted);
        let value = |wanted| key(wanted).filter(|key| key[1] == 0).map(|key| key[3]);
        let text = file.text(ifd, tags::GEO_TEXT)?.unwrap_or_default();
        let citation = |wanted| {
            let key = key(wanted).filter(|key| key[1] == u64::from(tags::GEO_TEXT))?;
            let (start, length) = (usize::try_from(key[3]).ok()?, usize::try_from(key[2]).ok()?);
            let words = text.get(start..)?;
            Some(words.get(..length).unwrap_or(words).trim_end_matches(['|', '\0']).to_owned())
        };
        let code = |wanted| value(wanted).filter(|code| *code != 0 && *code != USER_DEFINED);
        let code = if value(MODEL_TYPE) == Some(2) { code(GEOGRAPHIC) } else { code(PROJECTED).or_else(|| code(GEOGRAPHIC)) };
        let code = if value(PROJECTED) == Some(USER_DEFINED) { None } else { code };
        let name = || [PROJECTED_CITATION, CITATION, GEOGRAPHIC_CITATION].into_iter().find_map(citation);
        let of_centres = value(RASTER_TYPE) == Some(2);
        let tiepoints = file.doubles(ifd, tags::MODEL_TIEPOINT)?;
        let transform = transform(file, ifd, &tiepoints)?.map(|transform| match of_centres {
            true => transform.shifted(-0.5, -0.5),
            false => transform,
        });
        Ok(Self {
            control_points: if transform.is_none() { tiepoints } else { Vec::new() },
            transform,
            of_centres,
            crs: code.map(|code| format!("EPSG:{code}")).or_else(name),
        })
    }

    /// From pixels of a level to coordinates: that of pixels where there is no georeference.
    pub(super) fn of_level(&self, scale: [f64; 2]) -> Affine {
        self.transform.unwrap_or(Affine::IDENTITY).scaled(scale[0], scale[1])
    }

    /// The tags of a window of a level, whose pixels are `scale` of those of the full image.
    pub(super) fn fields(&self, file: &File, scale: [f64; 2], window: &Window) -> Vec<Field> {
        let field = |tag, numbers: &[f64]| {
            let data = numbers.iter().flat_map(|number| file.layout.encode(number.to_bits(), 8)).collect();
            Field { tag, kind: kind::DOUBLE, count: numbers.len() as u64, data }
        };
        let matrix = |Affine { a, b, c, d, e, f }| {
            let rows = [a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
            field(tags::MODEL_TRANSFORMATION, &rows)
        };
        if let Some(transform) = self.transform {
            let moved = transform.scaled(scale[0], scale[1]).shifted(window.col as f64, window.row as f64);
            let Affine { a, b, c, d, e, f } = if self.of_centres { moved.shifted(0.5, 0.5) } else { moved };
            if b == 0.0 && d == 0.0 && a > 0.0 && e < 0.0 {
                let tiepoint = field(tags::MODEL_TIEPOINT, &[0.0, 0.0, 0.0, c, f, 0.0]);
                return vec![field(tags::MODEL_PIXEL_SCALE, &[a, -e, 0.0]), tiepoint];
            }
            return vec![matrix(Affine { a, b, c, d, e, f })];
        }
        if self.control_points.is_empty() {
            // Pixels keep their coordinates, as in rasterio's transform of a window.
            let moved = Affine::IDENTITY.scaled(scale[0], scale[1]).shifted(window.col as f64, window.row as f64);
            return if moved == Affine::IDENTITY { Vec::new() } else { vec![matrix(moved)] };
        }
        let moved = self.control_points.chunks_exact(6).flat_map(|point| {
            let (col, row) = (point[0] / scale[0] - window.col as f64, point[1] / scale[1] - window.row as f64);
            [col, row, point[2], point[3], point[4], point[5]]
        });
        vec![field(tags::MODEL_TIEPOINT, &moved.collect::<Vec<_>>())]
    }

    /// The smallest and largest coordinates of an image of this size.
    pub(super) fn extents(&self, width: u64, height: u64) -> Vec<Extent> {
        let (transform, width, height) = (self.of_level([1.0, 1.0]), width as f64, height as f64);
        let corners = [[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]].map(|[col, row]| transform.apply(col, row));
        let extent = |name: &str, axis: usize| {
            let (min, max) = corners
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), corner| (min.min(corner[axis]), max.max(corner[axis])));
            Extent { name: name.to_owned(), min: min.into(), max: max.into() }
        };
        vec![extent("x", 0), extent("y", 1)]
    }
}

/// What the tags say of the pixels, of their corners or of their centres.
fn transform(file: &File, ifd: &Ifd, tiepoints: &[f64]) -> Result<Option<Affine>, FormatError> {
    let scale = file.doubles(ifd, tags::MODEL_PIXEL_SCALE)?;
    let matrix = file.doubles(ifd, tags::MODEL_TRANSFORMATION)?;
    let found = match (scale.as_slice(), tiepoints, matrix.as_slice()) {
        ([x, y, ..], [col, row, _, east, north, ..], _) if *x != 0.0 && *y != 0.0 => {
            // As GDAL has it, a height below zero is taken for one above.
            let y = y.abs();
            Affine { a: *x, b: 0.0, c: east - col * x, d: 0.0, e: -y, f: north + row * y }
        }
        (_, _, [a, b, _, c, d, e, _, f, ..]) => Affine { a: *a, b: *b, c: *c, d: *d, e: *e, f: *f },
        _ => return Ok(None),
    };
    let Affine { a, b, c, d, e, f } = found;
    let usable = [a, b, c, d, e, f].iter().all(|number| number.is_finite()) && a * e - b * d != 0.0;
    Ok(usable.then_some(found))
}
