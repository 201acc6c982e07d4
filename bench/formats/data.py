"""The objects of the comparison, made up from a seed, once."""

import warnings
from pathlib import Path

import numpy as np
from rows import csv, vcf


def fasta(path: Path, scale: float) -> None:
    """2,000 sequences of about 98,000 bases in lines of 60: 200 MB."""
    generator = np.random.default_rng(1)
    with path.open("wb") as file:
        for number in range(int(2000 * scale) or 1):
            bases = np.frombuffer(b"ACGT", np.uint8)[generator.integers(0, 4, int(generator.integers(90_000, 106_000)))]
            file.write(b">sequence%d made up\n" % number)
            rows = bases[: len(bases) // 60 * 60].reshape(-1, 60)
            file.write(np.hstack([rows, np.full((len(rows), 1), 10, np.uint8)]).tobytes())
            file.write(bases[len(bases) // 60 * 60 :].tobytes() + b"\n")


def imzml(path: Path, scale: float) -> None:
    """10,000 spectra of 1,000 peaks: 24 MB of XML, 120 MB of arrays."""
    from pyimzml.ImzMLWriter import ImzMLWriter

    generator = np.random.default_rng(4)
    side = max(2, int((10_000 * scale) ** 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ImzMLWriter(str(path), mz_dtype=np.float64, intensity_dtype=np.float32, mode="processed") as writer:
            for y in range(1, side + 1):
                for x in range(1, side + 1):
                    writer.addSpectrum(np.sort(generator.uniform(100, 1200, 1000)), generator.exponential(900, 1000), (x, y, 1))


def las(path: Path, scale: float) -> None:
    """4,000,000 points of format 3 in 20 flight lines that overlap: 136 MB."""
    import laspy

    generator = np.random.default_rng(5)
    count = int(4_000_000 * scale)
    lines = 20
    along = np.tile(np.linspace(0, 2000, count // lines), lines)[:count]
    line = np.repeat(np.arange(lines), count // lines)
    header = laspy.LasHeader(version="1.2", point_format=3)
    header.scales, header.offsets = [0.01, 0.01, 0.01], [500_000, 4_900_000, 0]
    cloud = laspy.LasData(header)
    along = np.where(line % 2 == 0, along, 2000 - along)
    cloud.x = 500_000 + along + generator.normal(0, 0.3, len(along))
    cloud.y = 4_900_000 + line * 100 + generator.uniform(-70, 70, len(along))
    cloud.z = 300 + 20 * np.sin(along / 300) + generator.normal(0, 2, len(along))
    cloud.intensity = generator.integers(0, 4000, len(along))
    cloud.gps_time = np.arange(len(along)) * 1e-5
    cloud.write(str(path))


def cog(path: Path, scale: float) -> None:
    """12,288 x 12,288 pixels of three bands in tiles of 512, deflated, with overviews."""
    import rasterio
    from rasterio.shutil import copy

    generator = np.random.default_rng(6)
    side = max(1024, int(12_288 * scale**0.5) // 512 * 512)
    plain = path.with_suffix(".plain.tif")
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
    }
    transform = rasterio.transform.from_origin(500_000, 4_900_000, 0.5, 0.5)
    with rasterio.open(plain, "w", crs="EPSG:32633", transform=transform, **profile) as file:
        for row in range(0, side, 512):
            noise = generator.integers(0, 24, (3, 512, side), dtype=np.uint8)
            wave = (100 + 90 * np.sin(np.arange(side) / 200 + row / 300)).astype(np.uint8)
            file.write(noise + wave, window=rasterio.windows.Window(0, row, side, 512))
    copy(plain, path, driver="COG", compress="deflate", blocksize=512)
    plain.unlink()


MADE = {
    "fasta": (fasta, "f.fasta"),
    "vcf": (vcf, "v.vcf"),
    "csv": (csv, "c.csv"),
    "imzml": (imzml, "m.imzML"),
    "las": (las, "p.las"),
    "cog": (cog, "g.tif"),
}


def objects(work: Path, name: str, scale: float) -> list[Path]:
    """The files of one workload; made if they are not there."""
    make, file_name = MADE[name]
    folder = work / f"data-{scale}"
    folder.mkdir(exist_ok=True)
    path = folder / file_name
    done = folder / f"{file_name}.ready"
    if not done.exists():
        print(f"making {path}", flush=True)
        make(path, scale)
        done.touch()
    return [path, path.with_suffix(".ibd")] if name == "imzml" else [path]
