"""Point clouds, rasters, spectra, sequences beside laspy, rasterio, pyimzml, seqkit: slices hold what those read themselves."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import neardata
import pytest
from peers import needs, needs_core, needs_program

DATA = Path(__file__).resolve().parents[2] / "crates/data/formats/tests/data"
CLOUDS = sorted(DATA.glob("las/*.la[sz]"))
RASTERS = [
    path
    for path in sorted(DATA.glob("tiff/*.tif*"))
    # Without tiles or strips that rasterio's build decodes to the same type; `expected.tsv` holds those, decoded by other programs.
    if path.stem not in {"12bit.cropped", "random-fp16-pred2", "tiled-gray-i1", "palette-1c-4b"}
]


pytestmark = [
    # Of rasterio and pyimzml about themselves, and about fixtures without a place on earth.
    pytest.mark.filterwarnings(f"ignore{rest}")
    for rest in ("::PendingDeprecationWarning", ":Dataset has no geotransform", ":Accession IMS")
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDATA_CACHE", str(tmp_path / "cache"))


def swath(path: Path, points: int) -> None:
    """Write points on a coarse grid, so that many lie on the edges of tiles and bounds, with a dimension of our own."""
    import laspy
    import numpy

    random = numpy.random.default_rng(7)
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = numpy.array([0.5, 0.25, 0.001]), numpy.array([1000.0, -500.0, 0.0])
    header.add_extra_dim(laspy.ExtraBytesParams(name="height", type="float64"))
    cloud = laspy.LasData(header)
    cloud.x = 1000 + numpy.round(random.uniform(0, 40, points))
    cloud.y = -500 + numpy.round(random.uniform(0, 30, points))
    cloud.z = random.uniform(-5, 5, points)
    cloud.intensity = numpy.arange(points) % 65_536
    cloud.gps_time = numpy.arange(points, dtype="float64")
    cloud.classification = random.integers(0, 200, points)
    cloud.height = random.uniform(0, 1, points)
    cloud.write(path)


def rows(cloud: Any, keep: Any = None) -> list[bytes]:
    """Every stored byte of every point, in an order of their own."""
    array = cloud.points.array if keep is None else cloud.points.array[keep]
    return sorted(row.tobytes() for row in array)


def read_cloud(part: neardata.Slice) -> Any:
    import laspy

    return laspy.read(io.BytesIO(part.read()))


def check_points(path: Path) -> None:
    import laspy
    import numpy
    import pyarrow

    whole = laspy.read(path)
    total, x, y = len(whole.points), numpy.asarray(whole.x), numpy.asarray(whole.y)
    cuts: list[dict[str, Any]] = [{"n": 1}, {"n": 5}, {"bytes": "10K"}, {"records": max(1, total // 3)}, {"tiles": 9}]
    for cut in cuts:
        parts = neardata.slices(path, **cut)
        clouds = [read_cloud(part) for part in parts]
        assert sorted(row for cloud in clouds for row in rows(cloud)) == rows(whole), (path.name, cut)
        if cut == {"n": 1}:
            table = pyarrow.table(parts[0].to_arrow())
            for name in ("x", "y", "z", *whole.point_format.dimension_names):
                column = {"X": None, "Y": None, "Z": None}.get(name, name)
                if column is None or column not in table.column_names:
                    continue
                found, expected = table[column].to_numpy(), numpy.asarray(clouds[0][name])
                assert found.shape[0] == total
                if expected.ndim > 1:  # bytes that nothing describes
                    expected = numpy.array([row.tobytes() for row in expected], dtype=object)
                assert numpy.array_equal(found.astype(expected.dtype), expected), (path.name, name)
    if total == 0:
        return
    low, high = (float(numpy.min(x)), float(numpy.min(y))), (float(numpy.max(x)), float(numpy.max(y)))
    for from_, to in ((0.0, 0.5), (0.25, 0.75), (0.5, 1.0), (0.5, 0.5)):
        bounds = [low[axis] + (high[axis] - low[axis]) * share for share in (from_, to) for axis in (0, 1)]
        keep = (x >= bounds[0]) & (x <= bounds[2]) & (y >= bounds[1]) & (y <= bounds[3])
        found = [row for part in neardata.slices(path, bounds=bounds) for row in rows(read_cloud(part))]
        assert sorted(found) == rows(whole, keep), (path.name, bounds)


@pytest.mark.parametrize("path", CLOUDS, ids=lambda path: path.name)
def test_real_point_clouds(path: Path) -> None:
    needs("laspy", "lazrs", "numpy", "pyarrow")
    check_points(path)


@pytest.mark.parametrize("ending", ["las", "laz"])
def test_points_on_edges(tmp_path: Path, ending: str) -> None:
    needs("laspy", "lazrs", "numpy", "pyarrow")
    path = tmp_path / f"swath.{ending}"
    swath(path, 60_000)
    check_points(path)


@pytest.mark.parametrize("resolution", [100.0, 1.0, 0.05])
def test_octrees_by_bounds_and_resolution(resolution: float) -> None:
    needs("laspy", "lazrs")
    from laspy.copc import Bounds, CopcReader

    for path in sorted(DATA.glob("las/*.copc.laz")):
        with CopcReader.open(path) as reader:
            (x0, y0, _), (x1, y1, _) = reader.header.mins, reader.header.maxs
            bounds = [x0, y0, (x0 + x1) / 2, (y0 + y1) / 2]
            found = reader.query(Bounds(mins=bounds[:2], maxs=bounds[2:]), resolution=resolution)
            expected = sorted(row.tobytes() for row in found.array)
        parts = neardata.slices(path, bounds=bounds, resolution=resolution)
        # laspy leaves out points on the upper edges; none lies on those of these files.
        assert sorted(row for part in parts for row in rows(read_cloud(part))) == expected, path.name


def check_raster(path: Path) -> None:
    import numpy
    import pyarrow
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as source:
        levels = 1 + len(source.overviews(1))
    for level in range(levels):
        options = {"overview_level": level - 1} if level else {}
        with rasterio.open(path, **options) as source:
            for cut in ({"n": 1}, {"n": 4}, {"n": 1000}):
                covered = 0
                for part in neardata.slices(path, level=level, **cut):
                    column, row, width, height = part.selection["window"]
                    covered += width * height
                    window = Window(column, row, width, height)
                    expected = source.read(window=window)
                    with rasterio.MemoryFile(part.read()) as memory, memory.open() as piece:
                        assert numpy.array_equal(piece.read(), expected, equal_nan=expected.dtype.kind == "f"), (path.name, cut)
                        assert piece.dtypes == source.dtypes
                        assert piece.crs == source.crs
                        assert piece.nodata == source.nodata or (piece.nodata != piece.nodata and source.nodata != source.nodata)
                        shifted = source.window_transform(window)
                        assert piece.transform.almost_equals(shifted, precision=1e-6), (path.name, piece.transform, shifted)
                    if cut["n"] == 4:
                        table = pyarrow.table(part.to_arrow())
                        for number, band in enumerate(expected, 1):
                            pixels = table[f"band_{number}"].to_numpy().reshape(height, width)
                            if source.compression == rasterio.enums.Compression.jpeg:
                                # Two decoders: see docs/formats/tiff.md.
                                assert numpy.abs(pixels.astype(int) - band).mean() < 4, (path.name, number)
                                continue
                            assert numpy.array_equal(pixels, band, equal_nan=band.dtype.kind == "f"), (path.name, number)
                assert covered == source.width * source.height


@pytest.mark.parametrize("path", RASTERS, ids=lambda path: path.name)
def test_real_rasters(path: Path) -> None:
    needs("rasterio", "numpy", "pyarrow")
    check_raster(path)


@pytest.mark.parametrize(
    "profile",
    [
        {"compress": "deflate", "predictor": 2, "dtype": "uint16", "tiled": True, "blockxsize": 64, "blockysize": 32},
        {"compress": "lzw", "dtype": "int32", "interleave": "band"},
        {"compress": "zstd", "predictor": 3, "dtype": "float64", "tiled": True, "blockxsize": 128, "blockysize": 128},
        {"dtype": "uint8", "interleave": "pixel", "blockysize": 7, "bigtiff": "yes"},
    ],
    ids=["deflate", "lzw", "zstd", "plain"],
)
def test_rasters_of_gdal(tmp_path: Path, profile: dict[str, Any]) -> None:
    needs("rasterio", "numpy", "pyarrow")
    import numpy
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.transform import from_origin

    path = tmp_path / "made.tif"
    random = numpy.random.default_rng(3)
    pixels = random.integers(0, 250, (3, 333, 421)).astype(profile["dtype"])
    place = {"crs": "EPSG:25831", "transform": from_origin(400_000.5, 4_600_000.25, 2.5, 5), "nodata": 7}
    with rasterio.open(path, "w", driver="GTiff", count=3, height=333, width=421, **place, **profile) as file:
        file.write(pixels)
        file.build_overviews([2, 4], Resampling.nearest)
    needs_core(path, "tiff")
    check_raster(path)


def spectra(path: Path) -> dict[tuple[int, ...], list[tuple[Any, Any]]]:
    """All spectra by place, as pyimzml reads them."""
    from pyimzml.ImzMLParser import ImzMLParser

    found: dict[tuple[int, ...], list[tuple[Any, Any]]] = {}
    with ImzMLParser(str(path)) as parser:
        for number, place in enumerate(parser.coordinates):
            found.setdefault(tuple(place), []).append(parser.getspectrum(number))
    return found


def test_spectra(tmp_path: Path) -> None:
    needs("pyimzml", "numpy", "pyarrow")
    import numpy
    import pyarrow

    path = DATA / "imzml/untreated.imzML"
    whole = spectra(path)
    places = sorted(whole)
    middle = places[len(places) // 2]
    mzs = numpy.concatenate([mz for lists in whole.values() for mz, _ in lists])
    low, high = (float(value) for value in numpy.quantile(mzs, [0.4, 0.6]))
    # The edges of a window belong to it: peaks lie on both.
    low, high = float(mzs[mzs >= low].min()), float(mzs[mzs <= high].max())
    everything = (0, 0, 10_000, 10_000)
    for number, (cut, bounds, window) in enumerate(
        [
            ({"n": 4}, everything, None),
            ({"records": 2}, everything, None),
            ({"bytes": "8K"}, everything, None),
            ({"tiles": 4}, everything, None),
            ({}, (0, 0, *middle[:2]), None),
            ({"n": 3}, everything, (low, high)),
            ({}, (0, 0, *middle[:2]), (low, high)),
        ]
    ):
        query = {"bounds": bounds} if bounds != everything else {}
        query |= {"window": window} if window else {}
        found: dict[tuple[int, ...], list[tuple[Any, Any]]] = {}
        for index, part in enumerate(neardata.slices(path, **cut, **query)):
            written = tmp_path / f"{number}-{index}.imzML"
            written.write_bytes(part.read())
            written.with_suffix(".ibd").write_bytes(part.read(1))
            table = pyarrow.table(part.to_arrow()).to_pylist()
            mine = spectra(written)
            assert sum(map(len, mine.values())) == len(table)
            for row in table:
                place = (row["x"], row["y"], row.get("z", 1))
                assert any(row["mz"] == list(mz) and row["intensity"] == list(heights) for mz, heights in mine[place])
            for place, lists in mine.items():
                found.setdefault(place, []).extend(lists)
        inside = [place for place in places if bounds[0] <= place[0] <= bounds[2] and bounds[1] <= place[1] <= bounds[3]]
        assert sorted(found) == inside, (cut, query)
        for place in inside:
            assert len(found[place]) == len(whole[place])
            for (mz, heights), (all_mz, all_heights) in zip(found[place], whole[place], strict=True):
                keep = numpy.ones(len(all_mz), bool) if window is None else (all_mz >= window[0]) & (all_mz <= window[1])
                assert numpy.array_equal(mz, all_mz[keep]), (cut, query, place)
                assert numpy.array_equal(heights, all_heights[keep]), (cut, query, place)


def seqkit(*arguments: str, stdin: bytes | None = None) -> bytes:
    return subprocess.run(["seqkit", *arguments], input=stdin, capture_output=True, check=True).stdout


def test_sequences(tmp_path: Path) -> None:
    needs_program("seqkit", "bgzip")
    import random

    random.seed(5)
    plain = tmp_path / "genome.fa"
    lengths = {"one": 30_000, "two": 61, "three": 7, "four": 12_345}
    with plain.open("w") as file:
        for name, length in lengths.items():
            bases = "".join(random.choices("ACGTN", k=length))
            file.write(f">{name} made for a test\n" + "".join(bases[at : at + 60] + "\n" for at in range(0, length, 60)))
    packed = tmp_path / "packed.fa.gz"
    packed.write_bytes(subprocess.run(["bgzip", "-c", str(plain)], capture_output=True, check=True).stdout)
    everything = seqkit("fx2tab", str(plain))
    for path in (plain, packed):
        for cut in ({"n": 1}, {"n": 3}, {"records": 1}, {"bytes": "4K"}):
            parts = [seqkit("fx2tab", stdin=part.read()) for part in neardata.slices(path, **cut)]
            assert b"".join(parts) == everything, (path.name, cut)
        for name, start, end in (("one", 1, 30_000), ("one", 59, 122), ("four", 12_300, 12_345), ("three", 2, 2)):
            [part] = neardata.slices(path, region=f"{name}:{start}-{end}")
            expected = seqkit("subseq", "--chr", name, "--region", f"{start}:{end}", "--quiet", str(plain))
            assert seqkit("seq", "-s", stdin=part.read()) == seqkit("seq", "-s", stdin=expected), (path.name, name, start, end)


def test_reads(tmp_path: Path) -> None:
    needs_program("seqkit")
    import gzip
    import random

    random.seed(6)
    lines = []
    for number in range(5_000):
        length = random.randint(1, 150)
        quality = "".join(random.choices("!+@>#I", k=length))
        lines.append(f"@read{number} /1\n{''.join(random.choices('ACGTN', k=length))}\n+\n{quality}\n")
    for path in (tmp_path / "reads.fastq", tmp_path / "reads.fastq.gz"):
        content = "".join(lines).encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        everything = seqkit("fx2tab", str(path))
        for cut in ({"n": 1}, {"n": 7}, {"records": 999}, {"bytes": "64K"}):
            parts = [seqkit("fx2tab", stdin=part.read()) for part in neardata.slices(path, **cut)]
            assert b"".join(parts) == everything, (path.name, cut)
