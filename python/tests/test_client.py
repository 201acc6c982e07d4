"""The client against a service in this process: what travels, what comes back, what happens when things break."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import os
import pickle
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import neardata
import pytest
from fake_service import FakeService
from neardata._progress import Bar


class Refused(ValueError):
    """An exception with more than a message."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("not this one")


def fail_with_code() -> None:
    raise Refused(7, "no")


def test_map_gives_futures_in_order(executor: neardata.Executor, service: FakeService) -> None:
    offset = 100
    futures = executor.map(lambda n: n + offset, range(50))
    assert [future.result(timeout=10) for future in futures] == list(range(100, 150))
    assert len(service.requests) == 1, "all calls travel in one request"
    assert futures[3].call == 3
    assert futures[3].job_id == "job1"
    assert futures[3].pid == 4711


def test_map_over_several_iterables_and_partials(executor: neardata.Executor) -> None:
    assert [f.result(10) for f in executor.map(pow, [2, 3, 4], [5, 2, 1])] == [32, 9, 4]
    assert [f.result(10) for f in executor.map(functools.partial(pow, 2), [5, 6])] == [32, 64]
    assert executor.map(pow, [], []) == []


def test_options_travel(executor: neardata.Executor, service: FakeService) -> None:
    executor.map(abs, [1], timeout=2.5, memory="1K", retries=3, name="absolutes")[0].result(10)
    request = service.requests[0]
    assert request["name"] == "absolutes"
    assert request["options"] == {"time_s": 2.5, "memory": 1024, "retries": 3, "cached": None}
    with pytest.raises(ValueError, match="timeout must be positive"):
        executor.map(abs, [1], timeout=0)


def test_submits_in_quick_succession_travel_together(executor: neardata.Executor, service: FakeService) -> None:
    futures = [executor.submit(pow, n, exp=2) for n in range(200)]
    assert [future.result(10) for future in futures] == [n * n for n in range(200)]
    assert len(service.requests) < 100


def test_an_exception_comes_back_as_itself(executor: neardata.Executor) -> None:
    future = executor.submit(fail_with_code)
    with pytest.raises(Refused) as raised:
        future.result(10)
    assert raised.value.code == 7
    cause = raised.value.__cause__
    assert isinstance(cause, neardata.RemoteTraceback)
    assert "in fail_with_code" in str(cause)
    assert future.exception(10) is raised.value


def test_an_exception_that_cannot_travel_is_told(executor: neardata.Executor) -> None:
    def fail() -> None:
        raise Unpicklable("details")

    with pytest.raises(neardata.RemoteError, match="details") as raised:
        executor.submit(fail).result(10)
    assert raised.value.cause == "exception"
    assert "in fail" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("killed", neardata.CallKilled),
        ("timeout", neardata.CallTimedOut),
        ("memory", neardata.CallOutOfMemory),
        ("lost", neardata.CallLost),
        ("store", neardata.CallFailed),
    ],
)
def test_causes(executor: neardata.Executor, service: FakeService, cause: str, kind: type[neardata.CallFailed]) -> None:
    place = {"type": "call", "stage": "map", "call": 0}
    error = {"cause": cause, "message": "what happened", "traceback": None, "pickle": None}
    service.script = [
        {**place, "state": "started", "attempt": 1, "pid": 1, "host": "a"},
        {**place, "state": "retried", "attempt": 1, "error": error},
        {**place, "state": "started", "attempt": 2, "pid": 2, "host": "b"},
        {**place, "state": "failed", "attempt": 2, "error": error},
        {"type": "job", "state": "failed", "error": {"cause": cause, "message": "a call failed"}},
    ]
    error_here = executor.submit(abs, 1).exception(10)
    assert type(error_here) is kind
    assert (error_here.cause, error_here.attempt, error_here.pid, error_here.host) == (cause, 2, 2, "b")
    assert "what happened" in str(error_here)
    assert not isinstance(error_here, TimeoutError)
    again = pickle.loads(pickle.dumps(error_here))
    assert (type(again), str(again), again.pid) == (kind, str(error_here), 2)


