//! Side-cars: reused while fresh, rebuilt when stale or damaged, small, and read only where needed.

use std::io::Read;

use bytes::Bytes;
use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::{encodings, fastq, gzip};
use neardata_formats::{Compression, Cut, Partition, Prepared, Selection, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};

/// Formats with a table whose index is kept, and a fixture of each: the object, and what lies beside it.
const TABLES: &[(&str, &[&str])] =
    &[("las", &["test1_4.las"]), ("imzml", &["untreated.imzML", "untreated.ibd"]), ("cram", &["tiny-3.0.cram"])];

fn uri(text: &str) -> ObjectUri {
    text.parse().unwrap()
}

fn fresh() -> (Stores, Slicer) {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    (stores.clone(), Slicer::new(stores, SideCars { root: uri("memory://side/cars") }))
}

fn read(slicer: &Slicer, slice: &Slice) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    slicer.read(slice, 0).map_err(|error| error.to_string())?.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[test]
fn a_fresh_side_car_is_reused_and_a_stale_one_rebuilt() {
    let (stores, slicer) = fresh();
    let object = uri("memory://side/reads.fastq.gz");
    stores.put(&object, gzip(&fastq(3000, 1), 6).into()).unwrap();
    let first = slicer.index(&object, &|_| {}).unwrap();
    assert!(first.built && !slicer.index(&object, &|_| {}).unwrap().built);
    let old = slicer.slices(&object, Partition::Count(3)).unwrap();

    let changed = fastq(4000, 2);
    stores.put(&object, gzip(&changed, 6).into()).unwrap();
    let error = read(&slicer, &old[1]).unwrap_err();
    assert!(error.contains("changed"), "{error}");
    let again = slicer.index(&object, &|_| {}).unwrap();
    assert!(again.built);
    assert_eq!(again.records, 4000);
    assert_eq!(again.side_car.uri, first.side_car.uri, "the stale side-car is replaced, not left behind");
    let joined: Vec<u8> =
        slicer.slices(&object, Partition::Count(3)).unwrap().iter().flat_map(|slice| read(&slicer, slice).unwrap()).collect();
    assert_eq!(joined, changed);
}

#[test]
fn any_damage_to_a_side_car_is_noticed() {
    let (stores, slicer) = fresh();
    let object = uri("memory://side/damage.fastq.gz");
    let content = fastq(60_000, 3);
    stores.put(&object, gzip(&content, 6).into()).unwrap();
    let side_car = slicer.index(&object, &|_| {}).unwrap().side_car.uri;
    let good = stores.get(&side_car).unwrap();
    let slices = slicer.slices(&object, Partition::Count(4)).unwrap();
    let windows: Vec<_> =
        slices.iter().filter_map(|slice| slice.selection_as::<Selection>().unwrap().stretches[0].window).collect();
    let first_window = windows.iter().map(|window| window.at as usize).min().unwrap();

    // Header and table: a flipped bit anywhere leads to a rebuild that gives the same bytes again; so does a cut.
    for place in (0..first_window.min(2000)).step_by(97).chain([12, 16, 23]) {
        let mut bad = good.to_vec();
        bad[place] ^= 0x10;
        stores.put(&side_car, bad.into()).unwrap();
        assert!(slicer.index(&object, &|_| {}).unwrap().built, "byte {place}");
        assert_eq!(stores.get(&side_car).unwrap(), good, "byte {place}");
    }
    for length in [0, 10, 300, good.len() - 1] {
        stores.put(&side_car, good.slice(..length)).unwrap();
        assert!(slicer.index(&object, &|_| {}).unwrap().built, "cut at {length}");
    }
    // Windows: the slice that needs one says so; slices carry no strong tag here, so the checksum is what notices.
    let slice = slices.iter().find(|slice| !slice.index.is_empty()).unwrap();
    let window = slice.selection_as::<Selection>().unwrap().stretches[0].window.unwrap();
    let mut bad = good.to_vec();
    bad[window.at as usize + 5] ^= 1;
    stores.put(&side_car, Bytes::from(bad)).unwrap();
    let error = read(&slicer, slice).unwrap_err();
    assert!(error.contains("neardata index") || error.contains("changed"), "{error}");
    // What the error asks for helps, although the header is good.
    assert!(slicer.index(&object, &|_| {}).unwrap().built);
    assert_eq!(stores.get(&side_car).unwrap(), good);
    assert!(!slicer.index(&object, &|_| {}).unwrap().built);
}

