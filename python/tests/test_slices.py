"""Slices of real objects on the local disk, through the Rust core."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import subprocess
import threading
import time
from pathlib import Path

import neardata
import pytest

READS = 20_000


def reads(seed: int, count: int = READS) -> bytes:
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        length = rng.randrange(50, 151)
        bases = "".join(rng.choices("ACGT", k=length))
        qualities = "".join(rng.choices("!#5?FI", k=length))
        lines.append(f"@read{number} {seed}\n{bases}\n+\n{qualities}\n")
    return "".join(lines).encode()


@pytest.fixture(scope="session")
def raw() -> tuple[bytes, bytes]:
    return reads(1), reads(2)


@pytest.fixture(scope="session")
def compressed(raw: tuple[bytes, bytes]) -> list[bytes]:
    return [gzip.compress(data, 6) for data in raw]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEARDATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def mates(tmp_path: Path, compressed: list[bytes]) -> tuple[Path, Path]:
    paths = tmp_path / "r1.fastq.gz", tmp_path / "r2.fastq.gz"
    for path, data in zip(paths, compressed, strict=True):
        path.write_bytes(data)
    return paths


def test_slices_concatenate_to_the_object(mates: tuple[Path, Path], raw: tuple[bytes, bytes], cache: Path) -> None:
    for options in ({"n": 7}, {"bytes": "512K"}, {"records": 3001}):
        parts = neardata.slices(mates[0], **options)
        assert b"".join(part.read() for part in parts) == raw[0], options
    assert len(neardata.slices(str(mates[0]), records=3001)) == 7
    assert list(cache.rglob("*.ndindex")), "the side-car lies in the cache, not beside the object"
    assert sorted(mates[0].parent.glob("*.gz*")) == sorted(mates)


def test_relative_paths(mates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mates[0].parent)
    (part,) = neardata.slices("r1.fastq.gz", n=1)
    assert part.objects[0].uri == f"file://{mates[0]}", "a slice can be read from any folder"


def test_mates_are_cut_at_the_same_reads(mates: tuple[Path, Path], raw: tuple[bytes, bytes]) -> None:
    parts = neardata.slices(mates[0], mate2=mates[1], n=5)
    assert len(parts) == 5
    for part in parts:
        names = [[line.split()[0] for line in part.read(mate).splitlines()[::4]] for mate in (0, 1)]
        assert names[0] == names[1] != []
    for mate in (0, 1):
        assert b"".join(part.read(object=mate) for part in parts) == raw[mate]
    with pytest.raises(neardata.FormatError, match="no object number 2"):
        parts[0].read(2)


def test_a_slice_is_a_value(mates: tuple[Path, Path]) -> None:
    first, second = neardata.slices(mates[0], n=2)
    again = pickle.loads(pickle.dumps(first))
    assert again == first != second
    assert hash(again) == hash(first)
    assert again.read() == first.read()
    assert neardata.Slice.from_json(first.to_json()) == first
    assert len({first, again, second}) == 2
    assert first.format == "fastq"
    assert isinstance(first.selection, dict)
    (source,) = first.objects
    assert (source.uri, source.size) == (f"file://{mates[0]}", mates[0].stat().st_size)
    assert len(first.to_json()) < 1024 + 2 * len(source.uri)
    with pytest.raises(AttributeError):
        first.format = "other"  # type: ignore[misc]
    assert "r1.fastq.gz" in repr(first)


def test_open_streams(mates: tuple[Path, Path], raw: tuple[bytes, bytes]) -> None:
    part = neardata.slices(mates[0], n=3)[1]
    with part.open() as file:
        assert isinstance(file, io.BufferedReader)
        assert file.readline().startswith(b"@read")
        rest = file.read(10) + file.read()
    assert file.closed
    whole = part.read()
    assert whole.endswith(rest)
    assert list(part.open()) == whole.splitlines(keepends=True)
    with io.TextIOWrapper(part.open()) as text:
        assert next(text).startswith("@read")
    buffer = bytearray(1000)
    assert part.open().readinto(buffer) == 1000
    assert bytes(buffer) == whole[:1000]


def test_reading_lets_other_threads_run(mates: tuple[Path, Path], raw: tuple[bytes, bytes]) -> None:
    big = mates[0].parent / "big.fastq.gz"
    big.write_bytes(gzip.compress(raw[0] * 20, 1))
    (part,) = neardata.slices(big, n=1)
    ticks = 0
    over = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not over.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before, start = ticks, time.perf_counter()
    part.read()
    gained, seconds = ticks - before, time.perf_counter() - start
    over.set()
    thread.join()
    assert gained > seconds / 0.01, f"{gained} ticks in {seconds:.3f} s"


def test_regions_of_sorted_variants(tmp_path: Path) -> None:
    head = "##fileformat=VCFv4.3\n##contig=<ID=chr1>\n##contig=<ID=chr2>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    rows = [f"{contig}\t{position}\t.\tACG\tA\t.\t.\t.\n" for contig in ("chr1", "chr2") for position in range(10, 90_000, 10)]
    (tmp_path / "calls.vcf").write_text(head + "".join(rows))
    subprocess.run(["bgzip", tmp_path / "calls.vcf"], check=True)
    calls = tmp_path / "calls.vcf.gz"
    (part,) = neardata.slices(calls, region="chr2:100-120")
    assert part.read().decode() == head + "".join(f"chr2\t{position}\t.\tACG\tA\t.\t.\t.\n" for position in (100, 110, 120))
    first, second = neardata.slices(calls, region=["chr1", "chr2:89000-"])
    assert first.read().count(b"\nchr1\t") == 8999
    assert second.read().count(b"\nchr2\t") == 100
    assert len(pickle.dumps(first)) < 1024 + len(str(calls))
    parts = neardata.slices(calls, n=5)
    assert all(part.read().startswith(head.encode()) for part in parts)
    assert b"".join(part.read()[len(head) :] for part in parts).decode() == "".join(rows)
    with pytest.raises(neardata.FormatError, match="no reference `chr3`; it has: chr1, chr2"):
        neardata.slices(calls, region="chr3")
    owned = neardata.slices(calls, region="chr1", n=3)
    assert len(owned) == 3
    assert b"".join(part.read()[len(head) :] for part in owned).decode() == "".join(rows[:8999])


def test_errors_are_typed_and_name_the_file(mates: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(neardata.ObjectNotFoundError, match=r"missing\.gz does not exist"):
        neardata.slices(tmp_path / "missing.gz", n=1)
    with pytest.raises(FileNotFoundError):
        neardata.slices(tmp_path / "missing.gz", n=1)
    with pytest.raises(neardata.UriError, match="unknown scheme `ftp://`"):
        neardata.slices("ftp://x/y", n=1)
    with pytest.raises(neardata.SliceError, match="not a slice"):
        neardata.Slice.from_json("{}")
    with pytest.raises(TypeError, match="say how to cut: n="):
        neardata.slices(mates[0])
    with pytest.raises(TypeError, match="at most one of"):
        neardata.slices(mates[0], n=1, records=2)
    with pytest.raises(TypeError, match="bounds= takes 4 numbers, not 2"):
        neardata.slices(mates[0], bounds=(1, 2))
    with pytest.raises(neardata.FormatError, match="FASTQ cannot be asked for by `window`; they can by `n`, `bytes`, `records`"):
        neardata.slices(mates[0], window=(1, 2))
    with pytest.raises(ValueError, match="is not a number of bytes"):
        neardata.slices(mates[0], bytes="many")
    with pytest.raises(neardata.FormatError, match="at least 1"):
        neardata.slices(mates[0], n=0)

    truncated = tmp_path / "truncated.fastq.gz"
    truncated.write_bytes(mates[0].read_bytes()[:100_000])
    with pytest.raises(neardata.FormatError, match=r"truncated\.fastq\.gz: truncated gzip"):
        neardata.slices(truncated, n=2)
    (tmp_path / "short.fastq").write_bytes(reads(2, 10))
    with pytest.raises(neardata.FormatError, match=r"20000 reads but its mate .*short\.fastq holds 10"):
        neardata.slices(mates[0], mate2=tmp_path / "short.fastq", n=2)


def test_a_changed_object_is_noticed(mates: tuple[Path, Path]) -> None:
    part = neardata.slices(mates[0], n=2)[1]
    mates[0].write_bytes(gzip.compress(reads(9, 1000), 6))
    with pytest.raises(neardata.ObjectChangedError, match=r"r1\.fastq\.gz changed"):
        part.read()
    with pytest.raises(neardata.ReadError):
        part.open()


def test_a_format_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "part-00000"
    path.write_bytes(b'a,b\n1,"x\ny"\n2,z\n')
    assert [part.format for part in neardata.slices(path, n=1)] == ["text"]
    assert [part.read() for part in neardata.slices(path, records=1, format="csv")] == [b"a,b\n", b'1,"x\ny"\n', b"2,z\n"]
    with pytest.raises(neardata.FormatError, match=r"`csw`.*the core's own are .*`csv`"):
        neardata.slices(path, n=1, format="csw")


def test_numbers_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\nb\n")
    for wrong in ("2", 2.0, True):
        with pytest.raises(TypeError, match="n= takes a whole number"):
            neardata.slices(path, n=wrong)
    with pytest.raises(neardata.FormatError, match="slices of 0 records"):
        neardata.slices(path, records=0)
    with pytest.raises(ValueError, match="level= must not be negative, but it is -1"):
        neardata.slices(path, level=-1)
    with pytest.raises(neardata.FormatError, match=r"paired reads.*`level`"):
        neardata.slices(path, n=1, mate2=path, level=1)


def test_warnings_reach_logging(tmp_path: Path, caplog: pytest.LogCaptureFixture, mates: tuple[Path, Path]) -> None:
    path = tmp_path / "cut.txt.gz"
    whole = subprocess.run(["bgzip", "-c"], input=b"line\n" * 50_000, capture_output=True, check=True).stdout
    path.write_bytes(whole)
    neardata.slices(path, n=2)
    assert not caplog.records
    path.write_bytes(whole[:-28])
    neardata.slices(path, n=2)
    words = [record.getMessage() for record in caplog.records if record.name == "neardata"]
    assert any("changed since it was indexed" in word for word in words), words
    assert any("without its end-of-file block" in word and "cut.txt.gz" in word for word in words), words


def test_inspect(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("number,name\n1,one\n2,two\n")
    found = neardata.inspect(path)
    assert (found["format"], found["columns"], found["indexed"]) == ("csv", ["number", "name"], None)
    neardata.index(path)
    assert neardata.inspect(path)["indexed"]["records"] == 3
