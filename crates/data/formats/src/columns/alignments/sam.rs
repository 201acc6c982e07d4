//! Alignments as lines of text (SAMv1 §1.4).

use super::{Alignments, Column};
use crate::columns::{Wrong, shown};

/// Present unless it is the star that stands for nothing.
fn known(field: &[u8]) -> Option<&[u8]> {
    (field != b"*").then_some(field)
}

impl Alignments {
    pub(super) fn push_sam(&mut self, line: &[u8]) -> Result<bool, Wrong> {
        if line.is_empty() {
            return Ok(false);
        }
        let mut fields = line.split(|byte| *byte == b'\t');
        let mut next = |what: &str| fields.next().ok_or_else(|| Wrong::Record(format!("it has no {what}: `{}`", shown(line))));
        let name = next("QNAME")?;
        let flag = number(next("FLAG")?)?;
        let reference = known(next("RNAME")?);
        let pos = number(next("POS")?)?;
        let mapq = number(next("MAPQ")?)?;
        let cigar = next("CIGAR")?;
        let mate = match next("RNEXT")? {
            b"=" => reference,
            mate => known(mate),
        };
        let mate_pos = number(next("PNEXT")?)?;
        let template = number(next("TLEN")?)?;
        let (sequence, quality) = (next("SEQ")?, next("QUAL")?);
        self.text(Column::Name, known(name))?;
        self.number(Column::Flag, Some(flag))?;
        self.text(Column::Reference, reference)?;
        self.number(Column::Pos, Some(pos).filter(|pos| *pos != 0))?;
        self.number(Column::Mapq, Some(mapq))?;
        self.text(Column::Cigar, known(cigar))?;
        self.text(Column::MateReference, mate)?;
        self.number(Column::MatePos, Some(mate_pos).filter(|pos| *pos != 0))?;
        self.number(Column::TemplateLength, Some(template))?;
        self.text(Column::Sequence, known(sequence))?;
        self.text(Column::Quality, known(quality))?;
        for tag in fields {
            // `NM:i:3`
            let (Some(key), Some(value), Some([b':', _, b':'])) = (tag.get(..2), tag.get(5..), tag.get(2..5)) else {
                return Err(Wrong::Record(format!("a tag is not `XX:T:VALUE`: `{}`", shown(tag))));
            };
            self.tag(key, value)?;
        }
        self.end_tags()?;
        Ok(true)
    }
}

fn number(field: &[u8]) -> Result<i64, Wrong> {
    let number = std::str::from_utf8(field).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Wrong::Record(format!("it has `{}` where a number must be", shown(field))))
}
