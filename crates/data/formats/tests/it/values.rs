//! Values as Arrow that are easily lost or believed: times with a zone, numbers too large, codes, what no header declares, damage.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, TimestampNanosecondType};
use arrow_schema::DataType;
use neardata_formats::ArrowOptions;

use crate::arrow::{Corner, corner, options, says, texts, value};

fn schema(text: &str) -> ArrowOptions {
    ArrowOptions { schema: Some(ArrowOptions::schema_of(text).unwrap()), ..ArrowOptions::default() }
}

fn kinds(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect()
}

fn micros(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    batch.column_by_name(column).unwrap().as_primitive::<TimestampMicrosecondType>().iter().collect()
}

/// 2020-01-01T10:00:00Z.
const TEN: i64 = 1_577_872_800_000_000;

#[test]
fn times_with_a_zone_are_instants() {
    let corner = corner();
    for (name, content) in [
        (
            "z.csv",
            "i,a\n1,2020-01-01T10:00:00Z\n2,2020-01-01T12:00:00+02:00\n3,2020-01-01 10:00:00.5Z\n4,NA\n5,2020-01-01 05:00:00-0500\n",
        ),
        (
            "z.tsv",
            "i\ta\n1\t2020-01-01T10:00:00Z\n2\t2020-01-01T12:00:00+02:00\n3\t2020-01-01 10:00:00.5Z\n4\t\n5\t2020-01-01 05:00:00-0500\n",
        ),
        (
            "z.jsonl",
            "{\"a\":\"2020-01-01T10:00:00Z\"}\n{\"a\":\"2020-01-01T12:00:00+02:00\"}\n{\"a\":\"2020-01-01 10:00:00.5Z\"}\n{}\n\
             {\"a\":\"2020-01-01 05:00:00-0500\"}\n",
        ),
    ] {
        let expected = [Some(TEN), Some(TEN), Some(TEN + 500_000), None, Some(TEN)];
        let batch = corner.whole(name, content, &ArrowOptions::default());
        assert_eq!(kinds(&batch).last().unwrap(), "Timestamp(µs, \"UTC\")", "{name}");
        assert_eq!(micros(&batch, "a"), expected, "{name}");
        for zone in ["UTC", "+02:00", "Europe/Madrid"] {
            let batch = corner.whole(name, content, &schema(&format!("a:timestamp[us, {zone}]")));
            assert_eq!(kinds(&batch).last().unwrap(), &format!("Timestamp(µs, \"{zone}\")"), "{name}");
            assert_eq!(micros(&batch, "a"), expected, "{name} in {zone}");
        }
    }
    // A time without an offset: UTC is what it says, an offset says it as well, a zone by name would need a table of its history.
    for (name, content) in [("n.csv", "a\n2020-01-01T10:00:00\n"), ("n.jsonl", "{\"a\":\"2020-01-01T10:00:00\"}\n")] {
        let read = |zone: &str| micros(&corner.whole(name, content, &schema(&format!("a:timestamp[us, {zone}]"))), "a");
        assert_eq!(read("UTC"), [Some(TEN)]);
        assert_eq!(read("+02:00"), [Some(TEN - 7_200_000_000)]);
        let error = corner.error(name, content, &schema("a:timestamp[us, Europe/Madrid]"));
        says(&error, &["`a`", "2020-01-01T10:00:00", "Europe/Madrid", "no offset", "`timestamp`"]);
    }
}

#[test]
fn nothing_is_lost_of_times_and_numbers() {
    let corner = corner();
    let first: String = "2020-01-01T10:00:00Z,1.5\n".repeat(20_000);
    for (last, words) in [
        ("2020-01-01T10:00:00.1234567Z,1", ["row 20002", "`t`", "finer", "schema="]),
        ("2020-01-01T10:00:00Z,1e999", ["row 20002", "`f`", "beyond", "schema="]),
    ] {
        says(&corner.error("late.csv", &format!("t,f\n{first}{last}\n"), &ArrowOptions::default()), &words);
    }
    let fine = corner.whole("f.csv", "t\n2020-01-01T10:00:00.1234567Z\n", &schema("t:timestamp[ns, UTC]"));
    let times = fine.column_by_name("t").unwrap().as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.value(0), TEN * 1000 + 123_456_700);
    // Beyond the years that nanoseconds reach.
    let old = corner.whole("o.csv", "t\n1492-10-12T02:00:00\n", &ArrowOptions::default());
    assert_eq!((kinds(&old), value(&old, "t", 0)), (vec!["Timestamp(µs)".to_owned()], "1492-10-12T02:00:00".to_owned()));
}

