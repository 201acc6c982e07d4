"""DataPlug's API: its own examples against an S3 endpoint, and the exactness that it lacks."""

from __future__ import annotations

import csv
import gzip
import io
import os
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import neardata
import pytest
from dataplug_runs import DATA, run_example
from neardata.dataplug import CloudObject, _server
from neardata.dataplug.entities import CloudDataFormat, CloudObjectSlice, PartitioningStrategy
from neardata.dataplug.formats.compressed import gzipped
from neardata.dataplug.formats.generic import csv as table
from neardata.dataplug.formats.generic.text import UTF8Text, whole_words_strategy
from neardata.dataplug.formats.genomics import fasta, vcf
from neardata.dataplug.formats.genomics.fastq import FASTQGZip, partition_reads_batches, partition_sequences_per_chunk
from neardata.dataplug.preprocessing import PreprocessingMetadata
from peers import needs

SECRET = "a-very-secret-key"


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`s3_config` changes the environment of its process; no other test may meet that."""
    monkeypatch.setenv("NEARDATA_CACHE", str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    before = dict(os.environ)
    yield
    _server._by_endpoint.clear()
    os.environ.clear()
    os.environ.update(before)


def s3_config(platform: dict[str, str]) -> dict[str, Any]:
    return {
        "endpoint_url": platform["AWS_ENDPOINT_URL"],
        "region_name": "us-east-1",
        "credentials": {
            "AccessKeyId": platform["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": platform["AWS_SECRET_ACCESS_KEY"],
        },
    }


def reads(count: int, seed: int = 1) -> str:
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        length = rng.randrange(20, 151)
        lines += [f"@read{number}", "".join(rng.choices("ACGT", k=length)), "+", "I" * length]
    return "\n".join(lines) + "\n"


def test_the_csv_example(platform: dict[str, str], bucket: Any, tmp_path: Path) -> None:
    needs("pandas")
    printed = run_example("csv_example.py", platform, tmp_path)
    assert printed.count("---") == 25
    assert "Youngstown" in printed


def test_the_fasta_example(platform: dict[str, str], bucket: Any, tmp_path: Path) -> None:
    text = (DATA / "fasta_sample.fasta").read_text()
    bucket.put_object(Bucket="examples", Key="fasta_sample.fasta", Body=text.encode())
    printed = run_example("fasta_example.py", platform, tmp_path)
    assert f"FASTA file has {text.count('>')} sequences" in printed
    batches = printed.split("sequences\n")[1]
    bases = re.findall(r"^[A-Z]+$", batches, re.MULTILINE)
    assert "".join(bases) == "".join(line for line in text.splitlines() if not line.startswith(">"))


def test_the_fastq_example(platform: dict[str, str], bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Bucket="examples", Key="reads.fastq.gz", Body=gzip.compress(reads(1234).encode()))
    assert run_example("fastqgz_example.py", platform, tmp_path).strip() == str(4 * 1234)


def test_the_vcf_example(platform: dict[str, str], bucket: Any, tmp_path: Path) -> None:
    text = (DATA / "sample.vcf").read_text()
    bucket.put_object(Bucket="examples", Key="sample.vcf", Body=text.encode())
    printed = run_example("vcf_example.py", platform, tmp_path)
    header, records = (re.findall(pattern, text, re.MULTILINE) for pattern in (r"^#.*$", r"^[^#].*$"))
    assert printed.count("\n".join(header)) == 2
    assert re.findall(r"^(?:[XY\d]+)\t.*$", printed, re.MULTILINE) == records


@pytest.mark.parametrize("count", [1, 2, 3, 7, 25, 64, 1000])
def test_rows_are_exact_however_many_slices(tmp_path: Path, count: int) -> None:
    path = tmp_path / "odd.csv"
    rng = random.Random(3)
    rows = [
        ["name", "näme two", "n,3"],
        *([f"{n}", "a\nb;" * rng.randrange(9), 'qu"ote, ß' * rng.randrange(99)] for n in range(500)),
    ]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows(rows)
    path.write_text(text.getvalue(), newline="")
    co = CloudObject.from_s3(table.CSV, path)
    assert co.attributes.columns == rows[0], "the separator is seen in the header"
    parts = co.partition(table.partition_num_chunks, num_chunks=count)
    assert len(parts) <= count
    found = []
    for part in parts:
        head, *body = csv.reader(io.StringIO(part.get(), newline=""), delimiter=";")
        assert head == rows[0], "each slice has the header as it stands in the object"
        assert body, "no slice is the header alone"
        found += body
    assert found == rows[1:]


def test_compressed_rows_and_slices_of_a_size(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv.gz"
    text = (DATA / "cities.csv").read_text()
    path.write_bytes(gzip.compress(text.encode()))
    co = CloudObject.from_s3(table.CSV, path)
    parts = co.partition(table.partition_chunk_size, chunk_size=1000)
    assert len(parts) == 5
    assert [row for part in parts for row in part.get().splitlines()[1:]] == text.splitlines()[1:]


def test_data_frames(tmp_path: Path) -> None:
    needs("pandas")
    import pandas

    path = tmp_path / "t.csv"
    path.write_text("a|b\n" + "".join(f"{n}|{n / 2}\n" for n in range(1000)))
    co = CloudObject.from_s3(table.CSV, path)
    co.preprocess(extra_args={"separator": "|"})
    parts = co.partition(table.partition_num_chunks, num_chunks=7)
    whole = pandas.concat([part.get_as_pandas() for part in parts], ignore_index=True)
    pandas.testing.assert_frame_equal(whole, pandas.read_csv(path, sep="|"))
    assert [str(kind) for kind in co.attributes.dtypes] == ["int64", "float64"]


@pytest.mark.parametrize("count", [1, 2, 7, 100, 3000])
def test_words_are_whole(tmp_path: Path, count: int) -> None:
    for name in ("lorem.txt", "lorem.txt.gz"):
        text = (DATA / "lorem_ipsum.txt").read_text() + "naïve " + "x" * 500
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        parts = [part.get() for part in CloudObject.from_s3(UTF8Text, path).partition(whole_words_strategy, num_chunks=count)]
        assert "".join(parts) == text
        assert all(part[-1].isspace() for part in parts[:-1])
        assert len(parts) <= count
        assert count > 7 or name.endswith("gz") or len(parts) == count


def test_reads_in_batches_and_lines(tmp_path: Path) -> None:
    text = reads(2003)
    path = tmp_path / "reads.fastq.gz"
    path.write_bytes(gzip.compress(text.encode()))
    co = CloudObject.from_s3(FASTQGZip, path)
    assert co.attributes.total_lines == co["total_lines"] == 4 * 2003
    lines = text.splitlines()

    def lengths(how: Callable[..., list[gzipped.GZipTextSlice]], *arguments: Any, **named: Any) -> list[int]:
        parts = co.partition(how, *arguments, **named)
        gotten = [part.get() for part in parts]
        assert [line for part in gotten for line in part] == lines
        assert [(part.line_0, part.line_1) for part in parts][-1][1] == len(lines)
        return [len(part) for part in gotten]

    assert lengths(partition_reads_batches, num_batches=10) == [4 * 201] * 9 + [4 * 194]
    assert len(lengths(partition_reads_batches, num_batches=9000)) == 2003, "no batch is empty"
    assert lengths(partition_sequences_per_chunk, 1000) == [4000] * 2 + [12]
    assert lengths(partition_sequences_per_chunk, seq_per_chunk=1000, strategy="merge") == [4000, 4012]
    assert lengths(gzipped.partition_chunk_lines, 1001) == [1001] * 8 + [4]
    assert lengths(gzipped.partition_chunk_lines, 1001, strategy="merge") == [1001] * 7 + [1005]
    assert lengths(gzipped.partition_chunk_lines, 100_000, strategy="merge") == [len(lines)]
    assert len(lengths(gzipped.partition_num_chunks, 7)) == 7
    with pytest.raises(ValueError, match="`expand` or `merge`"):
        co.partition(gzipped.partition_chunk_lines, 10, strategy="drop")


def test_lines_of_any_compressed_text(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    lines = [f"line {n} ß\x0bnot an end" for n in range(3001)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    co = CloudObject.from_s3(gzipped.GZipText, path)
    parts = co.partition(gzipped.partition_chunk_lines, 7)
    assert [line for part in parts for line in part.get()] == lines
    parts[1].to_file(tmp_path / "part")
    assert (tmp_path / "part").read_text() == "\n".join(lines[7:14]) + "\n"
    buffer = io.StringIO()
    parts[-1].to_file_obj(buffer)
    assert buffer.getvalue() == "\n".join(lines[-5:]) + "\n"
    genome = tmp_path / "genome.fa.gz"
    genome.write_bytes(gzip.compress(b">a\nACGT\n"))
    with pytest.raises(neardata.FormatError, match="is fasta, whose records are not lines"):
        CloudObject.from_s3(gzipped.GZipText, genome).partition(gzipped.partition_chunk_lines, 1)


def sequences(seed: int) -> bytes:
    """Some that are longer than the distance of the index's points, some empty."""
    rng = random.Random(seed)
    text = []
    for number in range(60):
        text.append(f">seq{number} {'description ' * rng.randrange(5)}")
        length = rng.choice([0, 10, 1000, 5000, 500_000 if number % 20 == 3 else 70])
        bases = "".join(rng.choices("ACGT", k=length))
        text += [bases[at : at + 70] for at in range(0, length, 70)]
    return "\n".join(text).encode() + b"\n"


