"""Formats of your own: two or three Python functions that an installed package brings.

```python
import neardata
from neardata.formats import Index, Source, split

rows = neardata.format(name="rows", extensions=[".rows"])

@rows.preprocess
def count(source: Source) -> Index:
    return Index({"count": source.size // 16})

@rows.partition
def cut(source: Source, n: int | None = None, records: int | None = None) -> list[list[int]]:
    return [list(run) for run in split(range(0, source.size + 1, 16), n=n, records=records)]

@rows.read
def read(source: Source, selection: list[int]) -> bytes:
    return source.read(selection[0] * 16, selection[1] * 16)
```

The package names the format as an entry point, and `neardata.slices("table.rows", n=4)` finds it:

```toml
[project.entry-points."neardata.formats"]
rows = "my_package:rows"
```

`neardata.testing.check_format` checks that every record is in exactly one slice, and what else a format promises.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import IO, Any, TypeVar

from . import _objects, _sidecars
from ._errors import FormatError

F = TypeVar("F", bound=Callable[..., Any])

Selection = Any
"""Which part of an object a slice is: any JSON value, some 700 bytes at most."""

_NAME = re.compile(r"[a-z][a-z0-9_.-]*$")


@dataclass
class Index:
    """What preprocessing an object gives.

    Attributes:
        attributes: small values by name, JSON; they come whole with every slice that is read.
        data: anything larger; `source.index.read` fetches the parts that are needed.

    """

    attributes: dict[str, Any] = field(default_factory=dict)
    data: bytes = b""


class IndexData:
    """The `data` of an object's index, read by range."""

    def __init__(self, side_car: _sidecars.SideCar | None) -> None:
        self._side_car = side_car

    @property
    def size(self) -> int:
        """Its length."""
        return self._side_car.size if self._side_car else 0

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Read the bytes `[start, end)`; to the end by default."""
        return self._side_car.read(start, self.size if end is None else end) if self._side_car else b""


class Source:
    """One version of one object, as the functions of a format see it.

    Attributes:
        uri: its address.
        size: its size in bytes.
        attributes: what preprocessing learned of it, by name.
        index: the data of its index.

    """

    def __init__(self, reference: _objects.Ref, side_car: _sidecars.SideCar | None = None) -> None:
        self._reference = reference
        self.uri = str(reference["uri"])
        self.size = int(reference["size"])
        self.attributes = SimpleNamespace(**(side_car.attributes if side_car else {}))
        self.index = IndexData(side_car)

    @property
    def name(self) -> str:
        """The last segment of its address."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def read(self, start: int, end: int) -> bytes:
        """Read the bytes `[start, end)`, in one request; fewer at the end of the object.

        Raises:
            neardata.ObjectChangedError: the object is another version by now.

        """
        return _objects.read(self._reference, start, end)

    def open(self, buffering: int = _objects.BUFFER) -> io.BufferedReader:
        """Open it as a seekable binary file that fetches `buffering` bytes at a time or more."""
        return _objects.open_file(self._reference, buffering)

    def __repr__(self) -> str:
        return f"<Source {self.uri}, {self.size} bytes>"


