"""DataPlug's names for point clouds, rasters and spectra."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import neardata
import pytest
from dataplug_runs import run_example
from neardata.dataplug import CloudObject
from neardata.dataplug.formats.geospatial import cog, copc, laspc
from neardata.dataplug.formats.metabolomics import imzml
from peers import needs, needs_core

POINTS = 20_000
COPC = Path(__file__).parent / "data" / "simple.copc.laz"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDATA_CACHE", str(tmp_path / "cache"))


def check(part: Any) -> Any:
    """Give what a slice gives where it has travelled."""
    pickled = pickle.dumps(part)
    assert len(pickled) < 1024 + sum(2 * len(reference.uri) for reference in part.slice.objects)
    return pickle.loads(pickled).get()


def write_points(path: Path) -> None:
    needs("laspy", "lazrs", "numpy")
    import laspy
    import numpy

    random = numpy.random.default_rng(1)
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales = numpy.array([0.01, 0.01, 0.01])
    cloud = laspy.LasData(header)
    # Coarse, so that many points lie on the borders of the rectangles.
    cloud.x, cloud.y, cloud.z = numpy.round(random.uniform(0, 100, (3, POINTS)))
    cloud.intensity = numpy.arange(POINTS) % 65_536
    cloud.write(path)
    needs_core(path, path.suffix[1:])


def write_raster(path: Path) -> Any:
    needs("rasterio", "numpy")
    import numpy
    import rasterio
    from rasterio.transform import from_origin

    pixels = numpy.arange(2 * 300 * 500, dtype="uint32").reshape(2, 300, 500)
    profile = {"driver": "GTiff", "count": 2, "height": 300, "width": 500, "dtype": "uint32", "crs": "EPSG:32631"}
    transform = from_origin(500_000, 4_600_000, 10, 10)
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    with rasterio.open(path, "w", **profile, transform=transform, **tiles) as file:
        file.write(pixels)
    needs_core(path, "tiff")
    return pixels


def write_spectra(path: Path, mode: str) -> list[tuple[Any, Any]]:
    needs("pyimzml", "numpy")
    import numpy
    from pyimzml.ImzMLWriter import ImzMLWriter

    random = numpy.random.default_rng(1)
    mzs = numpy.linspace(100, 1000, 300)
    written = []
    with ImzMLWriter(str(path), mode=mode) as writer:
        for number in range(40):
            count = 300 if mode == "continuous" else int(random.integers(1, 300))
            spectrum = mzs[:count], random.uniform(0, 10, count).astype("float32")
            writer.addSpectrum(*spectrum, (number % 8 + 1, number // 8 + 1, 1))
            written.append(spectrum)
    needs_core(path, "imzml")
    return written


@pytest.mark.parametrize("ending", ["las", "laz"])
def test_points(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"cloud.{ending}"
    write_points(path)
    import laspy

    co = CloudObject.from_s3(laspc.LiDARPointCloud, path)
    assert co["point_count"] == co.attributes.point_count == POINTS
    assert (co.attributes.point_format_size, list(co.attributes.mins)) == (34, [0, 0, 0])
    for count in (1, 4, 7, 9):
        parts = co.partition(laspc.square_split_strategy, num_chunks=count)
        assert 1 <= len(parts) <= count
        tiles = [check(part) for part in parts]
        assert sum(tile.header.point_count for tile in tiles) == POINTS
        assert sorted(value for tile in tiles for value in tile.intensity) == list(range(POINTS))
    parts[0].to_file(tmp_path / f"tile.{ending}")
    assert len(laspy.read(tmp_path / f"tile.{ending}").points) == len(tiles[0].points)


def test_cloud_optimized_points(tmp_path: Path) -> None:
    needs("laspy", "lazrs")
    import laspy

    path = COPC
    needs_core(path, "copc")
    whole = laspy.read(path)
    co = CloudObject.from_s3(copc.CloudOptimizedPointCloud, path)
    assert co.get_attribute("points") == len(whole.points)
    for count in (1, 4, 9):
        parts = co.partition(copc.square_split_strategy, num_chunks=count)
        assert sum(laspy.open(check(part)).header.point_count for part in parts) == len(whole.points)


def test_rasters(tmp_path: Path) -> None:
    path = tmp_path / "raster.tif"
    pixels = write_raster(path)
    import numpy
    import rasterio

    co = CloudObject.from_s3(cog.CloudOptimizedGeoTiff, path)
    assert (co["width"], co["height"], co["crs"]) == (500, 300, "EPSG:32631")
    assert co.attributes.bounds == {"left": 500_000, "bottom": 4_597_000, "right": 505_000, "top": 4_600_000}
    for count in (1, 2, 3):
        seen = numpy.zeros((300, 500), dtype=int)
        for part in co.partition(cog.grid_partition_strategy, n_splits=count):
            rows, columns = part.window.toslices()
            numpy.testing.assert_array_equal(check(part), pixels[:, rows, columns])
            seen[rows, columns] += 1
            assert part.tile_key == "raster.tif"
        assert (seen == 1).all(), "each pixel is in one window"
    part.to_file(tmp_path / "window.tif")
    with rasterio.open(tmp_path / "window.tif") as file:
        assert file.crs.to_epsg() == 32631
        assert (file.transform.c, file.transform.f) == (500_000 + 10 * part.window.col_off, 4_600_000 - 10 * part.window.row_off)


@pytest.mark.parametrize("mode", ["continuous", "processed"])
def test_spectra(tmp_path: Path, mode: str) -> None:
    written = write_spectra(tmp_path / "image.imzML", mode)
    import numpy

    co = CloudObject.from_s3(imzml.ImzML, tmp_path / "image.ibd")
    about = co.attributes
    assert about.is_continuous == (mode == "continuous")
    assert len(about.coordinates) == 40
    found = 0
    for part in co.partition(imzml.partition_chunks_strategy, chunk_size=10_000):
        raw = check(part)
        assert part.spectrum_index == found
        for number, (offset, length) in enumerate(zip(part.int_offsets, part.int_lengths, strict=True)):
            values = numpy.frombuffer(raw[offset : offset + length * about.int_size], dtype=about.int_precision)
            numpy.testing.assert_array_equal(values, written[found][1].astype(about.int_precision))
            shared = 0 if about.is_continuous else number
            first, count = part.mz_offsets[shared], part.mz_lengths[shared]
            axis = numpy.frombuffer(raw[first : first + count * about.mz_size], dtype=about.mz_precision)
            numpy.testing.assert_array_equal(axis, written[found][0].astype(about.mz_precision))
            found += 1
    assert found == 40


def test_grids_are_checked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    co = CloudObject.from_s3(cog.CloudOptimizedGeoTiff, tmp_path / "a.txt")
    with pytest.raises(ValueError, match="positive integer, not 0"):
        co.partition(cog.grid_partition_strategy, n_splits=0)
    with pytest.raises(neardata.FormatError, match="cannot be asked for by `tiles`"):
        co.partition(cog.grid_partition_strategy, n_splits=2)


def test_the_lidar_example(platform: dict[str, str], bucket: Any, tmp_path: Path) -> None:
    write_points(tmp_path / "example.las")
    bucket.upload_file(str(tmp_path / "example.las"), "examples", "example.las")
    assert f"Total point count:  {POINTS}" in run_example("lidar_example.py", platform, tmp_path / "cache")


def test_the_copc_example(platform: dict[str, str], bucket: Any, tmp_path: Path) -> None:
    needs("laspy", "lazrs")
    import laspy

    needs_core(COPC, "copc")
    bucket.upload_file(str(COPC), "examples", "example.copc.laz")
    printed = run_example("copc_example.py", platform, tmp_path / "cache")
    counts = [int(line.split()[-1]) for line in printed.splitlines() if line.startswith("Point count")]
    assert sum(counts) == len(laspy.read(COPC).points)


def test_the_cog_example(platform: dict[str, str], bucket: Any, tmp_path: Path) -> None:
    write_raster(tmp_path / "AOT.tif")
    bucket.upload_file(str(tmp_path / "AOT.tif"), "examples", "AOT.tif")
    printed = run_example("cog_example.py", platform, tmp_path / "cache")
    assert "Total pixels read across all slices: 300000" in printed


@pytest.mark.parametrize("mode", ["continuous", "processed"])
def test_the_imzml_examples(platform: dict[str, str], bucket: Any, tmp_path: Path, mode: str) -> None:
    write_spectra(tmp_path / f"{mode}.imzML", mode)
    for ending in ("imzML", "ibd"):
        bucket.upload_file(str(tmp_path / f"{mode}.{ending}"), "examples", f"{mode}.{ending}")
    printed = run_example(f"imzml_{mode}_example.py", platform, tmp_path / "cache")
    assert [f"Spectrum index {number}," in printed for number in (0, 39)] == [True, True]
    assert printed.count("pixel coordinates") == 40