@pytest.mark.parametrize("count", [1, 2, 8, 37, 200])
def test_sequences_are_exact_and_continue_with_their_header(tmp_path: Path, count: int) -> None:
    data = sequences(count)
    path = tmp_path / "genome.fa"
    path.write_bytes(data)
    co = CloudObject.from_s3(fasta.FASTA, path)
    co.preprocess()
    assert co.attributes.num_sequences == 60
    parts = co.partition(fasta.partition_chunks_strategy, num_chunks=count)
    assert b"".join(part.read() for part in parts) == data
    assert len(parts) == min(count, len(parts))
    found: dict[bytes, bytes] = {}
    for part in parts:
        got = part.get()
        assert got.startswith(b">")
        for record in got[1:].split(b"\n>"):
            header, _, body = record.partition(b"\n")
            name, _, offset = header.partition(b" offset=")
            assert len(found.get(name, b"")) == int(offset or 0), "the offset is what came before"
            found[name] = found.get(name, b"") + body + (b"" if body.endswith(b"\n") or not body else b"\n")
    assert b"".join(b">" + name + b"\n" + body for name, body in found.items()) == data


def test_variants_compressed_too(tmp_path: Path) -> None:
    head = '##fileformat=VCFv4.3\n##INFO=<ID=NS,Number=1,Description="a, b">\n##source=x=y\n'
    head += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    rows = [f"1\t{position}\t.\tA\tC\t.\t.\tNS={position}\n" for position in range(1, 4000)]
    for name in ("calls.vcf", "calls.vcf.gz"):
        path = tmp_path / name
        data = (head + "".join(rows)).encode()
        path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        co = CloudObject.from_s3(vcf.VCF, path)
        parts = co.partition(vcf.partition_num_chunks, num_chunks=9)
        assert all(part.get().startswith(head) for part in parts)
        assert "".join(part.get()[len(head) :] for part in parts) == "".join(rows)
        assert co["columns"][:2] == ["CHROM", "POS"]
        assert co.attributes.vcf_attributes["INFO"] == [{"ID": "NS", "Number": "1", "Description": "a, b"}]
        assert co.attributes.vcf_attributes["source"] == "x=y"
        assert co.attributes.body_offset == len(head)


