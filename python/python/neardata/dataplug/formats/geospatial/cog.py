"""GeoTIFF, cloud-optimized or not, cut along its tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .... import _native
from ... import _preprocess
from ..._core import CoreDataFormat, FileSlice
from ...entities import PartitioningStrategy

if TYPE_CHECKING:
    import numpy
    from rasterio.windows import Window

    from ...cloudobject import CloudObject


def _attributes(co: CloudObject) -> dict[str, Any]:
    import rasterio

    with rasterio.open(co.open("rb")) as source:
        return {
            "width": source.width,
            "height": source.height,
            "crs": source.crs.to_string() if source.crs else "",
            "bounds": dict(source.bounds._asdict()),
            "transform": list(source.transform),
        }


@CoreDataFormat(_attributes)
class CloudOptimizedGeoTiff:
    """GeoTIFF.

    Attributes:
        width: columns of pixels.
        height: rows of pixels.
        crs: the coordinate system; empty if none is given.
        bounds: left, bottom, right and top.
        transform: from columns and rows to coordinates, as rasterio has it.

    """

    width: int
    height: int
    crs: str
    bounds: dict[str, float]
    transform: list[float]


class BlockWindowSlice(FileSlice):
    """A window of pixels; each pixel is in one of them.

    Attributes:
        block_x: which row of windows it is in, from 0: DataPlug names the axes so.
        block_y: which column of windows it is in, from 0.

    """

    data_format = CloudOptimizedGeoTiff

    def __init__(self, part: _native.Slice, block_x: int = 0, block_y: int = 0) -> None:
        super().__init__(part)
        self.block_x = block_x
        self.block_y = block_y

    @property
    def window(self) -> Window:
        """Where it lies: columns and rows, from the upper left."""
        from rasterio.windows import Window

        return Window(*self.slice.selection["window"])

    @property
    def tile_key(self) -> str:
        """Name of the object."""
        return self.slice.objects[0].uri.rsplit("/", 1)[-1]

    def get(self) -> numpy.ndarray[Any, Any]:
        """Read the pixels: bands, rows, columns."""
        from rasterio.io import MemoryFile

        with MemoryFile(self.read()) as file, file.open() as source:
            pixels: numpy.ndarray[Any, Any] = source.read()
            return pixels


@PartitioningStrategy(CloudOptimizedGeoTiff)
def grid_partition_strategy(cloud_object: CloudObject, n_splits: int) -> list[BlockWindowSlice]:
    """Cut into at most `n_splits` times `n_splits` windows, along the tiles of the image."""
    if not isinstance(n_splits, int) or n_splits < 1:
        raise ValueError(f"n_splits must be a positive integer, not {n_splits}")
    parts = _preprocess.cut(cloud_object, tiles=n_splits * n_splits)
    windows = [part.selection["window"] for part in parts]
    columns = sorted({column for column, *_ in windows})
    rows = sorted({row for _, row, *_ in windows})
    return [
        BlockWindowSlice(part, rows.index(row), columns.index(column))
        for part, (column, row, *_) in zip(parts, windows, strict=True)
    ]
