//! Cutting without a pass: plain objects whose records begin at line starts, wherever one looks.
//!
//! A line of text, JSON Lines, VCF or SAM begins behind a line end, a sequence of FASTA with a `>` behind one, so the first record behind any
//! byte is found by reading a little there. (A row of CSV may hold line ends in quotes, unless the caller knows better, and a FASTQ
//! quality line may begin with `@`: those need the pass.) Slices made this way do not know how many records they hold.

use memchr::{memchr, memmem};
use neardata_core::{ByteRange, RangedRead};
use serde::{Deserialize, Serialize};

use crate::records::Position;
use crate::selection::{PREAMBLE_LIMIT, Preamble, Stretch};
use crate::{Compression, Format, FormatError, Partition};

/// Bytes read first to find a record.
const FIRST_LOOK: u64 = 16 * 1024;
/// A record that has not begun after so many bytes is looked for by a pass.
const LONGEST_LOOK: u64 = 4 << 20;

/// The selection of a slice that was cut without an index: bytes of a plain object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlainSelection {
    /// From the first byte of a record to the first of another, or the object's end.
    pub(crate) bytes: [u64; 2],
    /// The header, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preamble: Option<Preamble>,
}

impl From<PlainSelection> for Stretch {
    /// The same bytes as if they were one record.
    fn from(selection: PlainSelection) -> Self {
        let PlainSelection { bytes: [from, to], preamble } = selection;
        Self {
            compression: Compression::Plain,
            records: [0, 1],
            bit: from.saturating_mul(8),
            out: from,
            stop: to,
            from: [0, from],
            to: [1, to],
            window: None,
            preamble,
        }
    }
}

/// Whether records of the format can be found from anywhere.
pub(crate) fn serves(format: Format, one_line_rows: bool) -> bool {
    match format {
        Format::Text | Format::Jsonl | Format::Vcf | Format::Sam | Format::Fasta => true,
        Format::Csv | Format::Tsv => one_line_rows,
        _ => false,
    }
}

/// Selections for a partition, found by a small read at each cut; `None` where that would not do: the partition counts records, there
/// are fewer records than slices, or a record is so long that its end is far.
pub(crate) fn cuts(
    object: &dyn RangedRead,
    format: Format,
    partition: Partition,
    header_row: bool,
) -> Result<Option<Vec<PlainSelection>>, FormatError> {
    let size = object.size();
    let header = if header_row { first_line(object)? } else { header_length(object, format)? };
    let Some(header) = header else { return Ok(None) };
    let records = size - header;
    let count = match partition {
        Partition::Count(count) if count > 0 => count,
        Partition::Bytes(bytes) if bytes > 0 => records.div_ceil(bytes),
        _ => return Ok(None),
    };
    if count > records / FIRST_LOOK {
        return Ok(None);
    }
    let mut places = vec![header];
    for number in 1..count {
        let target = header + (u128::from(records) * u128::from(number) / u128::from(count)) as u64;
        match record_behind(object, format, target)? {
            Some(place) if places.last().is_some_and(|last| place > *last) && place < size => places.push(place),
            _ => return Ok(None),
        }
    }
    places.push(size);
    let preamble = (header > 0).then_some(Preamble { bit: 0, length: header, stop: header });
    Ok(Some(places.windows(2).map(|pair| PlainSelection { bytes: [pair[0], pair[1]], preamble }).collect()))
}

/// Length of the first line; `None` if it does not end soon.
fn first_line(object: &dyn RangedRead) -> Result<Option<u64>, FormatError> {
    let start = object.read(ByteRange::new(0, LONGEST_LOOK.min(object.size())))?;
    Ok(memchr(b'\n', &start).map(|end| end as u64 + 1))
}

/// Length of what lies before the first record; `None` if it does not end soon.
fn header_length(object: &dyn RangedRead, format: Format) -> Result<Option<u64>, FormatError> {
    let mut length = FIRST_LOOK;
    loop {
        let start = object.read(ByteRange::new(0, length.min(object.size())))?;
        let mut scanner = format.scanner(Position::Start);
        scanner.scan(&start, 1).map_err(|malformed| malformed.of(object.name()))?;
        if scanner.started() > 0 {
            return Ok(Some(scanner.preamble()));
        }
        if length >= object.size() || length >= PREAMBLE_LIMIT {
            return Ok(None);
        }
        length *= 8;
    }
}

/// Where the first record at or behind `target` begins.
fn record_behind(object: &dyn RangedRead, format: Format, target: u64) -> Result<Option<u64>, FormatError> {
    // A record may begin right here: the line end before it tells.
    let mut at = target.saturating_sub(1);
    let mut length = FIRST_LOOK;
    while at < object.size() && at - target.min(at) < LONGEST_LOOK {
        let bytes = object.read(ByteRange::new(at, (at + length).min(object.size())))?;
        let found = match format {
            Format::Fasta => memmem::find(&bytes, b"\n>").map(|place| place + 1),
            _ => memchr(b'\n', &bytes).map(|place| place + 1),
        };
        if let Some(place) = found {
            return Ok(Some(at + place as u64));
        }
        // The last byte may be the line end before a `>`.
        at += (bytes.len() as u64 - 1).max(1);
        length *= 4;
    }
    Ok(None)
}
