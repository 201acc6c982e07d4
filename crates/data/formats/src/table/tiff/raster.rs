//! The images of a file that belong together: the full one, its overviews, and their masks.

use std::collections::HashSet;
use std::sync::Arc;

use super::file::{File, Ifd};
use super::geo::Geo;
use super::image::Image;
use super::tags;
use crate::FormatError;

/// No file has more images that belong to one.
const IMAGES_LIMIT: usize = 256;

/// One resolution.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) image: Arc<Image>,
    /// Which of its pixels are valid.
    pub(super) mask: Option<Arc<Image>>,
    /// Pixels of the full image in one of its pixels, across and down.
    pub(super) scale: [f64; 2],
}

/// Everything the directories say.
#[derive(Debug)]
pub(super) struct Raster {
    /// Full resolution first, then coarser and coarser; never empty.
    levels: Vec<Level>,
    pub(super) geo: Geo,
    /// The value that stands for none, as the file writes it.
    pub(super) nodata: Option<String>,
    /// More images follow that do not belong to the first.
    pub(super) more_pages: bool,
}

impl Raster {
    pub(super) fn read(file: &File) -> Result<Self, FormatError> {
        let first = file.ifd(file.first)?;
        let geo = Geo::new(file, &first)?;
        let nodata = file.text(&first, tags::GDAL_NODATA)?;
        let (directories, more_pages) = others(file, &first)?;
        let full = Arc::new(Image::new(file, first)?);
        let (size, bands) = ([full.width, full.height], full.bands);
        let scale = |image: &Image| [size[0] as f64 / image.width as f64, size[1] as f64 / image.height as f64];
        let mut levels = vec![Level { image: full, mask: None, scale: [1.0, 1.0] }];
        let mut masks = Vec::new();
        for ifd in directories {
            let is_mask = file.number(&ifd, tags::NEW_SUBFILE_TYPE)?.unwrap_or(0) & tags::MASK != 0;
            let image = Arc::new(Image::new(file, ifd)?);
            if is_mask {
                masks.push(image);
            } else if image.bands == bands && image.width <= size[0] && image.height <= size[1] {
                levels.push(Level { scale: scale(&image), image, mask: None });
            }
        }
        levels[1..].sort_by_key(|level| std::cmp::Reverse(level.image.width));
        for level in &mut levels {
            let fits = |mask: &Arc<Image>| mask.width == level.image.width && mask.height == level.image.height;
            level.mask = masks.iter().position(fits).map(|at| masks.swap_remove(at));
        }
        Ok(Self { levels, geo, nodata, more_pages })
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The full image.
    pub(super) fn full(&self) -> &Image {
        &self.levels[0].image
    }
}

/// The overviews and masks that follow the first image or hang below it, and whether something else follows.
fn others(file: &File, first: &Ifd) -> Result<(Vec<Ifd>, bool), FormatError> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([first.at]);
    let mut next = first.next;
    let mut more_pages = false;
    while next != 0 {
        if !seen.insert(next) {
            return Err(file.damaged(next, "its directories run in a circle"));
        }
        if seen.len() > IMAGES_LIMIT {
            return Err(file.damaged(next, format!("more than {IMAGES_LIMIT} overviews")));
        }
        let ifd = file.ifd(next)?;
        next = ifd.next;
        let kind = file.number(&ifd, tags::NEW_SUBFILE_TYPE)?.unwrap_or(0);
        if kind & (tags::REDUCED | tags::MASK) == 0 {
            more_pages = true;
            break;
        }
        found.push(ifd);
    }
    if let Some(entry) = first.get(tags::SUB_IFDS) {
        for at in file.numbers(entry, 0, entry.count.min(IMAGES_LIMIT as u64))? {
            let ifd = file.ifd(at)?;
            if file.number(&ifd, tags::NEW_SUBFILE_TYPE)?.unwrap_or(0) & tags::REDUCED != 0 {
                found.push(ifd);
            }
        }
    }
    Ok((found, more_pages))
}
