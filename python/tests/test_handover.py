"""The blocks of docs/handover.md, run as they stand."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from peers import needs, needs_arrow, needs_core

PAGE = Path(__file__).parents[2] / "docs" / "handover.md"
CITIES = Path(__file__).parent / "dataplug_examples" / "data" / "cities.csv"
READS, POINTS = 5000, 10_000


class Block(NamedTuple):
    """A program of the page."""

    title: str
    needs: list[str]
    core: list[str]
    soak: bool
    code: str

    @property
    def prints(self) -> list[str]:
        """What it prints, by its comments."""
        return re.findall(r"^\s*print\(.*\)  # (.*)$", self.code, re.MULTILINE)


def blocks() -> list[Block]:
    found = []
    title, number = "", 0
    wanted: dict[str, list[str]] = {}
    text = PAGE.read_text()
    for match in re.finditer(
        r"^#+ (?P<title>[^\n]*)$|^<!-- (?P<wants>[^\n]*) -->$|^```python\n(?P<code>.*?)^```$", text, re.M | re.S
    ):
        if match["title"]:
            title, number = match["title"], 0
        elif match["wants"]:
            wanted = {name: rest.split() for name, _, rest in (part.partition(":") for part in match["wants"].split("; "))}
        else:
            number += 1
            name = f"{title} {number}" if number > 1 else title
            found.append(Block(name, wanted.get("needs", []), wanted.get("core", []), "soak" in wanted, match["code"]))
            wanted = {}
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page says lies there."""
    folder = tmp_path_factory.mktemp("handover")
    shutil.copy(CITIES, folder)
    rng = random.Random(1)
    reads = "".join(
        f"@r{number}\n{(bases := ''.join(rng.choices('ACGT', k=100)))}\n+\n{'I' * len(bases)}\n" for number in range(READS)
    )
    (folder / "reads.fastq.gz").write_bytes(gzip.compress(reads.encode()))
    return folder


def write_points(path: Path) -> None:
    import laspy
    import numpy

    random = numpy.random.default_rng(1)
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales = numpy.array([0.01, 0.01, 0.01])
    points = laspy.LasData(header)
    points.x, points.y, points.z = random.uniform(0, 100, (3, POINTS))
    points.write(path)


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.title, marks=[pytest.mark.soak] if block.soak else []) for block in blocks()]
)
def test_the_page_says_what_happens(block: Block, folder: Path, tmp_path: Path) -> None:
    needs(*block.needs)
    if "las" in block.core and not (folder / "points.las").exists():
        write_points(folder / "points.las")
    if block.core:
        needs_core(folder / "points.las", "las")
    if "cities.csv" in block.code and "to_arrow()" in block.code:
        needs_arrow(folder / "cities.csv")
    script = folder / "program.py"
    script.write_text(block.code)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NEARDATA_"))}
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # as in an activated environment
    environment |= {"NEARDATA_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), "PATH": path}
    run = subprocess.run([sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert block.prints, "a block prints something, and says what"
    assert run.stdout.splitlines() == block.prints


def test_the_page_has_every_program() -> None:
    titles = {block.title for block in blocks()}
    assert {"Ours", "concurrent.futures", "joblib", "Dask", "Dask 2", "Dask 3", "Ray Data", "Spark"} <= titles
    assert {"pyarrow and pandas", "polars", "DuckDB", "NumPy", "laspy"} <= titles
