//! Records as Arrow: the rows of all slices are the rows of the object, whatever the slices; values are what the text says.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use neardata_core::{ObjectUri, Slice};
use neardata_formats::conformance::{awkward_texts, encodings, fasta, fastq, lines};
use neardata_formats::{ArrowOptions, Cut, Partition, SideCars, Slicer};
use neardata_store::{StoreOptions, Stores};
use std::sync::Arc;

/// A corner of memory with a slicer.
pub(crate) struct Corner {
    slicer: Slicer,
    stores: Stores,
    root: ObjectUri,
}

pub(crate) fn corner() -> Corner {
    static CORNERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    static STORES: std::sync::LazyLock<Stores> = std::sync::LazyLock::new(|| Stores::new(StoreOptions::default()).unwrap());
    let number = CORNERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let root: ObjectUri = format!("memory://arrow/{number}").parse().unwrap();
    let options = neardata_formats::IndexOptions { span: 40_000, point_span: 3_000 };
    let slicer = Slicer::new(STORES.clone(), SideCars { root: root.join("side-cars") }).with_options(options);
    Corner { slicer, stores: STORES.clone(), root }
}

impl Corner {
    pub(crate) fn put(&self, name: &str, bytes: impl Into<bytes::Bytes>) -> ObjectUri {
        let uri = self.root.join(name);
        self.stores.put(&uri, bytes.into()).unwrap();
        uri
    }

    pub(crate) fn cut(&self, uri: &ObjectUri, n: u64, header: bool) -> Result<Vec<Slice>, String> {
        let cut = Cut { header, ..Cut::by(Partition::Count(n)) };
        self.slicer.cut(uri, &cut, &|_| {}).map_err(|error| error.to_string())
    }

    pub(crate) fn batches(&self, slices: &[Slice], options: &ArrowOptions) -> Result<Vec<RecordBatch>, String> {
        let mut all = Vec::new();
        for slice in slices {
            let batches = self.slicer.arrow_with(slice, options).map_err(|error| error.to_string())?;
            for batch in batches {
                all.push(batch.map_err(|error| error.to_string())?);
            }
        }
        Ok(all)
    }

    /// The rows of an object as text, cut into `n`; one line a row.
    pub(crate) fn rows(&self, uri: &ObjectUri, n: u64, header: bool, options: &ArrowOptions) -> Result<Vec<String>, String> {
        let slices = self.cut(uri, n, header)?;
        Ok(self.batches(&slices, options)?.iter().flat_map(rows_of).collect())
    }

    pub(crate) fn error(&self, name: &str, content: &str, options: &ArrowOptions) -> String {
        let uri = self.put(name, content.as_bytes().to_vec());
        self.rows(&uri, 1, false, options).unwrap_err()
    }
}

fn rows_of(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows())
        .map(|row| {
            let value = |(array, field): (&arrow_array::ArrayRef, &Arc<Field>)| {
                let value = array.slice(row, 1);
                format!("{}:{}={value:?}", field.name(), field.data_type())
            };
            let schema = batch.schema();
            batch.columns().iter().zip(schema.fields()).map(value).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

pub(crate) fn options(columns: &[&str]) -> ArrowOptions {
    ArrowOptions { columns: columns.iter().map(|name| (*name).to_owned()).collect(), ..ArrowOptions::default() }
}

#[track_caller]
pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    batch.column_by_name(column).unwrap().as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect()
}

#[track_caller]
pub(crate) fn says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "`{word}` is missing in: {error}");
    }
}

/// CSV with all that breaks slicers: quoted line ends, doubled quotes, umlauts, empty fields, bare quotes.
pub(crate) fn csv(rows: u64, separator: char, end: &str) -> String {
    let mut text = ["id", "näme", "score", "when", "flag"].join(&separator.to_string()) + end;
    for row in 0..rows {
        let name = match row % 5 {
            0 => format!("\"Zoë{separator} \"\"the{end}{row}th\"\"\""),
            1 => format!("{row}\" pipe"),
            2 => String::new(),
            3 => "日本語".repeat((row % 7) as usize),
            _ => format!("\"{}\"", "x\n".repeat((row % 11) as usize)),
        };
        let score = if row % 4 == 0 { String::new() } else { format!("{}.5", row * 3) };
        let fields = [row.to_string(), name, score, format!("2026-01-{:02}", row % 28 + 1), (row % 2 == 0).to_string()];
        text += &fields.join(&separator.to_string());
        text += end;
    }
    text
}

