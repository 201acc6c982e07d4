r"""Bring functions to data: slice objects where they lie, and call Python on the slices, near them.

```python
import neardata

slices = neardata.slices("s3://lab/reads.fastq.gz", n=32)
with neardata.Executor() as executor:
    for future in neardata.as_completed(executor.map(lambda part: part.read().count(b"\n") // 4, slices)):
        print(future.result())
```
"""

from ._cached import cached
from ._errors import (
    AccessDeniedError,
    CallFailed,
    CallKilled,
    CallLost,
    CallOutOfMemory,
    CallTimedOut,
    ConfigError,
    Error,
    FormatError,
    ObjectChangedError,
    ObjectNotFoundError,
    ReadError,
    RemoteError,
    RemoteTraceback,
    ServiceError,
    ServiceUnavailableError,
    SliceError,
    UriError,
    VersionMismatchError,
)
from ._executor import Executor
from ._future import Future, as_completed, wait
from ._index import IndexSummary, index
from ._native import ArrowStream, ObjectRef, Slice, __version__
from ._slices import inspect, slices
from .formats import format

__all__ = [
    "AccessDeniedError",
    "ArrowStream",
    "CallFailed",
    "CallKilled",
    "CallLost",
    "CallOutOfMemory",
    "CallTimedOut",
    "ConfigError",
    "Error",
    "Executor",
    "FormatError",
    "Future",
    "IndexSummary",
    "ObjectChangedError",
    "ObjectNotFoundError",
    "ObjectRef",
    "ReadError",
    "RemoteError",
    "RemoteTraceback",
    "ServiceError",
    "ServiceUnavailableError",
    "Slice",
    "SliceError",
    "UriError",
    "VersionMismatchError",
    "__version__",
    "as_completed",
    "cached",
    "format",
    "index",
    "inspect",
    "slices",
    "wait",
]

for _name in __all__:
    if isinstance(_public := globals()[_name], type):
        _public.__module__ = __name__  # tracebacks and pickles name what users know
