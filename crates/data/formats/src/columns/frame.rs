//! Where a record ends among the bytes at hand.

use crate::Format;
use crate::records::RecordScanner;
use crate::records::csv::CsvScanner;
use crate::region::record_length;

/// Length of the record that `bytes` begin with; none if its end is not there. `looked` bytes were there at the last call, which gave
/// none.
pub(super) fn length(format: Format, bytes: &[u8], looked: usize) -> Result<Option<usize>, String> {
    Ok(match format {
        Format::Fastq => four_lines(bytes),
        Format::Fasta => next_sequence(bytes, looked),
        Format::Csv => row(CsvScanner::csv(), bytes)?,
        Format::Tsv => row(CsvScanner::tsv(), bytes)?,
        Format::Vcf | Format::Sam | Format::Jsonl | Format::Text => {
            let looked = looked.min(bytes.len());
            memchr::memchr(b'\n', &bytes[looked..]).map(|at| looked + at + 1)
        }
        Format::Bam | Format::Bcf => record_length(format, bytes)?,
    })
}

fn four_lines(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for _ in 0..4 {
        at += memchr::memchr(b'\n', &bytes[at..])? + 1;
    }
    Some(at)
}

/// Up to the next line that begins with `>`; blank lines before the first such line belong to it.
fn next_sequence(bytes: &[u8], looked: usize) -> Option<usize> {
    let blanks = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let from = (blanks + 1).max(looked.saturating_sub(1)).min(bytes.len());
    memchr::memmem::find(&bytes[from..], b"\n>").map(|at| from + at + 1)
}

fn row(mut scanner: CsvScanner, bytes: &[u8]) -> Result<Option<usize>, String> {
    let length = scanner.scan(bytes, 1).map_err(|_| "it is no row".to_owned())?;
    Ok((length < bytes.len() || (scanner.between_rows() && length > 0)).then_some(length))
}
