//! Where one record begins and ends, in bytes and on its reference.

use crate::Format;

/// Where a record lies on its reference: positions from 0, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent<'r> {
    pub(crate) reference: Reference<'r>,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// A record's reference, as its format names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference<'r> {
    /// By number; -1 is none.
    Number(i32),
    Name(&'r [u8]),
}

/// No record is longer: a length beyond is damage.
const RECORD_LIMIT: u64 = 1 << 30;

/// Length of the record that `bytes` begin with: none while it is not all there, an error if it can have none.
pub(crate) fn length(format: Format, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let frame = match format {
        Format::Bam => u32_at(bytes, 0).map(|length| 4 + u64::from(length)),
        Format::Bcf => u32_at(bytes, 0).zip(u32_at(bytes, 4)).map(|(shared, own)| 8 + u64::from(shared) + u64::from(own)),
        _ => memchr::memchr(b'\n', bytes).map(|at| at as u64 + 1),
    };
    match frame {
        Some(length) if length > RECORD_LIMIT => Err("a record is longer than 1 GiB; the file is damaged"),
        Some(length) if length <= bytes.len() as u64 => Ok(Some(length as usize)),
        _ => Ok(None),
    }
}

/// Where a whole record lies; an error if it makes no sense.
pub(crate) fn extent(format: Format, record: &[u8]) -> Result<Extent<'_>, &'static str> {
    match format {
        Format::Bam => bam(record).ok_or("a BAM record is shorter than its parts"),
        Format::Bcf => bcf(record).ok_or("a BCF record is shorter than its parts"),
        _ => vcf(record).ok_or("a VCF line does not have CHROM, POS and REF"),
    }
}

/// SAMv1 §4.2: reference and position, and what the CIGAR consumes of the reference.
fn bam(record: &[u8]) -> Option<Extent<'_>> {
    let body = record.get(4..)?;
    let start = i64::from(i32_at(body, 4)?);
    let name = usize::from(*body.get(8)?);
    let operations = usize::from(u16_at(body, 12)?);
    let unmapped = u16_at(body, 14)? & 4 != 0;
    let cigar = body.get(32 + name..32 + name + 4 * operations)?;
    let consumed: i64 = cigar.chunks_exact(4).filter_map(|operation| u32_at(operation, 0)).map(reference_bases).sum();
    // As samtools sees it, a read without a length on the reference is one base long.
    let length = if unmapped || consumed == 0 { 1 } else { consumed };
    Some(Extent { reference: Reference::Number(i32_at(body, 0)?), start, end: start + length })
}

fn reference_bases(operation: u32) -> i64 {
    // M, D, N, = and X.
    if matches!(operation & 15, 0 | 2 | 3 | 7 | 8) { i64::from(operation >> 4) } else { 0 }
}

/// VCFv4.3 §6.3: the shared part says its length on the reference.
fn bcf(record: &[u8]) -> Option<Extent<'_>> {
    let body = record.get(8..)?;
    let start = i64::from(i32_at(body, 4)?);
    let length = i64::from(i32_at(body, 8)?).max(1);
    Some(Extent { reference: Reference::Number(i32_at(body, 0)?), start, end: start + length })
}

/// A line: REF, or END of INFO where it lies behind the start, as htslib reads it.
fn vcf(line: &[u8]) -> Option<Extent<'_>> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let name = fields.next()?;
    let start = number(fields.next()?)? - 1;
    let reference = fields.nth(1)?;
    let info = fields.nth(3).unwrap_or_default();
    let told = info.split(|byte| *byte == b';').find_map(|entry| entry.strip_prefix(b"END=")).and_then(number);
    let end = match told {
        Some(end) if end > start => end,
        _ => start + reference.len().max(1) as i64,
    };
    (!name.is_empty()).then_some(Extent { reference: Reference::Name(name), start, end })
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim_end().parse().ok().filter(|number| (0..=i64::from(i32::MAX)).contains(number))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|number| u16::from_le_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|number| i32::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::{Extent, Reference, vcf};

    #[test]
    fn a_line_says_where_its_variant_lies() {
        let extent = |line: &'static str| vcf(line.as_bytes()).map(|Extent { start, end, .. }| (start, end));
        assert_eq!(extent("1\t100\t.\tACG\tA\t.\t.\tDP=1\n"), Some((99, 102)));
        assert_eq!(extent("1\t100\t.\tA\t<DEL>\t.\t.\tSVTYPE=DEL;END=500\tGT\n"), Some((99, 500)));
        assert_eq!(extent("1\t100\t.\tA\t<DEL>\t.\t.\tCIEND=900;END=50\n"), Some((99, 100)));
        assert_eq!(extent("1\t100\t.\tA\tC\n"), Some((99, 100)));
        assert_eq!(extent("1\tx\t.\tA\tC\n"), None);
        assert_eq!(extent("1\t100\n"), None);
        assert_eq!(vcf(b"chr1\t1\t.\tA\tC").map(|extent| extent.reference), Some(Reference::Name(b"chr1")));
    }
}
