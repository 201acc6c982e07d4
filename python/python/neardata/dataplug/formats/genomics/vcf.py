"""VCF, plain or compressed: variants behind a header."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from .... import _native, _objects
from ... import _preprocess
from ..._core import CoreDataFormat, FileSlice
from ...entities import PartitioningStrategy

if TYPE_CHECKING:
    from ...cloudobject import CloudObject

_ENTRY = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]*)')


def _attributes(co: CloudObject) -> dict[str, Any]:
    parts = _preprocess.cut(co, n=1)
    header = _header(parts[0]) if parts else _objects.read(co.reference, 0, co.size).decode()
    lines = header.splitlines()
    meta: dict[str, Any] = {}
    for line in lines:
        if line.startswith("##"):
            _note(meta, line[2:])
    columns = next((line[1:].split("\t") for line in lines if line.startswith("#CHROM")), [])
    return {"columns": columns, "vcf_attributes": meta, "body_offset": len(header.encode())}


@CoreDataFormat(_attributes)
class VCF:
    """VCF.

    Attributes:
        columns: names of the columns.
        vcf_attributes: the `##` lines: a text each, or a list of dictionaries for `##INFO=<…>` and its like.
        body_offset: uncompressed length of the header.

    """

    columns: list[str]
    vcf_attributes: dict[str, Any]
    body_offset: int


class VCFSlice(FileSlice):
    """Variants, with the header."""

    data_format = VCF

    def get(self) -> str:
        """Read header and variants."""
        return self.read().decode("utf-8")


def _header(part: _native.Slice) -> str:
    lines = []
    with io.TextIOWrapper(part.open(), "utf-8", newline="") as text:
        for line in text:
            if not line.startswith("#"):
                break
            lines.append(line)
    return "".join(lines)


def _note(meta: dict[str, Any], line: str) -> None:
    key, _, value = line.partition("=")
    if value.startswith("<") and value.endswith(">"):
        entries = {name: text.strip('"') for name, text in _ENTRY.findall(value[1:-1])}
        meta.setdefault(key, []).append(entries)
    else:
        meta[key] = value


@PartitioningStrategy(dataformat=VCF)
def partition_num_chunks(cloud_object: CloudObject, num_chunks: int, padding: int = 256) -> list[VCFSlice]:
    """Cut into `num_chunks` slices, fewer if there are fewer variants. `padding` is taken for compatibility."""
    return [VCFSlice(part) for part in _preprocess.cut(cloud_object, n=num_chunks)]
