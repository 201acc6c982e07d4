"""FASTA. Long sequences are cut inside; what continues a sequence begins with its header line and ` offset=N`."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from .... import _native, _objects, _sidecars
from ... import _preprocess
from ..._core import CoreDataFormat, FileSlice, is_plain, records
from ...entities import PartitioningStrategy

if TYPE_CHECKING:
    from ...cloudobject import CloudObject

LINE = 1 << 12


def _attributes(co: CloudObject) -> dict[str, Any]:
    return {"num_sequences": records(_preprocess.cut(co, counted=True, n=1))}


@CoreDataFormat(_attributes)
class FASTA:
    """FASTA, plain or compressed.

    Attributes:
        num_sequences: how many sequences there are.

    """

    num_sequences: int


class FASTASlice(FileSlice):
    """Sequences, the first of which may be the rest of one.

    Attributes:
        header: where the header line of the sequence lies that the slice continues: its first byte, and the one behind it.
        offset: how many bytes of that sequence, line ends included, come before the slice.

    """

    data_format = FASTA

    def __init__(self, part: _native.Slice, header: tuple[int, int] | None = None, offset: int = 0) -> None:
        super().__init__(part)
        self.header = header
        self.offset = offset

    def get(self) -> bytes:
        """Read the sequences."""
        if self.header is None:
            return self.read()
        line = _objects.read(_objects.of_slice(self._ready()), *self.header).rstrip(b"\r\n")
        return line + f" offset={self.offset}\n".encode() + self.read()


@PartitioningStrategy(dataformat=FASTA)
def partition_chunks_strategy(cloud_object: CloudObject, num_chunks: int) -> list[FASTASlice]:
    """Cut into `num_chunks` slices of about equal size, at line ends; a compressed object is cut between sequences only."""
    if num_chunks < 1:
        raise ValueError(f"there must be at least 1 chunk, not {num_chunks}")
    whole = _preprocess.cut(cloud_object, counted=True, n=1)
    if not whole or not is_plain(whole[0]):
        return [FASTASlice(part) for part in _preprocess.cut(cloud_object, n=num_chunks)]
    reference = _objects.of_slice(whole[0])
    size = int(reference["size"])
    points = _sidecars.points(reference, cloud_object.metadata_root)
    places = {0: _Place(0, None, 0)}
    for number in range(1, num_chunks):
        place = _place(reference, points, size * number // num_chunks)
        places.setdefault(place.start, place)
    ordered = [places[start] for start in sorted(places)]
    ends = [*(place.start for place in ordered[1:]), size]
    return [
        FASTASlice(_objects.range_slice(reference, place.start, end, "fasta"), place.header, place.offset)
        for place, end in zip(ordered, ends, strict=True)
    ]


class _Place:
    """A place to cut at, and the header line of the sequence that goes on there."""

    def __init__(self, start: int, header: tuple[int, int] | None, offset: int) -> None:
        self.start = start
        self.header = header
        self.offset = offset


def _place(reference: _objects.Ref, points: list[_sidecars.Point], wanted: int) -> _Place:
    """Give the line start at `wanted` or before it."""
    header = _header_before(reference, points, wanted)
    behind = _line_end(reference, header)
    if wanted < behind:
        return _Place(header, None, 0)
    start = _line_start(reference, behind, wanted)
    return _Place(start, (header, behind), start - behind)


def _header_before(reference: _objects.Ref, points: list[_sidecars.Point], wanted: int) -> int:
    """Give where the sequence begins that has the byte `wanted`."""
    number = bisect_right(points, wanted, key=lambda point: point.record_out) - 1
    known = points[number].record_out
    # No record begins between the next point and the record it names, which lies behind `wanted`.
    end = wanted + 1 if number + 1 == len(points) else min(points[number + 1].out, wanted) + 1
    found = _objects.read(reference, known, end).rfind(b"\n>")
    return known if found < 0 else known + found + 1


def _line_end(reference: _objects.Ref, start: int) -> int:
    """Give the place behind the line that begins at `start`."""
    size = int(reference["size"])
    at = start
    while at < size:
        data = _objects.read(reference, at, at + LINE)
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(data)
    return size


def _line_start(reference: _objects.Ref, least: int, wanted: int) -> int:
    """Give the line start at `wanted` or before it, but not before `least`; `wanted` itself in a very long line."""
    low = max(least, wanted - LINE)
    found = _objects.read(reference, low, wanted).rfind(b"\n")
    if found >= 0:
        return low + found + 1
    return least if low == least else wanted
