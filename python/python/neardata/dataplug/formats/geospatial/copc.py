"""Cloud-optimized point clouds, cut into rectangles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _preprocess
from ..._core import CoreDataFormat, FileSlice
from ...entities import PartitioningStrategy

if TYPE_CHECKING:
    from ...cloudobject import CloudObject


def _attributes(co: CloudObject) -> dict[str, Any]:
    import laspy.copc

    reader = laspy.copc.CopcReader(co.open("rb"))
    header, info = reader.header, reader.copc_info
    of_axes = {f"{axis}_{what}": getattr(header, f"{axis}_{what}") for what in ("scale", "offset", "max", "min") for axis in "xyz"}
    root = {"root_offset": info.hierarchy_root_offset, "root_size": info.hierarchy_root_size}
    return {"points": header.point_count, **of_axes, **root}


@CoreDataFormat(_attributes)
class CloudOptimizedPointCloud:
    """COPC.

    Attributes:
        points: how many points there are.
        x_scale: scale of x; `y_scale`, `z_scale` likewise.
        x_offset: offset of x; `y_offset`, `z_offset` likewise.
        x_max: largest x; `y_max`, `z_max` likewise.
        x_min: smallest x; `y_min`, `z_min` likewise.
        root_offset: where the root page of the hierarchy lies.
        root_size: its length.

    """


class COPCSlice(FileSlice):
    """The points of a rectangle; a point on a border is in one of them only."""

    data_format = CloudOptimizedPointCloud

    def get(self) -> bytes:
        """Read the points as a file that laspy opens."""
        return self.read()


@PartitioningStrategy(CloudOptimizedPointCloud)
def square_split_strategy(cloud_object: CloudObject, num_chunks: int) -> list[COPCSlice]:
    """Cut into at most `num_chunks` rectangles of equal extent; those without points give no slice."""
    return [COPCSlice(part) for part in _preprocess.cut(cloud_object, tiles=num_chunks)]