#[test]
fn json_numbers_too_large_are_text_as_in_csv() {
    let corner = corner();
    for (name, content) in [
        ("l.jsonl", "{\"n\":18446744073709551615,\"m\":9007199254740993}\n{\"n\":9007199254740993,\"m\":-9007199254740993}\n"),
        ("l.csv", "n,m\n18446744073709551615,9007199254740993\n9007199254740993,-9007199254740993\n"),
    ] {
        let batch = corner.whole(name, content, &ArrowOptions::default());
        assert_eq!(kinds(&batch), ["Utf8", "Int64"], "{name}");
        assert_eq!(texts(&batch, "n"), [Some("18446744073709551615".into()), Some("9007199254740993".into())], "{name}");
        assert_eq!(value(&batch, "m", 1), "-9007199254740993", "{name}");
        let batch = corner.whole(name, content, &schema("n:uint64"));
        assert_eq!((value(&batch, "n", 0), value(&batch, "n", 1)), ("18446744073709551615".into(), "9007199254740993".into()));
    }
    let nested = corner.whole("n.jsonl", "{\"o\":{\"l\":[1,18446744073709551615]}}\n", &ArrowOptions::default());
    assert_eq!(value(&nested, "o", 0), "{l: [1, 18446744073709551615]}");
}

#[test]
fn json_dates_are_told_as_in_csv() {
    let corner = corner();
    let lines = "{\"d\":\"2026-11-24\",\"t\":\"2026-11-24 10:00:00\",\"l\":[\"2026-11-24\",null],\"s\":\"12\",\"b\":true}\n{\"d\":null}\n";
    let batch = corner.whole("d.jsonl", lines, &ArrowOptions::default());
    assert_eq!(kinds(&batch), ["Date32", "Timestamp(µs)", "List(Date32)", "Utf8", "Boolean"]);
    assert_eq!(value(&batch, "l", 0), "[2026-11-24, ]");
    let many = "{\"d\":\"2026-11-24\",\"o\":{\"t\":\"2026-11-24T10:00:00Z\"}}\n".repeat(20_000);
    for (last, words) in [
        ("{\"d\":\"soon\"}", ["row 20001", "`d`", "soon", "Date32"]),
        ("{\"o\":{\"t\":\"soon\"}}", ["row 20001", "`o`", "soon", "Timestamp"]),
    ] {
        says(&corner.error("d.jsonl", &format!("{many}{last}\n"), &ArrowOptions::default()), &words);
    }
}

#[test]
fn errors_of_json_name_their_line_and_cause() {
    let corner = corner();
    let error = |line: &str, options: &ArrowOptions| corner.error("e.jsonl", &format!("{{\"a\":1}}\n\n{line}\n"), options);
    let all = ArrowOptions::default();
    says(&error("{\"a\":1E400}", &all), &["line 3", "`a`", "`1E400`", "large", "schema="]);
    says(&error("{\"b\":\"\\ud83d\"}", &all), &["line 3", "\\ud83d", "hex escape"]);
    says(&error("{\"a\":[1]}", &all), &["line 3", "`a`", "a list here", "plain value", "schema="]);
    says(&error("{\"a\":1", &all), &["line 3", "no JSON object", "EOF"]);
    // What is not wanted, or is given a type, is no error.
    let uri = corner.put("w.jsonl", "{\"a\":1,\"b\":2}\n{\"a\":[1],\"b\":3}\n{\"b\":1E400}\n");
    assert_eq!(corner.rows(&uri, 2, false, &ArrowOptions { columns: vec!["b".into()], ..schema("b:text") }).unwrap().len(), 3);
}

