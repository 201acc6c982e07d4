#!/usr/bin/env python3
"""Drives an S3 endpoint with boto3, awscli and rclone, and fails at the first thing that differs from what S3 does.

    eval "$(neardata env)"
    python3 -m venv venv && venv/bin/pip install -r tests/s3_clients/requirements.txt
    venv/bin/python tests/s3_clients/run.py

Reads AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION. Buckets of its own are made and removed.
A client that is not installed fails the run; name clients as arguments to run only those.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from pathlib import Path

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
REGION = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
ODD_KEYS = ["with space & sign+100%.txt", "ünïcode/漢字/🧬.fq", "...dots/..hidden./a..b", "folder/", "quotes'\"<>?#"]


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress and are the same in every run."""
    out = bytearray()
    block = seed.to_bytes(8, "big")
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block
    return bytes(out[:size])


def check(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def boto3_client():
    import boto3
    from botocore.config import Config

    # Path style: an endpoint on an address has no host names for its buckets.
    return boto3.client("s3", region_name=REGION, config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))


def expect_error(code: str, call, *args, **kwargs) -> None:
    import botocore.exceptions

    try:
        call(*args, **kwargs)
    except botocore.exceptions.ClientError as error:
        check(error.response["Error"]["Code"] == code, f"expected {code}, got {error}")
    else:
        raise AssertionError(f"expected {code}, but the call succeeded")


def run_boto3(bucket: str) -> None:
    s3 = boto3_client()
    s3.create_bucket(Bucket=bucket)
    check(bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]], "the bucket is listed")
    s3.head_bucket(Bucket=bucket)
    s3.get_bucket_location(Bucket=bucket)
    expect_error("NoSuchBucket", s3.list_objects_v2, Bucket=bucket + "-absent")
    for part in (
        boto3_objects,
        boto3_checksums,
        boto3_conditions,
        boto3_listing,
        boto3_multipart,
        boto3_copies,
        boto3_presigned,
        boto3_odd_keys,
        boto3_deletes,
    ):
        part(s3, bucket)
        print(f"  ok {part.__name__}")
    s3.delete_bucket(Bucket=bucket)
    expect_error("404", s3.head_bucket, Bucket=bucket)


