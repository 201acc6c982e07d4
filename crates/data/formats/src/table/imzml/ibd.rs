use bytes::Bytes;
use neardata_core::ByteRange;

use super::data::{Spectra, Spectrum, Want};
use super::entry::Array;
use super::selection::Selection;
use crate::FormatError;
use crate::table::Pieces;

/// Bytes of the UUID that an .ibd begins with.
const UUID: u64 = 16;

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
    let next = move || {
        loop {
            match spectra.next_batch() {
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
                Ok(Some(batch)) => {
                    let joined = join(&batch);
                    if !joined.is_empty() {
                        return Some(Ok(joined));
                    }
                }
            }
        }
    };
    Ok(Box::new(std::iter::once(Ok(uuid)).chain(until_error(next))))
}

fn join(batch: &[Spectrum]) -> Bytes {
    let mut joined = Vec::with_capacity(batch.iter().map(|spectrum| spectrum.mz.len() + spectrum.intensity.len()).sum());
    for spectrum in batch {
        if spectrum.own_mz {
            joined.extend_from_slice(&spectrum.mz);
        }
        joined.extend_from_slice(&spectrum.intensity);
    }
    joined.into()
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