#[test]
fn codes_keep_their_zeros() {
    let corner = corner();
    let batch = corner.whole("c.csv", "zip,n,x\n08123,0,0.5\n25001,10,007.25\n", &ArrowOptions::default());
    assert_eq!(kinds(&batch), ["Utf8", "Int64", "Float64"]);
    assert_eq!(texts(&batch, "zip"), [Some("08123".into()), Some("25001".into())]);
    let numbers = corner.whole("c.csv", "zip\n08123\n25001\n", &schema("zip:int64"));
    assert_eq!(value(&numbers, "zip", 0), "8123");
    let late = format!("zip,b\n{}08123,true\n", "25001,true\n".repeat(20_000));
    says(&corner.error("late.csv", &late, &ArrowOptions::default()), &["row 20002", "`zip`", "`08123`", "code", "schema="]);
    let late = format!("zip,b\n{}25001,1\n", "25001,true\n".repeat(20_000));
    says(&corner.error("late.csv", &late, &ArrowOptions::default()), &["row 20002", "`b`", "`1`", "Boolean"]);
}

#[test]
fn json_by_name_is_told_by_its_content() {
    let corner = corner();
    let format = |name: &str, content: &str| {
        let uri = corner.put(name, content.to_owned());
        corner.cut(&uri, 1, false).unwrap()[0].format.clone()
    };
    let lines = "{\"a\":1}\n{\"a\":2}\n";
    assert_eq!(format("a.json", lines), "jsonl");
    assert_eq!(format("a", lines), "jsonl");
    assert_eq!(format("mark.json", &format!("\u{feff}{lines}")), "jsonl");
    assert_eq!(format("array.json", "[{\"a\":1},\n{\"a\":2}]\n"), "text");
    assert_eq!(format("pretty.json", "{\n  \"a\": 1\n}\n"), "text");
    assert_eq!(format("log.txt", lines), "text");
}

const HEAD: &str = "##fileformat=VCFv4.3\n##contig=<ID=1>\n##INFO=<ID=DP,Number=1,Type=Integer,Description=\"d\">\n\
    ##INFO=<ID=AC,Number=A,Type=Integer,Description=\"a\">\n##INFO=<ID=FL,Number=0,Type=Flag,Description=\"f\">\n\
    ##FORMAT=<ID=GT,Number=1,Type=String,Description=\"g\">\n##FORMAT=<ID=GQ,Number=1,Type=Integer,Description=\"q\">\n\
    #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts\tt\n";

fn vcf(rows: &[&str]) -> String {
    HEAD.to_owned() + &rows.iter().map(|row| row.replace(' ', "\t") + "\n").collect::<String>()
}

#[test]
fn references_may_be_longer_than_int32() {
    let corner = corner();
    let text = vcf(&["1 10009999919 . A C . . DP=1;AC=2 GT 0/1 1/1"]);
    let batch = corner.whole("l.vcf", text, &ArrowOptions::default());
    assert_eq!(value(&batch, "pos", 0), "10009999919");
    let sam = "@SQ\tSN:1\tLN:10009999999\nr\t1\t1\t10009999919\t9\t1M\t=\t10009999950\t-10009999919\tA\tI\n";
    let batch = corner.whole("l.sam", sam, &ArrowOptions::default());
    assert_eq!((value(&batch, "pos", 0), value(&batch, "mate_pos", 0)), ("10009999919".into(), "10009999950".into()));
    assert_eq!(value(&batch, "template_length", 0), "-10009999919");
    let large = vcf(&["1 5 . A C . . DP=3000000000;AC=1,3000000000 GT:GQ 0/1:3000000000 1/1"]);
    let error = corner.error("n.vcf", &large, &ArrowOptions::default());
    says(&error, &["row 1", "`info.DP`", "`3000000000`", "Int32", "--schema 'info.DP:TYPE'", "schema="]);
    let given = schema("info.DP:int64,info.AC:list<int64>,format.GQ:list<int64>");
    let batch = corner.whole("n.vcf", large, &given);
    assert_eq!(value(&batch, "info.DP", 0), "3000000000");
    assert_eq!(value(&batch, "info.AC", 0), "[1, 3000000000]");
    assert_eq!(value(&batch, "format.GQ", 0), "[3000000000, ]");
}

