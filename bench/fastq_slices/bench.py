"""Index one FASTQ.gz and read all of it in slices, with each system; prints client CPU seconds, bytes fetched and ratios to ours."""

import contextlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
import zlib
from pathlib import Path

SLICES = (8, 32, 128)
ROUNDS = int(os.environ.get("NEARDATA_BENCH_ROUNDS", "3"))


def cpu():
    """CPU seconds of this process and of the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measured(action):
    before, started = cpu(), time.perf_counter()
    result = action()
    return cpu() - before, time.perf_counter() - started, result


def ours(binary, path, work):
    """Whole processes are counted, start included; reads are checked against the oracle's checksum. `path` may be an S3 address."""
    side_cars = work / "side-cars" if isinstance(work, Path) else f"{work}/side-cars"
    run = lambda *arguments: json.loads(subprocess.run([binary, *map(str, arguments)], check=True, capture_output=True).stdout)
    all_of = {}
    for round_ in range(ROUNDS):
        # Every index is built anew.
        fresh = f"{side_cars}-{round_}"
        if isinstance(work, Path):
            shutil.rmtree(fresh, ignore_errors=True)
        seconds, _, index = measured(lambda: run("index", path, fresh))
        assert index["built"], "an index was there already"
        all_of.setdefault("index", []).append(seconds)
        for count in SLICES:
            seconds, _, read = measured(lambda: run("read", path, fresh, count))
            all_of.setdefault(count, []).append(seconds)
            all_of[f"fetched {count}"] = [read["fetched"]]
    best = {key: statistics.median(values) for key, values in all_of.items()}
    best["side-car"] = index["side_car"]
    best["crc"] = {run("read", path, fresh, count, "check")["crc"] for count in SLICES}
    return best


@contextlib.contextmanager
def platform(neardata, path, work):
    """A `neardata up` with the object in a bucket, its environment in ours; its CPU is not the client's and is not counted."""
    data = work / "platform"
    shutil.rmtree(data, ignore_errors=True)
    command = [neardata, "up", "--data", data, "--s3", "127.0.0.1:0", "--api", "127.0.0.1:0"]
    server = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            shown = subprocess.run([neardata, "--json", "env", "--data", data], check=False, capture_output=True)
            if shown.returncode == 0:
                break
            time.sleep(0.05)
        os.environ.update(json.loads(shown.stdout))
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket="lab")
        client.upload_file(str(path), "lab", path.name)
        yield f"s3://lab/{path.name}"
    finally:
        server.terminate()
        server.wait()
        for name in list(os.environ):
            if name.startswith("AWS_"):
                del os.environ[name]
        shutil.rmtree(data, ignore_errors=True)


def rapidgzip_peer(path, work):
    """It has no slices: one sequential read of the whole file with its own index, one thread, stands beside every count."""
    index, best = work / "rapidgzip.index", {}
    tool = [str(Path(sys.executable).with_name("rapidgzip")), "-P", "1", "-f"]
    for _ in range(ROUNDS):
        index.unlink(missing_ok=True)
        seconds, _, _ = measured(lambda: subprocess.run([*tool, "--export-index", index, path], check=True, capture_output=True))
        best["index"] = min(best.get("index", seconds), seconds)
        command = [*tool, "-d", "-o", "/dev/null", "--import-index", index, path]
        seconds, _, _ = measured(lambda: subprocess.run(command, check=True, capture_output=True))
        for count in SLICES:
            best[count] = min(best.get(count, seconds), seconds)
    best["side-car"] = index.stat().st_size
    return best


