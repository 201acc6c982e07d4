//! Variants as lines of text (VCFv4.3 §1.6).

use super::{Variants, text, texts};
use crate::columns::{Wrong, shown};

/// Present unless it is the dot that stands for nothing.
fn known(field: &[u8]) -> Option<&[u8]> {
    (field != b".").then_some(field)
}

impl Variants {
    pub(super) fn push_vcf(&mut self, line: &[u8]) -> Result<bool, Wrong> {
        if line.is_empty() {
            return Ok(false);
        }
        let mut fields = line.split(|byte| *byte == b'\t');
        let mut next = |what: &str| fields.next().ok_or_else(|| Wrong::Record(format!("it has no {what}: `{}`", shown(line))));
        let (chrom, pos, id, reference) = (next("CHROM")?, next("POS")?, next("ID")?, next("REF")?);
        let (alt, qual, filter, info) = (next("ALT")?, next("QUAL")?, next("FILTER")?, next("INFO")?);
        let number = |field: &[u8], what: &str| Wrong::Record(format!("its {what} is no number: `{}`", shown(field)));
        text(&mut self.fixed.chrom, Some(chrom), "CHROM")?;
        if let Some(builder) = &mut self.fixed.pos {
            builder.append_value(parsed(pos).ok_or_else(|| number(pos, "POS"))?);
        }
        text(&mut self.fixed.id, known(id), "ID")?;
        text(&mut self.fixed.reference, Some(reference), "REF")?;
        texts(&mut self.fixed.alt, Some(known(alt).into_iter().flat_map(|alt| alt.split(|byte| *byte == b','))), "ALT")?;
        if let Some(builder) = &mut self.fixed.qual {
            let value = known(qual).map(|qual| parsed(qual).ok_or_else(|| number(qual, "QUAL"))).transpose()?;
            builder.append_option(value);
        }
        texts(&mut self.fixed.filter, known(filter).map(|filter| filter.split(|byte| *byte == b';')), "FILTER")?;
        self.push_info(info)?;
        if let Some(keys) = fields.next() {
            self.push_samples(keys, fields.collect())?;
        }
        Ok(true)
    }

    fn push_info(&mut self, info: &[u8]) -> Result<(), Wrong> {
        if info == b"." || (self.info.columns.is_empty() && !self.info.strict) {
            return Ok(());
        }
        for entry in info.split(|byte| *byte == b';') {
            let (key, value) = match memchr::memchr(b'=', entry) {
                Some(equals) => (&entry[..equals], &entry[equals + 1..]),
                None => (entry, &b""[..]),
            };
            let row = self.rows;
            let Some((name, column, last)) = self.info.column(key, row)? else { continue };
            *last = row;
            if column.shape.kind == super::Kind::Flag && !column.shape.list {
                column.flag(true);
            } else {
                column.entry(value, name)?;
            }
        }
        Ok(())
    }

    fn push_samples(&mut self, keys: &[u8], samples: Vec<&[u8]>) -> Result<(), Wrong> {
        if samples.len() != self.samples {
            return Err(Wrong::Record(format!("it has {} samples, its header has {}", samples.len(), self.samples)));
        }
        if self.format.columns.is_empty() && !self.format.strict {
            return Ok(());
        }
        self.expect_keys(keys.split(|byte| *byte == b':').count())?;
        // What is still to come of each sample.
        let mut rests: Vec<Option<&[u8]>> = samples.into_iter().map(Some).collect();
        for key in keys.split(|byte| *byte == b':') {
            let row = self.rows;
            let mut column = self.format.column(key, row)?;
            for rest in &mut rests {
                let entry = match rest.take() {
                    Some(left) => match memchr::memchr(b':', left) {
                        Some(colon) => {
                            *rest = Some(&left[colon + 1..]);
                            &left[..colon]
                        }
                        None => left,
                    },
                    // Fields at a sample's end may be left out.
                    None => b".",
                };
                if let Some((name, column, _)) = &mut column {
                    column.entry(entry, name)?;
                }
            }
            if let Some((_, column, last)) = column {
                column.end_samples();
                *last = row;
            }
        }
        match rests.iter().position(Option::is_some) {
            Some(sample) => {
                Err(Wrong::Record(format!("sample {} has more values than FORMAT has keys (`{}`)", sample + 1, shown(keys))))
            }
            None => Ok(()),
        }
    }
}

/// The error with the position of its record: what a person looks for.
pub(super) fn placed(wrong: Wrong, line: &[u8]) -> Wrong {
    let mut fields = line.split(|byte| *byte == b'\t');
    match (wrong, fields.next(), fields.next()) {
        (Wrong::Record(reason), Some(chrom), Some(pos)) => Wrong::Record(format!("at {}:{}: {reason}", shown(chrom), shown(pos))),
        (wrong, ..) => wrong,
    }
}

fn parsed<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}