def test_objects_without_records(tmp_path: Path) -> None:
    strategies: dict[str, tuple[Any, Any]] = {
        "e.csv": (table.CSV, table.partition_num_chunks),
        "e.fa": (fasta.FASTA, fasta.partition_chunks_strategy),
        "e.txt": (UTF8Text, whole_words_strategy),
        "e.fastq": (FASTQGZip, partition_reads_batches),
    }
    for name, (data_format, strategy) in strategies.items():
        (tmp_path / name).touch()
        co = CloudObject.from_s3(data_format, tmp_path / name)
        assert co.partition(strategy, 3) == [], name


def test_s3_config_is_enough_and_stays_at_home(platform: dict[str, str], bucket: Any) -> None:
    text = reads(300)
    bucket.put_object(Bucket="examples", Key="r.fastq.gz", Body=gzip.compress(text.encode()))
    co = CloudObject.from_s3(FASTQGZip, "s3://examples/r.fastq.gz", s3_config=s3_config(platform))
    assert (co.path.bucket, co.path.key, co.path.as_uri()) == ("examples", "r.fastq.gz", "s3://examples/r.fastq.gz")
    assert co.exists()
    parts = co.partition(partition_reads_batches, num_batches=3)
    secrets = [platform["AWS_SECRET_ACCESS_KEY"].encode(), platform["AWS_ACCESS_KEY_ID"].encode()]
    for value in (parts[1], co, FASTQGZip, partition_reads_batches):
        pickled = pickle.dumps(value)
        assert len(pickled) < 1024 + len(co.path.uri)
        assert not any(secret in pickled for secret in secrets)
    assert pickle.loads(pickle.dumps(parts[1])).get() == parts[1].get()

    worker = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer).get()))"
    child = subprocess.run([sys.executable, "-c", worker], input=pickle.dumps(parts[1]), capture_output=True, check=True)
    assert int(child.stdout) == 400, "a process that this one starts has the settings from the environment"