#[test]
fn damage_in_variants_is_not_believed() {
    let corner = corner();
    let good = "1 5 . A C . . DP=1 GT:GQ 0/1:3 1/1";
    let error = |row: &str| corner.error("d.vcf", &vcf(&[good, row]), &ArrowOptions::default());
    says(&error("1 6 . A C . . DP=1 GT 0/1:5 1/1"), &["record 2", "at 1:6", "sample 1", "more values", "`GT`"]);
    says(&error("1 6 . A C . . DP=1 GT:GQ 0/1:5 1/1:1:2"), &["record 2", "sample 2", "`GT:GQ`"]);
    says(&error("1 6 . A C . . DP=1;DP=2 GT 0/1 1/1"), &["record 2", "at 1:6", "`info.DP`", "twice"]);
    says(&error("1 6 . A C . . DP=1 GT:GT 0/1:0/1 1/1"), &["record 2", "`format.GT`", "twice"]);
    // As bcftools has it: a flag that has a value is set.
    let flag = corner.whole("f.vcf", vcf(&["1 6 . A C . . FL=1 GT 0/1 1/1"]), &ArrowOptions::default());
    assert_eq!(value(&flag, "info.FL", 0), "true");
}

#[test]
fn what_no_header_declares_is_text_if_the_first_records_have_it() {
    let corner = corner();
    let row = "1 5 . A C . . DP=1;NEW=a,b;SEEN GT:XX 0/1:x 1/1";
    let other = "1 6 . A C . . SEEN=2;NEW;ON GT 0/1 1/1";
    let text = vcf(&[row, other]);
    let batch = corner.whole("u.vcf", text.clone(), &ArrowOptions::default());
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        names[7..],
        ["info.DP", "info.AC", "info.FL", "info.NEW", "info.SEEN", "info.ON", "format.GT", "format.GQ", "format.XX"]
    );
    assert_eq!(texts(&batch, "info.NEW"), [Some("a,b".into()), None]);
    assert_eq!(texts(&batch, "info.SEEN"), [None, Some("2".into())]);
    assert_eq!((value(&batch, "info.ON", 0), value(&batch, "info.ON", 1)), ("false".into(), "true".into()));
    assert_eq!(value(&batch, "format.XX", 0), "[x, ]");
    // The same columns whichever slice is read, and from any encoding.
    for object in neardata_formats::conformance::encodings("u.vcf", text.as_bytes()) {
        let uri = corner.put(&object.name, object.stored.clone());
        let one = corner.rows(&uri, 1, false, &ArrowOptions::default()).unwrap();
        assert!(corner.rows(&uri, 2, false, &ArrowOptions::default()).unwrap() == one, "{}", object.name);
        assert_eq!(corner.rows(&uri, 2, false, &options(&["pos", "info.NEW"])).unwrap().len(), 2, "{}", object.name);
    }
    // Later ones are errors, unless they are given or not wanted.
    let late = vcf(&["1 5 . A C . . DP=1 GT 0/1 1/1\n".repeat(9_000).trim_end(), row]);
    let error = corner.error("late.vcf", &late, &ArrowOptions::default());
    says(&error, &["record 9001", "at 1:5", "INFO `NEW`", "--schema 'info.NEW:text'", "--columns", "schema="]);
    let uri = corner.put("late.vcf", late);
    let given = schema("info.NEW:list<text>,info.SEEN:bool,format.XX:list<text>");
    assert_eq!(corner.rows(&uri, 3, false, &given).unwrap().len(), 9_001);
    assert_eq!(corner.rows(&uri, 3, false, &options(&["pos"])).unwrap().len(), 9_001);
}

#[test]
fn columns_that_are_given_are_of_the_type_given() {
    let corner: Corner = corner();
    let batch = corner.whole("g.csv", "a,b\n1,2.50\n", &schema("a:text,b:decimal(9, 2)"));
    assert_eq!(batch.schema().field(1).data_type(), &DataType::Decimal128(9, 2));
    assert_eq!((value(&batch, "a", 0), value(&batch, "b", 0)), ("1".into(), "2.50".into()));
    let unknown = ArrowOptions { schema: Some(Arc::new(arrow_schema::Schema::empty())), ..ArrowOptions::default() };
    assert_eq!(kinds(&corner.whole("g.csv", "a,b\n1,2.50\n", &unknown)), ["Int64", "Float64"]);
}
