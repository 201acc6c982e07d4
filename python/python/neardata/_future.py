"""One call under way."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ._job import Job

T = TypeVar("T")

_cancelling = threading.Lock()


class Future(concurrent.futures.Future[T]):
    """The result of one call, now or later.

    It is a `concurrent.futures.Future`, so everything that takes one takes this, and it can be awaited:

    ```python
    future = executor.submit(pow, 2, 10)
    future.result(timeout=60)   # 1024; TimeoutError if it takes longer, the call goes on
    await future                # the same inside asyncio; cancelling the task cancels the call
    ```

    Unlike there, `cancel()` also stops a call that is running already: its worker process is killed.
    """

    def __init__(self, job: Job, call: int) -> None:
        super().__init__()
        self._job = job
        self._call = call
        self._started = False
        self._fetching = False
        self._attempt = 0
        self._pid: int | None = None
        self._host: str | None = None

    @property
    def job_id(self) -> str:
        """Identifier of the job the call belongs to; empty until it is submitted."""
        return self._job.id

    @property
    def call(self) -> int:
        """Position of the call in its job."""
        return self._call

    @property
    def attempt(self) -> int:
        """The attempt that runs or was the last, counted from 1; 0 before the first."""
        return self._attempt

    @property
    def pid(self) -> int | None:
        """The worker process of the last attempt, where the service tells; it does not of calls that end at once."""
        return self._pid

    @property
    def host(self) -> str | None:
        """The machine of the last attempt, where the service tells."""
        return self._host

    def running(self) -> bool:
        """Whether a worker has started the call and not finished it."""
        return self._started and not self.done()

    def cancel(self) -> bool:
        """Give the call up, whether it has started or not; `False` if it is finished."""
        if self._give_up():
            self._job.cancel(self._call)
        return self.cancelled()

    def _give_up(self) -> bool:
        """Become cancelled and wake whoever waits; `False` if the future was finished or cancelled already."""
        with _cancelling:
            if self.done() or not super().cancel():
                return False
            self.set_running_or_notify_cancel()
            return True

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        state = "running" if self.running() else self._state.lower()
        return f"<neardata.Future {self._job.name}[{self._call}] {state}>"


def as_completed(futures: Iterable[Future[T]], timeout: float | None = None) -> Iterator[Future[T]]:
    """Give the futures in the order in which they finish.

    ```python
    for future in neardata.as_completed(executor.map(count, slices)):
        print(future.result())
    ```

    Args:
        futures: futures of one or several executors.
        timeout: seconds from now after which a `TimeoutError` is raised if some have not finished.

    """
    return concurrent.futures.as_completed(futures, timeout)  # type: ignore[return-value]


def wait(
    futures: Iterable[Future[T]],
    timeout: float | None = None,
    return_when: str = concurrent.futures.ALL_COMPLETED,
) -> tuple[set[Future[T]], set[Future[T]]]:
    """Wait for the futures, and return those that have finished and those that have not.

    Args:
        futures: futures of one or several executors.
        timeout: seconds to wait at most; reaching it is no error.
        return_when: `"ALL_COMPLETED"`, `"FIRST_COMPLETED"` or `"FIRST_EXCEPTION"`, as `concurrent.futures` has them.

    """
    done, not_done = concurrent.futures.wait(futures, timeout, return_when)
    return done, not_done  # type: ignore[return-value]
