"""Runs the pipeline and the tools by hand in turns, and prints medians and ratios."""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time

from processes import PeakPss

neardata, prefix, work = sys.argv[1:]
rounds = int(os.environ.get("NEARDATA_BENCH_ROUNDS", "3"))
os.makedirs(work, exist_ok=True)
environment = {name: value for name, value in os.environ.items() if not name.startswith(("NEARDATA_", "AWS_"))}
environment["NEARDATA_CACHE"] = os.path.join(work, "cache")


def measure(argv, memory=False):
    """Wall and CPU seconds of a command and all it starts; its peak memory if asked."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    sampler = PeakPss(child.pid) if memory else None
    if sampler:
        sampler.start()
    error = child.communicate()[1]
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if sampler:
        sampler.stop()
    if child.returncode:
        sys.exit(f"{argv}: {error.decode()[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, sampler


def by_hand():
    script = (
        f"set -e -o pipefail; cd {work}; minimap2 -t 1 -ax sr -R '@RG\\tID:s\\tSM:s\\tPL:ILLUMINA' {prefix}.fa {prefix}.bwa.read1.fastq.gz "
        f"{prefix}.bwa.read2.fastq.gz | samtools sort -o hand.bam -; samtools index hand.bam; "
        f"bcftools mpileup -Ou -f {prefix}.fa -a AD,DP hand.bam | bcftools call -mv --ploidy 1 -Oz -o hand.vcf.gz; tabix -p vcf hand.vcf.gz"
    )
    return measure(["bash", "-c", script])[:2]


def ours(workers, memory=False):
    output = os.path.join(work, f"ours-{workers}")
    shutil.rmtree(output, ignore_errors=True)
    shutil.rmtree(os.path.join(work, "cache"), ignore_errors=True)
    argv = [neardata, "run", "variants", "--reads", f"{prefix}.bwa.read1.fastq.gz", "--reads2", f"{prefix}.bwa.read2.fastq.gz"]
    argv += ["--reference", f"{prefix}.fa", "--output", output, "--ploidy", "1", "--sample", "s", "--workers", str(workers)]
    return measure(argv, memory)


hand, one, two = [], [], []
for _ in range(rounds):
    hand.append(by_hand())
    one.append(ours(1)[:2])
    two.append(ours(2)[:2])


def median(samples, index):
    return statistics.median(sample[index] for sample in samples)


print(f"{'':24} {'wall s':>8} {'CPU s':>8}   medians of {rounds} rounds, load {os.getloadavg()[0]:.1f}")
for name, samples in (("tools by hand", hand), ("neardata, 1 worker", one), ("neardata, 2 workers", two)):
    print(f"{name:24} {median(samples, 0):8.1f} {median(samples, 1):8.1f}")
print(f"CPU, 2 workers / by hand: {median(two, 1) / median(hand, 1):.2f}   (bar 1.25)")
print(f"wall, 2 workers / 1 worker: {median(two, 0) / median(one, 0):.2f}   (bar 0.65)")
peaks = {workers: ours(workers, memory=True)[2] for workers in (1, 2)}
for workers, sampler in peaks.items():
    print(f"peak sum of PSS, {workers} worker(s): {sampler.peak / 2**20:.0f} MiB")
    for name, size in sorted(sampler.processes.values(), key=lambda part: -part[1])[:6]:
        print(f"    {size / 2**20:7.1f} MiB  {name}")
print(f"the second worker adds {(peaks[2].peak - peaks[1].peak) / 2**20:.0f} MiB   (bar 150)")
