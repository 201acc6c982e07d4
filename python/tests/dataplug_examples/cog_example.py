import logging

from neardata.dataplug import CloudObject
from neardata.dataplug.formats.geospatial.cog import CloudOptimizedGeoTiff, grid_partition_strategy
from server import s3_config

logger = logging.getLogger(__name__)
logger.setLevel(logging.DEBUG)  # Show debug messages


def main():
    cog_url = "s3://examples/AOT.tif"
    co = CloudObject.from_s3(CloudOptimizedGeoTiff, cog_url, s3_config=s3_config)
    co.preprocess()

    # Partition the COG using block windows strategy.
    data_slices = co.partition(grid_partition_strategy, n_splits=2)
    total_pixels = 0
    for idx, data_slice in enumerate(data_slices):
        try:
            chunk_data = data_slice.get()
            print(chunk_data)
            print(f"Slice {idx} data shape: {chunk_data.shape}")
            total_pixels += chunk_data.size
        except Exception as e:
            logger.error("Error retrieving slice %d: %s", idx, e)
    print("Total pixels read across all slices:", total_pixels)


if __name__ == "__main__":
    main()
