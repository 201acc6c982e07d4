//! Formats of lines with a header of lines before them: VCF (`#`) and SAM (`@`).

use serde::{Deserialize, Serialize};

use super::text::TextScanner;
use super::{Malformed, Position, RecordScanner, State, show};

/// Whether the bytes begin as VCF does.
pub(super) fn sniff_vcf(prefix: &[u8]) -> bool {
    prefix.starts_with(VCF_START)
}

/// Whether the bytes begin with a SAM header; a SAM file without one is known by its name.
pub(super) fn sniff_sam(prefix: &[u8]) -> bool {
    const FIRST_LINES: [&[u8]; 5] = [b"@HD\tVN:", b"@SQ\tSN:", b"@RG\tID:", b"@PG\tID:", b"@CO\t"];
    FIRST_LINES.iter().any(|first| prefix.starts_with(first))
}

const VCF_START: &[u8] = b"##fileformat=VCF";

/// Lines that begin with `mark` are the header; every line behind them is a record.
pub(super) struct HeadedLines {
    mark: u8,
    /// What the object must begin with.
    start: &'static [u8],
    passed: HeadedState,
}

/// What went by of such an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeadedState {
    /// How much of what the object must begin with was seen.
    seen: usize,
    /// In the header, and inside one of its lines.
    header: Option<bool>,
    preamble: u64,
    lines: TextScanner,
}

impl HeadedLines {
    pub(super) fn vcf(position: Position) -> Self {
        Self::new(b'#', VCF_START, position)
    }

    pub(super) fn sam(position: Position) -> Self {
        Self::new(b'@', b"", position)
    }

    fn new(mark: u8, start: &'static [u8], position: Position) -> Self {
        let header = (position == Position::Start).then_some(false);
        Self { mark, start, passed: HeadedState { header, ..HeadedState::default() } }
    }

    /// Passes over what `bytes` hold of the header.
    fn pass_header(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while let Some(inside) = self.passed.header
            && at < bytes.len()
        {
            if !inside && bytes[at] != self.mark {
                self.passed.header = None;
                break;
            }
            let length = memchr::memchr(b'\n', &bytes[at..]).map(|length| length + 1);
            self.passed.header = Some(length.is_none());
            at += length.unwrap_or(bytes.len() - at);
        }
        if self.passed.seen < self.start.len() {
            let begun = &bytes[..bytes.len().min(self.start.len() - self.passed.seen)];
            if let Some(wrong) = begun.iter().zip(&self.start[self.passed.seen..]).position(|(found, wanted)| found != wanted) {
                let reason =
                    format!("it must begin with `##fileformat=VCF`; byte {} is {}", self.passed.seen + wrong, show(begun[wrong]));
                return Err(Malformed::Line { format: "VCF", line: 1, reason });
            }
            self.passed.seen += begun.len();
        }
        self.passed.preamble += at as u64;
        Ok(at)
    }
}

impl RecordScanner for HeadedLines {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let header = if self.passed.header.is_some() { self.pass_header(bytes)? } else { 0 };
        Ok(header + self.passed.lines.scan(&bytes[header..], until)?)
    }

    fn started(&self) -> u64 {
        self.passed.lines.started()
    }

    fn preamble(&self) -> u64 {
        self.passed.preamble
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        self.passed.lines.finish()
    }

    fn position(&self) -> Option<Position> {
        if self.passed.header.is_some() { None } else { self.passed.lines.position() }
    }

    fn within_line(&mut self, length: u64) -> bool {
        if self.passed.header.is_some() {
            self.passed.preamble = self.passed.preamble.saturating_add(length);
        }
        true
    }

    fn state(&mut self) -> Option<State> {
        Some(State::Headed(self.passed.clone()))
    }

    fn append(&mut self, later: State) -> bool {
        let State::Headed(HeadedState { seen, header, preamble, lines }) = later else { return false };
        let passed = &mut self.passed;
        if passed.header.is_some() {
            // Nothing went by yet: what stands behind the header cannot be joined to it.
            (passed.seen, passed.header) = (seen, header);
        }
        passed.preamble = passed.preamble.saturating_add(preamble);
        passed.lines.append(State::Text(lines))
    }
}
