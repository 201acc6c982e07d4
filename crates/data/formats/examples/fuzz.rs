//! Throws damaged objects, indexes and slices at everything that reads foreign bytes, for as long as it is told.
//!
//! ```text
//! fuzz make FOLDER                       # writes small objects of every row format, in every compression
//! fuzz run SECONDS SEED FINDINGS FILE…   # damages these files; what makes anything panic or hang is kept in FINDINGS
//! fuzz again TRIAL FILE…                 # one finding again, with its words
//! ```
//!
//! Objects that belong together (`x.imzML` and `x.ibd`, `x.bam` and `x.bam.bai`) are damaged together. Exits with 1 if anything was found. An allocation that
//! foreign bytes choose shows as an abort when the address space is limited (`ulimit -v`): the case at hand lies in FINDINGS then.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::{awkward_texts, bam, encodings, headed, vcf};
use neardata_formats::{ArrowOptions, Bounds, Cut, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use serde_json::Value;

/// Endings of what lies beside an object and is not one itself.
const BESIDE: [&str; 7] = ["ibd", "bai", "csi", "tbi", "crai", "fai", "gzi"];
/// A case that takes longer is a finding.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes and batches read of a slice.
const READ: u64 = 64 << 20;
const BATCHES: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["make", folder] => make(Path::new(folder)),
        ["run", seconds, seed, findings, files @ ..] if !files.is_empty() => {
            run(Duration::from_secs(seconds.parse()?), seed.parse()?, Path::new(findings), files)
        }
        ["again", trial, files @ ..] if !files.is_empty() => {
            let trial = trial.parse()?;
            load(files)?.iter().for_each(|objects| try_all(objects, &mut Dice(trial)));
            Ok(())
        }
        _ => Err("usage: fuzz make FOLDER | fuzz run SECONDS SEED FINDINGS FILE… | fuzz again TRIAL FILE…".into()),
    }
}

fn make(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let headed_objects = headed("h.vcf", vcf(300, 5)).into_iter().chain(headed("h.bam", bam(200, 6)));
    let texts = awkward_texts().into_iter().flat_map(|(name, content)| encodings(&name, &content[..content.len().min(30_000)]));
    for object in texts.chain(headed_objects) {
        std::fs::write(folder.join(object.name.replace('/', "-")), &object.stored)?;
    }
    Ok(())
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below.max(1) as u64) as usize
    }
}

/// Objects that are read together, by name.
type Objects = BTreeMap<String, Vec<u8>>;

/// Files of one stem are one thing, named by the first.
fn load(files: &[&str]) -> Result<Vec<Objects>, Box<dyn Error>> {
    let mut groups: BTreeMap<PathBuf, Objects> = BTreeMap::new();
    for file in files.iter().map(Path::new).filter(|file| file.is_file()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let together = file
            .extension()
            .is_some_and(|ending| BESIDE.iter().chain(&["imzml"]).any(|other| ending.eq_ignore_ascii_case(other)));
        let key = if together { file.with_extension("") } else { file.to_owned() };
        groups.entry(key).or_default().insert(name, std::fs::read(file)?);
    }
    Ok(groups.into_values().collect())
}

fn run(time: Duration, seed: u64, findings: &Path, files: &[&str]) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(findings)?;
    let seeds = load(files)?;
    let mut dice = Dice(seed);
    let (started, mut cases, mut found) = (Instant::now(), 0_u64, 0_u64);
    std::panic::set_hook(Box::new(|_| {}));
    while started.elapsed() < time {
        let mut objects = seeds[dice.roll(seeds.len())].clone();
        for content in objects.values_mut() {
            for _ in 0..dice.roll(4) {
                damage(content, &mut dice);
            }
        }
        let folder = findings.join("case");
        std::fs::create_dir_all(&folder)?;
        for (name, content) in &objects {
            std::fs::write(folder.join(name), content)?;
        }
        let before = Instant::now();
        let trial = seed ^ cases;
        let outcome = catch_unwind(AssertUnwindSafe(|| try_all(&objects, &mut Dice(trial))));
        if outcome.is_err() || before.elapsed() > PATIENCE {
            found += 1;
            let kept = findings.join(format!("{}-{seed}-{cases}", if outcome.is_err() { "panic" } else { "hang" }));
            std::fs::rename(&folder, &kept)?;
            eprintln!("found: {} (trial {trial})", kept.display());
        } else {
            std::fs::remove_dir_all(&folder)?;
        }
        cases += 1;
    }
    println!("{cases} cases of {} objects in {} s: {found} findings", seeds.len(), started.elapsed().as_secs());
    if found > 0 { Err("something was found".into()) } else { Ok(()) }
}

fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if bytes.is_empty() {
        return;
    }
    if bytes.starts_with(b"CRAM") && dice.roll(4) > 0 {
        return damage_cram(bytes, dice).unwrap_or_default();
    }
    let length = bytes.len();
    // Headers are where counts and offsets are.
    let near = [length, 64, 512, 4096][dice.roll(4)].min(length);
    let place = if dice.roll(6) == 0 { length - 1 - dice.roll(near) } else { dice.roll(near) };
    let extreme = [0_u8, 1, 0x7f, 0x80, 0xff][dice.roll(5)];
    match dice.roll(8) {
        0 => bytes[place] ^= 1 << dice.roll(8),
        1 => bytes[place] = extreme,
        2 => drop(bytes.remove(place)),
        3 => bytes.insert(place, dice.roll(256) as u8),
        4 => bytes.truncate(place),
        5 => bytes[place..(place + 4).min(length)].fill(extreme),
        6 => bytes[place..(place + 8).min(length)].fill(extreme),
        _ => {
            let end = (place + dice.roll(300)).min(length);
            bytes.extend_from_within(place..end);
        }
    }
}

/// Changes a byte of a block of CRAM and makes its checksum right, so that what decodes it gets to see it.
fn damage_cram(bytes: &mut [u8], dice: &mut Dice) -> Option<()> {
    let mut blocks: Vec<[usize; 2]> = Vec::new();
    let mut at = 26;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_le_bytes(*length.first_chunk()?) as usize;
        let mut place = at + 4;
        // Reference, start, span, records, counter, bases, blocks, slices; then the place of each slice.
        let mut numbers = [0; 8];
        for (which, number) in numbers.iter_mut().enumerate() {
            *number = itf8(bytes, &mut place, which == 4 || which == 5)?;
        }
        for _ in 0..numbers[7] {
            itf8(bytes, &mut place, false)?;
        }
        place += 4;
        at = place.checked_add(length)?;
        while place < at && at > 26 {
            let begin = place;
            place += 2;
            itf8(bytes, &mut place, false)?;
            let stored = itf8(bytes, &mut place, false)? as usize;
            itf8(bytes, &mut place, false)?;
            place = place.checked_add(stored)?;
            bytes.get(place..place + 4)?;
            blocks.push([begin, place]);
            place += 4;
        }
    }
    let [begin, end] = *blocks.get(dice.roll(blocks.len()))?;
    let near = [end - begin, 24][dice.roll(2)].min(end - begin);
    let place = begin + dice.roll(near);
    bytes[place] = if dice.roll(2) == 0 { bytes[place] ^ 1 << dice.roll(8) } else { [0, 1, 0x7f, 0x80, 0xff][dice.roll(5)] };
    let checksum = crc32fast::hash(&bytes[begin..end]);
    bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    Some(())
}

/// A number whose first byte tells how many follow.
fn itf8(bytes: &[u8], at: &mut usize, long: bool) -> Option<u64> {
    let first = *bytes.get(*at)?;
    let more = first.leading_ones().min(if long { 8 } else { 4 }) as usize;
    let rest = bytes.get(*at + 1..=*at + more)?;
    *at += 1 + more;
    let start = if more < 7 { u64::from(first & (0xff >> (more + 1))) } else { 0 };
    Some(rest.iter().fold(start, |value, byte| value << 8 | u64::from(*byte)))
}

