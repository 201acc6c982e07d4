"""One job on the client's side: turns events into results of futures."""

from __future__ import annotations

import concurrent.futures
import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._errors import CALL_FAILURES, CallFailed, CallLost, RemoteError, RemoteTraceback
from ._events import Event
from ._future import Future
from ._pickling import load

if TYPE_CHECKING:
    from ._progress import Bar


class Job:
    """The futures of one job, the last event seen, and what a progress bar shows.

    Events are applied by one thread; `canceller` is told of calls that were given up from any thread.
    """

    def __init__(
        self,
        name: str,
        canceller: Callable[[Job, int], None],
        fetch: Callable[[Job, Future[Any], str], None],
    ) -> None:
        self.name = name
        self.id = ""
        self.seq = 0
        self.finished = False
        self.bar: Bar | None = None
        self.owner: object = None  # kept alive until the job is finished
        self.ended = 0
        self.running = 0
        self.failed = 0
        self.retried = 0
        # A call that has ended is let go of here, so that its result lives only as long as somebody wants it.
        self._futures: list[Future[Any] | None] = []
        self._canceller = canceller
        self._fetch = fetch

    def add_calls(self, count: int) -> list[Future[Any]]:
        """Make the futures of the next `count` calls."""
        first = len(self._futures)
        futures: list[Future[Any]] = [Future(self, call) for call in range(first, first + count)]
        self._futures += futures
        return futures

    def unfinished(self) -> list[Future[Any]]:
        """Give the futures that wait for their calls."""
        return [future for future in self._futures if future is not None]

    def cancel(self, call: int) -> None:
        """Tell the service that nobody waits for this call any more."""
        self._canceller(self, call)

    def apply(self, events: Sequence[Event]) -> None:
        """Take the next events in order; those seen already are passed over."""
        for event in events:
            seq = event.get("seq", 0)
            if seq:
                if seq <= self.seq:
                    continue
                self.seq = seq
            kind = event.get("type")
            if kind == "call":
                self._apply_call(event)
            elif kind == "job" and event.get("state") != "running":
                self._apply_end(event)

    def fail(self, error: BaseException) -> None:
        """Give every unfinished future this error: the job is out of reach."""
        self.finished = True
        for future in self.unfinished():
            self.reject(future, error)

    def _apply_call(self, event: Event) -> None:
        call = event.get("call")
        future = self._futures[call] if isinstance(call, int) and 0 <= call < len(self._futures) else None
        if future is None:
            return
        state = event["state"]
        if "attempt" in event:
            future._attempt = event["attempt"]
        if "pid" in event:
            future._pid, future._host = event["pid"], event.get("host")
        if state == "started":
            self.running += not future._started
            future._started = True
            return
        if state not in ("done", "reused", "failed", "cancelled", "retried"):
            return
        self.running -= future._started
        if state == "retried":
            self.retried += 1
            future._started = False
            return
        self.ended += 1
        if state == "failed":
            self.failed += 1
            self.reject(future, self._exception(future, event.get("error") or {}))
        elif state == "cancelled":
            future._give_up()
            self._let_go(future)
        else:
            self._resolve(future, event)

    def _apply_end(self, event: Event) -> None:
        self.finished = True
        state = event.get("state")
        for future in self.unfinished():
            if future._fetching:
                continue
            if state == "cancelled":
                future._give_up()
                self._let_go(future)
            else:
                error = event.get("error")
                text = error.get("message") if isinstance(error, dict) else error
                message = f"job {self.id} ended ({state}) without a result for call {future.call}"
                lost = CallLost(f"{message}: {text}" if text else message, job=self.id, call=future.call)
                self.reject(future, lost)

    def _resolve(self, future: Future[Any], event: Event) -> None:
        text = event.get("value")
        if text is None and event.get("value_uri"):
            future._fetching = True
            self._fetch(self, future, event["value_uri"])
            return
        self.resolve_with(future, text)

    def resolve_with(self, future: Future[Any], data: str | bytes | None) -> None:
        """Set the result of a future from its pickle, as base64 text or raw."""
        try:
            value = None if data is None else load(data) if isinstance(data, str) else pickle.loads(data)
        except BaseException as error:  # reading a pickle runs code, which may raise anything
            message = f"call {future.call} of `{self.name}` ended well, but its result cannot be read here: {error!r}"
            failure = RemoteError(message, **self._place(future))
            failure.__cause__ = error
            self.reject(future, failure)
            return
        self._let_go(future)
        try:
            future.set_result(value)
        except concurrent.futures.InvalidStateError:
            pass  # cancelled meanwhile

    def _exception(self, future: Future[Any], error: dict[str, Any]) -> BaseException:
        cause = error.get("cause", "lost")
        message = error.get("message") or cause
        remote = RemoteTraceback(error["traceback"]) if error.get("traceback") else None
        exception: BaseException | None = None
        if cause == "exception" and error.get("pickle"):
            try:
                exception = load(error["pickle"])
            except BaseException:
                local = "".join(traceback.format_exc(limit=-1)).strip().splitlines()[-1]
                message = f"{message} (the exception itself cannot be read here: {local})"
        if not isinstance(exception, BaseException):
            kind: type[CallFailed] = CALL_FAILURES.get(cause, CallFailed)
            failure = kind(f"call {future.call} of `{self.name}`: {message}", **self._place(future))
            failure.cause = cause
            exception = failure
        if remote is not None:
            exception.__cause__ = remote
        return exception

    def _place(self, future: Future[Any]) -> dict[str, Any]:
        return {
            "job": self.id,
            "call": future.call,
            "attempt": future.attempt,
            "pid": future.pid,
            "host": future.host,
        }

    def reject(self, future: Future[Any], error: BaseException) -> None:
        """Give a future its exception, unless it was cancelled meanwhile."""
        self._let_go(future)
        try:
            future.set_exception(error)
        except concurrent.futures.InvalidStateError:
            pass  # cancelled meanwhile

    def _let_go(self, future: Future[Any]) -> None:
        self._futures[future.call] = None
