"""CSV, TSV and JSON Lines beside pandas and DuckDB; VCF, BCF, SAM and BAM beside bcftools and samtools: the same rows as Arrow.

Where the rules differ from ours, as docs/formats/arrow.md has them:

- pandas tells no dates, times or nested types: it is told which columns are times;
- pandas reads `08123` as a number; here and in DuckDB it is text;
- whole numbers beyond int64 are text here, HUGEINT or DOUBLE in DuckDB, uint64 or text in pandas;
- DuckDB takes `NA`, `null` and the like for text, unless told `nullstr`; here they are missing in columns that are no text;
- DuckDB shows times with a zone in the zone of the session: instants are compared;
- bcftools and samtools print floats with six digits: as many are compared.
"""

from __future__ import annotations

import datetime
import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import neardata
import pytest
from peers import needs, needs_program

DATA = Path(__file__).parent / "data/rows"
#: Real files of packages, where they are installed.
INSTALLED = [Path("/usr/share/doc/freebayes/examples"), Path("/usr/share/doc/samtools/examples")]
CUTS: list[dict[str, Any]] = [{"n": 1}, {"n": 2}, {"n": 7}, {"bytes": "1K"}, {"records": 3}]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDATA_CACHE", str(tmp_path / "cache"))


def read(path: Path, cut: dict[str, Any], **options: Any) -> Any:
    """All slices together, as one table."""
    import pyarrow

    return pyarrow.concat_tables([pyarrow.table(part.to_arrow(**options)) for part in neardata.slices(path, **cut)])


