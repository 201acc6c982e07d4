"""Many calls of Python functions, on warm worker processes near the data."""

from __future__ import annotations

import concurrent.futures
import datetime
import json
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from . import _native
from ._cached import call_keys
from ._errors import CallLost, Error
from ._follower import Follower
from ._future import Future
from ._job import Job
from ._pickling import Arguments, dump_calls, dump_function
from ._progress import make_bar
from ._service import Address, Service

if TYPE_CHECKING:
    from ._engine import PrivateEngine

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

FETCHERS = 8


class _Options:
    """What holds for every call of one job."""

    def __init__(
        self,
        timeout: float | datetime.timedelta | None,
        memory: int | str | None,
        retries: int,
        workers: int | None,
    ) -> None:
        if isinstance(timeout, datetime.timedelta):
            timeout = timeout.total_seconds()
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be positive, not {timeout}")
        if retries < 0:
            raise ValueError(f"retries must not be negative, not {retries}")
        self.value: dict[str, Any] = {
            "time_s": timeout,
            "memory": _native.parse_bytes(memory) if isinstance(memory, str) else memory,
            "retries": retries,
        }
        if workers is not None:
            self.value["workers"] = workers


class _Batch:
    """Single calls of one function that wait to be submitted together."""

    def __init__(self, job: Job, function: str, options: _Options) -> None:
        self.job = job
        self.function = function
        self.options = options
        self.calls: list[str] = []
        self.keys: list[str] | None = None


