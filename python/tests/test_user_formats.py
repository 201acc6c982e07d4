"""Formats that installed packages bring: discovery, slices, indexes, and the suite that checks them."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import neardata
import neardata.testing
import pytest
from neardata.formats import Source, split

EXAMPLE = Path(__file__).parents[2] / "examples" / "neardata-pdb"

ROWS = """
import neardata
from neardata.formats import Index, Source, split

rows = neardata.format(name="rows", extensions=[".rows"], version=1)

@rows.preprocess
def count(source):
    if source.size % 8:
        raise neardata.FormatError(f"{source.uri} does not hold whole rows")
    return {"count": source.size // 8}

@rows.partition
def cut(source, n=None, bytes=None, records=None):
    return [list(run) for run in split(range(0, source.size + 1, 8), n=n, bytes=bytes, records=records)]

@rows.read
def read(source, selection):
    first, end = selection
    for number in range(first, end):
        yield source.read(number * 8, number * 8 + 8)
"""


def install(folder: Path, name: str, entry_points: dict[str, str]) -> None:
    """Write what `pip install` leaves behind: the metadata of a distribution with these entry points."""
    info = folder / f"{name}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[neardata.formats]\n{lines}")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the search path, for packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    modules = set(sys.modules)
    yield folder
    for name in set(sys.modules) - modules:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def rows(site: Path) -> Path:
    (site / "rows_of_mine.py").write_text(ROWS)
    install(site, "rows_of_mine", {"rows": "rows_of_mine:rows"})
    return site


def table(path: Path, count: int) -> list[bytes]:
    expected = [b"%07d\n" % number for number in range(count)]
    path.write_bytes(b"".join(expected))
    return expected


def test_the_example_package_passes_its_tests(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(EXAMPLE / "neardata_pdb.py", site)
    points = re.search(r'entry-points\."neardata\.formats"\]\n((?:\w+ = ".*"\n)+)', (EXAMPLE / "pyproject.toml").read_text())
    assert points is not None
    install(site, "neardata_pdb", dict(re.findall(r'(\w+) = "(.*)"', points[1])))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_format_is_found_by_extension_name_and_bytes(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.ROWS"
    expected = table(path, 100)
    parts = neardata.slices(path, n=7)
    assert {part.format for part in parts} == {"rows"}
    assert all(isinstance(part, neardata.Slice) for part in parts)
    assert [part.read() for part in neardata.slices(str(path), records=1)] == expected
    assert b"".join(pickle.loads(pickle.dumps(part)).read() for part in parts) == b"".join(expected)
    with parts[2].open() as file:
        assert file.readline() == expected[len(b"".join(part.read() for part in parts[:2])) // 8]
    other = tmp_path / "other.txt"
    table(other, 10)
    assert neardata.slices(other, n=1)[0].format == "text", "others go on as ever"
    assert neardata.slices(other, n=1, format="rows")[0].format == "rows"
    with pytest.raises(neardata.FormatError, match=r"no installed package brings a format `columns`; installed are .*`rows`"):
        neardata.slices(other, n=1, format="columns")


def test_a_format_is_found_by_its_first_bytes(site: Path, tmp_path: Path) -> None:
    text = ROWS.replace('extensions=[".rows"]', 'magic=b"0000000"')
    (site / "by_bytes.py").write_text(text)
    install(site, "by_bytes", {"rows": "by_bytes:rows"})
    expected = table(tmp_path / "unnamed", 10)
    assert [part.read() for part in neardata.slices(tmp_path / "unnamed", records=1)] == expected
    (tmp_path / "note.txt").write_bytes(b"something else\n")
    assert neardata.slices(tmp_path / "note.txt", n=1)[0].format == "text"


def test_the_index_follows_the_object(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.rows"
    table(path, 10)
    made = neardata.index(path)
    assert (made.format, made.built, made.size) == ("rows", True, 80)
    assert made.side_car is not None
    before = neardata.slices(path, n=2)[1]
    assert not neardata.index(path).built, "slicing uses it"
    expected = table(path, 33)
    assert b"".join(part.read() for part in neardata.slices(path, n=4)) == b"".join(expected)
    with pytest.raises(neardata.ObjectChangedError, match=r"table\.rows changed"):
        before.read()
    path.write_bytes(b"1234")
    with pytest.raises(neardata.FormatError, match="does not hold whole rows"):
        neardata.slices(path, n=1)


def test_what_is_asked_for_is_checked(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.rows"
    table(path, 10)
    with pytest.raises(neardata.FormatError, match="cannot be asked for by `columns`; they can by `n`, `bytes`, `records`"):
        neardata.slices(path, n=1, columns=["a"])
    with pytest.raises(neardata.FormatError, match="n must be at least 1"):
        neardata.slices(path, n=0)
    with pytest.raises(TypeError, match="mate2="):
        neardata.slices(path, n=1, mate2=path)
    (part,) = neardata.slices(path, n=1)
    with pytest.raises(neardata.FormatError, match="no object number 1"):
        part.read(1)
    with pytest.raises(neardata.FormatError, match=r"do not read as Arrow; its package has no `@rows\.arrow`"):
        part.to_arrow()


def test_slices_in_the_platforms_store(rows: Path, environment: None, tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.create_bucket(Bucket="tables")
    expected = table(tmp_path / "t.rows", 1000)
    client.upload_file(str(tmp_path / "t.rows"), "tables", "t.rows")
    parts = neardata.slices("s3://tables/t.rows", n=5)
    assert b"".join(part.read() for part in parts) == b"".join(expected)
    assert "neardata-index" in parts[0].to_json(), "the index lies with the platform"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in parts[0].to_json()
    with neardata.Executor() as executor:
        sizes = executor.map(lambda part: len(part.read()), parts)
        assert sum(future.result(60) for future in sizes) == 8000


def test_broken_packages(site: Path, tmp_path: Path) -> None:
    (site / "broken.py").write_text("import nothing_of_that_name\n")
    install(site, "broken", {"broken": "broken:format", "csv": "also_rows:csv", "other": "also_rows:rows", "text": "os:path"})
    (site / "also_rows.py").write_text(ROWS + "csv = neardata.format(name='csv')\n")
    path = tmp_path / "a.txt"
    path.write_text("a\n")
    with pytest.warns(RuntimeWarning, match="the format `broken` of broken:format cannot be used: No module named"):
        assert neardata.slices(path, n=1)[0].format == "text"
    with pytest.raises(neardata.FormatError, match="names the format `rows`"):
        neardata.slices(path, n=1, format="other")
    for name in ("csv", "text"):
        assert neardata.slices(path, n=1, format=name)[0].format == name, "the core's own"


def test_two_formats_of_one_extension(rows: Path, site: Path, tmp_path: Path) -> None:
    (site / "more.py").write_text(ROWS.replace('"rows"', '"lines"'))
    install(site, "more", {"lines": "more:rows"})
    table(tmp_path / "t.rows", 3)
    with pytest.raises(neardata.FormatError, match=r"any of the formats .*; say which with format="):
        neardata.slices(tmp_path / "t.rows", n=1)
    assert neardata.slices(tmp_path / "t.rows", n=1, format="lines")[0].format == "lines"


def test_formats_are_checked_when_made() -> None:
    with pytest.raises(ValueError, match="`My Format` is no name"):
        neardata.format(name="My Format")
    with pytest.raises(ValueError, match="does not begin with a dot"):
        neardata.format(name="x", extensions=["x"])

    @neardata.format(name="x", extensions=[".x"])
    class X:
        count: int

    assert isinstance(X, neardata.formats.Format)
    assert X.expected == {"count": "int"}


@pytest.mark.parametrize("count", [0, 1, 2, 10, 97])
def test_split(count: int) -> None:
    offsets = [number * number for number in range(count + 1)]
    for options in ({"n": n} for n in (1, 2, 3, 50, 97, 1000)):
        runs = split(offsets, **options)
        assert [number for run in runs for number in range(*run)] == list(range(count))
        assert len(runs) == min(count, options["n"])
    assert all(first < end for first, end in split(offsets, bytes=7))
    assert [end - first for first, end in split(range(0, 101, 10), records=4)] == [4, 4, 2]
    if count == 97:
        weights = [offsets[end] - offsets[first] for first, end in split(offsets, n=4)]
        assert max(weights) < 1.2 * min(weights)


# What the suite must notice. Each is the format `rows` with one mistake.
MISTAKES = {
    "loses the last row": ("range(first, end)", "range(first, end - (selection[1] > 9))", "record"),
    "gives a row twice": ("range(first, end)", "range(max(first - 1, 0), end)", "once more|with n="),
    "out of order": ("range(first, end)", "reversed(range(first, end))", "goes on with record"),
    "an empty slice": (
        "return [list(run)",
        "return [[0, 0]] + [list(run)",
        "holds no record|slices$|with n=1 gives 2 slices",
    ),
    "large selections": ("list(run) for run", "[*run, 'x' * 900] for run", r"more than 700|slice has \d+ bytes"),
    "a secret": (
        "list(run) for run",
        "[*run, __import__('os').environ.get('NEARDATA_TEST_SECRET', '')] for run",
        r"holds what \$NEARDATA_TEST_SECRET holds",
    ),
    "raw errors": (
        'raise neardata.FormatError(f"{source.uri} does not hold whole rows")',
        "raise IndexError('list index out of range')",
        "raises IndexError.*raise neardata.FormatError",
    ),
    "no index in time": ('return {"count"', 'import time; return {"time": time.time_ns(), "count"', None),
    "not found": ('extensions=[".rows"]', 'extensions=[".columns"]', "give the format `extensions` or `magic`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_suite_notices(site: Path, tmp_path: Path, mistake: str) -> None:
    right, wrong, says = MISTAKES[mistake]
    assert right in ROWS
    text = ROWS.replace(right, wrong)
    if "*run" in wrong:
        text = text.replace("first, end = selection", "first, end, *_ = selection")
    module = "wrong_" + re.sub(r"\W", "_", mistake)
    (site / f"{module}.py").write_text(text)
    install(site, module, {"rows": f"{module}:rows"})
    path = tmp_path / "t.rows"
    expected = table(path, 23)

    def check() -> None:
        neardata.testing.check_format("rows", {path: expected}, records=lambda part: re.findall(rb"\d+\n", part.read()))

    if says is None:
        check()
    else:
        with pytest.raises((AssertionError, neardata.FormatError), match=says):
            check()


def test_the_suite_passes_what_is_right(rows: Path, tmp_path: Path) -> None:
    objects = {tmp_path / f"{count}.rows": table(tmp_path / f"{count}.rows", count) for count in (0, 1, 7, 300)}
    neardata.testing.check_format("rows", objects, records=lambda part: re.findall(rb"\d+\n", part.read()))
    neardata.testing.check_format("rows", [tmp_path / "7.rows"])
    with pytest.raises(AssertionError, match=r"no installed package brings a format `absent`.*pyproject\.toml"):
        neardata.testing.check_format("absent", objects)


def test_the_page_on_formats_of_ones_own(site: Path, tmp_path: Path) -> None:
    page = (EXAMPLE.parents[1] / "docs" / "own-formats.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    (site / "neardata_pdb.py").write_text(code)
    install(site, "neardata_pdb", {"pdb": "neardata_pdb:pdb"})
    path = tmp_path / "ensemble.pdb"
    models = [b"MODEL     %4d\n%sENDMDL\n" % (number, b"ATOM\n" * number) for number in range(1, 20)]
    path.write_bytes(b"".join(models))
    neardata.testing.check_format("pdb", [path])
    assert [part.read() for part in neardata.slices(path, records=1)] == models


def test_a_format_made_in_the_program(tmp_path: Path) -> None:
    pairs = neardata.format(name="pairs", extensions=[".pairs"])

    @pairs.partition
    def cut(source: Source, n: int | None = None) -> list[list[int]]:
        return [list(run) for run in split(range(0, source.size + 1, 2), n=n)]

    @pairs.read
    def read(source: Source, selection: list[int]) -> bytes:
        return source.read(selection[0] * 2, selection[1] * 2)

    path = tmp_path / "a.pairs"
    path.write_bytes(b"aabbccdd")
    assert neardata.slices(path, n=1)[0].format == "text", "it is not installed"
    parts = neardata.slices(path, n=2, format=pairs)
    assert [part.read() for part in parts] == [b"aabb", b"ccdd"]
    with pytest.raises(neardata.FormatError, match="NearData has a format `csv` of its own"):
        neardata.slices(path, n=2, format=neardata.format(name="csv"))
