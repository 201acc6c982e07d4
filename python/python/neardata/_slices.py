"""Cutting objects into slices, and reading slices as files."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING, Any

from . import _native

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed import WriteableBuffer

    from .formats import Format

BUFFER = 1 << 20


def slices(
    uri: str | os.PathLike[str],
    *,
    n: int | None = None,
    bytes: int | str | None = None,
    records: int | None = None,
    tiles: int | None = None,
    mate2: str | os.PathLike[str] | None = None,
    region: str | Iterable[str] | None = None,
    bounds: Sequence[float] | None = None,
    window: Sequence[float] | None = None,
    resolution: float | None = None,
    level: int | None = None,
    columns: Iterable[str] | None = None,
    reference: str | os.PathLike[str] | None = None,
    header: bool = False,
    one_line_rows: bool = False,
    format: str | Format | None = None,
) -> list[_native.Slice]:
    """Cut an object into slices without rewriting it; index it first if it needs an index and has none.

    ```python
    neardata.slices("s3://lab/reads.fastq.gz", n=32)
    neardata.slices("reads.fastq.gz", bytes="64M")
    neardata.slices("r1.fastq.gz", mate2="r2.fastq.gz", records=100_000)   # slice.read(object=1) is the second mate
    neardata.slices("survey.laz", tiles=16)
    ```

    Every record of the object is in exactly one slice. Slices of rows concatenate to the uncompressed object; slices of formats
    with a header (VCF, SAM, BAM, BCF, LAS, GeoTIFF, imzML, Parquet, …) are valid files each. Queries give all that overlaps:

    ```python
    neardata.slices("s3://lab/sample.bam", region="chr20:1000000-2000000")
    neardata.slices("calls.vcf.gz", region=["chr1", "chr2:500-900"])       # one slice a region
    neardata.slices("city.copc.laz", bounds=(515000, 4918000, 515400, 4918300), resolution=0.5)
    neardata.slices("brain.imzML", window=(798.53, 798.55))
    ```

    Args:
        uri: `s3://`, `gs://`, `az://`, `http(s)://` or `file://` address, or a path.
        n: how many slices.
        bytes: uncompressed size of a slice, in bytes or as `"64M"`.
        records: how many records a slice has.
        tiles: at most how many rectangles, for points, pixels and spectra.
        mate2: the second file of paired reads; it is cut at the same record numbers.
        region: `chr20`, `chr20:1000-2000` or `chr20:1000-` (positions from 1, both ends in) of sorted BAM, CRAM, BCF or VCF in
            BGZF; the index beside the object is used, and where there is none, one is made.
        bounds: minimum x, minimum y, maximum x, maximum y, in the coordinates of the object.
        window: lowest and highest m/z of spectra.
        resolution: distance between points that is fine enough (COPC).
        level: overview level of an image; 0 is full resolution.
        columns: names of the columns to keep.
        reference: the FASTA that alignments (CRAM) were stored with: `to_arrow` needs it for their bases.
        header: the first row (CSV, TSV, text) is a header: it is in no slice, and in front of what is read of each.
        one_line_rows: each row of CSV or TSV is one line, with no line end in quotes: a large plain object is then cut without a
            pass over it. Reading a slice that ends inside quotes all the same is an error.
        format: what to take the object for; by default it is told from its first bytes and its name. The name of a format of the
            core (`"csv"` for rows in `part-00000`), of one that an installed package brings, or a format that this program made:
            slices of that are read in this process and its forks only.

    Returns:
        The slices in order. Give at most one of `n`, `bytes`, `records` and `tiles`; without one, a query is one slice.

    """
    request: _native.Request = {
        "n": n,
        "bytes": _native.parse_bytes(bytes) if isinstance(bytes, str) else bytes,
        "records": records,
        "tiles": tiles,
        "regions": [] if region is None else [region] if isinstance(region, str) else list(region),
        "bounds": None if bounds is None else _numbers("bounds", bounds, 4),
        "window": None if window is None else _numbers("window", window, 2),
        "resolution": resolution,
        "level": level,
        "columns": [] if columns is None else [columns] if isinstance(columns, str) else list(columns),
        "reference": None if reference is None else os.fspath(reference),
        "header": header,
        "one_line_rows": one_line_rows,
        "format": None,
    }
    for name, given in (("n", n), ("records", records), ("tiles", tiles), ("level", level)):
        if given is not None and (not isinstance(given, int) or isinstance(given, bool)):
            raise TypeError(f"{name}= takes a whole number, not {given!r}")
        if given is not None and given < 0:
            raise ValueError(f"{name}= must not be negative, but it is {given}")
    partitions = sum(given is not None for given in (n, bytes, records, tiles))
    if partitions > 1:
        raise TypeError("give at most one of n=, bytes=, records= and tiles=")
    is_query = bool(request["regions"]) or bounds is not None or window is not None
    if partitions == 0 and not is_query and resolution is None and level is None and columns is None:
        raise TypeError("say how to cut: n=, bytes=, records= or tiles=; or what to find: region=, bounds= or window=")
    if mate2 is not None and (is_query or partitions == 0):
        raise TypeError("mate2= goes with n=, bytes= or records=")
    from . import _user_formats

    if isinstance(format, str) and format in _native.core_formats():
        request["format"] = format
    elif found := _user_formats.find(os.fspath(uri), format):
        if mate2 is not None:
            raise TypeError(f"mate2= goes with FASTQ, not with {found.name}")
        asked = {"region" if name == "regions" else name: value for name, value in request.items()}
        asked = {name: None if value is False or value == [] else value for name, value in asked.items()}
        del asked["format"]
        return _user_formats.slices(found, os.fspath(uri), asked)
    return _native.slices(os.fspath(uri), request, None if mate2 is None else os.fspath(mate2))


def inspect(uri: str | os.PathLike[str]) -> dict[str, Any]:
    """Look at an object without a pass over it: what `neardata inspect --json` prints.

    ```python
    neardata.inspect("s3://lab/survey.laz")["table"]["extents"]
    ```

    Returns:
        `format`, the `object` as slices name it, and as far as they are known its `compression`, `columns`, `references`,
        `samples`, counts once it is indexed, first records as `preview`; formats with a table of their own say what theirs does
        in `table`.

    """
    found: dict[str, Any] = json.loads(_native.inspect(os.fspath(uri)))
    return found


def _numbers(name: str, values: Sequence[float], count: int) -> Any:
    if len(values) != count:
        raise TypeError(f"{name}= takes {count} numbers, not {len(values)}")
    return tuple(float(value) for value in values)


class _SliceFile(io.RawIOBase):
    """The uncompressed bytes of a slice, read as they are needed."""

    def __init__(self, stream: _native.SliceStream) -> None:
        super().__init__()
        self._stream: _native.SliceStream | None = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._stream is None:
            raise ValueError("I/O operation on closed file")
        view = memoryview(buffer).cast("B")
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream = None
        super().close()


def open_stream(stream: _native.SliceStream) -> io.BufferedReader:
    """Make a file of a stream; what `Slice.open` returns."""
    return io.BufferedReader(_SliceFile(stream), BUFFER)