def test_a_job_that_ends_early_leaves_no_future_behind(executor: neardata.Executor, service: FakeService) -> None:
    service.script = [{"type": "job", "state": "failed", "error": {"cause": "input", "message": "no such interpreter"}}]
    futures = executor.map(abs, [1, 2])
    for future in futures:
        assert isinstance(future.exception(10), neardata.CallLost)
        assert "no such interpreter" in str(future.exception())


def test_a_broken_stream_is_taken_up_where_it_broke(executor: neardata.Executor, service: FakeService) -> None:
    service.drop_after = 7
    futures = executor.map(abs, range(-20, 0))
    assert sorted(future.result(10) for future in futures) == list(range(1, 21))
    streams = [path for path in service.connections if "/events" in path]
    assert streams == ["/v1/jobs/job1/events?from=0", "/v1/jobs/job1/events?from=7"]


def test_cancel_before_and_while_running(executor: neardata.Executor, service: FakeService) -> None:
    service.hold.clear()
    futures = executor.map(abs, range(-5, 0))
    woken = threading.Event()
    futures[2].add_done_callback(lambda _: woken.set())
    assert futures[2].cancel()
    assert futures[4].cancel()
    assert futures[4].cancel(), "a second time is no error"
    assert woken.wait(10)
    assert futures[2].cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        futures[2].result()
    service.hold.set()
    assert [futures[i].result(10) for i in (0, 1, 3)] == [5, 4, 2]
    assert not futures[0].cancel()
    deadline = time.monotonic() + 10
    while sum(len(cancel["calls"]) for cancel in service.cancels) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(call for cancel in service.cancels for call in cancel["calls"]) == [2, 4]


def test_result_times_out_and_the_call_goes_on(executor: neardata.Executor, service: FakeService) -> None:
    service.hold.clear()
    future = executor.submit(abs, -1)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.05)
    service.hold.set()
    assert future.result(10) == 1


def test_as_completed_and_wait(executor: neardata.Executor, service: FakeService) -> None:
    futures = executor.map(abs, range(-9, 0))
    assert sorted(future.result() for future in neardata.as_completed(futures, timeout=10)) == list(range(1, 10))
    done, not_done = neardata.wait(futures, timeout=10)
    assert (len(done), len(not_done)) == (9, 0)
    service.hold.clear()
    futures = executor.map(abs, [1])
    with pytest.raises(concurrent.futures.TimeoutError):
        list(neardata.as_completed(futures, timeout=0.05))
    service.hold.set()


