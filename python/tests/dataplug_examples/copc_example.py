import laspy
from neardata.dataplug import CloudObject
from neardata.dataplug.formats.geospatial.copc import CloudOptimizedPointCloud, square_split_strategy
from server import s3_config

if __name__ == "__main__":
    co = CloudObject.from_s3(CloudOptimizedPointCloud, "s3://examples/example.copc.laz", s3_config=s3_config)

    slices = co.partition(square_split_strategy, num_chunks=9)

    for i, data_slice in enumerate(slices):
        las_data = data_slice.get()
        lidar_file = laspy.open(las_data)
        print(f"LiDAR slice #{i}:")
        print(
            f"Bounds: "
            f"({round(lidar_file.header.mins[0], 3)},{round(lidar_file.header.mins[1], 3)}) - "
            f"({round(lidar_file.header.maxs[0], 3)},{round(lidar_file.header.maxs[1], 3)})"
        )
        print(f"Point count: {lidar_file.header.point_count}")
        print("---")
