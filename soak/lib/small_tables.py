"""Small Parquet, Arrow and LAS files, as other programs write them, to be damaged."""

import sys
from pathlib import Path

import laspy
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather


def tables(folder: Path) -> None:
    rows = 400
    generator = np.random.default_rng(1)
    table = pa.table(
        {
            "id": pa.array(range(rows)),
            "name": pa.array([None if row % 7 == 0 else f"name {row % 13}" for row in range(rows)]),
            "value": pa.array(generator.normal(size=rows)),
            "list": pa.array([list(range(row % 4)) if row % 5 else None for row in range(rows)]),
            "nested": pa.array([{"a": row, "b": str(row)} for row in range(rows)]),
        }
    )
    for compression in ("none", "snappy", "zstd", "gzip", "lz4"):
        for version in ("1.0", "2.0"):
            path = folder / f"{compression}-{version}.parquet"
            pq.write_table(table, path, compression=compression, data_page_version=version, row_group_size=150)
    words = table.append_column("word", pa.array([f"word {row % 9}" for row in range(rows)]).dictionary_encode())
    for compression in ("uncompressed", "lz4", "zstd"):
        feather.write_feather(words, str(folder / f"{compression}.arrow"), compression=compression, chunksize=150)


def points(folder: Path) -> None:
    generator = np.random.default_rng(2)
    for form in (0, 1, 3, 6, 7):
        cloud = laspy.LasData(laspy.LasHeader(version="1.4", point_format=form))
        cloud.x, cloud.y, cloud.z = (generator.uniform(0, 1000, 500) for _ in range(3))
        for ending in ("las", "laz"):
            cloud.write(str(folder / f"format{form}.{ending}"))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    tables(target)
    points(target)
