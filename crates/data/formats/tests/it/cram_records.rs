//! CRAM inside its containers: regions, exact numbers of records and Arrow, held against what samtools says.

use std::io::Read;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt8Type, UInt16Type};
use arrow_array::{Array, RecordBatch};
use neardata_core::{ObjectUri, Slice};
use neardata_formats::{ArrowOptions, Batches, Cut, FormatError, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};

use crate::cram_made::{Dice, Made};

/// Ways to write CRAM.
const OPTIONS: [&str; 14] = [
    "",
    "version=3.1,archive",
    "version=3.1,small,seqs_per_slice=200",
    "version=3.1,fast,seqs_per_slice=70",
    "seqs_per_slice=50",
    "seqs_per_slice=40,slices_per_container=3",
    "multi_seq_per_slice=1,seqs_per_slice=100",
    "embed_ref=1,seqs_per_slice=80",
    "embed_ref=2,seqs_per_slice=80",
    "no_ref=1,seqs_per_slice=90",
    "lossy_names=1,seqs_per_slice=60",
    "store_md=1,store_nm=1,seqs_per_slice=60",
    "use_bzip2=1,use_lzma=1,seqs_per_slice=300",
    "version=3.1,use_arith=1,use_tok=1,use_fqz=1,seqs_per_slice=300",
];

pub(crate) struct Lab {
    pub(crate) stores: Stores,
    pub(crate) slicer: Slicer,
    pub(crate) root: ObjectUri,
}

impl Lab {
    pub(crate) fn new(test: &str) -> Self {
        let stores = Stores::new(StoreOptions::default()).unwrap();
        let root: ObjectUri = format!("memory://cramrecords/{test}").parse().unwrap();
        let slicer = Slicer::new(stores.clone(), SideCars { root: root.join("cars") });
        Self { stores, slicer, root }
    }

    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.stores.put(&self.root.join(name), bytes.into()).unwrap();
    }

    pub(crate) fn cut(&self, cut: &Cut) -> Result<Vec<Slice>, FormatError> {
        let slices = self.slicer.cut(&self.root.join("a.cram"), cut, &|_| {})?;
        for slice in &slices {
            assert!(slice.selection.to_string().len() < 700, "{}", slice.selection);
        }
        Ok(slices)
    }

    pub(crate) fn read(&self, slice: &Slice) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.slicer.read(slice, 0)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn regions(regions: &[&str]) -> Cut {
    Cut { regions: regions.iter().map(|region| (*region).to_owned()).collect(), ..Cut::default() }
}

fn same(found: &[String], expected: &[String], what: &str) {
    let differing = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert!(differing.is_none(), "{what}:\n  {}\n  {}", differing.unwrap().0, differing.unwrap().1);
    assert_eq!(found.len(), expected.len(), "{what}");
}

#[test]
fn records_are_exact_whatever_their_containers() {
    let made = Made::new(1, 900);
    for (seed, options) in OPTIONS.iter().enumerate() {
        let lab = Lab::new(&format!("exact{seed}"));
        lab.put("a.cram", made.cram(options, "made.bam"));
        let all = made.view("a.cram", &[]);
        for step in [1_000_000, 700, 333, 90] {
            let slices = lab.cut(&Cut::by(Partition::Records(step as u64))).unwrap();
            assert_eq!(slices.len(), all.len().div_ceil(step), "{options}");
            for (slice, expected) in slices.iter().zip(all.chunks(step)) {
                same(&made.view_bytes(&lab.read(slice).unwrap()), expected, &format!("{options} by {step}"));
            }
        }
        let mut dice = Dice(seed as u64);
        let slices = lab.cut(&Cut::by(Partition::Records(3))).unwrap();
        for _ in 0..5 {
            let number = dice.roll(slices.len());
            let found = made.view_bytes(&lab.read(&slices[number]).unwrap());
            same(&found, &all[3 * number..all.len().min(3 * number + 3)], options);
        }
    }
}