def boto3_objects(s3, bucket: str) -> None:
    for size in (0, 1, 5000, 16384, 16385, 300_000, 9 << 20):
        body = noise(size)
        put = s3.put_object(Bucket=bucket, Key="object", Body=body, ContentType="text/x-fastq", Metadata={"sample": "K-12"})
        check(put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"', "the entity tag is the MD5")
        got = s3.get_object(Bucket=bucket, Key="object")
        check(got["Body"].read() == body, f"{size} bytes come back")
        check(got["ContentType"] == "text/x-fastq" and got["Metadata"]["sample"] == "K-12", "headers come back")
        check(got["ContentLength"] == size, "the length is told")
    head = s3.head_object(Bucket=bucket, Key="object")
    check(head["ContentLength"] == 9 << 20 and head["AcceptRanges"] == "bytes", "head tells size and ranges")
    body = noise(9 << 20)
    for spec, expected in (
        ("bytes=0-0", body[:1]),
        ("bytes=1000-1999", body[1000:2000]),
        ("bytes=9437180-", body[9437180:]),
        ("bytes=-77", body[-77:]),
        ("bytes=9437000-99999999", body[9437000:]),
    ):
        got = s3.get_object(Bucket=bucket, Key="object", Range=spec)
        check(got["ResponseMetadata"]["HTTPStatusCode"] == 206 and got["Body"].read() == expected, f"range {spec}")
    expect_error("InvalidRange", s3.get_object, Bucket=bucket, Key="object", Range="bytes=9437184-")
    expect_error("NoSuchKey", s3.get_object, Bucket=bucket, Key="absent")
    expect_error("404", s3.head_object, Bucket=bucket, Key="absent")


def boto3_checksums(s3, bucket: str) -> None:
    body = noise(100_000, 2)
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        s3.put_object(Bucket=bucket, Key="sum", Body=body, ChecksumAlgorithm=algorithm)
        got = s3.get_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
        check(f"Checksum{algorithm}" in got and got["Body"].read() == body, f"{algorithm} is stored and verified")
    expect_error("BadDigest", s3.put_object, Bucket=bucket, Key="bad", Body=body, ChecksumSHA256="A" * 43 + "=")
    expect_error("BadDigest", s3.put_object, Bucket=bucket, Key="bad", Body=body, ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    expect_error("404", s3.head_object, Bucket=bucket, Key="bad")


def boto3_conditions(s3, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="once", Body=b"1", IfNoneMatch="*")["ETag"]
    expect_error("PreconditionFailed", s3.put_object, Bucket=bucket, Key="once", Body=b"2", IfNoneMatch="*")
    second = s3.put_object(Bucket=bucket, Key="once", Body=b"2", IfMatch=first)["ETag"]
    expect_error("PreconditionFailed", s3.put_object, Bucket=bucket, Key="once", Body=b"3", IfMatch=first)
    expect_error("NoSuchKey", s3.put_object, Bucket=bucket, Key="never", Body=b"3", IfMatch=first)
    check(s3.get_object(Bucket=bucket, Key="once", IfMatch=second)["Body"].read() == b"2", "If-Match reads")
    expect_error("PreconditionFailed", s3.get_object, Bucket=bucket, Key="once", IfMatch=first)
    expect_error("304", s3.get_object, Bucket=bucket, Key="once", IfNoneMatch=second)
    modified = s3.head_object(Bucket=bucket, Key="once")["LastModified"]
    expect_error("304", s3.get_object, Bucket=bucket, Key="once", IfModifiedSince=modified)
    s3.get_object(Bucket=bucket, Key="once", IfUnmodifiedSince=modified)


def boto3_listing(s3, bucket: str) -> None:
    keys = sorted([f"list/{a}/{b:02}" for a in "abc" for b in range(7)] + ["list/", "list/z", "list!"], key=str.encode)
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    for version in ("list_objects", "list_objects_v2"):
        for size in (1, 2, 5, 1000):
            pages = s3.get_paginator(version).paginate(Bucket=bucket, Prefix="list", PaginationConfig={"PageSize": size})
            listed = [o["Key"] for page in pages for o in page.get("Contents", [])]
            check(listed == keys, f"{version} in pages of {size}: {listed}")
            pages = s3.get_paginator(version).paginate(
                Bucket=bucket, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": size}
            )
            pages = list(pages)
            check(
                [o["Key"] for p in pages for o in p.get("Contents", [])] == ["list/", "list/z"],
                f"{version}: keys beside prefixes",
            )
            prefixes = [o["Prefix"] for p in pages for o in p.get("CommonPrefixes", [])]
            check(prefixes == ["list/a/", "list/b/", "list/c/"], f"{version}: prefixes in pages of {size}: {prefixes}")
    after = s3.list_objects_v2(Bucket=bucket, Prefix="list/", StartAfter="list/b/05", FetchOwner=True)
    check([o["Key"] for o in after["Contents"]][:2] == ["list/b/06", "list/c/00"], "start-after")
    check(s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0, "an empty page")


def boto3_multipart(s3, bucket: str) -> None:
    from boto3.s3.transfer import TransferConfig

    body = noise((12 << 20) + 5, 3)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.write_bytes(body)
        config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
        s3.upload_file(str(source), bucket, "large", Config=config, ExtraArgs={"Metadata": {"kind": "large"}})
        s3.download_file(bucket, "large", str(target), Config=config)
        check(target.read_bytes() == body, "a file goes up and down in parts")
    head = s3.head_object(Bucket=bucket, Key="large", PartNumber=2)
    check(head["PartsCount"] == 3 and head["ContentLength"] == 5 << 20, "parts are counted and read by number")
    digests = b"".join(hashlib.md5(body[i : i + (5 << 20)]).digest() for i in range(0, len(body), 5 << 20))
    check(head["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"', "the entity tag of parts")
    check(head["Metadata"] == {"kind": "large"}, "metadata of an upload")
    check(
        s3.get_object(Bucket=bucket, Key="large", Range=f"bytes={(5 << 20) - 2}-{(10 << 20) + 1}")["Body"].read()
        == body[(5 << 20) - 2 : (10 << 20) + 2],
        "a range over parts",
    )

    upload = s3.create_multipart_upload(Bucket=bucket, Key="by hand")["UploadId"]
    one = s3.upload_part(Bucket=bucket, Key="by hand", UploadId=upload, PartNumber=1, Body=body[: 5 << 20])
    two = s3.upload_part_copy(
        Bucket=bucket,
        Key="by hand",
        UploadId=upload,
        PartNumber=3,
        CopySource={"Bucket": bucket, "Key": "large"},
        CopySourceRange="bytes=0-99",
    )
    listed = s3.list_parts(Bucket=bucket, Key="by hand", UploadId=upload)
    check([(p["PartNumber"], p["Size"]) for p in listed["Parts"]] == [(1, 5 << 20), (3, 100)], "parts are listed")
    check(upload in [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]], "uploads are listed")
    parts = [{"PartNumber": 1, "ETag": one["ETag"]}, {"PartNumber": 3, "ETag": two["CopyPartResult"]["ETag"]}]
    bad = [{"PartNumber": 1, "ETag": two["CopyPartResult"]["ETag"]}]
    expect_error(
        "InvalidPart", s3.complete_multipart_upload, Bucket=bucket, Key="by hand", UploadId=upload, MultipartUpload={"Parts": bad}
    )
    expect_error(
        "InvalidPartOrder",
        s3.complete_multipart_upload,
        Bucket=bucket,
        Key="by hand",
        UploadId=upload,
        MultipartUpload={"Parts": parts[::-1]},
    )
    expect_error(
        "PreconditionFailed",
        s3.complete_multipart_upload,
        Bucket=bucket,
        Key="large",
        UploadId=conditional(s3, bucket),
        MultipartUpload={"Parts": CONDITIONAL_PARTS},
        IfNoneMatch="*",
    )
    done = s3.complete_multipart_upload(Bucket=bucket, Key="by hand", UploadId=upload, MultipartUpload={"Parts": parts})
    again = s3.complete_multipart_upload(Bucket=bucket, Key="by hand", UploadId=upload, MultipartUpload={"Parts": parts})
    check(done["ETag"] == again["ETag"], "completing twice is completing once")
    check(s3.get_object(Bucket=bucket, Key="by hand")["Body"].read() == body[: 5 << 20] + body[:100], "parts by hand")

    aborted = s3.create_multipart_upload(Bucket=bucket, Key="aborted")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="aborted", UploadId=aborted, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=aborted)
    expect_error("NoSuchUpload", s3.list_parts, Bucket=bucket, Key="aborted", UploadId=aborted)
    small = s3.create_multipart_upload(Bucket=bucket, Key="small")["UploadId"]
    tags = [s3.upload_part(Bucket=bucket, Key="small", UploadId=small, PartNumber=n, Body=b"x")["ETag"] for n in (1, 2)]
    expect_error(
        "EntityTooSmall",
        s3.complete_multipart_upload,
        Bucket=bucket,
        Key="small",
        UploadId=small,
        MultipartUpload={"Parts": [{"PartNumber": n + 1, "ETag": t} for n, t in enumerate(tags)]},
    )
    s3.abort_multipart_upload(Bucket=bucket, Key="small", UploadId=small)


CONDITIONAL_PARTS: list = []


def conditional(s3, bucket: str) -> str:
    """An upload onto a key that is taken."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    tag = s3.upload_part(Bucket=bucket, Key="large", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    CONDITIONAL_PARTS[:] = [{"PartNumber": 1, "ETag": tag}]
    return upload


def boto3_copies(s3, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=noise(50_000, 4), Metadata={"a": "1"}, ContentType="text/plain")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "source"})
    got = s3.get_object(Bucket=bucket, Key="copy")
    check(got["Body"].read() == noise(50_000, 4) and got["Metadata"] == {"a": "1"}, "a copy keeps bytes and metadata")
    s3.copy_object(
        Bucket=bucket,
        Key="copy",
        CopySource={"Bucket": bucket, "Key": "copy"},
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="x/y",
    )
    head = s3.head_object(Bucket=bucket, Key="copy")
    check(head["Metadata"] == {"b": "2"} and head["ContentType"] == "x/y", "a copy onto itself replaces metadata")
    expect_error("InvalidRequest", s3.copy_object, Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "copy"})
    expect_error("NoSuchKey", s3.copy_object, Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "absent"})
    s3.delete_object(Bucket=bucket, Key="source")
    check(s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == noise(50_000, 4), "a copy outlives its source")


def fetch(method: str, url: str, body: bytes | None = None, headers: dict | None = None) -> tuple[int, bytes, dict]:
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def boto3_presigned(s3, bucket: str) -> None:
    import boto3
    from botocore.config import Config

    body = noise(70_000, 5)
    v4 = boto3.client("s3", region_name=REGION, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    for client in (v4, s3):
        put = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "presigned key"})
        status, text, _ = fetch("PUT", put, body, {"Content-Type": ""})
        check(status == 200, f"presigned PUT: {status} {text!r}")
        get = client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": "presigned key", "ResponseContentType": "text/html"}
        )
        status, got, headers = fetch("GET", get)
        check(status == 200 and got == body, "presigned GET")
        check(
            headers["x-content-type-options"] == "nosniff" and headers["content-security-policy"] == "sandbox",
            "HTML is sandboxed",
        )
        status, _, _ = fetch("GET", get.replace("presigned", "presigneb"))
        check(status == 403, "a changed presigned URL is refused")
    status, _, _ = fetch("GET", f"{ENDPOINT}/{bucket}/presigned%20key")
    check(status == 403, "nobody reads without a signature")


def boto3_odd_keys(s3, bucket: str) -> None:
    for number, key in enumerate(ODD_KEYS):
        s3.put_object(Bucket=bucket, Key="odd/" + key, Body=noise(100 + number))
    listed = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="odd/")["Contents"]]
    check(listed == sorted(("odd/" + key for key in ODD_KEYS), key=str.encode), f"odd keys are listed: {listed}")
    for number, key in enumerate(ODD_KEYS):
        check(s3.get_object(Bucket=bucket, Key="odd/" + key)["Body"].read() == noise(100 + number), f"odd key {key!r}")
        s3.copy_object(Bucket=bucket, Key="odd copy/" + key, CopySource={"Bucket": bucket, "Key": "odd/" + key})


def boto3_deletes(s3, bucket: str) -> None:
    s3.delete_object(Bucket=bucket, Key="object")
    s3.delete_object(Bucket=bucket, Key="object")
    expect_error("404", s3.head_object, Bucket=bucket, Key="object")
    expect_error("BucketNotEmpty", s3.delete_bucket, Bucket=bucket)
    while contents := s3.list_objects_v2(Bucket=bucket).get("Contents"):
        deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": o["Key"]} for o in contents]})
        check(len(deleted["Deleted"]) == len(contents) and not deleted.get("Errors"), "many keys go at once")


def command(*words: str, stdin: bytes | None = None, environment: dict | None = None) -> bytes:
    done = subprocess.run(words, check=False, input=stdin, capture_output=True, env={**os.environ, **(environment or {})})
    check(done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}\n{done.stderr.decode()}")
    return done.stdout


def run_awscli(bucket: str) -> None:
    beside = Path(sys.executable).parent / "aws"
    binary = str(beside) if beside.exists() else "aws"

    def aws(*words: str, stdin: bytes | None = None) -> bytes:
        return command(binary, *words, "--endpoint-url", ENDPOINT, "--region", REGION, stdin=stdin)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in/sub").mkdir(parents=True)
        (folder / "in/small.txt").write_bytes(b"small")
        (folder / "in/sub/large.bin").write_bytes(noise(20 << 20, 6))
        (folder / "in/sub/odd key é.txt").write_bytes(b"odd")
        aws("s3", "mb", f"s3://{bucket}")
        aws("s3", "cp", "--recursive", str(folder / "in"), f"s3://{bucket}/tree/")
        listed = aws("s3", "ls", "--recursive", f"s3://{bucket}/").decode()
        check("tree/sub/odd key é.txt" in listed and "20971520" in listed, f"the tree is listed: {listed}")
        check(b"PRE sub/" in aws("s3", "ls", f"s3://{bucket}/tree/"), "folders are listed")
        aws("s3", "sync", f"s3://{bucket}/tree/", str(folder / "out"))
        for path in ("small.txt", "sub/large.bin", "sub/odd key é.txt"):
            check((folder / "out" / path).read_bytes() == (folder / "in" / path).read_bytes(), f"{path} comes back")
        again = aws("s3", "sync", str(folder / "in"), f"s3://{bucket}/tree/").decode()
        check("upload" not in again, f"nothing is left to sync: {again}")
        aws("s3", "cp", "-", f"s3://{bucket}/stdin", stdin=noise(9 << 20, 7))
        check(aws("s3", "cp", f"s3://{bucket}/stdin", "-") == noise(9 << 20, 7), "through pipes")
        aws("s3", "mv", f"s3://{bucket}/tree/sub/large.bin", f"s3://{bucket}/moved.bin")
        aws("s3api", "get-object", "--bucket", bucket, "--key", "moved.bin", "--range", "bytes=100-199", str(folder / "range"))
        check((folder / "range").read_bytes() == noise(20 << 20, 6)[100:200], "a range")
        url = aws("s3", "presign", f"s3://{bucket}/stdin").decode().strip()
        check(fetch("GET", url)[1] == noise(9 << 20, 7), "a presigned URL")
        aws("s3", "rb", "--force", f"s3://{bucket}")


def run_rclone(bucket: str) -> None:
    environment = {
        "RCLONE_CONFIG_HUB_TYPE": "s3",
        "RCLONE_CONFIG_HUB_PROVIDER": "Other",
        "RCLONE_CONFIG_HUB_ENV_AUTH": "true",
        "RCLONE_CONFIG_HUB_ENDPOINT": ENDPOINT,
        "RCLONE_CONFIG_HUB_REGION": REGION,
        "RCLONE_CONFIG_HUB_CHUNK_SIZE": "5M",
        "RCLONE_CONFIG_HUB_UPLOAD_CUTOFF": "6M",
        "RCLONE_CONFIG": "/dev/null",
    }

    def rclone(*words: str) -> bytes:
        return command("rclone", "--retries", "1", *words, environment=environment)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in/sub").mkdir(parents=True)
        (folder / "in/empty").write_bytes(b"")
        (folder / "in/small.txt").write_bytes(b"small")
        (folder / "in/sub/large.bin").write_bytes(noise(17 << 20, 8))
        (folder / "in/sub/odd key é+.txt").write_bytes(b"odd")
        rclone("mkdir", f"hub:{bucket}")
        rclone("copy", str(folder / "in"), f"hub:{bucket}/tree")
        rclone("check", "--download", str(folder / "in"), f"hub:{bucket}/tree")
        rclone("check", str(folder / "in"), f"hub:{bucket}/tree")
        sizes = rclone("lsf", "-R", "--files-only", f"hub:{bucket}/tree").decode().split("\n")
        check(sorted(filter(None, sizes)) == ["empty", "small.txt", "sub/large.bin", "sub/odd key é+.txt"], f"listed: {sizes}")
        rclone("moveto", f"hub:{bucket}/tree/sub/large.bin", f"hub:{bucket}/moved.bin")
        check(
            rclone("cat", "--offset", "5242870", "--count", "20", f"hub:{bucket}/moved.bin")
            == noise(17 << 20, 8)[5242870:5242890],
            "a range over parts",
        )
        (folder / "in/small.txt").write_bytes(b"changed")
        rclone("sync", str(folder / "in"), f"hub:{bucket}/tree")
        check(rclone("cat", f"hub:{bucket}/tree/small.txt") == b"changed", "a sync overwrites")
        rclone("purge", f"hub:{bucket}")


CLIENTS = {"boto3": run_boto3, "awscli": run_awscli, "rclone": run_rclone}


def main() -> None:
    chosen = sys.argv[1:] or list(CLIENTS)
    os.environ.setdefault("AWS_REGION", REGION)
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    if ENDPOINT.startswith("http:"):
        # Of no use without TLS, and rclone stumbles over it.
        os.environ.pop("AWS_CA_BUNDLE", None)
    if "rclone" in chosen and not shutil.which("rclone"):
        sys.exit("rclone is not installed: apt-get install rclone")
    for name in chosen:
        print(name, flush=True)
        CLIENTS[name](f"nd-clients-{name}-{uuid.uuid4().hex[:8]}")
        print(f"{name}: ok", flush=True)


if __name__ == "__main__":
    main()
