"""The one thread of an executor: it submits single calls, follows the event streams of all jobs, and sends cancellations."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ._errors import CallLost, Error, ServiceUnavailableError
from ._events import EventParser
from ._job import Job
from ._service import Service

RECEIVE = 1 << 18
SILENCE_S = 60.0  # the service sends at least an empty line every 15 s
PATIENCE_S = 60.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
GATHER_S = 0.001
REDRAW_S = 0.25


class _Stream:
    """The event stream of one job, connected or waiting to be."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.connection: socket.socket | None = None
        self.parser = EventParser()
        self.heard = time.monotonic()
        self.lost_since: float | None = None
        self.pause = 0.0
        self.retry_at = 0.0


class Follower:
    """Follows jobs in a background thread that starts with the first job and ends with `close`.

    Nothing is polled: the thread sleeps until bytes arrive, a command comes through the wake-up pipe, or a lost connection is due
    to be tried again.
    """

    def __init__(self, service: Service, alive: Callable[[], str | None]) -> None:
        self._service = service
        self._alive = alive  # why the service is gone for good, or None
        self._streams: dict[Job, _Stream] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._cancels: dict[Job, list[int]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def follow(self, job: Job) -> None:
        """Resolve the job's futures as its events come."""
        self.run_soon(lambda: self._connect(_Stream(job)))

    def cancel(self, job: Job, call: int) -> None:
        """Tell the service to stop this call; many at once travel in one request."""
        with self._lock:
            first = not self._cancels
            self._cancels.setdefault(job, []).append(call)
        if first:
            self.run_soon(self._send_cancels)

    def run_soon(self, command: Callable[[], None]) -> None:
        """Run `command` on the thread; it must not raise."""
        with self._lock:
            if self._closing:
                return
            self._commands.append(command)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="neardata-follower", daemon=True)
                self._thread.start()
            self._wake()

    def close(self) -> None:
        """Send what is still to be cancelled, give unfinished futures up, and end the thread."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._wake()
            thread = self._thread
        if thread is None:
            self._close_files()
        elif thread is not threading.current_thread():
            thread.join(timeout=10)

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # the pipe is full, so the thread wakes anyway

    def _close_files(self) -> None:
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        try:
            self._follow_all()
        except BaseException as error:
            for stream in self._streams.values():
                lost = CallLost(f"following job {stream.job.id} failed here: {error!r}", job=stream.job.id)
                lost.__cause__ = error
                stream.job.fail(lost)
            raise
        finally:
            with self._lock:
                self._closing = True
                self._close_files()

    def _follow_all(self) -> None:
        while not self._closing:
            heard = False
            for key, _ in self._selector.select(self._timeout()):
                if key.data is None:
                    os.read(self._wake_read, 4096)
                else:
                    heard = True
                    self._receive(key.data)
            self._run_commands()
            self._look_after_streams()
            if heard and self._streams:
                time.sleep(GATHER_S)  # in a burst, take many events at once rather than wake for each
        self._run_commands()
        for stream in list(self._streams.values()):
            self._drop(stream)
            stream.job.fail(CallLost(f"the executor was shut down before job {stream.job.id} had ended", job=stream.job.id))

    def _timeout(self) -> float | None:
        if not self._streams:
            return None
        now = time.monotonic()
        due = now + SILENCE_S / 4
        for stream in self._streams.values():
            if stream.connection is None:
                due = min(due, stream.retry_at)
            elif stream.job.bar is not None:
                due = min(due, now + REDRAW_S)
        return max(0.0, due - now)

    def _run_commands(self) -> None:
        while self._commands:
            self._commands.popleft()()

    def _look_after_streams(self) -> None:
        now = time.monotonic()
        for stream in list(self._streams.values()):
            if stream.job.bar is not None:
                stream.job.bar.draw()
            if stream.connection is None:
                if now >= stream.retry_at:
                    self._connect(stream)
            elif now - stream.heard > SILENCE_S:
                self._lose(stream, TimeoutError(f"nothing heard for {SILENCE_S:.0f} s"))

    def _connect(self, stream: _Stream) -> None:
        self._streams[stream.job] = stream
        try:
            stream.connection = self._service.open_stream(f"/v1/jobs/{stream.job.id}/events?from={stream.job.seq}")
        except (OSError, Error) as error:
            self._lose(stream, error)
            return
        stream.connection.setblocking(False)
        stream.parser = EventParser()
        stream.heard = time.monotonic()
        self._selector.register(stream.connection, selectors.EVENT_READ, stream)

    def _receive(self, stream: _Stream) -> None:
        connection = stream.connection
        while connection is not None and not stream.job.finished:
            try:
                data = connection.recv(RECEIVE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError"):
                    return
                self._lose(stream, error)
                return
            if not data:
                self._end(stream)
                return
            self._take(stream, data)
            if stream.connection is not connection:
                return
            if len(data) < RECEIVE and connection.family == socket.AF_UNIX:
                break
        if stream.job.finished:
            self._finish(stream)

    def _take(self, stream: _Stream, data: bytes) -> None:
        stream.heard = time.monotonic()
        try:
            events = stream.parser.feed(data)
            if events:
                stream.job.apply(events)
        except Exception as error:  # what the service sends must not end the thread
            broken = CallLost(f"the answer of {self._service.address} cannot be understood: {error!r}", job=stream.job.id)
            broken.__cause__ = error
            stream.job.fail(broken)
            return
        if stream.parser.status == 200:
            stream.lost_since, stream.pause = None, 0.0

    def _end(self, stream: _Stream) -> None:
        """Take note that the service closed the connection: a refusal, or an interruption."""
        if stream.parser.status in (0, 200):
            self._lose(stream, ConnectionError("the connection was closed"))
            return
        try:
            self._service.decode(stream.parser.status, stream.parser.refusal)
            error: BaseException = ServiceUnavailableError(f"unexpected answer {stream.parser.status}")
        except Error as refusal:
            error = refusal
        stream.job.fail(error)
        self._finish(stream)

    def _lose(self, stream: _Stream, error: Exception) -> None:
        """Try again in a moment; give up when the service is gone for good or has been out of reach for long."""
        self._disconnect(stream)
        now = time.monotonic()
        stream.lost_since = stream.lost_since or now
        gone = self._alive()
        if gone is None and now - stream.lost_since < PATIENCE_S:
            stream.retry_at = now + stream.pause
            stream.pause = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * stream.pause))
            return
        text = gone or f"{self._service.address} has been out of reach for {PATIENCE_S:.0f} s: {error}"
        lost = CallLost(f"job {stream.job.id}: {text}", job=stream.job.id)
        lost.__cause__ = error
        stream.job.fail(lost)
        self._finish(stream)

    def _finish(self, stream: _Stream) -> None:
        self._drop(stream)
        stream.job.owner = None
        if stream.job.bar is not None:
            stream.job.bar.finish()

    def _drop(self, stream: _Stream) -> None:
        self._disconnect(stream)
        self._streams.pop(stream.job, None)

    def _disconnect(self, stream: _Stream) -> None:
        if stream.connection is not None:
            self._selector.unregister(stream.connection)
            stream.connection.close()
            stream.connection = None

    def _send_cancels(self) -> None:
        with self._lock:
            cancels, self._cancels = self._cancels, {}
        for job, calls in cancels.items():
            if not job.id or job.finished:
                continue
            body: dict[str, Any] = {"v": 1, "calls": calls}
            try:
                self._service.post(f"/v1/jobs/{job.id}/cancel", body)
            except Error:
                pass  # the futures are cancelled here; a service that cannot be told has lost the job or has ended it