#[test]
fn regions_are_those_of_samtools() {
    let made = Made::new(2, 900);
    for (seed, options) in OPTIONS.iter().enumerate() {
        let mut dice = Dice(seed as u64);
        let object = made.cram(options, "made.bam");
        let labs = [Lab::new(&format!("own{seed}")), Lab::new(&format!("crai{seed}"))];
        labs.iter().for_each(|lab| lab.put("a.cram", object.clone()));
        labs[1].put("a.cram.crai", std::fs::read(made.path().join("a.cram.crai")).unwrap());
        let mut asked: Vec<String> =
            ["one", "two", "c3", "HLA:A*01:01", "one:19990-", "c11:600-700", "two:1-1"].map(str::to_owned).into();
        for _ in 0..6 {
            let start = 1 + dice.roll(19_000);
            asked.push(format!("one:{start}-{}", start + [0, 30, 500, 8_000][dice.roll(4)]));
            asked.push(format!("{}:{}-{}", made.names[dice.roll(15)], 1 + dice.roll(200), 250 + dice.roll(400)));
        }
        for region in &asked {
            let expected = made.view("a.cram", &[region]);
            for lab in &labs {
                let slices = lab.cut(&regions(&[region])).unwrap();
                assert_eq!(slices.len(), 1);
                let found = made.view_bytes(&lab.read(&slices[0]).unwrap());
                same(&found, &expected, &format!("{options}: {region}"));
            }
        }
        // The index beside the object makes one of our own unnecessary.
        assert!(labs[1].stores.list(&labs[1].root.join("cars")).unwrap().is_empty());
        // Several at once, as many slices.
        assert_eq!(labs[0].cut(&regions(&["one:1-100", "two", "c0:5-9"])).unwrap().len(), 3);
    }
}

#[test]
fn regions_are_shared_by_where_records_start() {
    let made = Made::new(3, 700);
    for options in ["seqs_per_slice=50", "multi_seq_per_slice=1,seqs_per_slice=100"] {
        for beside in [false, true] {
            let lab = Lab::new(&format!("share{options}{beside}"));
            lab.put("a.cram", made.cram(options, "made.bam"));
            if beside {
                lab.put("a.crai", std::fs::read(made.path().join("a.cram.crai")).unwrap());
            }
            for (region, first, last) in [("one", 1, 1 << 30), ("one:3000-9000", 3_000, 9_000), ("two:10-", 10, 1 << 30)] {
                let starts = |line: &String| line.split('\t').nth(3).unwrap().parse::<u64>().unwrap();
                let mut expected = made.view("a.cram", &[region]);
                expected.retain(|line| (first..=last).contains(&starts(line)));
                for partition in [Partition::Count(7), Partition::Bytes(5_000), Partition::Records(60), Partition::Records(1)] {
                    let slices = lab.cut(&Cut { partition: Some(partition), ..regions(&[region]) }).unwrap();
                    assert!(slices.len() > 1 || !matches!(partition, Partition::Records(_)), "{options} {region} {partition:?}");
                    let step = if slices.len() > 60 { slices.len() / 40 } else { 1 };
                    let (mut passed, mut all) = (0, 0);
                    for (number, slice) in slices.iter().enumerate() {
                        if !number.is_multiple_of(step) {
                            continue;
                        }
                        let found = made.view_bytes(&lab.read(slice).unwrap());
                        all += found.len();
                        if let Some(first) = found.first() {
                            let at = expected[passed..].iter().position(|line| line == first).expect("it is one of the region");
                            assert!(step > 1 || at == 0, "{options} {region} {partition:?}: {first}");
                            passed += at;
                            same(&found, &expected[passed..passed + found.len()], &format!("{options} {region} {partition:?}"));
                            passed += found.len();
                        }
                    }
                    assert!(step > 1 || all == expected.len(), "{options} {region} {partition:?}");
                }
            }
        }
    }
}

