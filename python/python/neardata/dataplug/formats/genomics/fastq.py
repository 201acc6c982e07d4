"""FASTQ: reads of four lines, plain or compressed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ... import _preprocess
from ..._core import joined
from ...entities import PartitioningStrategy
from ..compressed.gzipped import GZipText, GZipTextSlice, check_remainder

if TYPE_CHECKING:
    from ...cloudobject import CloudObject

FASTQGZip = GZipText


@PartitioningStrategy(FASTQGZip)
def partition_reads_batches(cloud_object: CloudObject, num_batches: int) -> list[GZipTextSlice]:
    """Cut into `num_batches` batches of equally many reads, the last with what is left; fewer if there are fewer reads."""
    reads = cloud_object.attributes.total_lines // 4
    if num_batches < 1:
        raise ValueError(f"there must be at least 1 batch, not {num_batches}")
    if reads == 0:
        return []
    return [GZipTextSlice(part) for part in _preprocess.cut(cloud_object, counted=True, records=math.ceil(reads / num_batches))]


@PartitioningStrategy(FASTQGZip)
def partition_sequences_per_chunk(cloud_object: CloudObject, seq_per_chunk: int, strategy: str = "expand") -> list[GZipTextSlice]:
    """Cut into slices of `seq_per_chunk` reads.

    Args:
        cloud_object: the object.
        seq_per_chunk: reads of a slice.
        strategy: what becomes of the reads that remain: `"expand"` gives them a slice of their own, `"merge"` adds them to the
            last.

    """
    check_remainder(strategy)
    parts = _preprocess.cut(cloud_object, counted=True, records=seq_per_chunk)
    remain = (cloud_object.attributes.total_lines // 4) % seq_per_chunk
    if strategy == "merge" and remain and len(parts) > 1:
        parts[-2:] = [joined(parts[-2], parts[-1])]
    return [GZipTextSlice(part) for part in parts]