#[test]
fn a_damaged_side_car_of_a_table_is_built_again_by_whoever_needs_it() {
    let (stores, slicer) = fresh();
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for (name, files) in TABLES {
        let root = uri("memory://side").join(name);
        for file in *files {
            let bytes = std::fs::read(data.join(name).join(file)).unwrap();
            stores.put(&root.join(file), bytes.into()).unwrap();
        }
        let object = root.join(files[0]);
        let prepare = || match slicer.prepare(&object, &|_| {}).unwrap() {
            Prepared::Table(summary) => (summary.side_car.unwrap().uri, summary.built),
            Prepared::Rows(_) => panic!("{name} has a table"),
        };
        let (side_car, built) = prepare();
        assert!(built && !prepare().1, "{name}");
        let good = stores.get(&side_car).unwrap();
        let cut = Cut::by(Partition::Count(2));
        let slices = slicer.cut(&object, &cut, &|_| {}).unwrap();
        let step = (good.len() / 40).max(1);
        for place in (0..good.len()).step_by(step).chain([good.len() - 1]) {
            let mut bad = good.to_vec();
            bad[place] ^= 0x20;
            stores.put(&side_car, bad.clone().into()).unwrap();
            assert!(prepare().1, "{name}: byte {place} of {}", good.len());
            assert_eq!(stores.get(&side_car).unwrap(), good, "{name}: byte {place}");
            // Cutting either needs what was damaged, and has it built again, or does not look at it.
            stores.put(&side_car, bad.into()).unwrap();
            let again = slicer.cut(&object, &cut, &|_| {}).unwrap();
            let selections = |slices: &[Slice]| slices.iter().map(|slice| slice.selection.clone()).collect::<Vec<_>>();
            assert_eq!(selections(&again), selections(&slices), "{name}: byte {place}");
        }
    }
}

#[test]
fn a_slice_works_again_once_its_lost_side_car_is_built_again() {
    let (stores, _) = fresh();
    let folder = tempfile::tempdir().unwrap();
    for root in [uri("memory://side/lost"), ObjectUri::from_path(folder.path())] {
        let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") });
        let object = root.join("reads.fastq.gz");
        stores.put(&object, gzip(&fastq(60_000, 5), 6).into()).unwrap();
        let slices = slicer.slices(&object, Partition::Count(4)).unwrap();
        let needs = |slice: &&Slice| slice.selection_as::<Selection>().unwrap().stretches[0].window.is_some();
        let slice = slices.iter().find(needs).unwrap();
        let before = read(&slicer, slice).unwrap();
        let side_car = slice.index[0].uri.clone();
        let bytes = stores.get(&side_car).unwrap();

        stores.delete(&side_car).unwrap();
        let error = read(&slicer, slice).unwrap_err();
        for part in [format!("the index of {object} is gone"), format!("run `neardata index {object}`")] {
            assert!(error.contains(&part), "{error}");
        }
        assert!(slicer.index(&object, &|_| {}).unwrap().built);
        assert_eq!(stores.get(&side_car).unwrap(), bytes, "a side-car depends on nothing but its object");
        assert_eq!(read(&slicer, slice).unwrap(), before);
    }
}

#[test]
fn side_cars_stay_below_three_percent_and_plain_slices_need_none() {
    let (stores, slicer) = fresh();
    let content = fastq(60_000, 9);
    for object in encodings("size.fastq", &content).into_iter().filter(|object| !object.name.contains("small-members")) {
        let address = uri("memory://side").join(&object.name);
        stores.put(&address, object.stored.clone()).unwrap();
        let summary = slicer.index(&address, &|_| {}).unwrap();
        let limit = object.stored.len() as u64 * 3 / 100 + 600;
        assert!(summary.side_car.size <= limit, "{}: {} > {limit}", object.name, summary.side_car.size);
        if summary.compression != Compression::Gzip {
            assert!(slicer.slices(&address, Partition::Count(5)).unwrap().iter().all(|slice| slice.index.is_empty()));
        }
    }
    // What compresses a thousandfold must not drown in windows.
    let address = uri("memory://side/zeros.txt.gz");
    stores.put(&address, gzip(&b"the same line again and again\n".repeat(2_000_000), 9).into()).unwrap();
    let summary = slicer.index(&address, &|_| {}).unwrap();
    assert!(summary.side_car.size * 100 <= summary.object.size * 3 + 60_000, "{summary:?}");
}

#[test]
fn a_slice_fetches_its_own_stretch_and_its_own_window() {
    let (stores, slicer) = fresh();
    let object = uri("memory://side/fetch.fastq.gz");
    stores.put(&object, gzip(&fastq(120_000, 4), 6).into()).unwrap();
    let summary = slicer.index(&object, &|_| {}).unwrap();
    assert!(summary.checkpoints > 10, "{summary:?}");
    let slices = slicer.slices(&object, Partition::Count(8)).unwrap();
    for slice in &slices {
        let metered = stores.metered();
        let slicer = Slicer::new(metered.clone(), SideCars { root: uri("memory://side/cars") });
        read(&slicer, slice).unwrap();
        let stretch = slice.selection_as::<Selection>().unwrap().stretches[0].clone();
        let window = stretch.window.map_or(0, |window| u64::from(window.length));
        assert_eq!(metered.bytes_fetched(), stretch.stop - stretch.bit / 8 + window);
        let checkpoint = summary.object.size / summary.checkpoints;
        assert!(metered.bytes_fetched() < summary.object.size / 8 * 9 / 8 + checkpoint * 3 / 2, "{summary:?}");
    }
}