/// Rows as samtools prints them, with `-` for bases that were not asked for, and their tags.
fn rows(batches: Batches) -> Vec<(String, Vec<(String, String)>)> {
    let mut rows = Vec::new();
    for batch in batches {
        let batch: RecordBatch = batch.unwrap();
        let text = |name: &str, row: usize| {
            let Some(column) = batch.column_by_name(name) else { return "-".to_owned() };
            let column = column.as_string::<i32>();
            if column.is_null(row) { "*".to_owned() } else { column.value(row).to_owned() }
        };
        let number = |name: &str, row: usize| {
            let column = batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
            if column.is_null(row) { 0 } else { column.value(row) }
        };
        for row in 0..batch.num_rows() {
            let flag = batch.column_by_name("flag").unwrap().as_primitive::<UInt16Type>().value(row);
            let mapq = batch.column_by_name("mapq").unwrap().as_primitive::<UInt8Type>().value(row);
            let reference = text("reference", row);
            let mate = match text("mate_reference", row) {
                mate if mate == reference && mate != "*" => "=".to_owned(),
                mate => mate,
            };
            let fields = [
                text("name", row),
                flag.to_string(),
                reference,
                number("pos", row).to_string(),
                mapq.to_string(),
                text("cigar", row),
                mate,
                number("mate_pos", row).to_string(),
                number("template_length", row).to_string(),
                text("sequence", row),
                text("quality", row),
            ];
            let entries = batch.column_by_name("tags").unwrap().as_map().value(row);
            let [keys, values] = [0, 1].map(|column| entries.column(column).as_string::<i32>().clone());
            let mut tags: Vec<(String, String)> =
                (0..keys.len()).map(|at| (keys.value(at).to_owned(), values.value(at).to_owned())).collect();
            tags.sort();
            rows.push((fields.join("\t"), tags));
        }
    }
    rows
}

/// The same of a line of samtools. MD and NM are made up by it, unless they are stored.
fn row(line: &str, stored: bool) -> (String, Vec<(String, String)>) {
    let fields: Vec<&str> = line.split('\t').collect();
    let tag = |tag: &&str| (tag[..2].to_owned(), tag[5..].to_owned());
    let made_up = |tag: &(String, String)| matches!(&tag.0[..], "MD" | "NM") && !stored;
    let mut tags: Vec<_> = fields[11..].iter().map(tag).filter(|tag| !made_up(tag)).collect();
    tags.sort();
    (fields[..11].join("\t"), tags)
}

fn file(made: &Made, name: &str) -> ObjectUri {
    format!("file://{}", made.path().join(name).display()).parse().unwrap()
}

#[test]
fn arrow_is_what_samtools_prints() {
    let made = Made::new(4, 800);
    let with_md = crate::cram_made::output("samtools", &["calmd", "-b", "made.bam", "ref.fa"], made.path(), b"");
    std::fs::write(made.path().join("md.bam"), with_md).unwrap();
    for (seed, options) in OPTIONS.iter().enumerate() {
        let lab = Lab::new(&format!("arrow{seed}"));
        let stored = options.contains("store_md");
        lab.put("a.cram", made.cram(options, if stored { "md.bam" } else { "made.bam" }));
        let expected: Vec<_> = made.view("a.cram", &[]).iter().map(|line| row(line, stored)).collect();
        let reference = Some(file(&made, "ref.fa"));
        for partition in [Partition::Count(1), Partition::Count(5), Partition::Records(222)] {
            let slices = lab.cut(&Cut { reference: reference.clone(), ..Cut::by(partition) }).unwrap();
            let found: Vec<_> = slices.iter().flat_map(|slice| rows(lab.slicer.arrow(slice).unwrap())).collect();
            assert_eq!(found.len(), expected.len(), "{options}");
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "{options}");
            }
        }
        let slice = lab.cut(&Cut { reference, ..regions(&["one:4900-8000"]) }).unwrap().remove(0);
        let expected: Vec<_> = made.view("a.cram", &["one:4900-8000"]).iter().map(|line| row(line, stored)).collect();
        assert_eq!(rows(lab.slicer.arrow(&Slice::from_json(&slice.to_json()).unwrap()).unwrap()), expected, "{options}");
    }
}

/// Files of the specification's own tests: encodings, features and corners that samtools does not write.
macro_rules! specs {
    ($($name:literal),*) => {
        [$(($name, &include_bytes!(concat!("../data/cram/specs/", $name, ".cram"))[..], include_str!(concat!("../data/cram/specs/", $name, ".txt")))),*]
    };
}

