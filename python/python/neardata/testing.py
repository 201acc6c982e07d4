"""What a format promises, checked: for the tests of packages that bring one.

```python
import neardata.testing

def test_the_law(tmp_path):
    neardata.testing.check_format("rows", {tmp_path / "table.rows": expected_rows}, records=rows_of)
```
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pickle
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _objects, _sidecars, _slices, _user_formats
from ._errors import Error, FormatError, ObjectChangedError
from ._native import Slice
from .formats import Format

Records = Callable[[Slice], Iterable[Any]]

LIMIT = 1024
MANY = 200
_SECRET_NAMES = ("SECRET", "TOKEN", "PASSWORD", "CREDENTIAL", "ACCESS_KEY")
_CANARY = "a-secret-that-belongs-in-no-slice"
_READER = """
import hashlib, sys, neardata
for line in sys.stdin:
    print(hashlib.sha256(neardata.Slice.from_json(line).read()).hexdigest())
"""


def check_format(
    found: Format | str,
    objects: Mapping[Any, Sequence[Any]] | Iterable[Any],
    *,
    records: Records | None = None,
    damaged: int = 60,
) -> None:
    """Check everything that a format promises, on some objects.

    - Every record is in exactly one slice, in order, for many ways to cut; no slice is empty.
    - A slice comes back equal from JSON and from pickle, is below 1 KB beside its addresses, and holds no secret of the
      environment. Another process reads the same from it: the format is found there by its entry point.
    - An index is used again while the object is the same, and made again when the object, the format's version or the index itself
      has changed. A slice of an earlier version of the object does not read.
    - A truncated or damaged object gives slices or a `neardata.Error`, nothing else.

    Args:
        found: the format, or its name.
        objects: addresses or paths of objects, with the records of each as they must come out; without records, what a single slice
            gives counts as right. One of them at least should have several records, one none.
        records: what the records of a slice are; by default its bytes, which must then concatenate.
        damaged: how many damaged copies of each object are tried.

    Raises:
        AssertionError: the format breaks a promise; the message says which, how, and what to do.

    """
    name = found if isinstance(found, str) else found.name
    try:
        installed = _user_formats.by_name(name)
    except FormatError as error:
        raise AssertionError(f'{error}. Name it in pyproject.toml: [project.entry-points."neardata.formats"]') from error
    assert isinstance(found, str) or installed is found, f"`{name}` is installed, but from elsewhere: {installed!r}"
    with _quiet_environment():
        for uri in objects:
            expected = objects[uri] if isinstance(objects, Mapping) else None
            _Check(installed, os.fspath(uri), expected, records, damaged).all()


class _Check:
    """The checks of one object."""

    def __init__(self, found: Format, uri: str, expected: Sequence[Any] | None, records: Records | None, damaged: int) -> None:
        self._format = found
        self._uri = uri
        self._of = records
        self._damaged = damaged
        self._options = found.options
        assert {"n", "records", "bytes", "tiles"} & set(self._options), self._says(
            "nothing to partition by: give the partition function `n`, `records`, `bytes` or `tiles`"
        )
        self._expected = list(expected) if expected is not None else self._records(self._cut(**self._one()))

    def all(self) -> None:
        self._is_recognised()
        for option, values in self._partitions().items():
            for value in values:
                self._obeys_the_law(option, value)
        parts = self._cut(**self._one(3))
        for part in parts:
            self._is_a_value(part)
        self._reads_elsewhere(parts)
        self._reads_as_arrow(parts)
        self._keeps_its_index()
        self._bears_damage()

    def _is_recognised(self) -> None:
        found = _user_formats.find(self._uri, None)
        assert found is self._format, self._says(
            f"it is taken for {found!r}; give the format `extensions` or `magic`, or a `sniff` function"
        )

    def _partitions(self) -> dict[str, list[int]]:
        count = len(self._expected) if self._of or self._expected != [b""] else 0
        size = int(_objects.head(self._uri)["size"])
        around = [count - 1, count, count + 1] if count <= MANY else []
        values = {
            "n": [1, 2, 3, 5, 8, 64, *around, min(10 * count, MANY)],
            "records": [*([1, 2, 3] if count <= MANY else []), 7 + count // 50, *around, 10 * count + 1],
            "bytes": [1 + size // 100, 1 + size // 3, size, 10 * size],
            "tiles": [1, 4, 9, 16],
        }
        return {name: sorted({max(1, value) for value in values[name]}) for name in values if name in self._options}

    def _obeys_the_law(self, option: str, value: int) -> None:
        parts = self._cut(**{option: value})
        how = f"{option}={value}"
        if option in ("n", "tiles"):
            assert len(parts) <= value, self._says(f"{how} gives {len(parts)} slices")
        gotten = [(number, record) for number, part in enumerate(parts) for record in self._records([part])]
        if self._of is None:
            assert b"".join(piece for _, piece in gotten) == b"".join(self._expected), self._says(
                f"with {how} the bytes of the slices do not concatenate to those of one slice; if each has a header, give `records`"
            )
            assert all(piece for _, piece in gotten), self._says(f"with {how} a slice is empty")
            return
        filled = {number for number, _ in gotten}
        empty = [number for number in range(len(parts)) if number not in filled]
        assert not empty, self._says(f"with {how} slice {empty[0] if empty else 0} of {len(parts)} holds no record")
        if option == "records":
            wrong = [number for number in range(len(parts) - 1) if sum(n == number for n, _ in gotten) != value]
            assert not wrong, self._says(f"with {how} slice {wrong[0] if wrong else 0} does not have {value} records")
        if option == "tiles":
            assert sorted(map(repr, self._expected)) == sorted(repr(record) for _, record in gotten), self._says(
                f"with {how} the slices together do not hold each record once"
            )
            return
        self._compare(how, gotten)

    def _compare(self, how: str, gotten: list[tuple[int, Any]]) -> None:
        for place, right in enumerate(self._expected):
            assert place < len(gotten), self._says(
                f"with {how} record {place} of {len(self._expected)} and what follows are in no slice: {_short(right)}"
            )
            number, record = gotten[place]
            if record == right:
                continue
            known = next((at for at, other in enumerate(self._expected) if other == record), None)
            if known is None:
                what = f"holds {_short(record)}, which is no record of the object"
            elif known > place:
                what = f"goes on with record {known}: record {place} is in no slice, or later"
            else:
                what = f"holds record {known} once more"
            raise AssertionError(self._says(f"with {how} slice {number} {what}; record {place} is {_short(right)}"))
        extra = gotten[len(self._expected) :]
        assert not extra, self._says(
            f"with {how} slice {extra[0][0]} holds one record too many: {_short(extra[0][1])}" if extra else ""
        )

    def _is_a_value(self, part: Slice) -> None:
        pickled = pickle.dumps(part)
        assert Slice.from_json(part.to_json()) == part, self._says("a slice does not come back from JSON")
        assert pickle.loads(pickled) == part, self._says("a slice does not come back from pickle")
        assert pickle.loads(pickled).read() == part.read(), self._says("reading a slice twice gives two things")
        with part.open() as file:
            assert file.read() == part.read(), self._says("`open` and `read` of a slice differ")
        value = part.to_json()
        index = Slice.from_json(value)
        addresses = sum(len(reference.uri) for reference in index.objects) + sum(map(len, _index_addresses(part)))
        assert len(pickled) < LIMIT + addresses, self._says(
            f"a slice has {len(pickled)} bytes, its addresses {addresses}; keep its selection small: {_short(part.selection)}"
        )
        for name, secret in _secrets():
            assert secret.encode() not in pickled, self._says(f"a slice holds what ${name} holds")

    def _reads_elsewhere(self, parts: list[Slice]) -> None:
        text = "".join(part.to_json() + "\n" for part in parts)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", _READER]
        run = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, self._says(f"another process cannot read its slices:\n{run.stderr}")
        here = [hashlib.sha256(part.read()).hexdigest() for part in parts]
        assert run.stdout.split() == here, self._says("another process reads something else from its slices")

    def _reads_as_arrow(self, parts: list[Slice]) -> None:
        if not self._format.has("arrow") or importlib.util.find_spec("pyarrow") is None:
            return
        import pyarrow

        rows = sum(pyarrow.table(part.to_arrow()).num_rows for part in parts)
        whole = sum(pyarrow.table(part.to_arrow()).num_rows for part in self._cut(**self._one()))
        assert rows == whole, self._says(f"its slices have {rows} rows of Arrow, the whole has {whole}")

    def _keeps_its_index(self) -> None:
        if not self._format.has("preprocess"):
            return
        with self._copy() as copy, _counted(self._format) as calls:
            before = next(iter(self._cut_of(copy, **self._one())), None)
            self._cut_of(copy, **self._one(2))
            assert calls() == 1, self._says(f"an object that has not changed is preprocessed {calls()} times")
            address = _sidecars.address(_objects.head(copy), kind=self._format.name)
            index = _objects.read(_objects.head(address), 0, 1 << 40)
            for place in (0, len(index) // 2, len(index) - 1):
                _objects.put(address, index[:place] + bytes([index[place] ^ 1]) + index[place + 1 :])
                self._cut_of(copy, **self._one())
            assert calls() == 4, self._says("a damaged index is not made again")
            assert before is None or before.read() == self._cut_of(copy, **self._one())[0].read(), self._says(
                "a slice does not read with an index that was made again; preprocessing must give the same for the same object"
            )
            self._format.version += 1
            try:
                self._cut_of(copy, **self._one())
            finally:
                self._format.version -= 1
            assert calls() == 5, self._says("an index of another version of the format is not made again")
            data = Path(copy).read_bytes()
            os.unlink(copy)
            Path(copy).write_bytes(data)
            self._cut_of(copy, **self._one())
            assert calls() == 6, self._says("the object was written again, and its index is not made again")
            if before is not None:
                with contextlib.suppress(ObjectChangedError):
                    before.read()
                    raise AssertionError(
                        self._says("a slice of an earlier version of the object is read as if nothing had happened")
                    )

    def _bears_damage(self) -> None:
        rng = random.Random(1)
        with self._copy() as copy:
            whole = Path(copy).read_bytes()
            for number in range(self._damaged if whole else 0):
                at = rng.randrange(len(whole))
                cut = number % 2 == 0
                Path(copy).write_bytes(whole[:at] if cut else whole[:at] + rng.randbytes(1) + whole[at + 1 :])
                try:
                    for part in _slices.slices(copy, format=self._format.name, **self._one(2)):
                        part.read()
                except Error:
                    continue
                except Exception as error:
                    how = f"cut behind byte {at}" if cut else f"with another byte {at}"
                    kind = type(error).__name__
                    raise AssertionError(
                        self._says(f"a copy {how} raises {kind}: {error}; raise neardata.FormatError and say what is wrong")
                    ) from error

    def _one(self, value: int = 1) -> dict[str, Any]:
        """Options that give `value` slices, or as good as that."""
        if "n" in self._options:
            return {"n": value}
        if "tiles" in self._options:
            return {"tiles": value}
        return {next(name for name in ("bytes", "records") if name in self._options): 1 << 40}

    def _cut(self, **options: Any) -> list[Slice]:
        return _slices.slices(self._uri, format=self._format.name, **options)

    def _cut_of(self, uri: str, **options: Any) -> list[Slice]:
        return _slices.slices(uri, format=self._format.name, **options)

    def _records(self, parts: list[Slice]) -> list[Any]:
        of = self._of or (lambda part: [part.read()])
        return [record for part in parts for record in of(part)]

    @contextlib.contextmanager
    def _copy(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            reference = _objects.head(self._uri)
            path = Path(folder) / self._uri.rstrip("/").rsplit("/", 1)[-1]
            path.write_bytes(_objects.read(reference, 0, int(reference["size"])))
            yield str(path)

    def _says(self, text: str) -> str:
        return f"format {self._format.name}, {self._uri}: {text}"


def _index_addresses(part: Slice) -> list[str]:
    import json

    return [index["uri"] for index in json.loads(part.to_json()).get("index", [])]


def _secrets() -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if len(value) >= 8 and any(word in name.upper() for word in _SECRET_NAMES):
            yield name, value


@contextlib.contextmanager
def _quiet_environment() -> Iterator[None]:
    """Keep indexes out of the user's caches, and have a secret in the environment."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"NEARDATA_INDEX_STORE": f"file://{folder}", "NEARDATA_TEST_SECRET": _CANARY}
        try:
            yield
        finally:
            for name in ("NEARDATA_INDEX_STORE", "NEARDATA_TEST_SECRET"):
                os.environ.pop(name)
                if name in before:
                    os.environ[name] = before[name]


@contextlib.contextmanager
def _counted(found: Format) -> Iterator[Callable[[], int]]:
    """Count how often the format preprocesses."""
    original = found.learn
    count = 0

    def learn(source: Any) -> Any:
        nonlocal count
        count += 1
        return original(source)

    found.learn = learn  # type: ignore[method-assign]
    try:
        yield lambda: count
    finally:
        del found.learn


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
