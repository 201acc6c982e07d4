"""Formats that installed packages bring: finding them, cutting with them, and reading their slices."""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from . import _native, _objects, _sidecars
from ._errors import FormatError, ObjectChangedError, ObjectNotFoundError
from .formats import Format, Source

if TYPE_CHECKING:
    import importlib.metadata

    from _typeshed import WriteableBuffer

GROUP = "neardata.formats"
START = 64 << 10
SELECTION_LIMIT = 700


_declared: dict[str, Format] = {}
"""Formats that this program made and cut with, by name."""


def find(uri: str, name: str | Format | None) -> Format | None:
    """Give the format of that name; without a name, the one that recognises the object; `None` if it is one of the core's."""
    if isinstance(name, Format):
        if name.name in _native.core_formats():
            raise FormatError(f"NearData has a format `{name.name}` of its own; give yours another name")
        _declared[name.name] = name
        return name
    if name is not None:
        return by_name(name)
    formats = [found for found in map(_try_to_load, _entry_points(tuple(sys.path)).values()) if found is not None]
    if not formats:
        return None
    start = _Start(uri)
    found = [candidate for candidate in formats if candidate.recognises(uri, start)]
    if len(found) > 1:
        names = ", ".join(f"`{candidate.name}`" for candidate in found)
        raise FormatError(f"{uri} may be of any of the formats {names}; say which with format=")
    return found[0] if found else None


def by_name(name: str) -> Format:
    """Load the format of that name."""
    if name in _declared:
        return _declared[name]
    points = _entry_points(tuple(sys.path))
    if name not in points:
        there = ", ".join(f"`{known}`" for known in sorted(points)) or "none"
        raise FormatError(
            f"no installed package brings a format `{name}`; installed are {there}. Workers need the package as well; "
            f"the core's own are {', '.join(f'`{known}`' for known in _native.core_formats())}"
        )
    return _load(points[name])


def slices(found: Format, uri: str, asked: Mapping[str, Any]) -> list[_native.Slice]:
    """Cut an object; index it first if its format has an index and there is no fresh one."""
    options = {name: value for name, value in asked.items() if value is not None}
    _check(found, options)
    reference = _objects.head(uri)
    side_car, _ = _index(found, reference)
    index = [] if side_car is None else [_pinned(side_car.reference)]
    made = []
    for selection in found.select(Source(reference, side_car), options):
        _check_selection(found, selection)
        value = {"v": 1, "format": found.name, "objects": [reference], "selection": selection, "index": index}
        made.append(_native.Slice(json.dumps(value)))
    return made


def read(part: _native.Slice, object: int = 0) -> bytes:
    """Read a slice of a format that the core does not know; the core calls this."""
    return b"".join(_pieces(part, object))


def open_slice(part: _native.Slice, object: int = 0) -> io.BufferedReader:
    """Open a slice of a format that the core does not know; the core calls this."""
    return io.BufferedReader(_PiecesFile(_pieces(part, object)), _objects.BUFFER)


def to_arrow(part: _native.Slice) -> Any:
    """Read a slice of a format that the core does not know as a table; the core calls this."""
    found, source, selection = _opened(part)
    return found.batches(source, selection)


def _pieces(part: _native.Slice, object: int) -> Iterator[bytes]:
    found, source, selection = _opened(part)
    if object != 0:
        raise FormatError(f"the slice has no object number {object}; it has 1")
    return found.pieces(source, selection)


def _opened(part: _native.Slice) -> tuple[Format, Source, Any]:
    found = by_name(part.format)
    value = json.loads(part.to_json())
    reference = value["objects"][0]
    side_car = None
    if index := value.get("index"):
        changed = f"{reference['uri']} changed since it was cut: its index is of another version; cut it again"
        try:
            side_car = _sidecars.read(index[0])
        except ObjectChangedError as error:
            raise ObjectChangedError(changed) from error
        except (ObjectNotFoundError, _sidecars.Damaged) as error:
            raise FormatError(
                f"the index {index[0]['uri']} of {reference['uri']} is gone ({error}); cut the object again"
            ) from error
        if side_car.header["source"] != reference:
            raise ObjectChangedError(f"{reference['uri']} changed since it was cut: its index is of another version; cut it again")
        if side_car.header["index_version"] != found.version:
            raise FormatError(f"the index of {reference['uri']} is of another version of the format {found.name}; cut it again")
    return found, Source(reference, side_car), value["selection"]