#[test]
fn examples_of_the_specification() {
    let examples = specs!(
        "0302_unmapped",
        "0507_mapped",
        "0601_mapped",
        "0710_tag",
        "1005_qual",
        "1007_seq",
        "1100_HUFFMAN",
        "1101_BETA",
        "1200_overflow",
        "1300_slice_aux"
    );
    let all =
        ["name", "flag", "reference", "pos", "mapq", "cigar", "mate_reference", "mate_pos", "template_length", "quality", "tags"];
    let columns = ArrowOptions { columns: all.map(str::to_owned).into(), ..ArrowOptions::default() };
    for (name, object, text) in examples {
        let without_bases = |line: &str| {
            let (fields, tags) = row(line, false);
            let mut fields: Vec<&str> = fields.split('\t').collect();
            fields[9] = "-";
            (fields.join("\t"), tags)
        };
        let expected: Vec<_> = text.lines().map(without_bases).collect();
        let (lab, again) = (Lab::new(name), Lab::new(&format!("{name} again")));
        lab.put("a.cram", object.to_vec());
        let mut found = Vec::new();
        for slice in lab.cut(&Cut::by(Partition::Records(1))).unwrap() {
            // What was written anew reads as what it was made of.
            again.put("a.cram", lab.read(&slice).unwrap());
            for slice in again.cut(&Cut::by(Partition::Count(1))).unwrap() {
                found.extend(rows(again.slicer.arrow_with(&slice, &columns).unwrap()));
            }
        }
        assert_eq!(found, expected, "{name}");
        let whole = lab.cut(&Cut::by(Partition::Count(1))).unwrap();
        assert_eq!(rows(lab.slicer.arrow_with(&whole[0], &columns).unwrap()), expected, "{name}");
    }
}

#[test]
fn regions_of_a_real_file() {
    let made = Made::new(9, 3);
    // Its reference is not here, so bases are not asked for.
    let view = |file: &str, region: &[&str]| {
        let fields = ["view", "--input-fmt-option", "required_fields=0xdff", file];
        crate::cram_made::lines(&crate::cram_made::output("samtools", &[&fields[..], region].concat(), made.path(), b""))
    };
    for (number, object) in
        [&include_bytes!("../data/cram/tiny-3.0.cram")[..], &include_bytes!("../data/cram/tiny-3.1.cram")[..]].iter().enumerate()
    {
        let lab = Lab::new(&format!("real{number}"));
        lab.put("a.cram", object.to_vec());
        std::fs::write(made.path().join("b.cram"), object).unwrap();
        crate::cram_made::output("samtools", &["index", "b.cram"], made.path(), b"");
        for region in ["q", "q:1-500", "q:1000-1500", "q:2000-2000", "q:12000-"] {
            let slices = lab.cut(&regions(&[region])).unwrap();
            std::fs::write(made.path().join("part.cram"), lab.read(&slices[0]).unwrap()).unwrap();
            same(&view("part.cram", &[]), &view("b.cram", &[region]), region);
        }
    }
}

#[test]
fn bases_need_the_right_reference() {
    let made = Made::new(5, 300);
    let lab = Lab::new("reference");
    lab.put("a.cram", made.cram("seqs_per_slice=100", "made.bam"));
    let slice = lab.cut(&Cut::by(Partition::Count(1))).unwrap().remove(0);
    let columns = |columns: &[&str]| ArrowOptions {
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        ..ArrowOptions::default()
    };
    let count = |slice: &Slice, options: &ArrowOptions| -> Result<usize, String> {
        let mut rows = 0;
        for batch in lab.slicer.arrow_with(slice, options).map_err(|error| error.to_string())? {
            rows += batch.map_err(|error| error.to_string())?.num_rows();
        }
        Ok(rows)
    };
    let all = made.view("a.cram", &[]).len();
    assert_eq!(count(&slice, &columns(&["quality", "name", "cigar"])), Ok(all));
    let error = count(&slice, &ArrowOptions::default()).unwrap_err();
    assert!(error.contains("a.cram: its bases are stored as differences from a reference"), "{error}");
    assert!(error.contains("--reference") && error.contains("column `sequence`"), "{error}");
    // Other bases, no such sequence, no FASTA, nothing there.
    let text = std::fs::read_to_string(made.path().join("ref.fa")).unwrap();
    let wrong = text.replace("acgt", "aggt");
    std::fs::write(made.path().join("wrong.fa"), wrong).unwrap();
    std::fs::write(made.path().join("other.fa"), ">three\nACGT\n").unwrap();
    let at = |name: &str| file(&made, name);
    let with = |reference: ObjectUri| lab.cut(&Cut { reference: Some(reference), ..Cut::by(Partition::Count(1)) });
    let error = count(&with(at("wrong.fa")).unwrap()[0], &ArrowOptions::default()).unwrap_err();
    assert!(error.contains("wrong.fa: bases 1") || error.contains("wrong.fa: bases "), "{error}");
    assert!(error.contains("of `one` are not those"), "{error}");
    let error = count(&with(at("other.fa")).unwrap()[0], &ArrowOptions::default()).unwrap_err();
    assert!(error.contains("other.fa: has no reference `one`; it has: three"), "{error}");
    assert!(with(at("made.sam")).unwrap_err().to_string().contains("it must be FASTA"));
    assert!(with(at("nothing.fa")).is_err());
    // BGZF with and without its indexes does as well.
    compress(made.path());
    let slices = with(at("ref.fa.gz")).unwrap();
    assert_eq!(count(&slices[0], &ArrowOptions::default()), Ok(all));
    // Other formats have no such option.
    lab.put("a.txt", b"one\ntwo\n".to_vec());
    let cut = Cut { reference: Some(at("ref.fa")), ..Cut::by(Partition::Count(1)) };
    let error = lab.slicer.cut(&lab.root.join("a.txt"), &cut, &|_| {}).unwrap_err();
    assert!(matches!(error, FormatError::NotOffered { option: "reference", .. }), "{error}");
}

