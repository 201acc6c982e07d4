"""One system, one workload, in a process of its own: prints what each step cost this client, as JSON a line.

worker.py SYSTEM WORKLOAD URI COUNT…
"""

import json
import os
import resource
import sys
import time

ANSWERS = sys.stdout
sys.stdout = sys.stderr  # the peer prints its progress


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def step(name, action):
    sys.stdin.readline()  # the parent has read its counters
    before, started = cpu(), time.perf_counter()
    result = action()
    answer = {"step": name, "cpu": cpu() - before, "wall": time.perf_counter() - started}
    print(json.dumps(answer | (result if isinstance(result, dict) else {})), file=ANSWERS, flush=True)


def ours(workload: str, uri: str, counts: list[int]) -> None:
    import neardata

    # Rows of CSV are lines in the data, and the peer takes that for granted; we are told.
    word = {"one_line_rows": True} if workload == "csv" else {}
    cut = lambda count: neardata.slices(uri, **{"tiles" if workload == "las" else "n": count}, **word)
    step("index", lambda: {"slices": len(cut(counts[0]))})

    def read_all(count, objects):
        sizes = [sum(len(part.read(number)) for number in objects) for part in cut(count)]
        return {"slices": len(sizes), "bytes": sum(sizes)}

    # Of imzML the peer gives the bytes of the arrays, as our second file has them; both files are a step of its own.
    objects = [1] if workload == "imzml" else [0]
    for count in counts:
        step(str(count), lambda count=count: read_all(count, objects))
    if workload == "imzml":
        step("more", lambda: read_all(counts[0], [0, 1]))
    if workload in ("fasta", "vcf", "csv"):
        step("more", lambda: neardata.index(uri))


def peer(workload: str, uri: str, counts: list[int]) -> None:
    import importlib

    from dataplug import CloudObject

    where = {
        "fasta": ("genomics.fasta", "FASTA", "partition_chunks_strategy", "num_chunks"),
        "vcf": ("genomics.vcf", "VCF", "partition_num_chunks", "num_chunks"),
        "csv": ("generic.csv", "CSV", "partition_num_chunks", "num_chunks"),
        "imzml": ("metabolomics.imzml", "ImzML", "partition_chunks_strategy", "chunk_size"),
        "las": ("geospatial.laspc", "LiDARPointCloud", "square_split_strategy", "num_chunks"),
        "cog": ("geospatial.cog", "CloudOptimizedGeoTiff", "grid_partition_strategy", "n_splits"),
    }
    module_name, format_name, strategy_name, option = where[workload]
    module = importlib.import_module(f"dataplug.formats.{module_name}")
    credentials = {"AccessKeyId": os.environ["AWS_ACCESS_KEY_ID"], "SecretAccessKey": os.environ["AWS_SECRET_ACCESS_KEY"]}
    os.environ.update(
        AWS_HTTPS="NO", AWS_VIRTUAL_HOSTING="FALSE", AWS_S3_ENDPOINT=os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    )  # for GDAL
    config = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "region_name": "us-east-1", "credentials": credentials}
    # Its presigned requests are signed the old way else, with a parameter that few servers know there.
    config["botocore_config_kwargs"] = {"signature_version": "s3v4"}
    uri = uri.replace(".imzML", ".ibd")  # it finds the XML from there
    open_object = lambda: CloudObject.from_s3(getattr(module, format_name), uri, s3_config=config)
    size = int(os.environ["NEARDATA_BENCH_SIZE"])
    whole_chunk = {"chunk_size": size} if workload == "fasta" else {}
    step("index", lambda: open_object().preprocess(**whole_chunk) and None)

    def held(value) -> int:
        return value.nbytes if hasattr(value, "nbytes") else len(value)

    def read_all(count):
        argument = {"imzml": -(-size // count), "cog": round(count**0.5)}.get(workload, count)
        parts = open_object().partition(getattr(module, strategy_name), **{option: argument})
        return {"slices": len(parts), "bytes": sum(held(part.get()) for part in parts)}

    for count in counts:
        step(str(count), lambda count=count: read_all(count))


if __name__ == "__main__":
    system, workload, uri, *counts = sys.argv[1:]
    {"neardata": ours, "dataplug": peer}[system](workload, uri, [int(count) for count in counts])
