//! Pairs that somebody damaged or made up: an answer or a typed error, and little memory.

use neardata_core::MemoryObject;
use neardata_formats::{Bounds, Cut, FormatError, Partition};
use proptest::prelude::*;
use serde_json::json;

use super::build::{Kind, Pair, Spec, build};
use super::{Bench, open};
use crate::law::cases;
use std::sync::Arc;

/// Opens, indexes, cuts, and reads.
fn exercise(xml: Vec<u8>, ibd: Vec<u8>) -> Result<(), FormatError> {
    exercise_opened(&open(xml, ibd)?)
}

fn exercise_opened(bench: &Bench) -> Result<(), FormatError> {
    bench.table.describe()?;
    let bounds = Some(Bounds { min: [1.0, 1.0], max: [2.0, 9.0] });
    let cuts = [
        Cut::by(Partition::Count(2)),
        Cut::by(Partition::Tiles(4)),
        Cut { bounds, window: Some([110.0, 130.0]), ..Cut::default() },
    ];
    for cut in &cuts {
        for part in bench.cut(cut)?.iter().take(3) {
            bench.batches(part)?;
            bench.bytes(part, 1)?;
            bench.bytes(part, 0)?;
        }
    }
    Ok(())
}

fn small() -> Vec<Pair> {
    let spec = Spec { size: [2, 2], peaks: 9, ..Spec::default() };
    vec![
        build(&spec),
        build(&Spec { continuous: true, zlib: true, odd: true, ..spec.clone() }),
        build(&Spec { inline: true, more: true, intensity: Kind::I32, ..spec }),
    ]
}

#[test]
fn cut_short_anywhere() {
    for Pair { xml, ibd, .. } in small() {
        let whole = xml.windows(7).rposition(|word| word == b"</mzML>").unwrap() + 7;
        for length in 0..xml.len() {
            let outcome = exercise(xml[..length].to_vec(), ibd.clone());
            assert!(outcome.is_err() || length >= whole, "{length} of {} bytes are taken for the whole", xml.len());
        }
        for length in 0..ibd.len() {
            let error = exercise(xml.clone(), ibd[..length].to_vec()).unwrap_err().to_string();
            assert!(error.contains("m.ibd") && (length < 16 || error.contains("incomplete .ibd")), "{length}: {error}");
        }
    }
}

#[test]
fn any_bit_flipped() {
    for Pair { xml, ibd, .. } in small() {
        for place in (0..xml.len() * 8).step_by(7) {
            let mut flipped = xml.clone();
            flipped[place / 8] ^= 1 << (place % 8);
            let _ = exercise(flipped, ibd.clone());
        }
        for place in (0..ibd.len() * 8).step_by(3) {
            let mut flipped = ibd.clone();
            flipped[place / 8] ^= 1 << (place % 8);
            let outcome = exercise(xml.clone(), flipped);
            assert!(place >= 128 || outcome.unwrap_err().to_string().contains("UUID"));
        }
    }
}

/// The pair with some text of the XML replaced.
fn changed(spec: &Spec, changes: &[(&str, &str)]) -> (Vec<u8>, Vec<u8>) {
    let Pair { xml, ibd, .. } = build(spec);
    let text: String = xml.iter().map(|byte| *byte as char).collect();
    let text = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    (text.chars().map(|letter| letter as u8).collect(), ibd)
}