def dataplug_peer(path):
    """Against a moto server in a process of its own, whose CPU is not counted."""
    import boto3
    from dataplug import CloudObject
    from dataplug.formats.genomics.fastq import FASTQGZip, partition_reads_batches

    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-p", "5871"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        credentials = {"AccessKeyId": "bench", "SecretAccessKey": "bench"}
        config = {"endpoint_url": "http://127.0.0.1:5871", "region_name": "us-east-1", "credentials": credentials}
        client = boto3.client(
            "s3",
            endpoint_url=config["endpoint_url"],
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
        )
        for _ in range(60):
            try:
                client.create_bucket(Bucket="reads")
                break
            except Exception:
                time.sleep(0.5)
        client.create_bucket(Bucket="reads.meta")
        client.upload_file(str(path), "reads", "reads.fastq.gz")
        best = {}
        open_object = lambda: CloudObject.from_s3(FASTQGZip, "s3://reads/reads.fastq.gz", s3_config=config)
        best["index"], _, _ = measured(lambda: open_object().preprocess())
        stored = [
            client.head_object(Bucket="reads.meta", Key=entry["Key"])["ContentLength"]
            for entry in client.list_objects_v2(Bucket="reads.meta")["Contents"]
        ]
        best["side-car"] = sum(stored)
        for count in SLICES:
            reads = []

            def read_all():
                for part in open_object().partition(partition_reads_batches, num_batches=count):
                    reads.append(part.range_1 - part.range_0)
                    part.get()

            best[count], _, _ = measured(read_all)
            # Every slice fetches the whole index again.
            best[f"fetched {count}"] = sum(reads) + count * max(stored)
        return best
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def quiet(log):
    """Peers print their progress to standard error, also from child processes: it goes to a file."""
    kept = os.dup(2)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def oracle(path):
    """CRC-32 of the content by zlib."""
    checksum, decoder = 0, zlib.decompressobj(31)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(decoder.decompress(block), checksum)
    return f"{checksum:08x}"


def main():
    binary, neardata, path, work = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    size = path.stat().st_size
    systems = {"neardata": ours(binary, path, work)}
    with platform(neardata, path, work) as address:
        systems["neardata through S3"] = ours(binary, address, "s3://lab")
    content = {oracle(path)}
    exact = all(system.pop("crc") == content for system in list(systems.values()))
    for name, peer in (
        ("rapidgzip -P 1", lambda: rapidgzip_peer(path, work)),
        ("DataPlug + gztool", lambda: dataplug_peer(path)),
    ):
        try:
            with quiet(work / "peers.log"):
                systems[name] = peer()
        except Exception as error:
            print(f"{name} failed: {error!r}; see {work / 'peers.log'}", file=sys.stderr)
    base = systems["neardata"]
    print(
        f"{path.name}: {size} bytes; CPU seconds of the client, ratio to neardata in brackets; ours: median of {ROUNDS}, rapidgzip: best of {ROUNDS}, DataPlug: once"
    )
    print(f"{'':22}{'index':>18}" + "".join(f"{f'{count} slices':>18}" for count in SLICES) + f"{'side-car':>10}")
    for name, best in systems.items():
        cells = [f"{best[key]:.2f} ({best[key] / base[key]:.1f}x)" for key in ("index", *SLICES)]
        print(f"{name:22}" + "".join(f"{cell:>18}" for cell in cells) + f"{100 * best['side-car'] / size:>9.2f}%")
    for name, best in systems.items():
        fetched = [best.get(f"fetched {count}") for count in SLICES]
        if all(fetched):
            print(
                f"{name:22}"
                + "bytes fetched: "
                + ", ".join(f"{bytes_ / size:.3f}x at {count}" for bytes_, count in zip(fetched, SLICES))
            )
    bars = {"index": 0.9, **{count: 1.6 for count in SLICES}}
    fetch_bars = dict(zip(SLICES, (1.05, 1.15, 1.5)))
    # The bars are for 2,000,000 reads; other sizes are held to the same per byte.
    scale = size / 156_223_404 if re.search(r"reads-\d+", path.name) else 1
    missed = [f"{key}: {base[key]:.2f} s" for key, bar in bars.items() if base[key] > bar * max(scale, 0.2)]
    remote = systems["neardata through S3"]
    missed += [
        f"{key} through S3: {remote[key] / base[key]:.2f}x" for key in bars if remote[key] > 1.1 * base[key] and scale > 0.5
    ]
    missed += [
        f"fetched at {count}" for count, bar in fetch_bars.items() if base[f"fetched {count}"] > bar * size and scale > 0.5
    ]
    print(
        "every slice count gives the oracle's bytes" if exact else "WRONG BYTES",
        "; missed bars: " + ", ".join(missed) if missed else "; all bars met",
    )
    sys.exit(0 if exact and not missed else 1)


if __name__ == "__main__":
    main()
