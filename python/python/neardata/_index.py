"""Indexing objects, in this process or as calls on any executor."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any, Protocol

from . import _native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class HasMap(Protocol):
    """Anything that calls a function on many items: `neardata.Executor`, `concurrent.futures`, a pool, a Dask client."""

    def map(self, fn: Callable[[str], bytes], iterable: Iterable[str], /) -> Iterable[Any]:
        """Give results, or futures of them, in the order of the items."""


@dataclasses.dataclass(frozen=True)
class IndexSummary:
    """What is known of an object once it is indexed."""

    uri: str
    """Its address."""
    size: int
    """Its size in bytes, as stored."""
    side_car: str | None
    """Where its index lies; `None` for formats whose own header says enough."""
    format: str
    """Name of its format."""
    compression: str | None
    """`plain`, `gzip`, `bgzf` or `zstd`; `None` for formats that compress inside."""
    records: int | None
    """How many records it holds, where that is known."""
    uncompressed: int | None
    """Its size in bytes when uncompressed, where that is known."""
    note: str | None
    """What its user should know: why it cannot be cut, and what to do."""
    built: bool
    """Whether this call made the index; false when there was a fresh one, or none is needed."""


def index(
    uri: str | os.PathLike[str],
    executor: HasMap | None = None,
    *,
    parts: int | None = None,
) -> IndexSummary:
    """Make sure that an object has a fresh index. Slicing does so by itself; this is for doing it before, or on many machines.

    ```python
    neardata.index("s3://lab/reads.fastq.gz").records
    with neardata.Executor() as executor:
        neardata.index("s3://lab/huge.vcf.gz", executor)               # its parts are indexed by calls, at once
    with concurrent.futures.ProcessPoolExecutor() as pool:
        neardata.index("huge.csv", pool, parts=32)
    ```

    Objects that are plain or BGZF (BAM and BCF are) are indexed in parts; gzip of any other kind and Zstandard in one call. The
    index is the same, byte for byte, however it was made. Without an executor, large objects are indexed by several threads.
    Formats that packages bring are indexed in this process; `records` is what they learned under that name.

    Args:
        uri: `s3://`, `gs://`, `az://`, `http(s)://` or `file://` address, or a path.
        executor: where the calls run: anything with a `map` that gives results or futures.
        parts: about how many calls; default: one for every 64 MiB, at most 256.

    """
    address = os.fspath(uri)
    from . import _user_formats

    if found := _user_formats.find(address, None):
        return IndexSummary(**_user_formats.index(found, address))
    if executor is None:
        if parts is not None:
            raise TypeError("parts= goes with an executor")
        return _summary(_native.index(address))
    if parts is not None and parts < 1:
        raise ValueError(f"parts must be at least 1, not {parts}")
    todo = _native.index_parts(address, parts)
    if not todo:
        return _summary(_native.index(address))
    made = list(executor.map(index_part, todo))
    return _summary(_native.join_index(address, [item.result() if hasattr(item, "result") else item for item in made]))


def index_part(part: str) -> bytes:
    """Index one part; this is what runs on the executor."""
    return _native.index_part(part)


def _summary(text: str) -> IndexSummary:
    return IndexSummary(**json.loads(text))
