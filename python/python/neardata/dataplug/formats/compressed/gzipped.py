"""Lines of compressed text, and of FASTQ."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

from ...._errors import FormatError
from ... import _preprocess
from ..._core import CoreDataFormat, FileSlice, joined, records, stretch_of, with_stretch
from ...entities import PartitioningStrategy

if TYPE_CHECKING:
    from .... import _native
    from ...cloudobject import CloudObject

LINES_A_RECORD = {"text": 1, "jsonl": 1, "fastq": 4}


def _attributes(co: CloudObject) -> dict[str, Any]:
    parts = _preprocess.cut(co, counted=True, n=1)
    lines = records(parts) * _lines_a_record(parts) if parts else 0
    return {"total_lines": lines, "index_key": co.meta_path.key}


@CoreDataFormat(_attributes)
class GZipText:
    """Lines of text or FASTQ in gzip, BGZF or plain.

    Attributes:
        total_lines: how many lines there are.
        index_key: where the index lies in its bucket.

    """

    total_lines: int
    index_key: str


class GZipTextSlice(FileSlice):
    """Some lines."""

    data_format = GZipText

    @property
    def line_0(self) -> int:
        """The first line, counted from 1."""
        return int(stretch_of(self.slice)["records"][0]) * LINES_A_RECORD[self.slice.format] + 1

    @property
    def line_1(self) -> int:
        """The last line, counted from 1."""
        return int(stretch_of(self.slice)["records"][1]) * LINES_A_RECORD[self.slice.format]

    def get(self) -> list[str]:
        """Read the lines, without their ends."""
        return list(self.iter_lines())

    def iter_lines(self) -> Iterator[str]:
        """Read the lines one by one; they are fetched and decompressed as they are asked for."""
        with io.TextIOWrapper(self.open(), "utf-8", newline="\n") as lines:
            for line in lines:
                yield line.removesuffix("\n").removesuffix("\r")

    def to_file_obj(self, file_obj: IO[str], close_fd: bool = False) -> None:
        """Write the lines to an open text file."""
        for line in self.iter_lines():
            file_obj.write(line + "\n")
        if close_fd:
            file_obj.close()


def check_remainder(strategy: str) -> None:
    """Refuse what is neither of the two ways to treat what remains."""
    if strategy not in ("expand", "merge"):
        raise ValueError(f"strategy is `expand` or `merge`, not `{strategy}`")


@PartitioningStrategy(dataformat=GZipText)
def partition_chunk_lines(cloud_object: CloudObject, lines_per_chunk: int, strategy: str = "expand") -> list[GZipTextSlice]:
    """Cut into slices of `lines_per_chunk` lines.

    Args:
        cloud_object: the object.
        lines_per_chunk: lines of a slice.
        strategy: what becomes of the lines that remain: `"expand"` gives them a slice of their own, `"merge"` adds them to the
            last.

    """
    check_remainder(strategy)
    if lines_per_chunk < 1:
        raise ValueError(f"a slice has at least 1 line, not {lines_per_chunk}")
    total = cloud_object.attributes.total_lines
    cuts = [*range(0, total, lines_per_chunk), total]
    if strategy == "merge" and total % lines_per_chunk and len(cuts) > 2:
        del cuts[-2]
    parts = _lines(_preprocess.cut(cloud_object, counted=True, records=_records_a_chunk(cloud_object, lines_per_chunk)))
    return [GZipTextSlice(part) for part in _cut_at(parts, cuts)]


@PartitioningStrategy(dataformat=GZipText)
def partition_num_chunks(cloud_object: CloudObject, n_chunks: int) -> list[GZipTextSlice]:
    """Cut into `n_chunks` slices of about equal size, fewer if there are fewer lines; no read of FASTQ is cut."""
    parts = _preprocess.cut(cloud_object, counted=True, n=n_chunks)
    _lines_a_record(parts)
    return [GZipTextSlice(part) for part in parts]


def _lines_a_record(parts: list[_native.Slice]) -> int:
    """Lines that a record of this object has."""
    if not parts:
        return 1
    name = parts[0].format
    if name not in LINES_A_RECORD:
        uri = parts[0].objects[0].uri
        raise FormatError(f"{uri} is {name}, whose records are not lines; use its own format of neardata.dataplug.formats")
    return LINES_A_RECORD[name]


def _records_a_chunk(co: CloudObject, lines: int) -> int:
    each = _lines_a_record(_preprocess.cut(co, counted=True, n=1))
    return max(1, lines // each)


def _lines(parts: list[_native.Slice]) -> list[_native.Slice]:
    """Give the slices as slices of a text, whose records are lines."""
    each = _lines_a_record(parts)
    made = []
    for part in parts:
        stretch = stretch_of(part)
        (first, end), (known, at), (known_end, at_end) = stretch["records"], stretch["from"], stretch["to"]
        lines = {"records": [first * each, end * each], "from": [known * each, at], "to": [known_end * each, at_end]}
        made.append(with_stretch(part, {**stretch, **lines}, "text"))
    return made


def _cut_at(parts: list[_native.Slice], cuts: list[int]) -> list[_native.Slice]:
    """Cut slices of lines anew at these lines."""
    made = []
    at = 0
    for first, end in pairwise(cuts):
        while at + 1 < len(parts) and stretch_of(parts[at])["records"][1] <= first:
            at += 1
        last = at
        while last + 1 < len(parts) and stretch_of(parts[last])["records"][1] < end:
            last += 1
        stretch = stretch_of(joined(parts[at], parts[last]))
        known_end = stretch["to"] if stretch["to"][0] <= end else stretch["from"]
        made.append(with_stretch(parts[at], {**stretch, "records": [first, end], "to": known_end}))
    return made