fn json_lines(rows: u64) -> String {
    let row = |row: u64| {
        let list = (0..row % 4).map(|item| item.to_string()).collect::<Vec<_>>().join(",");
        let missing = if row.is_multiple_of(3) { "" } else { ",\"half\":0.5" };
        format!("{{\"row\":{row},\"text\":\"é\\n{row}\",\"list\":[{list}],\"in\":{{\"b\":true,\"a\":{row}}}{missing}}}\n")
    };
    (0..rows).map(row).collect()
}

/// Every format: the rows of many slices are those of one.
#[test]
fn rows_of_all_slices_are_the_rows_of_the_object() {
    let corner = corner();
    let objects: Vec<(&str, Vec<u8>, u64)> = vec![
        ("l.fastq", fastq(700, 1), 700),
        ("l.fa", fasta(90, 2), 90),
        ("l.csv", csv(800, ',', "\n").into(), 800),
        ("crlf.csv", csv(500, ';', "\r\n").into(), 500),
        ("l.tsv", csv(500, '\t', "\n").into(), 500),
        ("bar.csv", csv(300, '|', "\n").trim_end().to_owned().into(), 300),
        ("l.jsonl", json_lines(600).into(), 600),
        ("l.txt", lines(900, 3).into_iter().map(|byte| byte & 127).collect(), 900),
    ];
    for (name, content, records) in objects {
        for object in encodings(name, &content).into_iter().filter(|object| !object.name.starts_with("level.")) {
            let uri = corner.put(&object.name, object.stored.clone());
            let options = ArrowOptions { batch_rows: 97, ..ArrowOptions::default() };
            let one = corner.rows(&uri, 1, false, &options).unwrap();
            assert_eq!(one.len() as u64, records, "{}", object.name);
            for n in [2, 7, 64, 5000] {
                assert!(corner.rows(&uri, n, false, &options).unwrap() == one, "{} in {n}", object.name);
            }
            if name.ends_with("sv") {
                for n in [1, 3, 50] {
                    assert!(corner.rows(&uri, n, true, &options).unwrap() == one, "{} in {n}, headed", object.name);
                }
            }
        }
    }
}

#[test]
fn awkward_texts_agree_in_any_number_of_slices() {
    let corner = corner();
    for (name, content) in awkward_texts() {
        let uri = corner.put(&name, content);
        let one = corner.rows(&uri, 1, false, &ArrowOptions::default());
        let many = corner.rows(&uri, 5, false, &ArrowOptions::default());
        assert_eq!(one.is_ok(), many.is_ok(), "{name}");
        if let (Ok(one), Ok(many)) = (one, many) {
            assert!(one == many, "{name}");
        }
    }
}

#[test]
fn reads_and_sequences_are_what_their_lines_say() {
    let corner = corner();
    let uri = corner.put("r.fastq", "@a one two\r\nACGT\r\n+\r\nII#I\r\n@b\n\n+b\n\n\n\n");
    let slices = corner.cut(&uri, 1, false).unwrap();
    let batch = corner.batches(&slices, &ArrowOptions::default()).unwrap().remove(0);
    assert_eq!(texts(&batch, "name"), [Some("a".into()), Some("b".into())]);
    assert_eq!(texts(&batch, "description"), [Some("one two".into()), None]);
    assert_eq!(texts(&batch, "sequence"), [Some("ACGT".into()), Some(String::new())]);
    assert_eq!(texts(&batch, "quality"), [Some("II#I".into()), Some(String::new())]);
    let some = corner.batches(&slices, &options(&["quality", "name"])).unwrap().remove(0);
    assert_eq!(some.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["quality", "name"]);

    let uri = corner.put("s.fa", "\n>x\tthe first\nACG\r\nT\n\n>y\n>z>\nNN");
    let batch = corner.batches(&corner.cut(&uri, 1, false).unwrap(), &ArrowOptions::default()).unwrap().remove(0);
    assert_eq!(texts(&batch, "name"), [Some("x".into()), Some("y".into()), Some("z>".into())]);
    assert_eq!(texts(&batch, "description"), [Some("the first".into()), None, None]);
    assert_eq!(texts(&batch, "sequence"), [Some("ACGT".into()), Some(String::new()), Some("NN".into())]);
}

