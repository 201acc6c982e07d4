"""Every error of the package; all of them are a [`neardata.Error`][]."""

from __future__ import annotations


class Error(Exception):
    """Anything that goes wrong in NearData, so that one `except neardata.Error` catches it."""


class ConfigError(Error, ValueError):
    """The configuration file or the environment holds something that means nothing."""


class UriError(Error, ValueError):
    """A text is not the address of an object."""


class SliceError(Error, ValueError):
    """A text is not a slice, or a slice does not have the shape its format needs."""


class FormatError(Error, ValueError):
    """The bytes of an object are not what its format says: truncated gzip, unequal mates, an unknown format."""


class ReadError(Error, OSError):
    """An object could not be read or written."""


class ObjectNotFoundError(ReadError, FileNotFoundError):
    """There is no such object."""


class AccessDeniedError(ReadError, PermissionError):
    """The store refused access; the credentials of the environment do not suffice."""


class ObjectChangedError(ReadError):
    """The object is not the version its slice was made for."""


class ServiceError(Error):
    """The job service refused a request.

    Attributes:
        code: the service's short word for what is wrong.
        remedy: what to do about it; may be empty.

    """

    def __init__(self, message: str, code: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else ""
        return f"{message}; {self.remedy}" if self.remedy and self.remedy not in message else message


class ServiceUnavailableError(ServiceError, ConnectionError):
    """No job service answers at the address, or the private engine could not be started or has died."""


class VersionMismatchError(ServiceError):
    """The package and the service speak different versions of the protocol."""


class CallFailed(Error):
    """A call failed for a reason other than an exception of the function itself.

    What the function raised comes back as the very type it raised; this class and those below it say that there is no such
    exception: the process was killed, ran out of time or memory, or was lost.

    Attributes:
        cause: `"killed"`, `"timeout"`, `"memory"`, `"lost"`, `"exception"`, or another word of the service.
        job: identifier of the job.
        call: position of the call in its map.
        attempt: the attempt that failed last, counted from 1.
        pid: the worker process, where known.
        host: the machine, where known.

    """

    cause: str = "lost"

    def __init__(
        self,
        message: str,
        *,
        job: str = "",
        call: int = 0,
        attempt: int = 0,
        pid: int | None = None,
        host: str | None = None,
    ) -> None:
        super().__init__(message)
        self.job = job
        self.call = call
        self.attempt = attempt
        self.pid = pid
        self.host = host


class CallKilled(CallFailed):
    """The worker process of the call was killed or ended by itself; the message names the signal or exit code."""

    cause = "killed"


class CallTimedOut(CallFailed):
    """The call took longer than its `timeout`, and was stopped.

    Not a `TimeoutError`: that one says that `future.result(timeout)` gave up waiting while the call goes on.
    """

    cause = "timeout"


class CallOutOfMemory(CallFailed):
    """The call needed more than its `memory`, and was stopped."""

    cause = "memory"


class CallLost(CallFailed):
    """Nobody knows the call's result any more: the machine, the engine or the connection to it is gone."""

    cause = "lost"


class RemoteError(CallFailed):
    """The function raised an exception, or returned a value, that cannot be brought back; the message is its text."""

    cause = "exception"


class RemoteTraceback(Exception):
    """The traceback of an exception on the worker; it hangs as `__cause__` on the exception that comes back."""

    def __init__(self, traceback: str) -> None:
        super().__init__(traceback)
        self.traceback = traceback

    def __str__(self) -> str:
        return f'\n"""\n{self.traceback}"""'


CALL_FAILURES: dict[str, type[CallFailed]] = {
    kind.cause: kind for kind in (CallKilled, CallTimedOut, CallOutOfMemory, CallLost, RemoteError)
}
