"""Where objects and indexes lie: over HTTP, read-only, overwritten, and with a store of indexes that cannot be reached."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import neardata
import pytest
from peers import needs, needs_core
from test_pickles import OBJECTS

# Formats whose headers say where everything is.
WITHOUT_INDEX = ["tif", "parquet", "copc.laz"]


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves files with ranges and entity tags, and counts bytes."""

    sent = 0

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start, end = 0, len(data)
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(found[1]), min(int(found[2] or end - 1) + 1, end)
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}-{len(data)}"')
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[start:end])
            type(self).sent += end - start

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    def handler(*arguments: object) -> Ranges:
        return Ranges(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(autouse=True)
def own_indexes(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("NEARDATA_INDEX_STORE", str(tmp_path_factory.mktemp("indexes")))


def made(folder: Path, ending: str) -> Path:
    name, write, _ = OBJECTS[ending]
    path = folder / f"object.{ending}"
    write(path)
    needs_core(path, name)
    return path


def table(part: neardata.Slice) -> object:
    """Its rows."""
    import pyarrow

    return pyarrow.table(part.to_arrow()).to_pylist()


@pytest.mark.parametrize("ending", OBJECTS)
def test_http_and_folders_that_nobody_may_write_to(web: str, tmp_path: Path, ending: str) -> None:
    path = made(tmp_path, ending)
    before = sorted(tmp_path.iterdir())
    for options in OBJECTS[ending][2]:
        here, there = neardata.slices(path, **options), neardata.slices(f"{web}/{path.name}", **options)
        for mine, theirs in zip(here, there, strict=True):
            assert mine.read() == theirs.read()
    assert sorted(tmp_path.iterdir()) == before, "something was written beside the object"


@pytest.mark.parametrize("ending", OBJECTS)
def test_an_overwritten_object(tmp_path: Path, ending: str) -> None:
    needs("pyarrow")
    path = made(tmp_path, ending)
    options = OBJECTS[ending][2][0]
    old = neardata.slices(path, **options)
    # A slice is a valid object of its format, and another than the one there was.
    new = [old[0].read(number) for number in range(len(old[0].objects))]
    rows = table(old[0])
    targets = [path, *(other for other in path.parent.glob("object*.ibd"))][: len(new)]
    for target, data in zip(targets, new, strict=True):
        target.write_bytes(data)
    for part in old:
        with pytest.raises(neardata.ObjectChangedError, match="changed"):
            part.read()
    (again,) = neardata.slices(path, n=1)
    assert table(again) == rows


@pytest.mark.parametrize("ending", ["fastq.gz", "las", "cram", *WITHOUT_INDEX])
def test_an_index_store_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    path = made(tmp_path, ending)
    monkeypatch.setenv("NEARDATA_INDEX_STORE", "s3://nowhere/indexes")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    if ending in WITHOUT_INDEX:
        assert neardata.slices(path, n=2)[0].read()
    else:
        options = {"tiles": 4} if ending == "las" else {"n": 2}
        with pytest.raises(neardata.Error, match=r"indexes are kept below s3://nowhere/indexes, .*NEARDATA_INDEX_STORE"):
            neardata.slices(path, **options)