#[test]
fn csv_is_typed_from_its_first_rows_or_as_told() {
    let corner = corner();
    for (name, content) in [
        ("a.csv", "\u{feff}id,name,x,when,\n1,\"a,\"\"b\"\"\nc\",NA,2026-11-24 10:00:00,\n2,,2.5,,z\n"),
        ("b.csv", "id;name;x;when;\r\n1;\"a,\"\"b\"\"\nc\";NA;2026-11-24 10:00:00;\r\n2;;2.5;;z"),
        ("c.tsv", "id\tname\tx\twhen\t\n1\t\"a,\"\"b\"\"\nc\"\tNA\t2026-11-24 10:00:00\t\n\n2\t\t2.5\t\tz\n"),
    ] {
        let uri = corner.put(name, content);
        let slices = corner.cut(&uri, 1, false).unwrap();
        let batch = corner.batches(&slices, &ArrowOptions::default()).unwrap().remove(0);
        assert_eq!(texts(&batch, "name"), [Some("a,\"b\"\nc".into()), None], "{name}");
        assert_eq!(texts(&batch, "column_5"), [None, Some("z".into())], "{name}");
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
        let x = batch.column(2).as_primitive::<Float64Type>();
        assert!(x.is_null(0) && x.value(1) == 2.5);
        assert_eq!(batch.column(3).data_type().to_string(), "Timestamp(µs)");
        // Types that are given; the others are told from the rows still.
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, true),
            Field::new("x", DataType::Decimal128(9, 2), true),
        ]));
        let batch = corner.batches(&slices, &ArrowOptions { schema: Some(schema), ..ArrowOptions::default() }).unwrap().remove(0);
        assert_eq!(texts(&batch, "id"), [Some("1".into()), Some("2".into())]);
        assert_eq!(batch.column(2).data_type(), &DataType::Decimal128(9, 2));
        let headless = corner.batches(&slices, &ArrowOptions { header_row: false, ..ArrowOptions::default() }).unwrap().remove(0);
        assert_eq!(headless.num_rows(), 3);
        assert_eq!(texts(&headless, "column_1")[1], Some("1".into()));
    }
    let uri = corner.put("twice.csv", "a,a,a_1\n1,2,3\n");
    let batch = corner.batches(&corner.cut(&uri, 1, false).unwrap(), &ArrowOptions::default()).unwrap().remove(0);
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["a", "a_1", "a_1_1"]);
}