def test_asyncio(executor: neardata.Executor, service: FakeService) -> None:
    async def main() -> int:
        futures = executor.map(abs, range(-4, 0))
        total = sum(await asyncio.gather(*futures))
        total += await asyncio.get_running_loop().run_in_executor(executor, abs, -100)
        return total

    assert asyncio.run(main()) == 110

    async def given_up() -> neardata.Future[int]:
        future = executor.submit(abs, -1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(future, 0.1)
        return future

    service.hold.clear()
    assert asyncio.run(given_up()).cancelled()
    service.hold.set()


def test_cached(executor: neardata.Executor) -> None:
    runs: list[int] = []

    @neardata.cached
    def square(n: int) -> tuple[int, float]:
        return n * n, time.time()

    first = [future.result(10) for future in executor.map(square, [1, 2])]
    assert [future.result(10) for future in executor.map(square, [1, 2])] == first, "the time stamps are the first run's"
    assert executor.submit(square, 1).result(10) == first[0]
    assert executor.submit(square, 3).result(10)[0] == 9
    assert square(5)[0] == 25
    assert runs == []


def test_errors_of_the_service(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    with neardata.Executor(api=service.url, token="wrong") as executor:
        with pytest.raises(neardata.ServiceError, match=r"token is missing or wrong.*neardata env"):
            executor.map(abs, [1])
        with pytest.raises(neardata.ServiceError, match="token"):
            executor.submit(abs, 1).result(10)
    service.protocol = "2"
    monkeypatch.setenv("NEARDATA_API", service.url)
    monkeypatch.setenv("NEARDATA_TOKEN", "secret")
    with (
        neardata.Executor() as executor,
        pytest.raises(neardata.VersionMismatchError, match=r"speaks protocol 2, the client 1; install"),
    ):
        executor.map(abs, [1])
    with (
        neardata.Executor(api="127.0.0.1:1") as executor,
        pytest.raises(neardata.ServiceUnavailableError, match=r"does not answer.*neardata up"),
    ):
        executor.map(abs, [1])
    with pytest.raises(neardata.ServiceError, match="not the address"):
        neardata.Executor(api="ftp://x")


def test_a_lost_job_is_reported(executor: neardata.Executor, service: FakeService) -> None:
    service.hold.clear()
    service.drop_after, service.forgets = 2, True
    error = executor.submit(abs, 1).exception(10)
    assert isinstance(error, neardata.ServiceError)
    assert error.code == "no_such_job"


def test_leaving_by_an_exception_cancels(service: FakeService) -> None:
    service.hold.clear()
    futures = []
    with pytest.raises(KeyboardInterrupt), neardata.Executor(api=service.url, token="secret") as executor:
        futures = executor.map(abs, range(3))
        raise KeyboardInterrupt
    assert all(future.cancelled() for future in futures)
    assert service.cancels == [{"v": 1, "calls": [0, 1, 2]}], "one request for all"
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)


def test_a_dropped_executor_finishes_its_work(service: FakeService) -> None:
    futures = neardata.Executor(api=service.url, token="secret").map(abs, [-1, -2])
    assert [future.result(10) for future in futures] == [1, 2]


def test_progress_text(executor: neardata.Executor, service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    service.hold.clear()
    futures = executor.map(abs, range(4), progress=True)
    bar = futures[0]._job.bar
    assert isinstance(bar, Bar)
    assert bar.text().startswith("abs ──────────────────────────────")
    assert "0/4" in bar.text()
    time.sleep(0.7)
    service.hold.set()
    neardata.wait(futures, timeout=10)
    executor.shutdown()
    drawn = capsys.readouterr().err
    assert "0/4" in drawn
    assert drawn.rstrip("\x1b[K\n").rpartition("\r")[2].startswith("abs ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 4/4")


def test_quiet_where_nobody_looks(executor: neardata.Executor, capfd: pytest.CaptureFixture[str]) -> None:
    neardata.wait(executor.map(abs, range(4)))
    assert capfd.readouterr() == ("", "")


def test_results_live_only_as_long_as_wanted(executor: neardata.Executor) -> None:
    futures = executor.map(set, [[1], [2], [3]])
    neardata.wait(futures, timeout=10)
    result = weakref.ref(futures[1].result())
    keep = futures[0]
    del futures
    gc.collect()
    assert result() is None
    assert keep.result() == {1}


def test_an_answer_that_makes_no_sense_is_an_error(executor: neardata.Executor, service: FakeService) -> None:
    service.script = [{"type": "call", "call": 0, "state": "failed", "error": "not an object"}]
    error = executor.submit(abs, 1).exception(10)
    assert isinstance(error, neardata.CallLost)
    assert "cannot be understood" in str(error)
    service.script = None
    assert executor.submit(abs, -1).result(10) == 1, "the executor goes on"


def test_shutdown_without_waiting_finishes_in_the_background(service: FakeService) -> None:
    service.hold.clear()
    executor = neardata.Executor(api=service.url, token="secret")
    future = executor.submit(abs, -3)
    executor.shutdown(wait=False)
    assert not future.done()
    service.hold.set()
    assert future.result(10) == 3


def test_a_forked_child_is_told(executor: neardata.Executor) -> None:
    assert executor.submit(abs, -1).result(10) == 1
    child = os.fork()
    if child == 0:
        try:
            executor.submit(abs, 1)
        except RuntimeError as error:
            os._exit(7 if "forked child" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert executor.submit(abs, -2).result(10) == 2


def test_a_large_result_is_fetched(executor: neardata.Executor, service: FakeService, tmp_path: Path) -> None:
    stored = tmp_path / "value 100% #1?"
    stored.write_bytes(pickle.dumps(list(range(50_000))))
    place = {"type": "call", "stage": "map", "call": 0, "attempt": 1, "state": "done"}
    service.script = [{**place, "value_uri": f"file://{stored}"}, {"type": "job", "state": "done"}]
    assert executor.submit(abs, 1).result(10)[-1] == 49_999
    service.script = [{**place, "value_uri": f"file://{tmp_path}/missing"}, {"type": "job", "state": "done"}]
    assert isinstance(executor.submit(abs, 1).exception(10), neardata.CallLost)
