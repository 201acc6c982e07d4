"""A private engine: the service as a child process, for machines where none is running."""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO

from . import _native
from ._errors import ServiceUnavailableError, VersionMismatchError
from ._service import PROTOCOL, Address

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
LOG_TAIL = 2000
FOLDER_PREFIX = "neardata-sdk-"
OWNER = "owner"


def engine_command() -> list[str]:
    """Give the command line that runs `neardata` with this interpreter."""
    return [sys.executable, "-m", "neardata"]


_engines: weakref.WeakSet[PrivateEngine] = weakref.WeakSet()


def _let_go_of_all() -> None:
    """Close, in a forked child, the pipes whose closing ends the engines of its parent."""
    for engine in _engines:
        engine._let_go()


os.register_at_fork(after_in_child=_let_go_of_all)


class PrivateEngine:
    """One `neardata engine` process with a folder of its own; it ends with this process, whatever ends this one.

    The child's standard input is a pipe that only this process holds: when it closes, the engine stops its workers and exits.
    """

    def __init__(self, workers: int | None = None) -> None:
        _remove_orphans()
        self._folder, self._lock = _own_folder()
        self._log = self._folder / "engine.log"
        socket_path = self._folder / "api"
        self.address = Address("unix", "localhost", 0, str(socket_path))
        command = [*engine_command(), "engine", "--folder", str(self._folder), "--socket", str(socket_path)]
        if workers is not None:
            command += ["--workers", str(workers)]
        results = f"file://{_native.cache_folder() / 'python-results'}"  # those of cached functions outlive the engine
        self._read_once: set[str] = set()
        self._process = self._start([*command, "--results", results])
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        _engines.add(self)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for this process to handle
            )

    def gone(self) -> str | None:
        """Say how the engine ended, or `None` while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"the private engine (process {self._process.pid}) {how}{self._log_tail()}"

    @property
    def pid(self) -> int:
        """The process of the engine."""
        return self._process.pid

    def stop(self) -> None:
        """Stop the engine and its workers, and remove its folder."""
        self._end()
        for folder in (str(self._folder), *self._read_once):
            shutil.rmtree(folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def read_result(self, path: str, job: str) -> bytes:
        """Read a result that was too large for an event, and remove it if nobody else will want it."""
        data = Path(path).read_bytes()
        folder = os.path.dirname(path)
        if folder.endswith(f"/python/{job}"):  # not one of a cached function
            os.unlink(path)
            self._read_once.add(folder)
        return data

    def _end(self) -> None:
        self._let_go()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _let_go(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def _await_ready(self) -> None:
        line = _read_line(self._process.stdout, START_TIMEOUT_S)
        try:
            ready = json.loads(line)
        except ValueError:
            ready = None
        if not isinstance(ready, dict) or not ready.get("ready"):
            time.sleep(0.05)  # a process that closed its output is about to end
            how = self.gone() or f"the private engine did not start within {START_TIMEOUT_S:.0f} s{self._log_tail()}"
            raise ServiceUnavailableError(how, "engine", f"try `{' '.join(engine_command())} doctor`")
        protocol = ready.get("protocol", PROTOCOL)
        if protocol != PROTOCOL:
            message = f"the engine speaks protocol {protocol}, this package {PROTOCOL}"
            raise VersionMismatchError(message, "protocol", "install one version of neardata in this environment")

    def _log_tail(self) -> str:
        try:
            text = self._log.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace").strip()
        except OSError:
            return ""
        return f": {text}" if text else ""


def _own_folder() -> tuple[Path, int]:
    """Make a folder that only this user can enter, and hold its lock as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    fresh = folder / "owner.fresh"
    lock = os.open(fresh, os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    fresh.rename(folder / OWNER)  # from here on, who can take the lock knows that its owner is gone
    return folder, lock


def _remove_orphans() -> None:
    """Remove the folders of engines whose clients were killed before they could."""
    for owner in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/{OWNER}"):
        try:
            if owner.stat().st_uid != os.getuid():
                continue
            lock = os.open(owner, os.O_WRONLY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(owner.parent, ignore_errors=True)
        except OSError:
            pass  # its owner lives
        finally:
            os.close(lock)


def _read_line(stream: IO[bytes] | None, timeout: float) -> bytes:
    """Read one line from a pipe, or what came of it before the end or the time limit."""
    assert stream is not None
    line = b""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                break
            data = os.read(stream.fileno(), 4096)
            if not data:
                break
            line += data
    return line
