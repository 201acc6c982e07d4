"""Text made up from a seed, with nothing but the standard library."""

import random
from pathlib import Path


def vcf(path: Path, scale: float) -> None:
    """About 1,000,000 records of four samples: 200 MB."""
    rng = random.Random(2)
    with path.open("w") as file:
        file.write(
            '##fileformat=VCFv4.2\n##contig=<ID=22,length=51304566>\n##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">\n'
        )
        file.write('##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">\n')
        file.write(
            '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">\n'
        )
        file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\td\n")
        position = 16_000_000
        for number in range(int(1_800_000 * scale)):
            position += rng.randrange(1, 40)
            samples = "\t".join(f"{rng.choice(('0/0', '0/1', '1/1'))}:{rng.randrange(5, 90)}" for _ in range(4))
            reference, alternative = rng.sample("ACGT", 2)
            file.write(
                f"22\t{position}\trs{number}\t{reference}\t{alternative}\t{rng.randrange(20, 3000)}\tPASS\t"
                f"DP={rng.randrange(10, 400)};AF={rng.random():.4f}\tGT:DP\t{samples}\n"
            )


def csv(path: Path, scale: float) -> None:
    """3,000,000 rows of six columns: 150 MB."""
    rng = random.Random(3)
    with path.open("w") as file:
        file.write("id,name,latitude,longitude,count,note\n")
        for number in range(int(3_000_000 * scale)):
            name = rng.choice(("alpha", "beta", "gamma", "delta"))
            file.write(
                f"{number},{name},{rng.uniform(-90, 90):.5f},{rng.uniform(-180, 180):.5f},{rng.randrange(10_000)},station {rng.randrange(99)}\n"
            )