/// Everything that can be done with an object; errors are fine.
fn try_all(objects: &Objects, dice: &mut Dice) {
    let (Ok(stores), Ok(root)) = (Stores::new(StoreOptions::default()), "memory://fuzz/objects".parse::<ObjectUri>()) else {
        return;
    };
    for (name, content) in objects {
        if stores.put(&root.join(name), content.clone().into()).is_err() {
            return;
        }
    }
    let beside = |name: &str| name.rsplit_once('.').is_some_and(|(_, ending)| BESIDE.contains(&ending));
    let first = objects.keys().find(|name| !beside(name)).or(objects.keys().next());
    let Some(first) = first else { return };
    let uri = root.join(first);
    let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") }).with_lazy_above(4096);
    let _ = slicer.inspect(&uri);
    let _ = slicer.prepare(&uri, &|_| {});
    let bounds = [
        Bounds { min: [-1e9; 2], max: [1e9; 2] },
        Bounds { min: [0.0, 0.0], max: [dice.roll(2000) as f64, dice.roll(2000) as f64] },
    ];
    let partitions = [Partition::Count(3), Partition::Bytes(2000), Partition::Records(2), Partition::Tiles(4)];
    // Bases that need no reference; with one, most of CRAM cannot be read.
    let columns = ["name", "flag", "pos", "cigar", "quality", "tags"].map(str::to_owned).into();
    let some = ArrowOptions { columns, ..ArrowOptions::default() };
    let regions = ["chr1", "chr1:10-5000", "22:100-2000", "1:1-100000", "q", "one:100-900"];
    let query = Cut { bounds: Some(bounds[dice.roll(2)]), ..Cut::default() };
    let cuts = [
        Cut::by(partitions[dice.roll(4)]),
        Cut { partition: (dice.roll(2) == 0).then_some(Partition::Count(2)), window: Some([100.0, 600.0]), ..query.clone() },
        Cut { level: Some(dice.roll(3) as u32), resolution: None, ..query.clone() },
        Cut { resolution: Some(0.5 + dice.roll(100) as f64), ..query.clone() },
        query,
        Cut {
            regions: vec![regions[dice.roll(6)].into()],
            partition: (dice.roll(2) == 0).then_some(Partition::Count(2)),
            ..Cut::default()
        },
    ];
    for cut in cuts {
        for mut slice in slicer.cut(&uri, &cut, &|_| {}).unwrap_or_default().into_iter().take(4) {
            read(&slicer, &slice);
            if slice.format == "cram" {
                let _ = slicer.arrow_with(&slice, &some).map(|batches| batches.take(BATCHES).count());
            }
            twist(&mut slice.selection, dice);
            read(&slicer, &slice);
        }
    }
    // The index, damaged too.
    for listed in stores.list(&root.join("cars")).unwrap_or_default() {
        if let Ok(content) = stores.get(&listed.uri) {
            let mut content = content.to_vec();
            damage(&mut content, dice);
            let _ = stores.put(&listed.uri, content.into());
        }
    }
    for slice in slicer.cut(&uri, &Cut::by(Partition::Tiles(3)), &|_| {}).unwrap_or_default().iter().take(3) {
        read(&slicer, slice);
    }
    let _ = stores.delete_prefix(&root);
}

fn read(slicer: &Slicer, slice: &Slice) {
    for object in 0..slice.objects.len() {
        if let Ok(reader) = slicer.read(slice, object) {
            let _ = std::io::copy(&mut reader.take(READ), &mut std::io::sink());
        }
    }
    if let Ok(batches) = slicer.arrow(slice) {
        let _ = batches.take(BATCHES).count();
    }
}

/// Changes one number of a selection.
fn twist(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Number(number) => {
            let old = number.as_u64().unwrap_or(0);
            *value = [0, 1, old.wrapping_add(1), old.wrapping_sub(1), u64::MAX, 1 << 40, old / 2][dice.roll(7)].into();
        }
        Value::Array(items) if !items.is_empty() => {
            let at = dice.roll(items.len());
            twist(&mut items[at], dice);
        }
        Value::Object(members) if !members.is_empty() => {
            let at = dice.roll(members.len());
            if let Some(member) = members.values_mut().nth(at) {
                twist(member, dice);
            }
        }
        _ => {}
    }
}