class Format:
    """A format; `neardata.format` makes one, and its methods are decorators of the functions that it consists of."""

    def __init__(self, name: str, extensions: Iterable[str], magic: bytes | None, version: int) -> None:
        if not _NAME.match(name):
            raise ValueError(f"`{name}` is no name of a format; use lower-case letters, digits and `_`, `-`, `.`")
        self.name = name
        self.extensions = tuple(extension.lower() for extension in extensions)
        if wrong := [extension for extension in self.extensions if not extension.startswith(".")]:
            raise ValueError(f"the extension `{wrong[0]}` of {name} does not begin with a dot")
        self.magic = magic
        self.version = version
        self.expected: dict[str, Any] = {}
        self._functions: dict[str, Callable[..., Any]] = {}

    def __call__(self, cls: type) -> Format:
        """Take the attributes' names from a class's annotations: `@neardata.format(…)` in front of it."""
        import inspect

        self.expected = dict(inspect.get_annotations(cls))
        self.__doc__ = cls.__doc__
        return self

    def sniff(self, function: F) -> F:
        """Decide by the first 64 KiB, `function(start) -> bool`, whether an object is of this format."""
        return self._keep("sniff", function)

    def preprocess(self, function: F) -> F:
        """Look at an object once: `function(source) -> Index`, or a dictionary of attributes.

        What it returns is kept in a side-car, tied to the version of the object and of the format. A format that finds its parts
        without one needs no such function.
        """
        return self._keep("preprocess", function)

    def partition(self, function: F) -> F:
        """Choose the parts: `function(source, n=None, …) -> selections`, in order, none of them empty.

        Its parameters say what slices of this format can be asked for: any of `n`, `bytes`, `records`, `tiles`, `region` (a list),
        `bounds`, `window`, `resolution`, `level`, `columns`, `reference` and `header`, each `None` where it is not given. `split`
        does the first three.
        """
        return self._keep("partition", function)

    def read(self, function: F) -> F:
        """Read a part, as a file of its own if it can be: `function(source, selection)` gives bytes, or pieces of them."""
        return self._keep("read", function)

    def arrow(self, function: F) -> F:
        """Read a part as a table: `function(source, selection)` gives anything with `__arrow_c_stream__`."""
        return self._keep("arrow", function)

    def _keep(self, role: str, function: F) -> F:
        self._functions[role] = function
        return function

    def has(self, role: str) -> bool:
        """Say whether there is such a function: `sniff`, `preprocess`, `partition`, `read` or `arrow`."""
        return role in self._functions

    @property
    def options(self) -> list[str]:
        """What its slices can be asked for."""
        import inspect

        return list(inspect.signature(self._function("partition")).parameters)[1:]

    def recognises(self, uri: str, start: Callable[[], bytes]) -> bool:
        """Say whether an object is of this format: by its first bytes where the format says how, else by its name."""
        if "sniff" in self._functions:
            return bool(self._functions["sniff"](start()))
        if self.magic is not None:
            return start().startswith(self.magic)
        return uri.lower().endswith(self.extensions) if self.extensions else False

    def looks_at_bytes(self) -> bool:
        """Say whether it is recognised by its first bytes."""
        return self.magic is not None or "sniff" in self._functions

    def learn(self, source: Source) -> Index:
        """Preprocess an object."""
        made = self._function("preprocess")(source)
        index = made if isinstance(made, Index) else Index(dict(made))
        if self.expected and set(self.expected) != set(index.attributes):
            gave, named = sorted(index.attributes), sorted(self.expected)
            raise FormatError(f"{source.uri}: preprocessing of {self.name} gave {gave}, its class names {named}")
        return index

    def select(self, source: Source, asked: Mapping[str, Any]) -> list[Selection]:
        """Choose the parts."""
        return list(self._function("partition")(source, **asked))

    def pieces(self, source: Source, selection: Selection) -> Iterator[bytes]:
        """Read a part, piece by piece."""
        data = self._function("read")(source, selection)
        if isinstance(data, (bytes, bytearray, memoryview)):
            yield bytes(data)
        else:
            yield from _chunks(data)

    def batches(self, source: Source, selection: Selection) -> Any:
        """Read a part as a table."""
        if "arrow" not in self._functions:
            raise FormatError(f"slices of {self.name} do not read as Arrow; its package has no `@{self.name}.arrow`")
        return self._functions["arrow"](source, selection)

    def _function(self, role: str) -> Callable[..., Any]:
        if role not in self._functions:
            raise FormatError(f"the format {self.name} is not whole: no function is decorated with its `{role}`")
        return self._functions[role]

    def __repr__(self) -> str:
        return f"<format {self.name}>"


def _chunks(data: Iterable[bytes] | IO[bytes]) -> Iterator[bytes]:
    if isinstance(data, io.IOBase):
        while piece := data.read(_objects.BUFFER):
            yield piece
    else:
        yield from data


def format(*, name: str, extensions: Iterable[str] = (), magic: bytes | None = None, version: int = 1) -> Format:
    """Make a format; decorate functions with its `preprocess`, `partition` and `read`.

    Args:
        name: its name in slices and messages: lower case, one word.
        extensions: how names of such objects end.
        magic: how such objects begin; then the name does not matter.
        version: raise it whenever preprocessing gives something else: indexes of another version are made again.

    """
    return Format(name, extensions, magic, version)


def split(
    offsets: Sequence[int], *, n: int | None = None, bytes: int | None = None, records: int | None = None
) -> list[tuple[int, int]]:
    """Cut a row of records into runs `[first, end)`, none of them empty.

    ```python
    split(range(0, 1001, 10), records=40)      # 100 records of 10 bytes: [(0, 40), (40, 80), (80, 100)]
    ```

    Args:
        offsets: where each record begins, and where the last ends; a `range` if all have one size.
        n: how many runs, about equal in bytes; one a record if there are fewer records.
        bytes: about how many bytes a run has at most.
        records: how many records a run has; the last has the rest.

    """
    count = len(offsets) - 1
    if count <= 0:
        return []
    if records is not None:
        cuts = list(range(0, count, records))
    else:
        total = offsets[count] - offsets[0]
        wanted = n if n is not None else -(-total // bytes) if bytes is not None else 1
        wanted = max(1, min(wanted, count))
        cuts = [0]
        for number in range(1, wanted):
            nearest = bisect_left(offsets, offsets[0] + total * number // wanted)
            cuts.append(min(max(nearest, cuts[-1] + 1), count - (wanted - number)))
    return list(zip(cuts, [*cuts[1:], count], strict=True))
