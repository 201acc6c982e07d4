"""Random regions of one BAM and one VCF: records beside samtools and bcftools, bytes beside the blocks that the index names.

The index and the header, which every reader of the file needs, are counted apart.
"""

import gzip
import json
import os
import random
import statistics
import struct
import subprocess
import sys
from pathlib import Path

SIZES = (100, 10_000, 100_000, 1_000_000)
EACH = int(os.environ.get("NEARDATA_BENCH_REGIONS", "60"))


class Index:
    """A `.bai` or `.tbi`, read from its specification (SAMv1 section 5.2, tabix)."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        if path.suffix == ".tbi":
            data = gzip.decompress(data)
            (names,) = struct.unpack_from("<i", data, 32)
            at = 36 + names
        else:
            at = 8
        self.references = []
        (count,) = struct.unpack_from("<i", data, 4)
        for _ in range(count):
            bins, (held,), at = {}, struct.unpack_from("<i", data, at), at + 4
            for _ in range(held):
                number, chunks = struct.unpack_from("<Ii", data, at)
                bins[number] = struct.unpack_from(f"<{2 * chunks}Q", data, at + 8)
                at += 8 + 16 * chunks
            (windows,) = struct.unpack_from("<i", data, at)
            linear = struct.unpack_from(f"<{windows}Q", data, at + 4)
            at += 4 + 8 * windows
            self.references.append((bins, linear))

    def chunks(self, reference: int, start: int, end: int) -> list[tuple[int, int]]:
        """Pairs of virtual offsets for [start, end), what the linear index rules out left out."""
        bins, linear = self.references[reference]
        numbers = [0]
        for shift, first in ((26, 1), (23, 9), (20, 73), (17, 585), (14, 4681)):
            numbers += range(first + (start >> shift), first + ((end - 1) >> shift) + 1)
        least = linear[min(start >> 14, len(linear) - 1)] if linear else 0
        flat = (bins.get(number, ()) for number in numbers)
        pairs = (pair for chunks in flat for pair in zip(chunks[::2], chunks[1::2], strict=True))
        return sorted((max(begin, least), end_) for begin, end_ in pairs if end_ > least)


def block_end(file, offset: int) -> int:
    """Where the BGZF block that begins there ends."""
    file.seek(offset)
    head = file.read(18)
    return offset + (struct.unpack_from("<H", head, 16)[0] + 1 if len(head) == 18 else 0)


def blocks(path: Path, chunks: list[tuple[int, int]]) -> int:
    """Bytes of the blocks that these chunks lie in, each once."""
    total, behind = 0, 0
    with path.open("rb") as file:
        for begin, end in chunks:
            first = max(begin >> 16, behind)
            last = block_end(file, end >> 16) if end & 0xFFFF else end >> 16
            total += max(0, last - first)
            behind = max(behind, last)
    return total


def records_of(path: Path, region: str) -> int:
    count = ["samtools", "view", "-c", path, region] if path.suffix == ".bam" else ["bcftools", "view", "-H", path, "-r", region]
    said = subprocess.run(count, check=True, capture_output=True).stdout
    return int(said) if path.suffix == ".bam" else said.count(b"\n")


def ours(neardata: str, path: Path, region: str) -> int:
    """Records of the slice, counted by the tool that reads its format."""
    cut = subprocess.run([neardata, "slice", path, "--region", region], check=True, capture_output=True).stdout
    content = subprocess.run([neardata, "read"], input=cut, check=True, capture_output=True).stdout
    count = ["samtools", "view", "-c", "-"] if path.suffix == ".bam" else ["bcftools", "view", "-H", "-"]
    said = subprocess.run(count, input=content, check=True, capture_output=True).stdout
    return int(said) if path.suffix == ".bam" else said.count(b"\n")


def measure(example: str, neardata: str, work: Path, path: Path, reference: str, span: tuple[int, int]) -> list[str]:
    index = Index(next(path.parent.glob(f"{path.name}.[bt][ab]i")))
    rng, missed = random.Random(11), []
    print(f"\n{path.name}: {path.stat().st_size:,} B; {EACH} random regions of each size")
    print(
        f"{'size':>10}{'records':>12}{'fetched':>14}{'blocks named':>14}{'ratio':>8}{'worst':>8}{'index bytes':>13}{'header':>9}"
    )
    for size in SIZES:
        starts = [rng.randrange(span[0], max(span[0] + 1, span[1] - size)) for _ in range(EACH)]
        regions = [f"{reference}:{start + 1}-{start + size}" for start in starts]
        command = [example, path, work / "side-cars"]
        answers = subprocess.run(
            command, input="\n".join(regions), check=True, capture_output=True, text=True
        ).stdout.splitlines()
        fetched, named, ratios, index_bytes, headers = 0, 0, [], [], []
        for start, line in zip(starts, answers, strict=True):
            answer = json.loads(line)
            chunks = index.chunks(0, start, start + size)
            least = blocks(path, chunks)
            fetched, named = fetched + answer["records"], named + least
            index_bytes.append(answer["index"])
            headers.append(answer["header"])
            if least:
                ratios.append(answer["records"] / least)
        records = 0
        for region in regions[:12]:
            expected, held = records_of(path, region), ours(neardata, path, region)
            records += held
            if expected != held:
                missed.append(f"{path.name} {region}: {held} records, {expected} expected")
        print(
            f"{size:>10,}{records:>12,}{fetched:>14,}{named:>14,}{fetched / named:>7.3f}x{max(ratios):>7.2f}x{statistics.median(index_bytes):>13,.0f}{statistics.median(headers):>9,.0f}"
        )
        if fetched > 1.1 * named:
            missed.append(f"{path.name} regions of {size}: {fetched / named:.3f}x of the blocks named, at most 1.1")
    return missed


def main() -> None:
    example, neardata, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    os.environ["NEARDATA_INDEX_STORE"] = str(work / "side-cars")
    header = subprocess.run(["samtools", "view", "-H", work / "sample.bam"], check=True, capture_output=True, text=True).stdout
    name, length = next(
        (fields[1][3:], int(fields[2][3:])) for line in header.splitlines() if (fields := line.split("\t"))[0] == "@SQ"
    )
    missed = measure(example, neardata, work, work / "sample.bam", name, (0, length))
    missed += measure(example, neardata, work, work / "calls.vcf.gz", "22", (16_000_000, 50_000_000))
    print("\n" + ("records equal, all bars met" if not missed else "missed:\n  " + "\n  ".join(missed)))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