#[test]
fn what_does_not_fit_is_an_error_with_its_place() {
    let corner = corner();
    let rows: String = (0..20_000).map(|row| format!("{row},x\n")).collect();
    let late = format!("n,t\n{rows}12.5,y\n");
    let error = corner.error("late.csv", &late, &ArrowOptions::default());
    says(&error, &["late.csv", "row 20002", "`n`", "`12.5`", "Int64", "schema="]);
    // The same row by whichever slice it is read.
    let uri = corner.put("late.csv", late);
    for header in [false, true] {
        assert_eq!(corner.rows(&uri, 9, header, &ArrowOptions::default()).unwrap_err(), error);
    }
    assert_eq!(corner.rows(&uri, 9, false, &options(&["t"])).unwrap().len(), 20_001);
    let schema = Some(Arc::new(Schema::new(vec![Field::new("n", DataType::Float64, true)])));
    assert_eq!(corner.rows(&uri, 9, true, &ArrowOptions { schema, ..ArrowOptions::default() }).unwrap().len(), 20_001);

    says(&corner.error("ragged.csv", "a,b\n1,2\n3\n", &ArrowOptions::default()), &["ragged.csv", "record 3", "1 fields", "2"]);
    says(&corner.error("none.csv", "a,b\n1,2\n", &options(&["c"])), &["`c`", "a, b"]);
    says(&corner.error("latin.txt", "ok\n", &options(&["text"])), &["`text`", "line"]);
    let many = "{\"n\":1}\n".repeat(200_000);
    let error = |last: &str| corner.error("late.jsonl", &format!("{many}{last}\n"), &ArrowOptions::default());
    says(&error("{\"n\":1.5}"), &["row 200001", "`n`", "`1.5`", "Int64", "schema="]);
    says(&error("{\"n\":\"x\"}"), &["row 200001", "`n`", "x"]);
    says(&error("{\"n\":true}"), &["row 200001", "`n`", "true"]);
    says(&error("{\"n\":2,\"m\":3}"), &["row 200001", "`m`", "`3`", "schema="]);
    says(&error("{\"n\":2"), &["record 200001", "whole JSON object"]);
    says(&error("{\"n\":2} {\"n\":3}"), &["record 200001", "whole JSON object"]);
    let latin = corner.put("latin.txt", b"ok\nM\xfcller\n".to_vec());
    says(&corner.rows(&latin, 1, false, &ArrowOptions::default()).unwrap_err(), &["record 2", "UTF-8", "iconv"]);
}

#[test]
fn json_lines_are_typed_from_their_first_lines() {
    let corner = corner();
    let uri =
        corner.put("x.jsonl", "{\"z\":1,\"a\":\"x\"}\n\n{\"a\":null,\"l\":[1,2],\"s\":{\"q\":1.5}}\n{\"z\":9007199254740993}");
    let batch = corner.batches(&corner.cut(&uri, 1, false).unwrap(), &ArrowOptions::default()).unwrap().remove(0);
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["z", "a", "l", "s"]);
    let z = batch.column(0).as_primitive::<Int64Type>();
    assert!(z.value(0) == 1 && z.is_null(1) && z.value(2) == 9_007_199_254_740_993);
    assert_eq!(batch.column(2).as_list::<i32>().value(1).as_primitive::<Int64Type>().values(), &[1, 2]);
}

/// A header that is asked for stands in front of every slice, and in none.
#[test]
fn a_header_row_is_repeated_where_asked() {
    let corner = corner();
    for (name, content) in [("h.csv", csv(300, ';', "\r\n")), ("h.tsv", csv(300, '\t', "\n")), ("h.txt", "head\nä\nb\n".into())]
    {
        for object in encodings(name, content.as_bytes()) {
            let uri = corner.put(&object.name, object.stored.clone());
            let header = content.find('\n').unwrap() + 1;
            for n in [1, 2, 30, 1000] {
                let mut joined = Vec::new();
                for slice in corner.cut(&uri, n, true).unwrap() {
                    let mut whole = Vec::new();
                    std::io::copy(&mut corner.slicer.read(&slice, 0).unwrap(), &mut whole).unwrap();
                    let mut records = Vec::new();
                    std::io::copy(&mut corner.slicer.read_records(&slice, 0).unwrap(), &mut records).unwrap();
                    assert!(whole[..header] == content.as_bytes()[..header] && whole[header..] == records && !records.is_empty());
                    joined.extend(records);
                }
                assert!(joined == content.as_bytes()[header..], "{} in {n}", object.name);
            }
        }
    }
    for (name, content) in [("empty.csv", ""), ("only.csv", "a,b\n"), ("open.csv", "a,b")] {
        let uri = corner.put(name, content);
        assert!(corner.cut(&uri, 3, true).unwrap().is_empty(), "{name}");
    }
    let uri = corner.put("r.fastq", fastq(3, 1));
    says(&corner.cut(&uri, 2, true).unwrap_err(), &["FASTQ", "`header`"]);
}

