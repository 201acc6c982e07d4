"""End to end: the real engine as a child process, real workers, real slices."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import neardata
import pytest

WAIT = 60.0


class Refused(ValueError):
    """An exception of the test's own, with more than a message."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Caches and side-cars of these tests."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("home")
    patch.setenv("NEARDATA_CACHE", str(folder / "cache"))
    for name in ("NEARDATA_API", "NEARDATA_TOKEN", "AWS_ENDPOINT_URL"):
        patch.delenv(name, raising=False)
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[neardata.Executor]:
    with neardata.Executor(workers=2) as executor:
        yield executor


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(check: object, seconds: float = 15) -> bool:
    assert callable(check)
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_functions_closures_lambdas_methods(engine: neardata.Executor) -> None:
    offset = 10

    def add(n: int, *, more: int = 0) -> int:
        return n + offset + more

    assert [future.result(WAIT) for future in engine.map(add, range(5))] == [10, 11, 12, 13, 14]
    assert engine.submit(lambda: offset * 2).result(WAIT) == 20
    assert engine.submit(add, 1, more=5).result(WAIT) == 16
    assert engine.submit("a-b".split, "-").result(WAIT) == ["a", "b"]
    assert engine.submit(os.getpid).result(WAIT) != os.getpid()


def test_a_thousand_calls_on_warm_workers(engine: neardata.Executor) -> None:
    def where(_: int) -> tuple[int, float]:
        return os.getpid(), time.time()

    neardata.wait(engine.map(nap, [0.3] * 4))  # both workers are there now
    results = [future.result(WAIT) for future in engine.map(where, range(1000))]
    assert len(results) == 1000
    assert len({pid for pid, _ in results}) == 2, "both workers took part"


def test_exceptions_come_back_with_their_traceback(engine: neardata.Executor) -> None:
    def inner() -> None:
        raise Refused(7, "no")

    def outer() -> None:
        inner()

    error = engine.submit(outer).exception(WAIT)
    assert type(error) is Refused
    assert error.code == 7
    assert isinstance(error.__cause__, neardata.RemoteTraceback)
    text = str(error.__cause__)
    assert "in outer" in text
    assert "in inner" in text
    assert isinstance(engine.submit(sys.exit, 3).exception(WAIT), (SystemExit, neardata.CallFailed))
    assert engine.submit(abs, -1).result(WAIT) == 1


def test_what_cannot_travel_back(engine: neardata.Executor) -> None:
    with pytest.raises((neardata.RemoteError, TypeError), match=r"pickle|generator"):
        engine.submit(lambda: (n for n in range(3))).result(WAIT)


def test_a_killed_worker(engine: neardata.Executor) -> None:
    bystanders = engine.map(nap, [0.2] * 4)
    with pytest.raises(neardata.CallKilled, match=r"signal 9|SIGKILL") as raised:
        engine.submit(lambda: os.kill(os.getpid(), signal.SIGKILL)).result(WAIT)
    assert raised.value.cause == "killed"
    assert re.search(r"worker \d+", str(raised.value)), "the message names the process"
    assert [future.result(WAIT) for future in bystanders] == [0.2] * 4


def test_a_time_limit(engine: neardata.Executor) -> None:
    start = time.monotonic()
    (slow,) = engine.map(time.sleep, [600], timeout=0.5)
    with pytest.raises(neardata.CallTimedOut):
        slow.result(WAIT)
    assert time.monotonic() - start < 20
    assert engine.submit(abs, -1).result(WAIT) == 1


def test_a_memory_limit(engine: neardata.Executor) -> None:
    def hungry() -> int:
        held = []
        for _ in range(200):
            held.append(bytearray(b"x") * (10 << 20))
            time.sleep(0.01)
        return len(held)

    with pytest.raises(neardata.CallOutOfMemory):
        engine.map(lambda _: hungry(), [0], memory="300M")[0].result(WAIT)


def test_retries(engine: neardata.Executor, tmp_path: Path) -> None:
    def flaky(folder: str) -> int:
        attempts = len(os.listdir(folder))
        Path(folder, str(attempts)).touch()
        if attempts < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return attempts

    (future,) = engine.map(flaky, [str(tmp_path)], retries=2)
    assert future.result(WAIT) == 2
    assert future.attempt == 3


def test_cancel_stops_running_calls(engine: neardata.Executor, tmp_path: Path) -> None:
    def stuck(name: str) -> None:
        Path(name).write_text(str(os.getpid()))
        time.sleep(600)

    files = [tmp_path / str(n) for n in range(6)]
    futures = engine.map(stuck, [str(file) for file in files])
    assert eventually(lambda: sum(file.exists() and file.read_text() != "" for file in files) == 2)
    pids = [int(file.read_text()) for file in files if file.exists()]
    for future in futures:
        assert future.cancel()
    assert eventually(lambda: not any(alive(pid) for pid in pids)), "their processes are gone"
    assert engine.submit(abs, -1).result(WAIT) == 1
    assert sum(file.exists() for file in files) == 2, "the others never started"


def test_as_completed_and_asyncio(engine: neardata.Executor) -> None:
    futures = engine.map(nap, [1.5, 0.0])
    assert [future.result() for future in neardata.as_completed(futures, WAIT)] == [0.0, 1.5]

    async def main() -> list[int]:
        return await asyncio.gather(*engine.map(abs, range(-3, 0)))

    assert asyncio.run(main()) == [3, 2, 1]


