"""Indexing in this process and as calls: the same side-car, byte for byte."""

from __future__ import annotations

import concurrent.futures
import gzip
import multiprocessing.pool
from pathlib import Path

import neardata
import pytest

ROWS = "number,text\n" + "".join(f'{number},"line {number}\nand ""more"""\n' for number in range(60_000))


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEARDATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def side_car(summary: neardata.IndexSummary) -> Path:
    assert summary.side_car is not None
    return Path(summary.side_car.removeprefix("file://"))


def alone(path: Path) -> bytes:
    """What indexing without calls writes; removes it again."""
    file = side_car(neardata.index(path))
    data = file.read_bytes()
    file.unlink()
    return data


def test_an_object_is_indexed_once(rows: Path) -> None:
    summary = neardata.index(rows)
    assert summary == neardata.IndexSummary(
        uri=f"file://{rows}",
        size=rows.stat().st_size,
        side_car=str(summary.side_car),
        format="csv",
        compression="plain",
        records=60_001,
        uncompressed=len(ROWS),
        note=None,
        built=True,
    )
    assert not neardata.index(str(rows)).built
    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert not neardata.index(rows, pool).built, "no call runs where there is nothing to do"


def test_calls_write_the_same_side_car(rows: Path) -> None:
    expected = alone(rows)
    with concurrent.futures.ThreadPoolExecutor() as threads, multiprocessing.pool.ThreadPool(2) as pool:
        for executor in (threads, pool):
            made = neardata.index(rows, executor, parts=7)
            assert made.built
            assert made.records == 60_001
            assert side_car(made).read_bytes() == expected
            side_car(made).unlink()
    assert neardata.slices(rows, records=60_000)[-1].read() == b'59999,"line 59999\nand ""more"""\n'


def test_what_has_no_parts_is_one_call(tmp_path: Path, rows: Path) -> None:
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(rows.read_bytes()))
    expected = alone(packed)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        made = neardata.index(packed, pool, parts=7)
    assert made.compression == "gzip"
    assert side_car(made).read_bytes() == expected


def test_errors_are_those_of_one_pass(rows: Path) -> None:
    rows.write_text(ROWS + '"never closed')
    with concurrent.futures.ThreadPoolExecutor() as pool, pytest.raises(neardata.FormatError, match="never closed") as found:
        neardata.index(rows, pool, parts=5)
    with pytest.raises(neardata.FormatError) as alone:
        neardata.index(rows)
    assert str(found.value) == str(alone.value)


def test_parts_need_an_executor(rows: Path) -> None:
    with pytest.raises(TypeError, match="goes with an executor"):
        neardata.index(rows, parts=3)
    with concurrent.futures.ThreadPoolExecutor() as pool, pytest.raises(ValueError, match="at least 1"):
        neardata.index(rows, pool, parts=0)


def test_our_executor(rows: Path) -> None:
    expected = alone(rows)
    with neardata.Executor(workers=2) as executor:
        made = neardata.index(rows, executor, parts=4)
    assert side_car(made).read_bytes() == expected