fn compress(folder: &Path) {
    let packed = crate::cram_made::output("bgzip", &["-c", "ref.fa"], folder, b"");
    std::fs::write(folder.join("ref.fa.gz"), packed).unwrap();
}

#[test]
fn an_index_that_does_not_fit_is_noticed() {
    let made = Made::new(6, 400);
    let object = made.cram("seqs_per_slice=50", "made.bam");
    let fitting = std::fs::read(made.path().join("a.cram.crai")).unwrap();
    let other = made.cram("seqs_per_slice=70", "made.bam");
    let lab = Lab::new("foreign");
    lab.put("a.cram", other);
    lab.put("a.cram.crai", fitting.clone());
    let error = lab.cut(&regions(&["two:100-200"])).unwrap_err();
    assert!(matches!(error, FormatError::RegionIndex { .. }), "{error}");
    assert!(error.to_string().contains("was the object written after its index?"), "{error}");
    // Partitions do without it.
    assert_eq!(lab.cut(&Cut::by(Partition::Count(2))).unwrap().len(), 2);
    lab.put("a.cram", object);
    for at in 0..fitting.len() {
        let mut damaged = fitting.clone();
        damaged[at] ^= 1 << (at % 8);
        lab.put("a.cram.crai", damaged);
        match lab.cut(&regions(&["two:100-200"])) {
            Ok(slices) => drop(lab.read(&slices[0])),
            Err(error) => assert!(matches!(error, FormatError::RegionIndex { .. }), "{at}: {error}"),
        }
        lab.put("a.cram.crai", fitting[..at].to_vec());
        assert!(lab.cut(&regions(&["two:100-200"])).is_err() || at == 0, "{at}");
    }
}

#[test]
fn little_is_fetched_for_a_region() {
    let made = Made::new(7, 6_000);
    let lab = Lab::new("little");
    let object = made.cram("seqs_per_slice=100", "made.bam");
    let size = object.len() as u64;
    lab.put("a.cram", object);
    lab.put("a.cram.crai", std::fs::read(made.path().join("a.cram.crai")).unwrap());
    let stores = lab.stores.metered();
    let slicer = Slicer::new(stores.clone(), SideCars { root: lab.root.join("cars") });
    let slices = slicer.cut(&lab.root.join("a.cram"), &regions(&["one:9000-9100"]), &|_| {}).unwrap();
    let mut bytes = Vec::new();
    slicer.read(&slices[0], 0).unwrap().read_to_end(&mut bytes).unwrap();
    let fetched = stores.bytes_fetched();
    // The header of the object is looked for in its first 64 KiB, when it is cut and when it is read.
    assert!(!made.view_bytes(&bytes).is_empty() && fetched < 2 * (64 << 10) + size / 6, "{fetched} of {size}");
}
