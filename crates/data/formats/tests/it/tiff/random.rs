//! Any layout: the pixels of the windows are those put in.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, UInt8Array, UInt16Array, UInt32Array, UInt64Array};
use neardata_formats::conformance::tables::Order;
use proptest::prelude::*;

use super::build::{Spec, build, sample};
use crate::law::cases;
use crate::random::{check, partition, suite};

/// Every pixel of level 0: the centre, and its samples.
fn pixels(spec: &Spec) -> RecordBatch {
    let [width, height] = spec.size;
    let places = || (0..height).flat_map(move |row| (0..width).map(move |col| (row, col)));
    let [across, down] = spec.pixel.unwrap_or([1.0, 1.0]);
    let (left, top, down) = if spec.pixel.is_some() { (1000.0, 2000.0, -down) } else { (0.0, 0.0, down) };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("x".into(), Arc::new(Float64Array::from_iter_values(places().map(|(_, col)| left + (col as f64 + 0.5) * across)))),
        ("y".into(), Arc::new(Float64Array::from_iter_values(places().map(|(row, _)| top + (row as f64 + 0.5) * down)))),
    ];
    for band in 0..spec.bands {
        let samples = places().map(|(row, col)| match is_stored(spec, band, row, col) {
            true => sample(spec, 0, band, row, col),
            false => 0,
        });
        let array: ArrayRef = match spec.bytes {
            1 => Arc::new(UInt8Array::from_iter_values(samples.map(|sample| sample as u8))),
            2 => Arc::new(UInt16Array::from_iter_values(samples.map(|sample| sample as u16))),
            4 => Arc::new(UInt32Array::from_iter_values(samples.map(|sample| sample as u32))),
            _ => Arc::new(UInt64Array::from_iter_values(samples)),
        };
        columns.push((format!("band_{}", band + 1), array));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Whether the chunk that a sample lies in is there.
fn is_stored(spec: &Spec, band: u64, row: u64, col: u64) -> bool {
    let [width, height] = if spec.chunk[0] > 0 { spec.chunk } else { [spec.size[0], spec.chunk[1]] };
    let (across, down) = (spec.size[0].div_ceil(width), spec.size[1].div_ceil(height));
    let plane = if spec.planar { band * across * down } else { 0 };
    !spec.sparse || (plane + row / height * across + col / width) % 3 != 1
}

prop_compose! {
    fn layout()(
        size in [1_u64..50, 1_u64..40],
        bands in 1_u64..4,
        bytes in prop::sample::select(vec![1_usize, 2, 4, 8]),
        tile in prop::option::of([1_u64..3, 1_u64..3]),
        strip in 1_u64..45,
        [planar, big_endian, big_tiff, georeferenced, sparse] in any::<[bool; 5]>(),
        compression in prop::sample::select(vec![1_u64, 8, 8, 50000, 32773]),
    ) -> Spec {
        let chunk = tile.map_or([0, strip], |[width, height]| [width * 16, height * 16]);
        let planar = planar && bands > 1;
        let pixel = georeferenced.then_some([0.5, 0.25]);
        Spec { size, bands, bytes, chunk, planar, compression, big_endian, big_tiff, pixel, overviews: 0, sparse }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(20), ..ProptestConfig::default() })]

    #[test]
    fn pixels_are_those_put_in(spec in layout(), cuts in [partition(), partition()]) {
        // Slices follow the tiles, not the rows of the image.
        check(&suite("tiff"), &[("r.tif", build(&spec).bytes)], &cuts, &pixels(&spec), Order::Free)?;
    }
}