const CALLS_VCF: &str = include_str!("../data/arrow/calls.vcf");
const CALLS_BCF: &[u8] = include_bytes!("../data/arrow/calls.bcf");
const READS_SAM: &str = include_str!("../data/arrow/reads.sam");
const READS_BAM: &[u8] = include_bytes!("../data/arrow/reads.bam");

impl Corner {
    pub(crate) fn whole(&self, name: &str, bytes: impl Into<bytes::Bytes>, options: &ArrowOptions) -> RecordBatch {
        let uri = self.put(name, bytes);
        let mut batches = self.batches(&self.cut(&uri, 1, false).unwrap(), options).unwrap();
        assert_eq!(batches.len(), 1);
        batches.remove(0)
    }
}

/// A value as `format` of the array gives it.
pub(crate) fn value(batch: &RecordBatch, column: &str, row: usize) -> String {
    let array = batch.column_by_name(column).unwrap();
    arrow_cast::display::array_value_to_string(array, row).unwrap()
}

#[test]
fn variants_are_the_same_from_text_and_binary() {
    let corner = corner();
    let text = corner.whole("calls.vcf", CALLS_VCF, &ArrowOptions::default());
    let binary = corner.whole("calls.bcf", CALLS_BCF, &ArrowOptions::default());
    assert_eq!(text.schema(), binary.schema());
    for (column, field) in text.schema().fields().iter().enumerate() {
        assert_eq!(text.column(column), binary.column(column), "{}", field.name());
    }
    assert_eq!(text.schema().metadata()["samples"], r#"["NA1","NA2","NA3"]"#);
    for (column, row, expected) in [
        ("chrom", 3, "HLA:A*01"),
        ("pos", 0, "1000"),
        ("id", 0, "rs1;rs2"),
        ("id", 1, ""),
        ("ref", 1, "ACGT"),
        ("alt", 0, "[C, G]"),
        ("alt", 1, "[]"),
        ("alt", 2, "[<DEL>]"),
        ("qual", 0, "29.5"),
        ("qual", 1, ""),
        ("filter", 0, "[PASS]"),
        ("filter", 1, ""),
        ("filter", 2, "[q10, s50]"),
        ("info.DP", 3, "-2147483640"),
        ("info.DP", 2, ""),
        ("info.AF", 0, "[0.5, 0.25]"),
        ("info.AF", 2, ""),
        ("info.AF", 3, "[, 0.00001]"),
        ("info.AC", 3, "[300, 70000]"),
        ("info.DB", 0, "true"),
        ("info.DB", 1, "false"),
        ("info.ANN", 0, "[x|y, z]"),
        ("info.END", 2, "2000"),
        ("format.GT", 0, "[0|1, 1/2, ./.]"),
        ("format.GT", 1, "[0/0, 0, .]"),
        ("format.GT", 2, "[1, 0|0|1, 1/.]"),
        ("format.AD", 0, "[[10, 4, 0], [1, 2, 3], ]"),
        ("format.AD", 3, "[[300, 70000, 1], [, 5, ], ]"),
        ("format.AD", 2, ""),
        ("format.GQ", 0, "[48.5, , ]"),
        ("format.FT", 2, "[, longer_filter, ]"),
    ] {
        // A single dot is a genotype that is missing.
        let expected = expected.replace("0, .]", "0, ]");
        assert_eq!(value(&text, column, row), expected, "{column} of {row}");
    }
    let some = corner.whole("some.bcf", CALLS_BCF, &options(&["format.GT", "info.DB", "pos"]));
    let names: Vec<String> = some.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["format.GT", "info.DB", "pos"]);
    assert_eq!(some.column(0), text.column_by_name("format.GT").unwrap());
    assert_eq!(some.column(1), text.column_by_name("info.DB").unwrap());
}

