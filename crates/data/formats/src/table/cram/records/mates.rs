//! What records of one slice know of each other (CRAMv3 §10.4): mates, template lengths and names are made as htslib makes them.

use super::record::{Decoded, FIRST, MATE_REVERSE, MATE_UNMAPPED, PAIRED, REVERSE, Record, UNMAPPED};
use super::{Fault, SliceHeader};

/// Gives every record of a slice its mate and its name. Names that are not stored are made of `prefix` and the number of the record in
/// the file, as htslib makes them of the name of the file; all records of a template get that of its first.
pub(in crate::table::cram) fn resolve(decoded: &mut Decoded, header: &SliceHeader, prefix: &str) -> Result<(), Fault> {
    let count = decoded.records.len();
    let mut chained = vec![false; count];
    for first in 0..count {
        if !chained[first] && decoded.records[first].next.is_some() {
            chain(decoded, first, &mut chained)?;
        }
    }
    for (number, record) in decoded.records.iter_mut().enumerate() {
        if !chained[number] {
            if record.mate.flags & 1 != 0 {
                record.flags |= PAIRED | MATE_REVERSE;
            }
            if record.mate.flags & 2 != 0 {
                record.flags |= MATE_UNMAPPED;
            }
            if record.flags & PAIRED == 0 {
                record.mate.reference = -1;
            }
        }
        record.mate.template = record.template.unwrap_or(record.mate.template);
    }
    // What is left without a name is the first of its template.
    for number in 0..count {
        if decoded.records[number].name.is_empty() {
            let name = format!("{prefix}:{}", header.counter.wrapping_add(number as i64 + 1));
            let name = decoded.keep(name.as_bytes());
            let mut next = Some(number);
            while let Some(at) = next {
                let record = &mut decoded.records[at];
                if record.name.is_empty() {
                    record.name = name;
                }
                next = record.next;
            }
        }
    }
    Ok(())
}

/// Links the records of a template, each to the next and the last to the first.
fn chain(decoded: &mut Decoded, first: usize, chained: &mut [bool]) -> Result<(), Fault> {
    let mut members = vec![first];
    let mut next = decoded.records[first].next;
    while let Some(at) = next {
        if at >= chained.len() || chained[at] {
            return Err("two records have one mate".into());
        }
        members.push(at);
        next = decoded.records[at].next;
    }
    let records: Vec<&Record> = members.iter().map(|member| &decoded.records[*member]).collect();
    let left = records.iter().map(|record| record.start).min().unwrap_or(0);
    let right = records.iter().map(|record| record.end).max().unwrap_or(0);
    let at_left = records.iter().filter(|record| record.start == left).count();
    let same_reference = records.windows(2).all(|pair| pair[0].reference == pair[1].reference);
    let length = if same_reference { (right - i64::from(left) + 1) as i32 } else { 0 };
    let name = records.iter().map(|record| record.name).find(|name| !name.is_empty());
    let linked: Vec<(u16, i32, i32)> = records.iter().map(|record| (record.flags, record.reference, record.start)).collect();
    for (number, member) in members.iter().enumerate() {
        let (flags, reference, start) = linked[(number + 1) % linked.len()];
        let record = &mut decoded.records[*member];
        let leftmost = record.start == left && (at_left == 1 || record.flags & FIRST != 0);
        record.mate.template = match leftmost {
            _ if (record.flags | flags) & UNMAPPED != 0 => 0,
            true => length,
            false => -length,
        };
        (record.mate.reference, record.mate.start) = (reference, start);
        record.flags |= PAIRED;
        record.flags |= if flags & UNMAPPED != 0 { MATE_UNMAPPED } else { 0 };
        record.flags |= if flags & REVERSE != 0 { MATE_REVERSE } else { 0 };
        if record.name.is_empty() {
            record.name = name.unwrap_or_default();
        }
        chained[*member] = true;
    }
    Ok(())
}
