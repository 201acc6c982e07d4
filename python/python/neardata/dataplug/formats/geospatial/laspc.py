"""LAS and LAZ point clouds, cut into rectangles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _preprocess
from ..._core import CoreDataFormat, FileSlice
from ...entities import PartitioningStrategy

if TYPE_CHECKING:
    import laspy

    from ...cloudobject import CloudObject


def _attributes(co: CloudObject) -> dict[str, Any]:
    import laspy

    with laspy.open(co.open("rb")) as reader:
        header = reader.header
        return {
            "mins": header.mins,
            "maxs": header.maxs,
            "point_count": header.point_count,
            "point_format_size": header.point_format.size,
            "offset_to_point_data": header.offset_to_point_data,
        }


@CoreDataFormat(_attributes)
class LiDARPointCloud:
    """LAS and LAZ.

    Attributes:
        mins: smallest x, y and z.
        maxs: largest x, y and z.
        point_count: how many points there are.
        point_format_size: bytes of a point, uncompressed.
        offset_to_point_data: length of header and records before the points.

    """

    mins: Any
    maxs: Any
    point_count: int
    point_format_size: int
    offset_to_point_data: int


class LiDARSlice(FileSlice):
    """The points of a rectangle; a point on a border is in one of them only."""

    data_format = LiDARPointCloud

    def get(self) -> laspy.LasData:
        """Read the points with laspy."""
        import laspy

        return laspy.read(self.open())


@PartitioningStrategy(dataformat=LiDARPointCloud)
def square_split_strategy(cloud_object: CloudObject, num_chunks: int) -> list[LiDARSlice]:
    """Cut into at most `num_chunks` rectangles of equal extent; those without points give no slice."""
    return [LiDARSlice(part) for part in _preprocess.cut(cloud_object, tiles=num_chunks)]
