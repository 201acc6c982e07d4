from neardata.dataplug import CloudObject
from neardata.dataplug.formats.genomics.vcf import VCF, partition_num_chunks
from server import s3_config

if __name__ == "__main__":
    VCF.debug()
    parallel_config = {"verbose": 10}

    co = CloudObject.from_s3(VCF, "s3://examples/sample.vcf", s3_config=s3_config)
    co.preprocess(parallel_config=parallel_config, debug=True, force=True)

    data_slices = co.partition(partition_num_chunks, num_chunks=2)
    for ds in data_slices:
        print(ds.get())
        print("---")