def index(found: Format, uri: str) -> dict[str, Any]:
    """Make sure that an object has a fresh index, if its format has one; give what `neardata.index` tells of it."""
    reference = _objects.head(uri)
    side_car, built = _index(found, reference)
    known = {} if side_car is None else side_car.attributes
    records = known.get("records")
    return {
        "uri": reference["uri"],
        "size": reference["size"],
        "side_car": None if side_car is None else side_car.reference["uri"],
        "format": found.name,
        "compression": None,
        "records": records if isinstance(records, int) else None,
        "uncompressed": None,
        "note": None,
        "built": built,
    }


def _index(found: Format, reference: _objects.Ref) -> tuple[_sidecars.SideCar | None, bool]:
    """Give the index, if the format has one, and whether it was made just now."""
    if not found.has("preprocess"):
        return None, False
    address = _sidecars.address(reference, kind=found.name)
    stored = _sidecars.stored(address, reference, found.name, found.version)
    if stored is not None:
        return stored, False
    made = found.learn(Source(reference))
    side_car = _sidecars.write(
        address, reference, kind=found.name, version=found.version, attributes=made.attributes, body=made.data
    )
    return side_car, True


def _pinned(reference: _objects.Ref) -> _objects.Ref:
    """Where the store gives no strong tag the size is enough: the header says what object the index is of."""
    return reference if "etag" in reference["pin"] else {**reference, "pin": "weak_size"}


def _check(found: Format, options: Mapping[str, Any]) -> None:
    offered = found.options
    for name, value in options.items():
        if name not in offered:
            known = ", ".join(f"`{option}`" for option in offered)
            raise FormatError(f"slices of {found.name} cannot be asked for by `{name}`; they can by {known}")
        if name in ("n", "bytes", "records", "tiles") and value < 1:
            raise FormatError(f"{name} must be at least 1, not {value}")


def _check_selection(found: Format, selection: Any) -> None:
    try:
        size = len(_sidecars.canonical(selection).encode())
    except (TypeError, ValueError) as error:
        raise FormatError(f"a selection of {found.name} is not JSON: {error}") from error
    if size > SELECTION_LIMIT:
        raise FormatError(
            f"a selection of {found.name} has {size} bytes, more than {SELECTION_LIMIT}; keep what is large in the index, "
            "and let the selection say where"
        )


@lru_cache(maxsize=8)
def _entry_points(_path: tuple[str, ...]) -> dict[str, importlib.metadata.EntryPoint]:
    import importlib.metadata  # it takes longer to import than the rest of this package

    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


@lru_cache(maxsize=64)
def _load(point: importlib.metadata.EntryPoint) -> Format:
    found = point.load()
    if not isinstance(found, Format):
        raise FormatError(f"the entry point {point.value} is not a format; make one with neardata.format()")
    if found.name != point.name:
        raise FormatError(f"the entry point `{point.name}` names the format `{found.name}`; give both one name")
    if found.name in _native.core_formats():
        raise FormatError(f"NearData has a format `{found.name}` of its own; {point.value} needs another name")
    return found


@lru_cache(maxsize=64)
def _try_to_load(point: importlib.metadata.EntryPoint) -> Format | None:
    """Load a format; one whose package is broken is no reason not to read other objects."""
    try:
        return _load(point)
    except Exception as error:
        warnings.warn(f"the format `{point.name}` of {point.value} cannot be used: {error}", RuntimeWarning, stacklevel=4)
        return None


class _Start:
    """The first bytes of an object, read when first asked for."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._bytes: bytes | None = None

    def __call__(self) -> bytes:
        if self._bytes is None:
            self._bytes = _objects.read(_objects.head(self._uri), 0, START)
        return self._bytes


class _PiecesFile(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
