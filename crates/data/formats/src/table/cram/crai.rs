//! The index that `samtools index` leaves beside a CRAM file: a line a slice and reference, of six numbers (CRAMv3 §12).

use std::io::Read;

use flate2::read::MultiGzDecoder;
use neardata_core::ObjectUri;
use neardata_store::{StoreError, Stores};

use super::region::Place;
use crate::FormatError;

/// More is no index: a line takes some 30 bytes.
const LIMIT: u64 = 512 << 20;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Where slices lie, as the index beside the object says; none if there is none. `end`: where containers end.
pub(super) fn beside(stores: &Stores, uri: &ObjectUri, first: u64, end: u64) -> Result<Option<Vec<Place>>, FormatError> {
    for address in neighbours(uri) {
        let bytes = match stores.get(&address) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. } | StoreError::Denied { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let unusable = |reason: &str| FormatError::RegionIndex { name: address.to_string(), reason: reason.to_owned() };
        let lines = unpack(&bytes).map_err(unusable)?;
        return parse(&lines, first, end).map(Some).map_err(unusable);
    }
    Ok(None)
}

/// `x.cram.crai` and `x.crai`.
fn neighbours(uri: &ObjectUri) -> Vec<ObjectUri> {
    let text = uri.to_string();
    // An address with a query (a presigned one) names one object alone.
    if text.contains('?') {
        return Vec::new();
    }
    let stem = text.strip_suffix(".cram").map(|stem| format!("{stem}.crai"));
    [Some(format!("{text}.crai")), stem].into_iter().flatten().filter_map(|name| name.parse().ok()).collect()
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    if !bytes.starts_with(GZIP) {
        return Ok(bytes.to_vec());
    }
    let mut lines = Vec::new();
    match MultiGzDecoder::new(bytes).take(LIMIT + 1).read_to_end(&mut lines) {
        Err(_) => Err("it is not gzip, or damaged"),
        Ok(_) if lines.len() as u64 > LIMIT => Err("it unpacks to more than 512 MiB"),
        Ok(_) => Ok(lines),
    }
}

fn parse(lines: &[u8], first: u64, end: u64) -> Result<Vec<Place>, &'static str> {
    let mut places = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut numbers = line.split(|byte| *byte == b'\t').map(|field| std::str::from_utf8(field).ok()?.parse::<i64>().ok());
        let mut next = || numbers.next().flatten().ok_or("it has a line that is not of six numbers");
        let [reference, start, span, offset, landmark, size] = [next()?, next()?, next()?, next()?, next()?, next()?];
        let offset = u64::try_from(offset).map_err(|_| "it names a place before the object")?;
        if offset < first || offset >= end {
            return Err("it names a place where no container can be; was the object written after its index?");
        }
        let reference = i32::try_from(reference).map_err(|_| "it names an impossible reference")?;
        if landmark < 0 || size < 0 {
            return Err("it has a negative size");
        }
        places.push(Place {
            bytes: [offset, offset],
            reference,
            start: start.saturating_sub(1),
            end: start.saturating_sub(1).saturating_add(span),
            packed: size as u64,
        });
    }
    places.sort_by_key(|place| place.bytes[0]);
    // A container ends where the next begins.
    let mut behind = end;
    let mut current = None;
    for place in places.iter_mut().rev() {
        match current {
            Some(begin) if begin != place.bytes[0] => behind = begin,
            _ => {}
        }
        current = Some(place.bytes[0]);
        place.bytes[1] = behind;
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn containers_end_where_the_next_begin() {
        let lines = b"0\t1\t100\t26\t5\t10\n0\t90\t100\t26\t50\t10\n1\t5\t6\t99\t5\t10\n-1\t0\t0\t99\t5\t10\n";
        let places = parse(lines, 26, 200).unwrap();
        let bytes: Vec<_> = places.iter().map(|place| place.bytes).collect();
        assert_eq!(bytes, [[26, 99], [26, 99], [99, 200], [99, 200]]);
        assert_eq!((places[1].start, places[1].end), (89, 189));
        for wrong in [&b"0\t1\n"[..], b"0\t1\t2\t5\t5\t5\n", b"0\t1\t2\t200\t5\t5\n", b"a\tb\n", b"0\t1\t2\t30\t-5\t5\n"] {
            assert!(parse(wrong, 26, 200).is_err());
        }
    }
}
