//! Any layout: the spectra of the slices are those put in.

use std::sync::Arc;

use arrow_array::types::{Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{ArrayRef, Int32Array, ListArray, RecordBatch, UInt64Array};
use neardata_formats::conformance::tables::Order;
use proptest::prelude::*;

use super::build::{Kind, Pair, Spec, Truth, build};
use crate::law::cases;
use crate::random::{check, partition, suite};

fn lists(kind: Kind, values: impl Iterator<Item = Vec<f64>>) -> ArrayRef {
    macro_rules! of {
        ($type:ty, $number:ty) => {{
            let lists = values.map(|list| Some(list.into_iter().map(|value| Some(value as $number)).collect::<Vec<_>>()));
            let list = ListArray::from_iter_primitive::<$type, _, _>(lists);
            let (_, offsets, items, nulls) = list.into_parts();
            let item = arrow_schema::Field::new("item", arrow_array::Array::data_type(&items).clone(), false);
            Arc::new(ListArray::new(Arc::new(item), offsets, items, nulls))
        }};
    }
    match kind {
        Kind::I16 => of!(Int16Type, i16),
        Kind::I32 => of!(Int32Type, i32),
        Kind::I64 => of!(Int64Type, i64),
        Kind::F32 => of!(Float32Type, f32),
        Kind::F64 => of!(Float64Type, f64),
    }
}

/// Every spectrum, in the order of the XML.
fn spectra(spec: &Spec, truth: &[Truth]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 6] = [
        ("spectrum", Arc::new(UInt64Array::from_iter_values(0..truth.len() as u64))),
        ("x", Arc::new(Int32Array::from_iter_values(truth.iter().map(|truth| truth.x)))),
        ("y", Arc::new(Int32Array::from_iter_values(truth.iter().map(|truth| truth.y)))),
        ("z", Arc::new(Int32Array::from_iter(truth.iter().map(|_| spec.z.then_some(3))))),
        ("mz", lists(spec.mz, truth.iter().map(|truth| truth.mz.clone()))),
        ("intensity", lists(spec.intensity, truth.iter().map(|truth| truth.intensity.clone()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

prop_compose! {
    fn layout()(
        size in [1_i32..9, 1_i32..8],
        origin in [-3_i32..4, -3_i32..4],
        peaks in 1_usize..40,
        mz in prop::sample::select(vec![Kind::F32, Kind::F64]),
        intensity in prop::sample::select(vec![Kind::I16, Kind::I32, Kind::I64, Kind::F32, Kind::F64]),
        repeats in 1_usize..4,
        [continuous, z, zlib, empty, unsorted, intensity_first, inline, odd] in any::<[bool; 8]>(),
        [encoded_length, array_length, more] in any::<[bool; 3]>(),
        gap in prop::sample::select(vec![0_usize, 0, 13, 5000]),
    ) -> Spec {
        // One of the two must be there for a reader to know the length; of compressed arrays both.
        let (encoded_length, array_length) = (encoded_length || zlib || !array_length, array_length || zlib);
        Spec {
            continuous, size, origin, z, peaks, mz, intensity, zlib, repeats, empty, unsorted, intensity_first, inline,
            encoded_length, array_length, odd, more, gap,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(20), ..ProptestConfig::default() })]

    #[test]
    fn spectra_are_those_put_in(spec in layout(), cuts in [partition(), partition()]) {
        let Pair { xml, ibd, truth } = build(&spec);
        check(&suite("imzml"), &[("m.imzML", xml), ("m.ibd", ibd)], &cuts, &spectra(&spec, &truth), Order::Kept)?;
    }
}
