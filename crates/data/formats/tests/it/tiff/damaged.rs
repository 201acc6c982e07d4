//! Files that somebody damaged or made up: an answer or a typed error, and little memory.

use neardata_formats::{Cut, FormatError, Partition};
use proptest::prelude::*;
use serde_json::json;

use super::build::{Spec, build};
use super::{open, real};
use crate::law::cases;

/// Opens, describes, cuts, and reads some of what there is.
fn exercise(bytes: Vec<u8>) -> Result<(), FormatError> {
    let table = open(bytes)?;
    table.describe()?;
    for level in 0..2 {
        let Ok(parts) = table.cut(&Cut { level: Some(level), ..Cut::by(Partition::Count(3)) }, None) else { continue };
        let inside = parts.first().cloned().map(|mut part| {
            for at in 0..4 {
                part["window"][at] = json!(part["window"][at].as_u64().unwrap_or(0) + u64::from(at < 2));
            }
            part["window"][2] = json!(5);
            part["window"][3] = json!(3);
            part
        });
        for part in parts.iter().take(2).chain(&inside) {
            if let Ok(pieces) = table.bytes(part, None, 0) {
                pieces.take(20).take_while(Result::is_ok).for_each(drop);
            }
            if let Ok(batches) = table.arrow(part, None) {
                batches.take(20).take_while(Result::is_ok).for_each(drop);
            }
        }
    }
    Ok(())
}

fn small() -> Vec<Vec<u8>> {
    let spec = Spec { size: [20, 18], overviews: 1, ..Spec::default() };
    vec![
        build(&spec).bytes,
        build(&Spec { big_tiff: true, big_endian: true, planar: true, chunk: [0, 4], compression: 32773, ..spec }).bytes,
        real("rotated.tif"),
        real("random-fp16-pred2.tiff"),
        real("cog_uint8_rgb_mask.tif"),
    ]
}

#[test]
fn cut_short_anywhere() {
    for bytes in small() {
        for length in 0..bytes.len() {
            let _ = exercise(bytes[..length].to_vec());
        }
    }
}

#[test]
fn any_bit_flipped() {
    for bytes in small() {
        for place in 0..bytes.len() * 8 {
            if bytes.len() > 2000 && place % 5 != 0 && place / 8 > 400 {
                continue;
            }
            let mut bytes = bytes.clone();
            bytes[place / 8] ^= 1 << (place % 8);
            let _ = exercise(bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_changed(
        which in 0_usize..9,
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let files = ["cog_rgb.tif", "issue_69_lzw.tiff", "int16_zstd.tif", "predictor-3-rgb-f32.tif"];
        let mut bytes = match small().get(which) {
            Some(bytes) => bytes.clone(),
            None => real(files[which - 5]),
        };
        for (place, value) in changes {
            let place = place % bytes.len();
            bytes[place] = value;
        }
        let _ = exercise(bytes);
    }

    #[test]
    fn foreign_selections(level in 0_u32..4, window in proptest::array::uniform4(prop_oneof![0_u64..60, any::<u64>()])) {
        let table = open(build(&Spec { overviews: 1, ..Spec::default() }).bytes).unwrap();
        let selection = json!({"level": level, "window": window});
        let fits = level < 2 && window[2] > 0 && window[3] > 0
            && window[0].saturating_add(window[2]) <= 50 >> level && window[1].saturating_add(window[3]) <= 40 >> level;
        prop_assert_eq!(table.arrow(&selection, None).is_ok(), fits);
        prop_assert_eq!(table.bytes(&selection, None, 0).is_ok(), fits);
    }
}

/// A field of a little-endian classic file: tag, type, one value.
type Field = (u16, u16, u32);

fn file(fields: &[Field], next: u32) -> Vec<u8> {
    let mut bytes = b"II\x2a\0\x08\0\0\0".to_vec();
    bytes.extend((fields.len() as u16).to_le_bytes());
    for (tag, kind, value) in fields {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([1_u32.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend(next.to_le_bytes());
    bytes
}

#[test]
fn what_cannot_be_is_said() {
    const GOOD: [Field; 6] = [(256, 4, 10), (257, 4, 10), (258, 3, 8), (259, 3, 1), (273, 4, 0), (279, 4, 0)];
    let with = |changes: &[Field]| {
        let mut fields: Vec<Field> =
            GOOD.iter().filter(|field| changes.iter().all(|change| change.0 != field.0)).copied().collect();
        fields.extend(changes);
        fields
    };
    let error = |bytes: Vec<u8>| exercise(bytes).unwrap_err().to_string();
    assert!(exercise(file(&GOOD, 0)).is_ok());
    let huge = u32::MAX >> 1;
    for (bytes, words) in [
        (file(&GOOD, 8), "in a circle"),
        (file(&with(&[(256, 4, 0)]), 0), "0 x 10 pixels"),
        (file(&with(&[(257, 4, u32::MAX)]), 0), "4294967295 pixels"),
        (
            file(&with(&[(256, 4, huge), (257, 4, huge), (322, 3, 16), (323, 3, 16), (324, 4, 8), (325, 4, 8)]), 0),
            "but 1 offsets",
        ),
        (file(&with(&[(322, 3, 0), (323, 3, 16), (324, 4, 8), (325, 4, 8)]), 0), "tiles of 0 x 16"),
        (file(&with(&[(258, 3, 0)]), 0), "impossible sizes"),
        (file(&GOOD[..2], 0), "without tiles or strips"),
        (file(&[], 0), "directory of 0 entries"),
        (b"II\x2a\0\xff\xff\xff\x7f".to_vec(), "truncated TIFF"),
        (b"II\x2a\0".to_vec(), "truncated TIFF"),
        (b"GIF89a".to_vec(), "does not begin as TIFF"),
    ] {
        let said = error(bytes);
        assert!(said.contains(words), "{said}");
    }
    // Gigabytes promised by a few bytes are refused before they are asked for.
    let promises = [(256, 4, huge), (257, 4, huge), (278, 4, huge)];
    for compression in [1, 5, 7, 8, 32773, 50000] {
        let table = open(file(&with(&[&promises[..], &[(259, 3, compression), (273, 4, 8), (279, 4, 60)]].concat()), 0)).unwrap();
        let whole = json!({"level": 0, "window": [0, 0, huge, huge]});
        assert!(matches!(table.arrow(&whole, None).map(drop), Err(FormatError::Unsupported { .. })));
    }
    for (changes, words) in [
        (vec![(259, 3, 34887)], "LERC compression"),
        (vec![(259, 3, 8), (266, 3, 2)], "FillOrder"),
        (vec![(258, 3, 16), (339, 3, 5)], "complex numbers"),
        (vec![(262, 3, 6)], "YCbCr"),
        (vec![(317, 3, 3)], "predictor 3 for uint8"),
    ] {
        let table = open(file(&with(&changes), 0)).unwrap();
        let said = table.arrow(&json!({"level": 0, "window": [0, 0, 10, 10]}), None).map(drop).unwrap_err().to_string();
        assert!(said.contains(words) && said.contains("convert it"), "{said}");
        // Whole strips are copied all the same.
        assert!(table.bytes(&json!({"level": 0, "window": [0, 0, 10, 10]}), None, 0).is_ok());
    }
}