#[test]
fn variants_that_break_their_header_are_refused_with_their_place() {
    let corner = corner();
    let with = |from: &str, to: &str| {
        assert!(CALLS_VCF.contains(from));
        corner.error("x.vcf", &CALLS_VCF.replacen(from, to, 1), &ArrowOptions::default())
    };
    says(&with("DP=14", "DP=1.5"), &["x.vcf", "row 1", "`info.DP`", "`1.5`", "Int32"]);
    says(&with("AC=2,1", "AC=2,x"), &["row 1", "`info.AC`", "`x`"]);
    says(&with("chr1\t1001", "chr1\tx"), &["record 2", "at chr1:x", "POS", "`x`"]);
    says(&with("\t1/.:.:7", ""), &["record 3", "2 samples", "3"]);
    let undeclared = CALLS_VCF.replacen("END=2000", "NEW=2000", 1);
    let schema = Schema::new(vec![Field::new("info.NEW", DataType::Utf8, true), Field::new("info.DP", DataType::Float32, true)]);
    let batch = corner.whole("n.vcf", undeclared, &ArrowOptions { schema: Some(Arc::new(schema)), ..ArrowOptions::default() });
    assert_eq!((value(&batch, "info.NEW", 2), value(&batch, "info.DP", 0)), ("2000".into(), "14.0".into()));
}

#[test]
fn alignments_are_the_same_from_text_and_binary() {
    let corner = corner();
    let text = corner.whole("reads.sam", READS_SAM, &ArrowOptions::default());
    let binary = corner.whole("reads.bam", READS_BAM, &ArrowOptions::default());
    assert_eq!(text.schema(), binary.schema());
    for (column, field) in text.schema().fields().iter().enumerate() {
        assert_eq!(text.column(column), binary.column(column), "{}", field.name());
    }
    for (column, row, expected) in [
        ("name", 0, "r1"),
        ("name", 2, ""),
        ("flag", 0, "99"),
        ("reference", 4, "HLA:A*01"),
        ("reference", 2, ""),
        ("pos", 0, "101"),
        ("pos", 2, ""),
        ("mapq", 1, "255"),
        ("cigar", 0, "3S10M2I5M1D4M"),
        ("cigar", 2, ""),
        ("mate_reference", 0, "chr1"),
        ("mate_reference", 4, "chr1"),
        ("mate_pos", 1, ""),
        ("template_length", 4, "-7"),
        ("sequence", 1, "MRWSY"),
        ("sequence", 4, ""),
        ("quality", 0, "IIIIIIIIIIIIIIIIIIII##~!"),
        ("quality", 1, ""),
        (
            "tags",
            0,
            "{NM: 3, MD: 15^A4, XA: c, XF: -1.5, XB: c,-1,2,127, XS: S,1,65535, XG: f,0.5,-2, XH: 1AE301, XI: 4294967295, XN: -70000}",
        ),
        ("tags", 1, "{}"),
        ("tags", 3, "{RG: one two}"),
    ] {
        assert_eq!(value(&text, column, row), expected, "{column} of {row}");
    }
    let some = corner.whole("some.bam", READS_BAM, &options(&["cigar", "name"]));
    assert_eq!(some.column(0), text.column_by_name("cigar").unwrap());
}

