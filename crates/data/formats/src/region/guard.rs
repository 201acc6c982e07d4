//! Whether an index that somebody else wrote is whole. The library that reads it makes room for as many bins as the file says it has,
//! and marks bins in a table of as many as there can be; so before it does, counts and numbers are held against what is there.

use std::io::Read;

use noodles_bgzf as bgzf;

/// An index of a large genome unpacks to a few megabytes; more than this is no index.
const LIMIT: u64 = 512 << 20;

/// The layouts of indexes, by the ending of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Bai,
    Tbi,
    Csi,
}

impl Layout {
    pub(super) fn of_ending(ending: &str) -> Self {
        match ending {
            "bai" => Layout::Bai,
            "tbi" => Layout::Tbi,
            _ => Layout::Csi,
        }
    }
}

/// Walks an index from end to end (SAMv1 §5.2, tabix and CSIv1 specifications).
pub(super) fn check(layout: Layout, bytes: &[u8]) -> Result<(), &'static str> {
    if layout == Layout::Bai {
        return walk(layout, bytes).ok_or("it is cut short or is no BAI index");
    }
    let mut content = Vec::new();
    let unpacked = bgzf::io::Reader::new(bytes).take(LIMIT + 1).read_to_end(&mut content);
    match unpacked {
        Err(_) => Err("it is not BGZF, or damaged"),
        Ok(_) if content.len() as u64 > LIMIT => Err("it unpacks to more than 512 MiB"),
        Ok(_) => walk(layout, &content).ok_or("it is cut short or is no index of its kind"),
    }
}

fn walk(layout: Layout, bytes: &[u8]) -> Option<()> {
    let mut rest = Cursor(bytes);
    let magic: &[u8] = match layout {
        Layout::Bai => b"BAI\x01",
        Layout::Tbi => b"TBI\x01",
        Layout::Csi => b"CSI\x01",
    };
    (rest.take(4)? == magic).then_some(())?;
    let mut depth = 5;
    let references = match layout {
        Layout::Bai => rest.count()?,
        Layout::Tbi => {
            let references = rest.count()?;
            rest.take(24)?;
            let names = rest.count()?;
            rest.take(names)?;
            references
        }
        Layout::Csi => {
            let shift = rest.count()?;
            depth = rest.count()?;
            // Nine levels are enough for 2^41 bases in bins of 16 kb.
            (depth <= 9 && shift <= 62 - 3 * depth).then_some(())?;
            let auxiliary = rest.count()?;
            rest.take(auxiliary)?;
            rest.count()?
        }
    };
    let bins = ((1_u64 << (3 * (depth + 1))) - 1) / 7;
    for _ in 0..references {
        for _ in 0..rest.count_of(8)? {
            let bin = u64::from(u32::from_le_bytes(*rest.take(4)?.first_chunk()?));
            // One bin behind all others, and behind a gap, holds counts.
            (bin < bins || bin == bins + 1).then_some(())?;
            rest.take(if layout == Layout::Csi { 8 } else { 0 })?;
            let chunks = rest.count_of(16)?;
            rest.take(16 * chunks)?;
        }
        if layout != Layout::Csi {
            let intervals = rest.count_of(8)?;
            rest.take(8 * intervals)?;
        }
    }
    Some(())
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn count(&mut self) -> Option<usize> {
        let number = i32::from_le_bytes(*self.take(4)?.first_chunk()?);
        usize::try_from(number).ok()
    }

    /// A count of things that take so many bytes each at least.
    fn count_of(&mut self, least: usize) -> Option<usize> {
        self.count().filter(|count| *count <= self.0.len() / least)
    }
}
