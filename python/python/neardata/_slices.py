"""Cutting objects into slices, and reading slices as files."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from . import _native

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import WriteableBuffer

BUFFER = 1 << 20


def slices(
    uri: str | os.PathLike[str],
    *,
    n: int | None = None,
    bytes: int | str | None = None,
    records: int | None = None,
    mate2: str | os.PathLike[str] | None = None,
    region: str | Iterable[str] | None = None,
) -> list[_native.Slice]:
    """Cut an object into slices without rewriting it; index it first if it needs an index and has none.

    ```python
    neardata.slices("s3://lab/reads.fastq.gz", n=32)
    neardata.slices("reads.fastq.gz", bytes="64M")
    neardata.slices("r1.fastq.gz", mate2="r2.fastq.gz", records=100_000)   # slice.read(object=1) is the second mate
    ```

    Every record of the object is in exactly one slice, and the slices concatenate to the uncompressed object. Slices of VCF, SAM,
    BAM and BCF are valid files, each with the header. `region` is a query instead:

    ```python
    neardata.slices("s3://lab/sample.bam", region="chr20:1000000-2000000")
    neardata.slices("calls.vcf.gz", region=["chr1", "chr2:500-900"])       # one slice a region
    ```

    It gives all records that overlap, as `samtools view` and `bcftools view -r` do.

    Args:
        uri: `s3://`, `gs://`, `az://`, `http(s)://` or `file://` address, or a path.
        n: how many slices.
        bytes: uncompressed size of a slice, in bytes or as `"64M"`.
        records: how many records a slice has.
        mate2: the second file of paired reads; it is cut at the same record numbers.
        region: `chr20`, `chr20:1000-2000` or `chr20:1000-` (positions from 1, both ends in) of sorted BAM, BCF or VCF in BGZF; the
            index beside the object is used, and where there is none, one is made.

    Returns:
        The slices in order. Give exactly one of `n`, `bytes`, `records` and `region`.

    """
    if (n is None) + (bytes is None) + (records is None) + (region is None) != 3:
        raise TypeError("give exactly one of n=, bytes=, records= and region=")
    if region is not None:
        if mate2 is not None:
            raise TypeError("region= goes with one object, not with mate2=")
        return _native.region_slices(os.fspath(uri), [region] if isinstance(region, str) else list(region))
    size = _native.parse_bytes(bytes) if isinstance(bytes, str) else bytes
    mate = None if mate2 is None else os.fspath(mate2)
    return _native.slices(os.fspath(uri), n, size, records, mate)


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