def test_large_arguments_and_results(engine: neardata.Executor) -> None:
    data = os.urandom(3 << 20)
    (future,) = engine.map(lambda data: data[::-1] + data, [data])
    assert future.result(WAIT) == data[::-1] + data
    several = engine.map(lambda n: bytes([n]) * 200_000, range(20))
    assert [future.result(WAIT) for future in several] == [bytes([n]) * 200_000 for n in range(20)]


def test_functions_that_print_or_read_disturb_nothing(engine: neardata.Executor) -> None:
    def noisy(n: int) -> str:
        print("to standard output", n, flush=True)
        print("to standard error", n, file=sys.stderr, flush=True)
        os.write(1, b"\xff" * 100)
        return sys.stdin.read() if sys.stdin else ""

    assert [future.result(WAIT) for future in engine.map(noisy, range(3))] == ["", "", ""]


def test_modules_of_the_client_are_found(engine: neardata.Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nd_test_helper.py").write_text("def triple(n): return 3 * n\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import nd_test_helper  # type: ignore[import-not-found]

    assert engine.submit(nd_test_helper.triple, 4).result(WAIT) == 12


def test_slices_of_a_compressed_file(engine: neardata.Executor, tmp_path: Path) -> None:
    reads = b"".join(b"@r%d\n%s\n+\n%s\n" % (n, b"ACGT" * (20 + n % 7), b"IIII" * (20 + n % 7)) for n in range(30_000))
    path = tmp_path / "reads.fastq.gz"
    path.write_bytes(gzip.compress(reads))
    parts = neardata.slices(path, n=6)

    def count(part: neardata.Slice) -> tuple[int, int]:
        with part.open() as file:
            lines = sum(1 for _ in file)
        return lines // 4, len(part.read())

    counts = [future.result(WAIT) for future in engine.map(count, parts)]
    assert sum(records for records, _ in counts) == 30_000
    assert sum(size for _, size in counts) == len(reads)
    assert engine.submit(lambda part: part, parts[2]).result(WAIT) == parts[2]

    path.write_bytes(gzip.compress(reads[::-1]))
    with pytest.raises(neardata.ObjectChangedError, match=r"reads\.fastq\.gz changed"):
        engine.submit(count, parts[3]).result(WAIT)


def test_cached_results_outlive_the_executor(home: Path) -> None:
    @neardata.cached
    def stamp(n: int) -> tuple[int, float]:
        return n, time.time()

    with neardata.Executor(workers=1) as first:
        before = [future.result(WAIT) for future in first.map(stamp, [1, 2])]
    with neardata.Executor(workers=1) as second:
        after = [future.result(WAIT) for future in second.map(stamp, [1, 2, 3])]
    assert after[:2] == before
    assert after[2][1] > before[1][1]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files of this test alone; short, as socket paths are."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="nd"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    shutil.rmtree(folder)


def test_nothing_is_left_when_the_client_is_killed(temporary: Path, tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text(
        "import neardata, os, time\n"
        "if __name__ == '__main__':\n"
        "    executor = neardata.Executor(workers=1)\n"
        "    print(executor._engine.pid, executor.submit(os.getpid).result(60), flush=True)\n"
        "    executor.submit(time.sleep, 600)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        pids = [int(word) for word in client.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(alive, pids))
        client.kill()
    assert eventually(lambda: not any(map(alive, pids)), 5), "engine and worker end with their parent"
    assert len(list(temporary.iterdir())) == 1, "it could not clean up"
    with neardata.Executor(workers=1) as executor:
        assert executor.submit(abs, -1).result(WAIT) == 1
        assert len(list(temporary.iterdir())) == 1, "the next one has done so"
    assert list(temporary.iterdir()) == []


def test_control_c_cancels_and_cleans_up(temporary: Path, tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text(
        "import neardata, signal, time\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it\n"
        "    with neardata.Executor(workers=1) as executor:\n"
        "        futures = executor.map(time.sleep, [600] * 3)\n"
        "        print(executor._engine.pid, flush=True)\n"
        "        neardata.wait(futures)\n"
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        time.sleep(0.2)
        client.send_signal(signal.SIGINT)
        _, errors = client.communicate(timeout=20)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert not alive(pid)
    assert list(temporary.iterdir()) == []


def test_an_engine_that_dies_is_reported() -> None:
    executor = neardata.Executor(workers=1)
    future = executor.submit(time.sleep, 600)
    assert executor._engine is not None
    assert eventually(future.running)
    os.kill(executor._engine.pid, signal.SIGKILL)
    with pytest.raises(neardata.CallLost, match=r"private engine .* was killed by signal 9"):
        future.result(WAIT)
    with pytest.raises(neardata.ServiceUnavailableError, match=r"make a new neardata\.Executor"):
        executor.map(abs, [1])
    executor.shutdown()


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "neardata"]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert neardata.__version__ in version.stdout
    path = tmp_path / "a.fastq"
    path.write_bytes(b"@a\nACGT\n+\nIIII\n" * 50)
    listing = subprocess.run([*command, "slice", str(path), "--n", "3"], capture_output=True, text=True, check=True)
    parts = [neardata.Slice.from_json(line) for line in listing.stdout.splitlines()]
    assert parts == neardata.slices(path, n=3)
    data = subprocess.run([*command, "read"], input=listing.stdout.encode(), capture_output=True, check=True)
    assert data.stdout == path.read_bytes()
    wrong = subprocess.run([*command, "frobnicate"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
