"""What of a slice travels to workers: less than 1 KB beside its addresses, and no secret, for every format."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import neardata
import pytest
from neardata.dataplug import CloudObject
from neardata.dataplug.formats.compressed import gzipped
from neardata.dataplug.formats.generic import csv, text
from neardata.dataplug.formats.genomics import fasta, fastq, vcf
from peers import needs, needs_core
from test_dataplug_tables import COPC, write_points, write_raster, write_spectra

RECORDS = 30_000
SECRET_NAMES = ("SECRET", "TOKEN", "PASSWORD", "ACCESS_KEY")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def reads() -> bytes:
    rng = random.Random(1)
    return "".join(f"@r{number}\n{''.join(rng.choices('ACGT', k=100))}\n+\n{'I' * 100}\n" for number in range(RECORDS)).encode()


def sequences() -> bytes:
    rng = random.Random(2)
    return "".join(f">s{number}\n{''.join(rng.choices('ACGT', k=100))}\n" for number in range(RECORDS)).encode()


def variants() -> bytes:
    head = "##fileformat=VCFv4.3\n##contig=<ID=chr1>\n##contig=<ID=chr2>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    rows = (f"{contig}\t{10 * n + 10}\t.\tACG\tA\t{n}\t.\t.\n" for contig in ("chr1", "chr2") for n in range(RECORDS // 2))
    return (head + "".join(rows)).encode()


def alignments() -> bytes:
    head = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000000\n"
    rows = (f"r{n}\t0\tchr1\t{n + 1}\t60\t10M\t*\t0\t0\tACGTACGTAC\tIIIIIIIIII\n" for n in range(RECORDS))
    return (head + "".join(rows)).encode()


def rows() -> bytes:
    return b"number,square\n" + b"".join(b"%d,%d\n" % (number, number * number) for number in range(RECORDS))


def write_bgzf(path: Path, data: bytes) -> None:
    path.with_suffix("").write_bytes(data)
    run("bgzip", path.with_suffix(""))


def write_bam(path: Path) -> None:
    path.with_suffix(".sam").write_bytes(alignments())
    run("samtools", "view", "-b", "-o", path, path.with_suffix(".sam"))


def write_bcf(path: Path) -> None:
    path.with_suffix(".vcf").write_bytes(variants())
    run("bcftools", "view", "-Ob", "-o", path, path.with_suffix(".vcf"))


def write_parquet(path: Path) -> None:
    needs("pyarrow")
    import pyarrow.parquet

    numbers = pyarrow.array(range(RECORDS))
    pyarrow.parquet.write_table(pyarrow.table([numbers] * 40, [f"c{n}" for n in range(40)]), path, row_group_size=1000)
    needs_core(path, "parquet")


def copy_copc(path: Path) -> None:
    needs_core(COPC, "copc")
    shutil.copy(COPC, path)


Options = dict[str, Any]


def write_batches(path: Path) -> None:
    needs("pyarrow")
    import pyarrow

    table = pyarrow.table({"number": list(range(RECORDS)), "square": [number * number for number in range(RECORDS)]})
    with pyarrow.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)


def write_image(path: Path) -> None:
    write_spectra(path, "processed")


def write_cram(path: Path) -> None:
    options = ["-C", "--output-fmt-option", "no_ref=1", "--output-fmt-option", "seqs_per_slice=500"]
    subprocess.run(["samtools", "view", *options, "-o", path, "-"], input=alignments(), check=True)


OBJECTS: dict[str, tuple[str, Callable[[Path], Any], list[Options]]] = {
    "fastq.gz": ("fastq", lambda path: path.write_bytes(gzip.compress(reads(), 6)), [{"n": 7}, {"records": 999}, {"bytes": "1M"}]),
    "fastq": ("fastq", lambda path: path.write_bytes(reads()), [{"n": 7}]),
    "fasta.gz": ("fasta", lambda path: path.write_bytes(gzip.compress(sequences())), [{"n": 7}]),
    "csv.gz": ("csv", lambda path: path.write_bytes(gzip.compress(rows())), [{"n": 7}]),
    "tsv": ("tsv", lambda path: path.write_bytes(rows().replace(b",", b"\t")), [{"n": 7}, {"n": 7, "header": True}]),
    "jsonl": ("jsonl", lambda path: path.write_bytes(b'{"number": 1}\n' * RECORDS), [{"n": 7}]),
    "txt.gz": ("text", lambda path: path.write_bytes(gzip.compress(rows())), [{"n": 7}]),
    "sam": ("sam", lambda path: path.write_bytes(alignments()), [{"n": 7}]),
    "vcf": ("vcf", lambda path: path.write_bytes(variants()), [{"n": 7}]),
    "vcf.gz": ("vcf", lambda path: write_bgzf(path, variants()), [{"n": 7}, {"region": ["chr1", "chr2:5000-70000"]}]),
    "bam": ("bam", write_bam, [{"n": 7}, {"region": "chr1:1000-20000"}]),
    "cram": ("cram", write_cram, [{"n": 7}, {"records": 999}, {"region": "chr1:1000-20000"}]),
    "bcf": ("bcf", write_bcf, [{"n": 7}, {"region": "chr2"}]),
    "las": ("las", write_points, [{"n": 7}, {"tiles": 9}, {"bounds": (0, 0, 10, 10)}]),
    "laz": ("laz", write_points, [{"n": 7}, {"tiles": 9}, {"bounds": (0, 0, 10, 10)}]),
    "copc.laz": ("copc", copy_copc, [{"n": 7}, {"tiles": 9}]),
    "tif": ("tiff", write_raster, [{"n": 7}, {"tiles": 9}, {"bounds": (500_000, 4_599_000, 501_000, 4_600_000)}]),
    "arrow": ("arrow", write_batches, [{"n": 7}, {"records": 999}, {"n": 7, "columns": ["square"]}]),
    "imzML": ("imzml", write_image, [{"n": 3}, {"tiles": 4}, {"window": (100, 500)}]),
    "parquet": ("parquet", write_parquet, [{"n": 7}, {"records": 999}, {"n": 7, "columns": ["c1", "c7", "c30"]}]),
}


def check(value: Any, addresses: list[str]) -> bytes:
    pickled = pickle.dumps(value)
    assert len(pickled) < 1024 + sum(map(len, addresses)), pickled
    for name, secret in os.environ.items():
        if len(secret) >= 8 and any(word in name for word in SECRET_NAMES):
            assert secret.encode() not in pickled, name
    return pickled


def addresses_of(part: neardata.Slice) -> list[str]:
    """Every address in a slice: of objects, of indexes, of their servers."""
    value = json.loads(part.to_json())
    references = value["objects"] + value.get("index", [])
    servers = [reference["store"]["endpoint"] for reference in references if "store" in reference]
    return [reference["uri"] for reference in references] + servers


@pytest.fixture
def bucket(environment: None, monkeypatch: pytest.MonkeyPatch, platform: dict[str, str]) -> Any:
    needs("boto3")
    import boto3

    monkeypatch.setenv("SOME_PASSWORD", "open sesame, please")
    client = boto3.client("s3", endpoint_url=platform["AWS_ENDPOINT_URL"])
    if "pickles" not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="pickles")
    return client


@pytest.mark.parametrize("ending", OBJECTS)
def test_slices_are_small_and_keep_secrets(bucket: Any, tmp_path: Path, ending: str) -> None:
    name, write, cuts = OBJECTS[ending]
    path = tmp_path / f"object.{ending}"
    write(path)
    needs_core(path, name)
    for file in tmp_path.glob("object.*"):
        bucket.upload_file(str(file), "pickles", file.name)
    for options in cuts:
        parts = neardata.slices(f"s3://pickles/{path.name}", **options)
        assert parts
        for part in parts:
            assert part.format == name
            again = pickle.loads(check(part, addresses_of(part)))
            assert again == part
        assert pickle.loads(pickle.dumps(parts[-1])).read() == parts[-1].read()


def test_mates(bucket: Any, tmp_path: Path) -> None:
    for mate in (1, 2):
        bucket.put_object(Bucket="pickles", Key=f"r_{mate}.fastq.gz", Body=gzip.compress(reads(), mate))
    for part in neardata.slices("s3://pickles/r_1.fastq.gz", mate2="s3://pickles/r_2.fastq.gz", n=7):
        check(part, addresses_of(part))


def test_every_format_of_the_core_is_here() -> None:
    from neardata import _native

    missing = set(_native.core_formats()) - {name for name, _, _ in OBJECTS.values()}
    assert not missing, f"add objects of {', '.join(sorted(missing))} to OBJECTS"


DATAPLUG: dict[str, tuple[Any, Any, bytes]] = {
    "reads.fastq.gz": (fastq.FASTQGZip, fastq.partition_reads_batches, gzip.compress(reads())),
    "lines.gz": (gzipped.GZipText, gzipped.partition_num_chunks, gzip.compress(rows())),
    "genome.fa": (fasta.FASTA, fasta.partition_chunks_strategy, b">one\n" + b"ACGT\n" * 100_000),
    "table.csv": (csv.CSV, csv.partition_num_chunks, rows()),
    "words.txt": (text.UTF8Text, text.whole_words_strategy, rows()),
    "calls.vcf": (vcf.VCF, vcf.partition_num_chunks, variants()),
}


@pytest.mark.parametrize("name", DATAPLUG)
def test_slices_of_dataplug_are_small_and_keep_secrets(bucket: Any, name: str) -> None:
    data_format, strategy, data = DATAPLUG[name]
    bucket.put_object(Bucket="pickles", Key=name, Body=data)
    for part in CloudObject.from_s3(data_format, f"s3://pickles/{name}").partition(strategy, 7):
        again = pickle.loads(check(part, addresses_of(part.slice)))
        assert again.get() == part.get()
