"""Side-car indexes that Python writes, and what Python needs to know of those the core writes.

The layout of ours is that of the core's table formats with another first word: magic, length and CRC-32 of the header, the
header as JSON, then the body, whose length and CRC-32 stand in the header. Nothing in it says when it was made: the same object
gives the same bytes, so slices outlive an index that was removed and made again.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from . import _native, _objects
from ._errors import ObjectNotFoundError
from ._objects import Ref

MAGIC = b"NDPYIDX\x01"
PREAMBLE = struct.Struct("<8sII")
HEADER_LIMIT = 1 << 20
FIRST_READ = 16 << 10

# The core's own: magic, where the header begins, whether it holds one source or a list of them.
_SCANNED, _SCANNED_START = b"NDINDEX\x01", 24
_TABLE, _TABLE_START = b"NDTABLE\x01", 16
_POINT = struct.Struct("<8xQQQ16x")


class Damaged(Exception):
    """A side-car is not what its first bytes promise; it is built again."""


@dataclass(frozen=True)
class SideCar:
    """An index of one version of an object."""

    header: dict[str, Any]
    reference: Ref
    start: int

    @property
    def attributes(self) -> dict[str, Any]:
        """What preprocessing learned, by name."""
        attributes: dict[str, Any] = self.header["attributes"]
        return attributes

    @property
    def size(self) -> int:
        """Length of the body."""
        return int(self.header["body"])

    def read(self, start: int, end: int) -> bytes:
        """Read a range of the body."""
        start, end = max(start, 0), min(end, self.size)
        return _objects.read(self.reference, self.start + start, self.start + end) if start < end else b""


def canonical(value: Any) -> str:
    """JSON as the core writes it: keys sorted, no blanks, nothing escaped that need not be."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def address(source: Ref, root: str | None = None, kind: str = "") -> str:
    """Give the address of an object's side-car: it follows from address and server, so a changed object finds its stale one."""
    return f"{_stem(source, root)}{f'.{kind}' if kind else ''}.ndindex"


def core_addresses(source: Ref, root: str | None = None) -> tuple[str, str]:
    """Give the addresses where the core keeps what it knows of an object: of records in a row, and of a table."""
    stem = _stem(source, root)
    return f"{stem}.ndindex", f"{stem}.ndtable"


def _stem(source: Ref, root: str | None) -> str:
    digest = hashlib.sha256(canonical([source["uri"], source.get("store")]).encode()).hexdigest()
    return f"{(root or _native.side_cars()).rstrip('/')}/v1/{digest[:2]}/{digest[2:]}"


def write(uri: str, source: Ref, *, kind: str, version: int, attributes: dict[str, Any], body: bytes) -> SideCar:
    """Write the side-car of an object."""
    header = {
        "v": 1,
        "program": f"neardata {_native.__version__}",
        "source": source,
        "format": kind,
        "index_version": version,
        "attributes": attributes,
        "body": len(body),
        "crc": zlib.crc32(body),
    }
    text = canonical(header).encode()
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"the attributes of {source['uri']} take {len(text)} bytes; keep what is large in the body of the index")
    reference = _objects.put(uri, PREAMBLE.pack(MAGIC, len(text), zlib.crc32(text)) + text + body)
    return SideCar(header, reference, PREAMBLE.size + len(text))


def read(reference: Ref) -> SideCar:
    """Read the header of a side-car."""
    size = int(reference["size"])
    start = _objects.read(reference, 0, FIRST_READ)
    if len(start) < PREAMBLE.size:
        raise Damaged("it is shorter than its preamble")
    magic, length, checksum = PREAMBLE.unpack_from(start)
    end = PREAMBLE.size + length
    if magic != MAGIC or length > HEADER_LIMIT or end > size:
        raise Damaged("it does not begin as this version writes it")
    text = start[PREAMBLE.size : end]
    if len(text) < length:
        text += _objects.read(reference, PREAMBLE.size + len(text), end)
    if zlib.crc32(text) != checksum:
        raise Damaged("the checksum of its header does not fit")
    header = json.loads(text)
    if end + header["body"] != size:
        raise Damaged("it is not as long as its header says")
    return SideCar(header, reference, end)


def stored(uri: str, source: Ref, kind: str, version: int) -> SideCar | None:
    """Give the side-car at an address if it is of this version of the object, of this format and of this version of the format."""
    try:
        found = read(_objects.head(uri))
        whole = found.read(0, found.size)
    except (ObjectNotFoundError, Damaged):
        return None
    wanted = (source, kind, version, zlib.crc32(whole))
    header = found.header
    fresh = (header.get("source"), header.get("format"), header.get("index_version"), header.get("crc")) == wanted
    return found if fresh else None


def core_index_is_fresh(source: Ref, root: str | None = None) -> bool:
    """Say whether the core has an index of this version of the object."""
    return any(_core_index(source, uri) is not None for uri in core_addresses(source, root))


@dataclass(frozen=True)
class Point:
    """A place of an object that the core's index knows; `docs/formats.md` describes the whole of it."""

    out: int
    record: int
    record_out: int


def points(source: Ref, root: str | None = None) -> list[Point]:
    """Give the points of the core's index of an object of records, in order."""
    found = _core_index(source, core_addresses(source, root)[0])
    if found is None:
        raise Damaged(f"{source['uri']} has no fresh index")
    reference, start, end = found
    count = int.from_bytes(start[16:24], "little")
    table = _objects.read(reference, end, end + count * _POINT.size)
    return [Point(out, record, at) for out, record, at in _POINT.iter_unpack(table)]


def _core_index(source: Ref, uri: str) -> tuple[Ref, bytes, int] | None:
    """Address, first bytes and end of the header of one of the core's indexes, if it is of this version of the object."""
    try:
        reference = _objects.head(uri)
        start = _objects.read(reference, 0, FIRST_READ)
        begin = {_SCANNED: _SCANNED_START, _TABLE: _TABLE_START}[start[:8]]
        end = begin + int.from_bytes(start[8:12], "little")
        text = start[begin:end] if end <= len(start) else _objects.read(reference, begin, end)
        header = json.loads(text)
        sources = header.get("sources") or [header.get("source")]
    except (ObjectNotFoundError, KeyError, ValueError):
        return None
    return (reference, start, end) if source in sources else None
