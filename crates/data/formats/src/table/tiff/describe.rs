//! What the directories say, for people and for the catalog.

use super::arrow::schema;
use super::raster::Raster;
use super::tags::compression;
use crate::FormatError;
use crate::table::{Column, Description};

pub(super) fn describe(raster: &Raster) -> Result<Description, FormatError> {
    let Some((first, overviews)) = raster.levels().split_first() else { return Ok(Description::default()) };
    let image = &first.image;
    let columns = schema(raster, first, &[])?.map(|schema| Column::of(&schema)).unwrap_or_default();
    let pixels = image.width * image.height;
    let kind = match &image.sample {
        Ok(sample) => sample.to_string(),
        Err(what) => what.clone(),
    };
    let chunks = if image.tiled { "tiles" } else { "strips" };
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("size", format!("{} x {} pixels", image.width, image.height)),
        fact("bands", format!("{} of {kind}", image.bands)),
        fact("layout", format!("{chunks} of {} x {} pixels", image.chunk[0], image.chunk[1])),
        fact("compression", compression::name(image.compression)),
    ];
    let sizes = overviews.iter().map(|level| format!("{} x {}", level.image.width, level.image.height)).collect::<Vec<_>>();
    let known = [
        ("overviews", (!sizes.is_empty()).then(|| sizes.join(", "))),
        ("mask", first.mask.as_ref().map(|_| "yes".to_owned())),
        ("crs", raster.geo.crs.clone()),
        ("nodata", raster.nodata.clone()),
        ("georeference", raster.geo.transform.is_none().then(|| "none: coordinates are columns and rows".to_owned())),
        ("pages", raster.more_pages.then(|| "more follow; only the first is read".to_owned())),
    ];
    facts.extend(known.into_iter().filter_map(|(name, value)| Some(fact(name, value?))));
    Ok(Description {
        records: Some(pixels),
        unit: "pixels".to_owned(),
        uncompressed: u64::try_from(u128::from(pixels) * u128::from(image.pixel_bits) / 8).ok(),
        columns,
        extents: raster.geo.extents(image.width, image.height),
        facts,
        preview: Vec::new(),
    })
}
