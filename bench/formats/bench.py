"""Every workload with each system through one S3 server; prints client CPU seconds, bytes and requests, and our ratios."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import data
from proxy import CountingProxy

ROUNDS = int(os.environ.get("NEARDATA_BENCH_ROUNDS", "3"))
SCALE = float(os.environ.get("NEARDATA_BENCH_SCALE", "1"))
COUNTS = {"fasta": (8, 64), "vcf": (8, 64), "csv": (8, 64), "imzml": (8,), "las": (4, 9, 16), "cog": (4, 16)}
# What is measured at the end, of ours only: what cuts without a pass is indexed wholly; both files of an imzML slice are read.
MORE = {"fasta": "full index", "vcf": "full index", "csv": "full index", "imzml": "both files"}
# CPU seconds of a full index that issue and reference set, for the size at scale 1.
INDEX_BARS = {"imzml": 0.25, "fasta": 0.15}
# Where the peer's index is lazy, ours has to be too.
LAZY = {"vcf", "csv", "cog"}
LAZY_BAR = 0.05


class Platform:
    """A `neardata up` of our own; its CPU is nobody's client."""

    def __init__(self, neardata: str, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        command = [neardata, "up", "--data", str(folder), "--s3", "127.0.0.1:0", "--api", "127.0.0.1:0"]
        self.folder = folder
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            shown = subprocess.run([neardata, "--json", "env", "--data", str(folder)], check=False, capture_output=True)
            if shown.returncode == 0:
                break
            time.sleep(0.05)
        self.environment = json.loads(shown.stdout)
        endpoint = urlsplit(self.environment["AWS_ENDPOINT_URL"])
        self.proxy = CountingProxy((endpoint.hostname, endpoint.port))
        # Slices and indexes go to this server, calls nowhere.
        self.environment["AWS_ENDPOINT_URL"] = f"http://{self.proxy.address}"
        self.environment.pop("NEARDATA_API", None)

    def client(self):
        import boto3

        names = {
            "aws_access_key_id": "AWS_ACCESS_KEY_ID",
            "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
            "endpoint_url": "AWS_ENDPOINT_URL",
        }
        return boto3.client("s3", region_name="us-east-1", **{name: self.environment[key] for name, key in names.items()})

    def close(self) -> None:
        self.server.terminate()
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def run(platform: Platform, system: str, workload: str, uri: str, size: int, log) -> dict[str, dict]:
    """The steps of one system; each answers when the counters were set back."""
    environment = os.environ | platform.environment | {"NEARDATA_BENCH_SIZE": str(size)}
    environment["NEARDATA_INDEX_STORE"] = "s3://lab/side-cars"
    counts = [str(count) for count in COUNTS[workload]]
    command = [sys.executable, str(Path(__file__).with_name("worker.py")), system, workload, uri, *counts]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    steps = {}
    for name in ("index", *counts, "more"):
        platform.proxy.reset()
        try:
            worker.stdin.write("\n")
            worker.stdin.flush()
        except BrokenPipeError:
            break
        line = worker.stdout.readline()
        if not line:
            break
        steps[name] = json.loads(line) | {"fetched": platform.proxy.bytes, "requests": platform.proxy.requests}
    worker.stdin.close()
    worker.wait()
    return steps


def median(rounds: list[dict[str, dict]], name: str, key: str) -> float | None:
    values = [steps[name][key] for steps in rounds if name in steps]
    return statistics.median(values) if values else None


def measure(platform: Platform, work: Path, workload: str, missed: list[str]) -> None:
    paths = data.objects(work, workload, SCALE)
    client = platform.client()
    for path in paths:
        client.upload_file(str(path), "lab", path.name)
    uri = f"s3://lab/{paths[0].name}"
    size = sum(path.stat().st_size for path in paths)
    rounds = {"neardata": [], "dataplug": []}
    with (work / "peers.log").open("a") as log:
        for _ in range(ROUNDS):
            for system, results in rounds.items():
                for bucket in ("lab", "lab.meta"):
                    listed = client.list_objects_v2(Bucket=bucket, Prefix="side-cars/" if bucket == "lab" else "")
                    for entry in listed.get("Contents", []):
                        client.delete_object(Bucket=bucket, Key=entry["Key"])
                results.append(run(platform, system, workload, uri, paths[-1].stat().st_size, log))
    print(f"\n{workload}: {', '.join(f'{path.name} {path.stat().st_size:,} B' for path in paths)}; median of {ROUNDS}")
    print(f"{'':10}{'step':>11}{'CPU s':>9}{'wall s':>9}{'slices':>8}{'fetched':>10}{'requests':>10}{'CPU to ours':>13}")
    for system, results in rounds.items():
        for name in ("index", *map(str, COUNTS[workload]), "more"):
            cpu = median(results, name, "cpu")
            if cpu is None and name == "more":
                continue
            shown = MORE[workload] if name == "more" else name
            if cpu is None:
                print(f"{system:10}{name:>11}   failed; see {work / 'peers.log'}")
                if system == "neardata":
                    missed.append(f"{workload} {name}: ours failed")
                continue
            base = median(rounds["neardata"], name, "cpu") or cpu
            fetched = median(results, name, "fetched") / size
            slices = results[-1][name].get("slices") or ""
            requests = median(results, name, "requests")
            wall = median(results, name, "wall")
            print(
                f"{system:10}{shown:>11}{cpu:>9.3f}{wall:>9.2f}{slices:>8}{fetched:>9.3f}x{requests:>10.0f}{cpu / base:>12.1f}x"
            )
    judge(workload, rounds, size, missed)


def judge(workload: str, rounds: dict, size: int, missed: list[str]) -> None:
    """The bars of the issue."""
    ours, peer = rounds["neardata"], rounds["dataplug"]
    index = median(ours, "index", "cpu")
    whole = median(ours, "more", "cpu") if MORE.get(workload) == "full index" else index
    if workload in INDEX_BARS and whole is not None and whole > INDEX_BARS[workload] * max(SCALE, 0.2):
        missed.append(f"{workload}: full index {whole:.2f} CPU s, at most {INDEX_BARS[workload]}")
    if workload in LAZY and index is not None and index > LAZY_BAR * 1.0:
        missed.append(f"{workload}: first cut {index:.3f} CPU s, the peer's is lazy: at most {LAZY_BAR}")
    for count in COUNTS[workload]:
        name = str(count)
        cpu, theirs, fetched = median(ours, name, "cpu"), median(peer, name, "cpu"), median(ours, name, "fetched")
        if cpu is not None and theirs is not None and cpu > theirs / 2:
            missed.append(f"{workload} {name}: {cpu:.2f} CPU s, the peer {theirs:.2f}: more than half")
        most = 1.3 if workload == "las" else 1.05
        if fetched is not None and fetched > most * size:
            missed.append(f"{workload} {name}: {fetched / size:.3f}x of the object fetched, at most {most}")
        if workload == "las" and (requests := median(ours, name, "requests")) is not None and requests / count > 200:
            missed.append(f"las {name}: {requests / count:.0f} ranges a slice, at most 200")


def main() -> None:
    neardata, work = sys.argv[1], Path(sys.argv[2])
    only = [name for name in os.environ.get("NEARDATA_BENCH_ONLY", "").split(",") if name]
    platform = Platform(neardata, work / "platform")
    missed: list[str] = []
    try:
        client = platform.client()
        for bucket in ("lab", "lab.meta"):
            client.create_bucket(Bucket=bucket)
        for workload in only or COUNTS:
            measure(platform, work, workload, missed)
    finally:
        platform.close()
    print("\n" + ("all bars met" if not missed else "missed bars:\n  " + "\n  ".join(missed)))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
