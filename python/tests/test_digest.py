"""Addresses of cached calls: equal where the result must be equal, in every process; different where it may differ."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import neardata
import pytest
from neardata._cached import call_keys

PROGRAM = """
import neardata
import helper
FACTOR = {factor}
def inner(n): return n * FACTOR
@neardata.cached
def work(n, *, names=("b", "a")): return inner(n) + helper.offset() + len({{"x", "y", "zz"}})
from neardata._cached import call_keys
print(call_keys(work, [((1, {{"one", "two", "three"}}), {{"k": {{"b": 1, "a": 2}}}})])[0])
"""


def key(*args: Any, **kwargs: Any) -> str:
    @neardata.cached
    def function(*args: Any, **kwargs: Any) -> None: ...

    keys = call_keys(function, [(args, kwargs)])
    assert keys is not None
    return keys[0]


@dataclasses.dataclass
class Point:
    x: int
    y: int


def test_unmarked_functions_have_no_address() -> None:
    assert call_keys(len, [(("x",), {})]) is None


def test_equal_arguments_have_equal_addresses() -> None:
    text = "ab"
    assert key([text, text]) == key(["a" + "b", "".join(["a", "b"])])
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key(Point(1, 2)) == key(Point(1, 2))
    assert key({1, 2, 3}) == key({3, 2, 1})


def test_unlike_arguments_have_unlike_addresses() -> None:
    values: list[Any] = [1, 1.0, True, "1", b"1", None, [1], (1,), {1}, {1: 1}, [[1], 2], [1, [2]], ["ab", "c"], ["a", "bc"]]
    values += [Point(1, 2), Point(2, 1), "", b"", [], {}, Path("1")]
    assert len({key(value) for value in values}) == len(values)
    assert key(1, 2) != key((1, 2))
    assert key(a=1) != key(b=1)


def test_versions_and_recursion() -> None:
    @neardata.cached(version="1")
    def one(n: int) -> int:
        return 1 if n < 2 else n * one(n - 1)

    first = call_keys(one, [((3,), {})])
    one.__neardata_cached__ = "2"  # type: ignore[attr-defined]
    assert call_keys(one, [((3,), {})]) != first


def test_what_has_no_address_is_refused_with_the_remedy() -> None:
    with pytest.raises(TypeError, match=r"generator has no address.*take @neardata.cached away"):
        key(n for n in [1])


def test_addresses_follow_code_globals_and_modules_across_processes(tmp_path: Path) -> None:
    def run(factor: int, offset: int, hash_seed: int) -> str:
        (tmp_path / "helper.py").write_text(f"import deeper\ndef offset(): return deeper.value() + {offset}\n")
        (tmp_path / "program.py").write_text(PROGRAM.format(factor=factor))
        environment = {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": ":".join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, str(tmp_path / "program.py")]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    (tmp_path / "deeper.py").write_text("def value(): return 1\n")
    first = run(factor=2, offset=1, hash_seed=1)
    assert run(factor=2, offset=1, hash_seed=2) == first
    assert run(factor=3, offset=1, hash_seed=1) != first
    assert run(factor=2, offset=2, hash_seed=1) != first
    (tmp_path / "deeper.py").write_text("def value(): return 22\n")
    assert run(factor=2, offset=1, hash_seed=1) != first
