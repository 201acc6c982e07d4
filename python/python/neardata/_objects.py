"""One version of an object of any store: its size, its bytes by range, and the writing of small objects."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING, Any

from . import _native

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer

BUFFER = 1 << 20

Ref = dict[str, Any]
"""An object as slices name it: `uri`, `pin`, `size`, and `store` where the address alone does not say which server."""


def head(uri: str | os.PathLike[str]) -> Ref:
    """Pin the current version of an object."""
    reference: Ref = json.loads(_native.head(os.fspath(uri)))
    return reference


def of_slice(part: _native.Slice, object: int = 0) -> Ref:
    """Give one of the objects of a slice."""
    reference: Ref = json.loads(part.to_json())["objects"][object]
    return reference


def put(uri: str, data: bytes) -> Ref:
    """Write an object whole, and pin what was written."""
    reference: Ref = json.loads(_native.put(uri, data))
    return reference


def delete(uri: str) -> None:
    """Remove an object; one that is not there is fine."""
    _native.delete(uri)


def range_slice(reference: Mapping[str, Any], start: int, end: int, name: str = "text") -> _native.Slice:
    """Make a slice of the bytes `[start, end)` of an object, whatever it holds: one record that begins and ends there."""
    stretch = {
        "compression": "plain",
        "records": [0, 1],
        "bit": start * 8,
        "out": start,
        "stop": end,
        "from": [0, start],
        "to": [1, end],
    }
    value = {"v": 1, "format": name, "objects": [reference], "selection": {"stretches": [stretch]}}
    return _native.Slice(json.dumps(value))


def read(reference: Mapping[str, Any], start: int, end: int) -> bytes:
    """Read the bytes `[start, end)` of an object, cut at its end; fails when it is another version by now."""
    start, end = max(start, 0), min(end, int(reference["size"]))
    return range_slice(reference, start, end).read() if start < end else b""


class _RangedFile(io.RawIOBase):
    """An object as a file: every read is a range."""

    def __init__(self, reference: Mapping[str, Any]) -> None:
        super().__init__()
        self._reference = reference
        self._size = int(reference["size"])
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = read(self._reference, self._at, self._at + len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        data = read(self._reference, self._at, self._size)
        self._at += len(data)
        return data


def open_file(reference: Mapping[str, Any], buffering: int = BUFFER) -> io.BufferedReader:
    """Open an object as a seekable binary file that fetches `buffering` bytes at a time or more."""
    return io.BufferedReader(_RangedFile(reference), buffering)
