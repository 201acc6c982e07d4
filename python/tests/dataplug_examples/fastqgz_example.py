import logging

from neardata.dataplug import CloudObject
from neardata.dataplug.formats.genomics.fastq import FASTQGZip, partition_reads_batches
from neardata.dataplug.util import setup_logging
from server import s3_config


def main():
    setup_logging(logging.DEBUG)

    co = CloudObject.from_s3(FASTQGZip, "s3://examples/reads.fastq.gz", s3_config=s3_config)
    co.preprocess()

    data_slices = co.partition(partition_reads_batches, num_batches=10)

    lines = 0
    for data_slice in data_slices:
        batch = data_slice.get()
        lines += len(batch)

    print(lines)


if __name__ == "__main__":
    main()
