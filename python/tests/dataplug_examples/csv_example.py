from neardata.dataplug import CloudObject
from neardata.dataplug.formats.generic.csv import CSV, partition_num_chunks
from server import s3_config

if __name__ == "__main__":
    CSV.debug()
    co = CloudObject.new_from_file(CSV, "data/cities.csv", "s3://examples/cities.csv", s3_config=s3_config, override=True)

    parallel_config = {"verbose": 10}
    co.preprocess(parallel_config=parallel_config, debug=True)

    co = CloudObject.from_s3(CSV, "s3://examples/cities.csv", s3_config=s3_config)

    co.preprocess(parallel_config=parallel_config, force=True)

    data_slices = co.partition(partition_num_chunks, num_chunks=25)
    for ds in data_slices:
        print(ds.get_as_pandas())
        print("---")
