import logging
import math

from neardata.dataplug import CloudObject
from neardata.dataplug.formats.genomics.fasta import FASTA, partition_chunks_strategy
from neardata.dataplug.util import setup_logging
from server import s3_config


def main():
    setup_logging(logging.DEBUG)
    FASTA.debug()

    co = CloudObject.from_s3(FASTA, "s3://examples/fasta_sample.fasta", s3_config=s3_config)

    # Perform preprocessing in 4 parallel jobs (chunk size = total size / 4)
    parallel_config = {"verbose": 10}
    chunk_size = math.ceil(co.size / 4)
    co.preprocess(parallel_config=parallel_config, chunk_size=chunk_size)

    print(f"FASTA file has {co.attributes.num_sequences} sequences")
    data_slices = co.partition(partition_chunks_strategy, num_chunks=8)

    for data_slice in data_slices:
        batch = data_slice.get().decode("utf-8")
        print(batch)
        print("---")


if __name__ == "__main__":
    main()