class Executor(concurrent.futures.Executor):
    r"""Runs Python functions on worker processes that stay warm between calls.

    ```python
    import neardata

    def reads(part):
        return part.read().count(b"\n") // 4

    with neardata.Executor() as executor:
        futures = executor.map(reads, neardata.slices("s3://lab/reads.fastq.gz", n=32))
        print(sum(future.result() for future in futures))
    ```

    With `NEARDATA_API` in the environment (see `neardata env`) the calls run on that platform; otherwise on this machine, in a
    private engine that starts with the executor and ends with it. Functions, closures and lambdas travel with their code, what is
    imported travels by name; the workers use this interpreter and its `sys.path`.

    It is a `concurrent.futures.Executor`, and `submit` means what it means there. `map` differs: it gives futures, not results.

    Leaving the `with` block waits for all calls; leaving it by an exception (Ctrl-C among them) cancels what has not finished.

    Args:
        workers: how many calls may run at once; default: one a core.
        timeout: time limit of each call, in seconds or as a `timedelta`; default: none.
        memory: memory limit of each call, in bytes or as `"2G"`; default: none.
        retries: how often a failed call is tried again.
        modules: modules whose functions and classes travel with their code although they can be imported here, because they
            cannot be imported where the workers run.
        progress: show a progress bar for each map; default: in Jupyter and on a terminal.
        api: address of the job service; default: `NEARDATA_API`, else a private engine.
        token: its token; default: `NEARDATA_TOKEN`.

    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        timeout: float | datetime.timedelta | None = None,
        memory: int | str | None = None,
        retries: int = 0,
        modules: Sequence[ModuleType] = (),
        progress: bool | None = None,
        api: str | None = None,
        token: str | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._timeout = timeout
        self._memory = memory
        self._retries = retries
        self._modules = tuple(modules)
        self._progress = progress
        self._workers = workers
        self._options()  # bad values are refused here, not at the first map
        api = api or os.environ.get("NEARDATA_API")
        self._engine: PrivateEngine | None = None
        if api:
            self._service = Service(Address.parse(api), token or os.environ.get("NEARDATA_TOKEN"))
        else:
            from ._engine import PrivateEngine

            self._engine = PrivateEngine(workers)
            self._service = Service(self._engine.address)
        self._follower = Follower(self._service, self._engine.gone if self._engine else _never_gone)
        self._fetchers: concurrent.futures.ThreadPoolExecutor | None = None
        self._jobs: weakref.WeakSet[Job] = weakref.WeakSet()
        self._batches: dict[tuple[str, str], _Batch] = {}
        self._lock = threading.Lock()
        self._open = True
        self._process = os.getpid()
        self._close = weakref.finalize(self, _close, self._process, self._follower, self._engine)

    @overload  # type: ignore[override]
    def map(
        self,
        fn: Callable[[A], T],
        iterable: Iterable[A],
        /,
        *,
        timeout: float | datetime.timedelta | None = None,
        memory: int | str | None = None,
        retries: int | None = None,
        progress: bool | None = None,
        name: str | None = None,
    ) -> list[Future[T]]: ...

    @overload
    def map(
        self,
        fn: Callable[[A, B], T],
        iterable: Iterable[A],
        other: Iterable[B],
        /,
        *,
        timeout: float | datetime.timedelta | None = None,
        memory: int | str | None = None,
        retries: int | None = None,
        progress: bool | None = None,
        name: str | None = None,
    ) -> list[Future[T]]: ...

    @overload
    def map(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | datetime.timedelta | None = None,
        memory: int | str | None = None,
        retries: int | None = None,
        progress: bool | None = None,
        name: str | None = None,
    ) -> list[Future[T]]: ...

    def map(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | datetime.timedelta | None = None,
        memory: int | str | None = None,
        retries: int | None = None,
        progress: bool | None = None,
        name: str | None = None,
    ) -> list[Future[T]]:
        """Call `fn` once for every item, and return one future a call, in the order of the items.

        All calls travel in one request. With several iterables, `fn` gets one argument of each, as with the built-in `map`.

        ```python
        futures = executor.map(align, slices, timeout=900, memory="4G", retries=2)
        results = [future.result() for future in futures]
        ```

        Args:
            fn: any callable: function, closure, lambda, method, `functools.partial`.
            iterable: the items.
            *iterables: more of them.
            timeout: time limit of each call, in seconds or as a `timedelta`.
            memory: memory limit of each call, in bytes or as `"2G"`.
            retries: how often a failed call is tried again.
            progress: whether to show a progress bar.
            name: what to call the job in listings and the progress bar; default: the function's name.

        """
        items = zip(iterable, *iterables) if iterables else ((item,) for item in iterable)  # noqa: B905
        calls: list[Arguments] = [(arguments, {}) for arguments in items]
        options = self._options(timeout, memory, retries)
        job = self._new_job(name or _name(fn))
        if not calls:
            return []
        function = dump_function(fn, self._modules)
        job.id = self._post(job.name, function, dump_calls(calls), options, call_keys(fn, calls))
        futures = job.add_calls(len(calls))
        job.bar = make_bar(job, len(calls), self._progress if progress is None else progress)
        self._follower.follow(job)
        return futures

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call `fn(*args, **kwargs)` once, and return its future.

        Calls submitted in quick succession travel together. For many calls of one function `map` is quicker.
        """
        function = dump_function(fn, self._modules)
        calls: list[Arguments] = [(args, kwargs)]
        (call,) = dump_calls(calls)
        keys = call_keys(fn, calls)
        place = (function, "cached" if keys else "")
        with self._lock:
            batch = self._batches.get(place)
            if batch is None:
                batch = self._batches[place] = _Batch(self._new_job(_name(fn)), function, self._options())
                batch.keys = [] if keys else None
                self._follower.run_soon(lambda: self._submit_batch(place))
            batch.calls.append(call)
            if batch.keys is not None and keys:
                batch.keys += keys
            return batch.job.add_calls(1)[0]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, wait for those under way, and end the private engine if there is one.

        Args:
            wait: return only when all calls have finished; otherwise that is waited for in the background.
            cancel_futures: cancel the calls that have not finished.

        """
        self._open = False
        futures = [future for job in list(self._jobs) for future in job.unfinished()]
        if cancel_futures:
            for future in futures:
                future.cancel()
        if wait or not futures:
            self._finish(futures)
        else:
            threading.Thread(target=self._finish, args=(futures,), name="neardata-shutdown", daemon=True).start()

    def _finish(self, futures: list[Future[Any]]) -> None:
        concurrent.futures.wait(futures)
        if self._fetchers is not None:
            self._fetchers.shutdown()
        self._close()

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown(wait=True, cancel_futures=kind is not None)

    def __repr__(self) -> str:
        where = f"private engine, process {self._engine.pid}" if self._engine else str(self._service.address)
        return f"<neardata.Executor on {where}{'' if self._open else ', shut down'}>"

    def _options(
        self,
        timeout: float | datetime.timedelta | None = None,
        memory: int | str | None = None,
        retries: int | None = None,
    ) -> _Options:
        return _Options(
            self._timeout if timeout is None else timeout,
            self._memory if memory is None else memory,
            self._retries if retries is None else retries,
            self._workers,
        )

    def _new_job(self, name: str) -> Job:
        if not self._open:
            raise RuntimeError("cannot schedule new calls after shutdown")
        if os.getpid() != self._process:
            raise RuntimeError("an executor cannot be used in a forked child; make one there")
        job = Job(name, self._follower.cancel, self._fetch)
        job.owner = self
        self._jobs.add(job)
        return job

    def _post(self, name: str, function: str, calls: list[str], options: _Options, keys: list[str] | None) -> str:
        head = {
            "v": 1,
            "name": name,
            "python": {"interpreter": sys.executable, "path": _search_path(), "function": function},
            "options": {**options.value, "cached": keys},
        }
        # Base64 needs no escaping, so the long part is joined rather than encoded.
        start = json.dumps(head, separators=(",", ":")).removesuffix("}")
        body = "".join((start, ',"calls":["', '","'.join(calls), '"]}'))
        return str(self._service.request("POST", "/v1/calls", body.encode("ascii"))["job"])

    def _submit_batch(self, place: tuple[str, str]) -> None:
        with self._lock:
            batch = self._batches.pop(place)
        try:
            batch.job.id = self._post(batch.job.name, batch.function, batch.calls, batch.options, batch.keys)
        except Exception as error:
            batch.job.fail(error)
            batch.job.owner = None
            return
        self._follower.follow(batch.job)

    def _fetch(self, job: Job, future: Future[Any], uri: str) -> None:
        """Get a result that was too large for an event: at once from this machine, otherwise a few at a time."""
        if uri.startswith(("file://", "/")):
            path = uri.removeprefix("file://")  # nothing is escaped in these
            engine = self._engine
            self._finish_fetch(job, future, lambda: engine.read_result(path, job.id) if engine else _read_file(path))
            return
        if self._fetchers is None:
            self._fetchers = concurrent.futures.ThreadPoolExecutor(FETCHERS, "neardata-fetch")
        self._fetchers.submit(self._finish_fetch, job, future, lambda: _native.fetch(uri))

    @staticmethod
    def _finish_fetch(job: Job, future: Future[Any], get: Callable[[], bytes]) -> None:
        try:
            data = get()
        except (OSError, Error) as error:
            lost = CallLost(f"call {future.call} of `{job.name}` ended well, but its result cannot be fetched: {error}")
            lost.__cause__ = error
            job.reject(future, lost)
            return
        job.resolve_with(future, data)


def _close(process: int, follower: Follower, engine: PrivateEngine | None) -> None:
    if os.getpid() != process:
        return  # a forked child ends; all of this is its parent's
    follower.close()
    if engine is not None:
        engine.stop()


def _never_gone() -> str | None:
    return None


def _name(fn: Callable[..., Any]) -> str:
    inner = getattr(fn, "func", fn)  # of a functools.partial
    return str(getattr(inner, "__name__", type(inner).__name__))


def _search_path() -> list[str]:
    return [os.path.abspath(entry) for entry in sys.path]


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
