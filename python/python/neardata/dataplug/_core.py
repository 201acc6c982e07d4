"""Formats of this package: the core indexes, cuts and reads them; what is here gives them DataPlug's names and types."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, ClassVar

from .. import _native
from . import _preprocess, _server
from .entities import CloudDataFormat, CloudObjectSlice

if TYPE_CHECKING:
    from .cloudobject import CloudObject


class CoreDataFormat(CloudDataFormat):
    """A format that the core knows."""

    def __init__(self, attributes: Callable[[CloudObject], dict[str, Any]], main: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self.core = _preprocess.CoreFormat(attributes, main)


class CoreSlice(CloudObjectSlice):
    """A part of an object: a [`neardata.Slice`][] that reads as DataPlug's type.

    Attributes:
        slice: the slice itself, for everything else that NearData offers.

    """

    data_format: ClassVar[CloudDataFormat | type]

    def __init__(self, part: _native.Slice) -> None:
        self.slice = part

    @property
    def cloud_object(self) -> CloudObject:
        """The object that this is a part of; made anew where the slice has travelled."""
        found: CloudObject | None = self.__dict__.get("_cloud_object")
        if found is None:
            from .cloudobject import CloudObject

            found = self.__dict__["_cloud_object"] = CloudObject(self.data_format, self.slice.objects[0].uri)
        return found

    @cloud_object.setter
    def cloud_object(self, value: CloudObject) -> None:
        self.__dict__["_cloud_object"] = value

    def read(self, object: int = 0) -> bytes:
        """Read the bytes of the slice."""
        return self._ready().read(object)

    def open(self) -> IO[bytes]:
        """Open the bytes of the slice as a file."""
        return self._ready().open()

    def _ready(self) -> _native.Slice:
        _server.use(self.slice.objects[0].endpoint)
        return self.slice

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cloud_object"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.slice!r})"


class FileSlice(CoreSlice):
    """A slice that can be written to a file."""

    def to_file(self, file_name: str | os.PathLike[str]) -> None:
        """Write the slice as a file of its own."""
        with self.open() as part, open(file_name, "wb") as file:
            while data := part.read(1 << 20):
                file.write(data)


Stretch = dict[str, Any]


def stretch_of(part: _native.Slice) -> Stretch:
    """Give the stretch of a slice of records (`docs/formats.md` describes it)."""
    stretch: Stretch = part.selection["stretches"][0]
    return stretch


def is_plain(part: _native.Slice) -> bool:
    """Say whether the object is not compressed."""
    return "bytes" in part.selection or stretch_of(part)["compression"] == "plain"


def with_stretch(part: _native.Slice, stretch: Stretch, data_format: str | None = None) -> _native.Slice:
    """Give a slice of the same object with another stretch."""
    value = json.loads(part.to_json())
    value["selection"] = {"stretches": [stretch]}
    value["format"] = data_format or value["format"]
    return _native.Slice(json.dumps(value))


def joined(first: _native.Slice, last: _native.Slice) -> _native.Slice:
    """Give one slice of all that lies from the first to the last."""
    begin, end = stretch_of(first), stretch_of(last)
    stretch = {**begin, "records": [begin["records"][0], end["records"][1]], "to": end["to"], "stop": end["stop"]}
    return with_stretch(first, stretch)


def records(parts: list[_native.Slice]) -> int:
    """Give the number of records of an object by its slices."""
    return int(stretch_of(parts[-1])["records"][1]) if parts else 0
