"""CSV: rows behind a header line, plain or compressed. Line ends inside quotes end no row."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from .... import _native
from ... import _preprocess
from ..._core import CoreDataFormat, CoreSlice, stretch_of, with_stretch
from ...entities import Deferred, PartitioningStrategy

if TYPE_CHECKING:
    import pandas

    from ...cloudobject import CloudObject

SEPARATORS = ",;\t|"
SAMPLE_ROWS = 20


def _attributes(co: CloudObject) -> dict[str, Any]:
    parts = _preprocess.cut(co, n=1)
    header = _header_of(parts[0]).read().decode() if parts else ""
    separator = _separator(co, header)
    columns = next(csv.reader([header], delimiter=separator), [])

    def dtypes() -> list[Any]:
        return _sample(parts, separator).dtypes.tolist() if parts else []

    return {"columns": columns, "dtypes": Deferred(dtypes), "separator": separator}


@CoreDataFormat(_attributes)
class CSV:
    """CSV.

    Attributes:
        columns: names of the columns.
        dtypes: their types in pandas, by the first rows.
        separator: what was given to `preprocess(extra_args={"separator": …})`, else what the header shows.

    """

    columns: list[str]
    dtypes: list[Any]
    separator: str


class CSVSlice(CoreSlice):
    """Rows of a table."""

    data_format = CSV

    def __init__(self, part: _native.Slice, head: list[int], separator: str) -> None:
        super().__init__(part)
        self.separator = separator
        self._head = head

    def get(self) -> str:
        """Read the rows as text, behind the header as it stands in the object."""
        body = self.read()
        first = stretch_of(self.slice)["records"][0]
        header = b"" if first == 0 else self._header()
        return (header + body).decode("utf-8")

    def get_as_pandas(self) -> pandas.DataFrame:
        """Read the rows as a data frame."""
        import pandas

        return pandas.read_csv(io.StringIO(self.get()), sep=self.separator)

    def _header(self) -> bytes:
        header = _first_row(self._ready(), *self._head).read()
        return header if header.endswith(b"\n") else header + b"\n"


def _first_row(part: _native.Slice, bit: int, stop: int) -> _native.Slice:
    stretch = {**stretch_of(part), "bit": bit, "out": 0, "stop": stop, "records": [0, 1], "from": [0, 0], "to": [0, 0]}
    stretch.pop("window", None)
    return with_stretch(part, stretch)


def _header_of(first: _native.Slice) -> _native.Slice:
    stretch = stretch_of(first)
    return _first_row(first, stretch["bit"], stretch["stop"])


def _separator(co: CloudObject, header: str) -> str:
    given = co.arguments.get("separator")
    return str(given) if given else max(SEPARATORS, key=header.count)


def _sample(parts: list[_native.Slice], separator: str) -> pandas.DataFrame:
    import pandas

    with io.TextIOWrapper(parts[0].open(), "utf-8") as lines:
        return pandas.read_csv(lines, sep=separator, nrows=SAMPLE_ROWS)


def _slices(co: CloudObject, **options: Any) -> list[CSVSlice]:
    parts = _preprocess.cut(co, **options)
    if not parts:
        return []
    stretch = stretch_of(parts[0])
    separator = co.attributes.separator
    parts = _without_lone_header(parts)
    return [CSVSlice(part, [stretch["bit"], stretch["stop"]], separator) for part in parts]


def _without_lone_header(parts: list[_native.Slice]) -> list[_native.Slice]:
    """Drop a first slice that holds the header alone: the others carry it."""
    alone = len(parts) > 1 and stretch_of(parts[0])["records"] == [0, 1]
    return parts[1:] if alone else parts


@PartitioningStrategy(dataformat=CSV)
def partition_chunk_size(cloud_object: CloudObject, chunk_size: int, padding: int = 256) -> list[CSVSlice]:
    """Cut into slices of about `chunk_size` uncompressed bytes or fewer. `padding` is taken for compatibility."""
    return _slices(cloud_object, bytes=chunk_size)


@PartitioningStrategy(dataformat=CSV)
def partition_num_chunks(cloud_object: CloudObject, num_chunks: int, padding: int = 256) -> list[CSVSlice]:
    """Cut into `num_chunks` slices, fewer if there are fewer rows. `padding` is taken for compatibility."""
    return _slices(cloud_object, n=num_chunks)
