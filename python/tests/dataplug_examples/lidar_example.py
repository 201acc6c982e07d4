import logging
import time

from neardata.dataplug import CloudObject
from neardata.dataplug.formats.geospatial.laspc import LiDARPointCloud, square_split_strategy
from neardata.dataplug.util import setup_logging
from server import s3_config


def main():
    setup_logging(logging.CRITICAL)

    co = CloudObject.from_s3(LiDARPointCloud, "s3://examples/example.las", s3_config=s3_config)

    print(f"No. of points: {co['point_count']}")
    print(f"Point size: {co.attributes.point_format_size}")

    data_slices = co.partition(square_split_strategy, num_chunks=4)

    total_point_count = 0
    for data_slice in data_slices:
        t0 = time.perf_counter()
        las_chunk = data_slice.get()
        t1 = time.perf_counter()
        print(f"Took {t1 - t0:.2f} seconds to get partition")

        print("Min XYZ: ", las_chunk.header.mins)
        print("Max XYZ: ", las_chunk.header.maxs)
        print("Chunk point count: ", las_chunk.header.point_count)
        total_point_count += las_chunk.header.point_count

    print("Total point count: ", total_point_count)


if __name__ == "__main__":
    main()