def test_two_servers_in_one_process(platform: dict[str, str], bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Bucket="examples", Key="two.txt", Body=b"one\ntwo\n")
    co = CloudObject.from_s3(UTF8Text, "s3://examples/two.txt", s3_config=s3_config(platform))
    parts = co.partition(whole_words_strategy, 2)
    CloudObject.from_s3(UTF8Text, "s3://x/y", fetch=False, s3_config={"endpoint_url": "http://127.0.0.1:1", "region_name": "r"})
    assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert [part.get() for part in parts] == ["one\n", "two\n"], "each slice is read from its own server"


def test_s3_config_says_what_is_wrong_with_it() -> None:
    def make(**config: Any) -> None:
        CloudObject.from_s3(UTF8Text, "s3://b/k", fetch=False, s3_config=config)

    with pytest.raises(neardata.ConfigError, match="half of a key pair"):
        make(credentials={"AccessKeyId": "a"})
    with pytest.raises(neardata.ConfigError, match="assume arn:x"):
        make(role_arn="arn:x")
    with pytest.raises(TypeError, match="s3_config has no endpoint; it has"):
        make(endpoint="http://x")
    make(aws_access_key_id="a", aws_secret_access_key=SECRET, region_name="eu-west-1", use_token=True)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET


def test_the_life_of_an_index(tmp_path: Path) -> None:
    path = tmp_path / "reads.fastq.gz"
    path.write_bytes(gzip.compress(reads(100).encode()))
    co = CloudObject.from_s3(FASTQGZip, path)
    assert not co.is_preprocessed()
    with pytest.raises(AttributeError):
        _ = co.meta_size
    co.preprocess()
    assert co.is_preprocessed()
    assert co.meta_size > 0
    assert Path(co.meta_path.key).is_file()
    co.clean()
    assert not co.is_preprocessed()
    co.preprocess(parallel_config={"n_jobs": 2}, chunk_size=100, force=True, debug=True)
    assert co.is_preprocessed()
    path.write_bytes(gzip.compress(reads(70, seed=2).encode()))
    assert not co.is_preprocessed(), "the index is of another version"
    assert CloudObject.from_s3(FASTQGZip, path).attributes.total_lines == 280
    co.preprocess()
    assert co.attributes.total_lines == 280, "attributes follow"
    with pytest.raises(neardata.ObjectNotFoundError):
        CloudObject.from_s3(FASTQGZip, tmp_path / "missing")
    assert not CloudObject.from_s3(FASTQGZip, tmp_path / "missing", fetch=False).exists()


def test_uploads(platform: dict[str, str], bucket: Any) -> None:
    config = s3_config(platform)
    uri = "s3://examples/uploads/cities.csv"
    co = CloudObject.new_from_file(table.CSV, DATA / "cities.csv", uri, s3_config=config)
    assert co.size == (DATA / "cities.csv").stat().st_size
    with pytest.raises(FileExistsError, match="override=True"):
        CloudObject.new_from_file(table.CSV, DATA / "sample.vcf", uri)
    CloudObject.new_from_file(table.CSV, DATA / "sample.vcf", uri, override=True)
    assert CloudObject.from_bucket_key(table.CSV, "examples", "uploads/cities.csv").size == (DATA / "sample.vcf").stat().st_size


def test_the_metadata_bucket(platform: dict[str, str], bucket: Any) -> None:
    bucket.put_object(Bucket="examples", Key="t.txt", Body=b"a b c\n")
    if "kept" not in [found["Name"] for found in bucket.list_buckets()["Buckets"]]:
        bucket.create_bucket(Bucket="kept")
    co = CloudObject.from_s3(UTF8Text, "s3://examples/t.txt", metadata_bucket="kept", s3_config=s3_config(platform))
    co.preprocess()
    assert co.is_preprocessed()
    assert co.meta_path.bucket == "kept"
    assert bucket.list_objects_v2(Bucket="kept")["KeyCount"] == 1
    assert not list((Path(os.environ["NEARDATA_CACHE"])).rglob("*.ndindex"))