#[track_caller]
fn refused(spec: &Spec, changes: &[(&str, &str)], words: &[&str]) {
    let (xml, ibd) = changed(spec, changes);
    let error = exercise(xml, ibd).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "`{word}` is missing in: {error}");
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let spec = Spec { size: [2, 2], peaks: 9, ..Spec::default() };
    let offset = r#"IMS:1000102" value="16""#;
    let length = |value: &str| format!(r#"IMS:1000103" value="{value}""#);
    let first = build(&spec).truth[0].mz.len().to_string();
    refused(&spec, &[(offset, r#"IMS:1000102" value="999999""#)], &["m.ibd", "incomplete .ibd", "spectrum 0", "byte 999999"]);
    refused(&spec, &[(offset, r#"IMS:1000102" value="9223372036854775807""#)], &["incomplete .ibd", "spectrum 0"]);
    refused(&spec, &[(offset, r#"IMS:1000102" value="-1""#)], &["spectrum 0", "cannot begin at byte -1"]);
    refused(&spec, &[(offset, r#"IMS:1000102" value="x""#)], &["spectrum 0", "no external offset"]);
    for absurd in ["4611686018427387904", "18446744073709551615", "4294967295"] {
        refused(&spec, &[(&length(&first), &length(absurd))], &["spectrum 0"]);
    }
    refused(&spec, &[(&length(&first), &length("1"))], &["spectrum 0", "1 m/z values but"]);
    refused(&spec, &[("position x\" value=\"1\"", "position x\" value=\"one\"")], &["spectrum 0", "whole number"]);
    refused(&spec, &[("IMS:1000051", "IMS:1000059")], &["spectrum 0", "no position y"]);
    refused(&spec, &[("MS:1000515", "MS:1000599")], &["spectrum 0", "no intensity array"]);
    refused(&spec, &[("ref=\"mzArray\"", "ref=\"intensityArray\"")], &["spectrum 0", "two arrays"]);
    refused(&spec, &[("ref=\"mzArray\"", "ref=\"nothing\"")], &["spectrum 0", "no m/z array"]);
    refused(&spec, &[("MS:1000523", "MS:1000520")], &["spectrum 0", "number type is not read here"]);
    refused(&spec, &[("MS:1000576", "MS:1002312")], &["spectrum 0", "compression is not read here"]);
    refused(&spec, &[("spectrumList", "spectraList")], &["m.imzML"]);
    refused(&spec, &[("{0B3D5F7A", "{1B3D5F7A")], &["m.ibd", "m.imzML", "UUID", "no pair"]);
    let zlib = Spec { zlib: true, ..spec };
    refused(&zlib, &[(&length(&first), &length("100000000")), (&length(&first), &length("100000000"))], &["cannot hold"]);
}

#[test]
fn nothing_is_expanded() {
    let spec = Spec { size: [2, 2], ..Spec::default() };
    let bomb = r#"<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><mzML xmlns"#;
    refused(&spec, &[("<mzML xmlns", bomb)], &["document type"]);
    let (xml, ibd) = changed(&spec, &[("<run id=\"r\">", "<run id=\"&b;&#1;&lt;\">&b;")]);
    exercise(xml, ibd).unwrap();
    let deep = "<a>".repeat(100_000);
    refused(&spec, &[("<run id=\"r\">", &deep)], &["deep in each other"]);
    let long = format!("<run id=\"{}\">", "r".repeat(20 << 20));
    refused(&spec, &[("<run id=\"r\">", &long)], &["more than 16 MiB"]);
}

/// Offsets of exporters that write signed 32-bit numbers are made whole.
#[test]
fn offsets_that_wrapped_around() {
    let spec = Spec { size: [2, 1], peaks: 3, ..Spec::default() };
    let Pair { ibd, .. } = build(&spec);
    let (xml, _) = changed(&spec, &[(r#"IMS:1000102" value="16""#, r#"IMS:1000102" value="-4294967280""#)]);
    // Without a positive offset in front nothing tells that it wrapped.
    assert!(exercise(xml, ibd).unwrap_err().to_string().contains("cannot begin"));
}

#[test]
fn foreign_selections() {
    let pair = build(&Spec { continuous: true, ..Spec::default() });
    let bench = Bench::of(&pair);
    for selection in [
        json!({}),
        json!({"spectra": [0, 31], "count": 31}),
        json!({"spectra": [5, 2], "count": 1}),
        json!({"spectra": [0, 30], "count": 29}),
        json!({"spectra": [0, 30], "count": u64::MAX}),
        json!({"spectra": [0, 30], "count": 30, "peaks": [0, 5]}),
        json!({"spectra": [0, 30], "count": 30, "window": ["1", "2"], "peaks": [5, u32::MAX]}),
        json!({"spectra": [0, 30], "count": 30, "window": [1, 2]}),
        json!({"spectra": [0, 30], "count": 30, "bounds": [0, 0, 0, 0]}),
        json!({"spectra": [0, 30], "count": 30, "columns": ["none"]}),
        json!({"spectra": [0, 30], "count": 30, "other": 1}),
    ] {
        assert!(bench.batches(&selection).is_err(), "{selection}");
        assert!(bench.bytes(&selection, 0).is_err() || selection.get("columns").is_some(), "{selection}");
    }
    assert!(bench.table.bytes(&json!({"spectra": [0, 30], "count": 30}), None, 1).is_err());
    assert!(bench.bytes(&json!({"spectra": [0, 30], "count": 30}), 2).is_err());
    let _ = bench.batches(&json!({"spectra": [0, 30], "count": 30, "window": ["NaN", "inf"]})).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), ..ProptestConfig::default() })]

    #[test]
    fn mutated_pairs(which in 0_usize..3, places in proptest::collection::vec((any::<usize>(), any::<u8>(), 0_u8..3), 1..6), in_xml: bool) {
        let Pair { mut xml, mut ibd, .. } = small().swap_remove(which);
        let bytes = if in_xml { &mut xml } else { &mut ibd };
        for (place, value, kind) in places {
            let place = place % bytes.len().max(1);
            match kind {
                0 => bytes[place] = value,
                1 => bytes.insert(place, value),
                _ => drop(bytes.remove(place)),
            }
        }
        let _ = exercise(xml, ibd);
    }

    #[test]
    fn mutated_indexes(place: usize, value: u8, resealed: bool) {
        let pair = small().swap_remove(0);
        let mut bench = Bench::of(&pair);
        let mut index = bench.index.read(neardata_core::ByteRange::new(0, bench.index.size())).unwrap().to_vec();
        let place = place % index.len();
        index[place] ^= value;
        if resealed {
            // Fitting checksums, so that what lies behind them is put to the test: one block of four entries, and the footer.
            let block = 4 * 72;
            let footer = index.len() - 4;
            let checksum = crc32fast::hash(&index[..block]);
            index[block..block + 4].copy_from_slice(&checksum.to_le_bytes());
            let checksum = crc32fast::hash(&index[block + 4..footer]);
            index[footer..].copy_from_slice(&checksum.to_le_bytes());
        }
        bench.index = Arc::new(MemoryObject::new("index", index));
        let outcome = exercise_opened(&bench);
        prop_assert!(resealed || value == 0 || outcome.is_err());
    }
}
