use bytes::Bytes;

use super::number::Number;
use super::selection::Window;

/// Which values of the arrays of a spectrum are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peaks {
    /// A run `[a, b)`.
    Run(u32, u32),
    /// These, in order: where m/z are not in order.
    Picked(Vec<u32>),
}

impl Peaks {
    /// Those whose m/z lies in the window. Every value is looked at: nothing is assumed of their order.
    pub(super) fn within(window: &Window, number: Number, mz: &[u8]) -> Self {
        let inside = || (0_u32..).zip(number.values(mz)).filter(|(_, mz)| window.holds(*mz)).map(|(peak, _)| peak);
        let Some(first) = inside().next() else { return Self::Run(0, 0) };
        let (count, last) = inside().fold((0, first), |(count, _), peak| (count + 1, peak));
        if last - first + 1 == count { Self::Run(first, last + 1) } else { Self::Picked(inside().collect()) }
    }

    pub(super) fn len(&self) -> u32 {
        match self {
            Self::Run(from, to) => to - from,
            Self::Picked(peaks) => peaks.len() as u32,
        }
    }

    /// The shortest run that holds them all.
    pub(super) fn span(&self) -> (u32, u32) {
        match self {
            Self::Run(from, to) => (*from, *to),
            Self::Picked(peaks) => (peaks.first().copied().unwrap_or(0), peaks.last().map_or(0, |last| last + 1)),
        }
    }

    /// Their values, out of those of the span.
    pub(super) fn of(&self, span: Bytes, width: usize) -> Bytes {
        let Self::Picked(peaks) = self else { return span };
        let first = self.span().0;
        let value = |peak: &u32| {
            let at = (peak - first) as usize * width;
            span.get(at..at + width).unwrap_or_default()
        };
        peaks.iter().flat_map(value).copied().collect::<Vec<u8>>().into()
    }
}