# A format of one's own, written as DataPlug's page "Developing a new plugin" has it.


def preprocess_lines(cloud_object: CloudObject, mark: str = "") -> PreprocessingMetadata:
    with cloud_object.open("rb") as file:
        ends = [0]
        for line in file:
            ends.append(ends[-1] + len(line))
    body = b"".join(end.to_bytes(8, "little") for end in ends)
    return PreprocessingMetadata(metadata=body, attributes={"lines": len(ends) - 1, "mark": mark})


@CloudDataFormat(preprocessing_function=preprocess_lines)
class Lines:
    lines: int
    mark: str


class LinesSlice(CloudObjectSlice):
    def get(self) -> bytes:
        co = self.cloud_object
        assert co is not None
        where = {"Bucket": co.path.bucket, "Key": co.path.key}
        answer = co.storage.get_object(**where, Range=f"bytes={self.range_0}-{self.range_1}")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        return bytes(answer["Body"].read())


@PartitioningStrategy(dataformat=Lines)
def partition_lines(cloud_object: CloudObject, num_chunks: int) -> list[LinesSlice]:
    body = cloud_object.storage.get_object(Bucket=cloud_object.meta_path.bucket, Key=cloud_object.meta_path.key)["Body"].read()
    ends = [int.from_bytes(body[at : at + 8], "little") for at in range(0, len(body), 8)]
    cuts = [ends[cloud_object["lines"] * number // num_chunks] for number in range(num_chunks + 1)]
    return [LinesSlice(first, end - 1) for first, end in pairwise(cuts) if first < end]


def count_lines(
    cloud_object: CloudObject, chunk_data: Any, chunk_id: int, chunk_size: int, num_chunks: int
) -> PreprocessingMetadata:
    return PreprocessingMetadata(attributes={"lines": chunk_data.read().count(b"\n")})


def sum_lines(cloud_object: CloudObject, chunks: list[PreprocessingMetadata]) -> PreprocessingMetadata:
    return PreprocessingMetadata(attributes={"lines": sum((chunk.attributes or {})["lines"] for chunk in chunks)})


@CloudDataFormat(preprocessing_function=count_lines, finalizer_function=sum_lines)
class Counted:
    lines: int


@CloudDataFormat
class Bare:
    pass


def test_a_format_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_bytes(b"".join(b"%d\n" % (n * n) for n in range(1000)))
    co = CloudObject.from_s3(Lines, path)
    assert not co.is_preprocessed()
    with pytest.raises(neardata.FormatError, match="is not preprocessed"):
        _ = co.attributes
    co.preprocess(extra_args={"mark": "x"})
    assert co.is_preprocessed()
    assert (co.attributes.lines, co["mark"]) == (1000, "x")
    parts = co.partition(partition_lines, num_chunks=7)
    again = pickle.loads(pickle.dumps(parts))
    assert b"".join(part.get() for part in again) == path.read_bytes()
    path.write_bytes(b"one\n")
    assert not co.is_preprocessed()
    assert CloudObject.from_s3(Lines, path).partition(partition_lines, 1)[0].get() == b"one\n"
    with pytest.raises(TypeError, match="partition_lines partitions <format Lines>"):
        CloudObject.from_s3(Counted, path).partition(partition_lines, 1)
    assert pickle.loads(pickle.dumps(Lines)) is Lines
    assert isinstance(Bare, CloudDataFormat)
    with pytest.raises(TypeError, match="is not a format"):
        CloudObject.from_s3(str, path)


@pytest.mark.parametrize("parallel", [{}, {"backend": "threading", "n_jobs": 2}])
def test_preprocessing_in_chunks_sees_the_whole_object(tmp_path: Path, parallel: dict[str, Any]) -> None:
    if parallel:
        needs("joblib")
    path = tmp_path / "some.txt"
    path.write_bytes(b"\n" * 1003)
    co = CloudObject.from_s3(Counted, path)
    co.preprocess(parallel_config=parallel, chunk_size=100)
    assert co.attributes.lines == 1003
    with pytest.raises(ValueError, match="give preprocess\\(\\) a chunk_size"):
        co.preprocess(force=True)
    with pytest.raises(ValueError, match="1 to 1003 bytes"):
        co.preprocess(chunk_size=0)