def plain(value: Any) -> Any:
    """A value that compares across libraries: instants in UTC, whole floats as floats, NaN as a word."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None) if value.tzinfo is None else value.astimezone(datetime.UTC)
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def columns_of(table: Any) -> dict[str, list[Any]]:
    return {name: [plain(value) for value in table[name].to_pylist()] for name in table.column_names}


ROWS = 60


def values() -> dict[str, Callable[[int], str]]:
    """What a column holds, row by row, as CSV writes it without quotes; empty is missing."""
    start = datetime.datetime(2020, 1, 31, 10, 0, 0)
    time = lambda row: (start + datetime.timedelta(hours=row, microseconds=row)).isoformat(sep=" ", timespec="microseconds")  # noqa: E731
    return {
        "whole": lambda row: str(row * 7 - 100),
        "holes": lambda row: "" if row % 3 == 0 else str(row),
        "wide": lambda row: str(2**53 + row),
        "share": lambda row: repr(row / 7),
        "small": lambda row: f"{row + 1}e-{row}",
        "truth": lambda row: ("true", "false")[row % 2],
        "day": lambda row: (start + datetime.timedelta(days=row)).date().isoformat(),
        "local": time,
        "instant": lambda row: time(row).replace(" ", "T") + ("Z", "+02:00", "-05:30")[row % 3],
        "name": lambda row: ("Zoë", "日本", "a,b;c\td|e", 'say "no"', "two\nlines", "5' pipe", "NA")[row % 7] + str(row),
        "code": lambda row: f"{row:05}",
    }


def written(separator: str, end: str, mark: str = "") -> bytes:
    """A table of all of `values`."""

    def field(text: str) -> str:
        return '"' + text.replace('"', '""').replace("\n", end) + '"' if set(text) & set(',;|\t"\n') else text

    made = values()
    lines = [separator.join(made)]
    lines += [separator.join(field(value(row)) for value in made.values()) for row in range(ROWS)]
    return (mark + "".join(line + end for line in lines)).encode()


TABLES = {
    "plain.csv": written(",", "\n"),
    "crlf.csv": written(",", "\r\n"),
    "mark.csv": written(",", "\n", "\ufeff"),
    "semicolon.csv": written(";", "\n"),
    "bar.csv": written("|", "\r\n"),
    "tabs.tsv": written("\t", "\n"),
    "open.csv": written(",", "\n").rstrip(b"\n"),
}
SEPARATORS = {"semicolon.csv": ";", "bar.csv": "|", "tabs.tsv": "\t"}


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, name: str) -> None:
    needs("pyarrow", "pandas", "duckdb")
    import duckdb
    import pandas

    path = tmp_path / name
    path.write_bytes(TABLES[name])
    separator = SEPARATORS.get(name, ",")
    tables = [read(path, cut) for cut in CUTS]
    assert all(table.equals(tables[0]) for table in tables), "cut otherwise, the rows differ"
    ours = columns_of(tables[0])
    kinds = {field.name: str(field.type) for field in tables[0].schema}
    assert kinds == {
        "whole": "int64",
        "holes": "int64",
        "wide": "int64",
        "share": "double",
        "small": "double",
        "truth": "bool",
        "day": "date32[day]",
        "local": "timestamp[us]",
        "instant": "timestamp[us, tz=UTC]",
        "name": "string",
        "code": "string",
    }

    told = duckdb.read_csv(str(path), sep=separator, all_varchar=False).to_arrow_table()
    assert {field.name: str(field.type).replace("Etc/UTC", "UTC") for field in told.schema} == kinds
    theirs = columns_of(told)
    assert theirs == ours

    missing = {"keep_default_na": False, "na_values": {kind: [""] for kind in kinds}}
    frame = pandas.read_csv(path, sep=separator, dtype={"holes": "Int64", "code": str}, float_precision="round_trip", **missing)
    for column in ("day", "local", "instant"):
        frame[column] = pandas.to_datetime(frame[column], format="ISO8601", utc=column == "instant")
    for column in kinds:
        found = [None if value is pandas.NA else plain(value) for value in frame[column].tolist()]
        if column == "day":
            found = [value.date() for value in found]
        if "\r" in TABLES[name].decode() and column == "name":
            # pandas makes one line end of another inside quotes.
            found, expected = ([text.replace("\r\n", "\n") for text in texts] for texts in (found, ours[column]))
        else:
            expected = ours[column]
        assert found == expected, column


def line(row: int) -> dict[str, Any]:
    """An object of JSON Lines, with lists and objects inside."""
    made: dict[str, Any] = {
        name: value(row) for name, value in values().items() if name in ("day", "local", "instant", "name", "code")
    }
    made |= {
        "whole": row - 5,
        "wide": -(2**53) - row,
        "share": row / 7,
        "truth": row % 2 == 0,
        "mixed": row if row % 2 else row / 2,
    }
    if row % 3:
        made["holes"] = row
    made["list"] = None if row % 5 == 0 else [[item] for item in range(row % 4)]
    made["inner"] = {"a": row, "b": {"c": None if row % 2 else f"c{row}"}, "times": [values()["instant"](row)]}
    return made


def test_lines_of_json(tmp_path: Path) -> None:
    needs("pyarrow", "pandas", "duckdb")
    import duckdb
    import pandas

    rows = [line(row) for row in range(ROWS)]
    texts = [json.dumps(row, ensure_ascii=number % 2 == 0) for number, row in enumerate(rows)]
    for name, content in {
        "lines.jsonl": "\n".join(texts) + "\n",
        "lines.ndjson": "\r\n".join(texts),
        "lines.json": "\n".join(texts),
        "lines": "\n".join(texts),
    }.items():
        path = tmp_path / name
        path.write_bytes(content.encode())
        tables = [read(path, cut) for cut in CUTS]
        assert all(table.equals(tables[0]) for table in tables), "cut otherwise, the rows differ"
        assert tables[0].column_names == list(dict.fromkeys(key for row in rows for key in row))
        ours = columns_of(tables[0])
        theirs = columns_of(duckdb.read_json(str(path), format="newline_delimited").to_arrow_table())
        assert {column: theirs[column] for column in ours} == ours, name
        frame = pandas.read_json(path, lines=True, dtype=False, convert_dates=False, precise_float=True)
        for column in ("whole", "wide", "share", "truth", "mixed", "name", "code"):
            assert frame[column].tolist() == ours[column], column
        assert [row["inner"]["b"] for row in frame.to_dict("records")] == [value["b"] for value in ours["inner"]]


def test_whole_numbers_beyond_int64(tmp_path: Path) -> None:
    needs("pyarrow", "pandas", "duckdb")
    import duckdb
    import pandas
    import pyarrow

    large = [2**64 - 1, 2**53 + 1, 2**63]
    (tmp_path / "large.csv").write_text("n\n" + "".join(f"{number}\n" for number in large))
    (tmp_path / "large.jsonl").write_text("".join(f'{{"n": {number}}}\n' for number in large))
    for path in sorted(tmp_path.glob("large.*")):
        assert read(path, {"n": 2})["n"].to_pylist() == [str(number) for number in large]
        given = read(path, {"n": 2}, schema=pyarrow.schema([("n", pyarrow.uint64())]))
        assert given["n"].to_pylist() == large
    assert pandas.read_csv(tmp_path / "large.csv")["n"].tolist() == large
    found = duckdb.sql(f"select n::varchar from read_json_auto('{tmp_path}/large.jsonl')").fetchall()
    assert [value for (value,) in found] == [str(number) for number in large]


def close(value: float | None, text: str) -> bool:
    """Whether a float is what bcftools prints of it, with six digits."""
    if value is None or text == ".":
        return value is None and text == "."
    return math.isclose(value, float(text), rel_tol=1e-5, abs_tol=1e-30) or (math.isnan(value) and math.isnan(float(text)))


def lines_of(*command: str) -> list[list[str]]:
    found = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [text.split("\t") for text in found.splitlines()]


def entry(value: Any, text: str | None) -> bool:
    """Whether an entry of INFO or FORMAT is what bcftools prints of it."""
    if text is None or text == ".":
        return value in (None, False, []) or value == [None]
    if isinstance(value, bool):
        return value
    parts = text.split(",") if isinstance(value, list) else [text]
    items = value if isinstance(value, list) else [value]
    same = [
        part == "." if item is None else close(item, part) if isinstance(item, float) else str(item) == part
        for item, part in zip(items, parts, strict=False)
    ]
    return len(items) == len(parts) and all(same)


def check_variants(path: Path) -> None:
    """Every field of every record is what `bcftools view` prints."""
    import pyarrow

    given = {name: pyarrow.schema([(column, kind)]) for name, (column, kind) in GIVEN.items()}
    options = {"schema": given[path.name]} if path.name in given else {}

    expected = lines_of("bcftools", "view", "-H", str(path))
    for cut in [{"n": 1}, {"n": 4}]:
        table = read(path, cut, **options)
        samples = json.loads(table.schema.metadata[b"samples"])
        rows = table.to_pylist()
        assert len(rows) == len(expected), path.name
        for row, fields in zip(rows, expected, strict=True):
            place = (path.name, fields[0], fields[1])
            assert [row["chrom"], str(row["pos"]), row["id"] or ".", row["ref"]] == fields[:4], place
            assert ",".join(row["alt"]) or fields[4] == ".", place
            assert close(row["qual"], fields[5]), place
            assert ";".join(row["filter"] or ["."]) == fields[6], place
            pairs = [part.partition("=") for part in fields[7].split(";") if fields[7] != "."]
            info = {key: text if equals else None for key, equals, text in pairs}
            for name, value in row.items():
                if not name.startswith("info."):
                    continue
                key = name.removeprefix("info.")
                if path.name in GIVEN and name == GIVEN[path.name][0]:
                    assert value is None or info.pop(key, ".") == ".", "bcftools drops what is not of the header's type"
                    continue
                flag = pyarrow.types.is_boolean(table.schema.field(name).type)
                assert value is (key in info) if flag else entry(value, info.pop(key, None)), (*place, name, value)
                info.pop(key, None)
            assert not info, place
            keys = fields[8].split(":") if len(fields) > 8 else []
            for number, sample in enumerate(fields[9:]):
                written = dict(zip(keys, sample.split(":"), strict=False))
                for name, found in row.items():
                    if name.startswith("format."):
                        key = name.removeprefix("format.")
                        value = None if found is None else found[number]
                        assert entry(value, written.get(key)), (*place, samples[number], name, value, written.get(key))


def check_alignments(path: Path) -> None:
    """Every field of every record is what `samtools view` prints."""
    expected = lines_of("samtools", "view", str(path))
    for cut in [{"n": 1}, {"n": 4}]:
        rows = read(path, cut).to_pylist()
        assert len(rows) == len(expected), path.name
        for row, fields in zip(rows, expected, strict=True):
            place = (path.name, fields[0])
            mate = "=" if row["mate_reference"] is not None and row["mate_reference"] == row["reference"] else row["mate_reference"]
            found = [row["name"], row["flag"], row["reference"], row["pos"] or 0, row["mapq"], row["cigar"], mate]
            found += [row["mate_pos"] or 0, row["template_length"], row["sequence"], row["quality"]]
            texts = ["*" if value is None else str(value) for value in found]
            # samtools keeps bases in four bits; text has the letters that were written.
            texts[9] = texts[9].upper()
            assert texts == fields[:11], place
            tags = [(text[:2], text[5:]) for text in fields[11:]]
            assert [(key, same_number(value, text)) for (key, value), (_, text) in zip(row["tags"], tags, strict=True)] == tags, (
                place
            )


def same_number(value: str, text: str) -> str:
    """`text` itself where `value` is the same float: SAM keeps as many digits as were written, samtools prints six."""
    try:
        return text if "." in value + text and close(float(value), text) else value
    except ValueError:
        return value


#: Columns whose values are not of the type that the header says.
GIVEN = {"NA12878.chr22.tiny.giab.vcf": ("info.allalts", "string"), "longref.vcf": ("info.END", "int64")}
#: Files with contigs or keys that their headers lack.
UNDECLARED = {"test.vcf", "annotate14.vcf", "annotate15.vcf"}


def real(*endings: str) -> list[Path]:
    places = [DATA, *INSTALLED]
    found = (path for place in places for path in place.rglob("*") if path.name.endswith(endings) and path.stat().st_size > 0)
    return sorted(path for path in found if path.name != "ex1.sam.gz")  # it has no header, and samtools refuses it


@pytest.mark.parametrize("path", real(".vcf", ".vcf.gz", ".bcf"), ids=lambda path: path.name)
def test_real_variants(tmp_path: Path, path: Path) -> None:
    needs("pyarrow")
    needs_program("bcftools")
    check_variants(path)
    if path.name.startswith("longref"):
        return  # BCF has no room for such positions.
    if path.name in GIVEN or path.name in UNDECLARED:
        return  # bcftools makes no BCF of what its header does not declare, or declares otherwise.
    binary = tmp_path / "binary.bcf"
    subprocess.run(["bcftools", "view", "-Ob", "-o", str(binary), str(path)], check=True, capture_output=True)
    check_variants(binary)


@pytest.mark.parametrize("path", real(".sam", ".sam.gz", ".bam"), ids=lambda path: path.name)
def test_real_alignments(tmp_path: Path, path: Path) -> None:
    needs("pyarrow")
    needs_program("samtools")
    check_alignments(path)
    if path.name.startswith("longref"):
        return  # BAM has no room for such positions.
    binary, text = tmp_path / "binary.bam", tmp_path / "text.sam"
    subprocess.run(["samtools", "view", "-b", "-o", str(binary), str(path)], check=True, capture_output=True)
    subprocess.run(["samtools", "view", "-h", "-o", str(text), str(binary)], check=True, capture_output=True)
    check_alignments(binary)
    # Text that samtools wrote and the same in binary give the same rows, to the last letter.
    assert read(binary, {"n": 3}).equals(read(text, {"n": 3}))