/// Rows of formats with a header: of all slices, of regions, and of mutilated objects.
#[test]
fn rows_behind_a_header_are_those_of_the_object() {
    let corner = corner();
    let vcf_rows: String = (1..400)
        .map(|pos| format!("chr1\t{pos}\t.\tA\tC\t{pos}\tPASS\tDP={pos};AF=0.{pos}\tGT:AD\t0/1:{pos},1\t./.:.\t1|1:0,{pos}\n"))
        .collect();
    let head = &CALLS_VCF[..CALLS_VCF.find("\nchr1").unwrap() + 1];
    let sam_rows: String =
        (1..400).map(|pos| format!("r{pos}\t0\tchr1\t{pos}\t9\t4M\t*\t0\t0\tACGT\tIIII\tNM:i:{pos}\n")).collect();
    let sam_head = &READS_SAM[..READS_SAM.find("\nr1").unwrap() + 1];
    for (name, head, rows) in [("h.vcf", head, vcf_rows), ("h.sam", sam_head, sam_rows)] {
        for object in encodings(name, (head.to_owned() + &rows).as_bytes()) {
            let uri = corner.put(&object.name, object.stored.clone());
            let options = ArrowOptions { batch_rows: 77, ..ArrowOptions::default() };
            let one = corner.rows(&uri, 1, false, &options).unwrap();
            assert_eq!(one.len(), 399);
            for n in [2, 13, 500] {
                assert!(corner.rows(&uri, n, false, &options).unwrap() == one, "{} in {n}", object.name);
            }
            if object.name.starts_with("bgzf-h.vcf") {
                let cut = Cut { regions: vec!["chr1:100-199".into()], ..Cut::default() };
                let slices = corner.slicer.cut(&uri, &cut, &|_| {}).unwrap();
                let found: Vec<String> = corner.batches(&slices, &options).unwrap().iter().flat_map(rows_of).collect();
                assert_eq!(found, one[99..199]);
            }
        }
    }
    for (name, bytes, rows) in [("l.bam", READS_BAM, 5), ("l.bcf", CALLS_BCF, 5)] {
        let uri = corner.put(name, bytes);
        let one = corner.rows(&uri, 1, false, &ArrowOptions::default()).unwrap();
        assert_eq!(one.len(), rows);
        for n in [2, 3, 9] {
            assert_eq!(corner.rows(&uri, n, false, &ArrowOptions::default()).unwrap(), one);
        }
    }
}

/// Whatever the bytes: an answer or an error.
#[test]
fn mutilated_objects_give_an_answer_or_an_error() {
    let corner = corner();
    let unpack = |packed: &[u8]| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(packed), &mut bytes).unwrap();
        bytes
    };
    let objects: Vec<(&str, Vec<u8>)> = vec![
        ("m.bam", unpack(READS_BAM)),
        ("m.bcf", unpack(CALLS_BCF)),
        ("m.vcf", CALLS_VCF.into()),
        ("m.sam", READS_SAM.into()),
        ("m.csv", csv(6, ';', "\r\n").into()),
        ("m.jsonl", json_lines(6).into()),
        ("m.fastq", fastq(4, 1)),
        ("m.fa", fasta(3, 1)),
    ];
    let read = |name: &str, bytes: &[u8]| {
        let bytes = if name.ends_with("am") || name.ends_with("bcf") {
            neardata_formats::conformance::bgzf(bytes, true)
        } else {
            bytes.to_vec()
        };
        let uri = corner.put(name, bytes);
        for n in [1, 3] {
            let _ = corner.rows(&uri, n, false, &ArrowOptions::default());
        }
    };
    for (name, bytes) in objects {
        for place in (0..bytes.len()).step_by(1 + bytes.len() / 700) {
            read(name, &bytes[..place]);
            for flip in [1_u8, 0x80, 0xff] {
                let mut flipped = bytes.clone();
                flipped[place] ^= flip;
                read(name, &flipped);
            }
        }
    }
}

/// Large plain objects that are cut without an index give the same rows.
#[test]
fn rows_of_slices_cut_without_an_index() {
    let mut corner = corner();
    corner.slicer = corner.slicer.with_lazy_above(1000);
    let pos = |pos: u32| format!("chr1\t{pos}\t.\tA\tC\t{pos}\tPASS\tDP={pos}\tGT\t0/1\t./.\t1|1\n");
    let vcf = CALLS_VCF[..CALLS_VCF.find("\nchr1").unwrap() + 1].to_owned() + &(1..9000).map(pos).collect::<String>();
    for (name, content) in [("z.vcf", vcf.into_bytes()), ("z.jsonl", json_lines(9000).into()), ("z.fa", fasta(200, 7))] {
        let uri = corner.put(name, content);
        let one = corner.rows(&uri, 1, false, &ArrowOptions::default()).unwrap();
        let slices = corner.cut(&uri, 5, false).unwrap();
        assert!(slices[1].selection.get("bytes").is_some(), "{name}");
        assert!(corner.rows(&uri, 5, false, &ArrowOptions::default()).unwrap() == one, "{name}");
    }
}
