"""End to end through a running platform: TCP, a token, results that outlive the client."""

from __future__ import annotations

import time
from pathlib import Path

import neardata
import pytest

WAIT = 60.0


def test_calls_and_large_results(environment: None) -> None:
    with neardata.Executor() as executor:
        assert [future.result(WAIT) for future in executor.map(lambda n: n * n, range(100))] == [n * n for n in range(100)]
        assert len(executor.submit(bytes, 1_000_000).result(WAIT)) == 1_000_000, "fetched from the platform's bucket"
        with pytest.raises(ZeroDivisionError):
            executor.submit(lambda: 1 / 0).result(WAIT)


def test_cached_results_outlive_the_client(environment: None) -> None:
    @neardata.cached
    def stamp(n: int) -> tuple[int, float, bytes]:
        return n, time.time(), bytes(n)

    sizes = [1, 2, 200_000]
    with neardata.Executor() as first:
        before = [future.result(WAIT) for future in first.map(stamp, sizes)]
    with neardata.Executor() as second:
        after = [future.result(WAIT) for future in second.map(stamp, [*sizes, 3])]
    assert after[:3] == before
    assert after[3][1] > before[0][1]


def test_a_wrong_token(environment: None) -> None:
    with neardata.Executor(token="wrong") as executor, pytest.raises(neardata.ServiceError, match=r"token.*neardata env"):
        executor.map(abs, [1])


def test_slices_where_the_platform_keeps_indexes(environment: None, tmp_path: Path) -> None:
    path = tmp_path / "reads.fastq"
    path.write_bytes(b"@a\nACGT\n+\nIIII\n" * 1000)
    with neardata.Executor() as executor:
        parts = neardata.slices(path, n=3)
        assert sum(future.result(WAIT) for future in executor.map(lambda part: part.read().count(b"\n"), parts)) == 4000
