use bytes::Bytes;
use neardata_core::ByteRange;

use super::data::{Spectra, Spectrum, Want};
use super::entry::Array;
use super::selection::Selection;
use crate::FormatError;
use crate::table::Pieces;

/// Bytes of the UUID that an .ibd begins with.
const UUID: u64 = 16;
/// Arrays that are shorter on average go out in one piece.
const SHORT: usize = 4096;

/// Where the arrays of the spectra of a slice come to lie in its .ibd: one behind the other, m/z in front of intensities; an m/z
/// array that is that of the spectrum before is not written again.
pub(super) struct Layout {
    at: u64,
    mz: u64,
}

/// Where an array lies.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) encoded: u64,
}

impl Layout {
    pub(super) fn new() -> Self {
        Self { at: UUID, mz: UUID }
    }

    /// The places of m/z and intensities of the next spectrum. With a window arrays are written as plain values.
    pub(super) fn place(&mut self, spectrum: &Spectrum, windowed: bool) -> [Place; 2] {
        let length = |array: &Array| match windowed {
            true => u64::from(spectrum.peaks) * array.number.width() as u64,
            false => array.encoded,
        };
        let mz = length(&spectrum.entry.mz);
        if spectrum.own_mz {
            self.mz = self.at;
            self.at += mz;
        }
        let intensity = Place { offset: self.at, encoded: length(&spectrum.entry.intensity) };
        self.at += intensity.encoded;
        [Place { offset: self.mz, encoded: mz }, intensity]
    }
}

/// All arrays, as they lie.
pub(super) fn want(_: &Selection) -> Want {
    Want { mz: true, intensity: true, stored: true, ..Want::default() }
}

/// The .ibd of a slice.
pub(super) fn pieces(mut spectra: Spectra) -> Result<Pieces, FormatError> {
    let uuid = spectra.objects.ibd.read(ByteRange::new(0, UUID.min(spectra.objects.ibd.size())))?;
    let mut ready = Vec::new().into_iter();
    let next = move || {
        loop {
            if let Some(piece) = ready.next() {
                return Some(Ok(piece));
            }
            match spectra.next_batch() {
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
                Ok(Some(batch)) => ready = arrays(batch).into_iter(),
            }
        }
    };
    Ok(Box::new(std::iter::once(Ok(uuid)).chain(until_error(next))))
}

/// The arrays of a batch in order: as they were read, or in one piece where they are many and short.
fn arrays(batch: Vec<Spectrum>) -> Vec<Bytes> {
    let own = |spectrum: Spectrum| [if spectrum.own_mz { spectrum.mz } else { Bytes::new() }, spectrum.intensity];
    let arrays: Vec<Bytes> = batch.into_iter().flat_map(own).filter(|array| !array.is_empty()).collect();
    let total: usize = arrays.iter().map(Bytes::len).sum();
    if total >= arrays.len() * SHORT { arrays } else { vec![arrays.concat().into()] }
}

/// What `next` gives up to its first error.
pub(super) fn until_error(
    mut next: impl FnMut() -> Option<Result<Bytes, FormatError>>,
) -> impl Iterator<Item = Result<Bytes, FormatError>> {
    let mut failed = false;
    std::iter::from_fn(move || {
        let piece = if failed { None } else { next() };
        failed = matches!(piece, Some(Err(_)));
        piece
    })
}
