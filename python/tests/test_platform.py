"""End to end through a running platform: TCP, a token, results that outlive the client."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import neardata
import pytest

WAIT = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables that point a client at a platform of these tests' own."""
    folder = tmp_path_factory.mktemp("platform")
    command = [sys.executable, "-m", "neardata"]
    options = ["--data", str(folder / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NEARDATA_"))}
    log = folder / "log"
    with log.open("wb") as output:
        up = [*command, "up", *options, "--s3", "127.0.0.1:0", "--api", "127.0.0.1:0", "--workers", "2"]
        process = subprocess.Popen(up, stdout=output, stderr=output, env=environment)
    deadline = time.monotonic() + WAIT
    while "API" not in log.read_text() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    exports = subprocess.run([*command, "env", *options], env=environment, capture_output=True, text=True, check=True)
    variables = dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", exports.stdout, re.MULTILINE))
    assert "NEARDATA_API" in variables, exports.stdout
    yield variables
    process.terminate()
    assert process.wait(WAIT) == 0, log.read_text()


@pytest.fixture
def environment(platform: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in platform.items():
        monkeypatch.setenv(name, value)


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
