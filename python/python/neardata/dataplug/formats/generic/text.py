"""Plain text, cut between words."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .... import _native, _objects
from ... import _preprocess
from ..._core import CoreDataFormat, CoreSlice, is_plain
from ...entities import PartitioningStrategy

if TYPE_CHECKING:
    from ...cloudobject import CloudObject

WHITE = b" \n\t\r\v\f"


def _attributes(co: CloudObject) -> dict[str, Any]:
    return {}


@CoreDataFormat(_attributes)
class UTF8Text:
    """Text in UTF-8, plain or compressed."""


class UTF8TextSlice(CoreSlice):
    """Some words of a text."""

    data_format = UTF8Text

    def get(self) -> str:
        """Read the words, with the white space behind each."""
        return self.read().decode("utf-8")


@PartitioningStrategy(dataformat=UTF8Text)
def whole_words_strategy(cloud_object: CloudObject, num_chunks: int, padding: int = 32) -> list[UTF8TextSlice]:
    """Cut into about equal slices without cutting a word; the slices in order are the text.

    `padding` is how many bytes are read at first to find the end of a word. A compressed text is cut at line ends.
    """
    if num_chunks < 1:
        raise ValueError(f"there must be at least 1 chunk, not {num_chunks}")
    whole = _preprocess.cut(cloud_object, n=1)
    if not whole or not is_plain(whole[0]):
        return [UTF8TextSlice(part) for part in _preprocess.cut(cloud_object, n=num_chunks)]
    reference = _objects.of_slice(whole[0])
    size = int(reference["size"])
    ends = [_end_of_word(reference, size * number // num_chunks, max(padding, 1)) for number in range(1, num_chunks)]
    cuts = sorted({0, size, *ends})
    return [UTF8TextSlice(_words(reference, *pair)) for pair in pairwise(cuts)]


def _words(reference: _objects.Ref, start: int, end: int) -> _native.Slice:
    return _objects.range_slice(reference, start, end)


def _end_of_word(reference: _objects.Ref, offset: int, step: int) -> int:
    """Give the first place at `offset` or behind it that has white space before it; the end if there is none."""
    size = int(reference["size"])
    at = max(offset - 1, 0)
    while at < size:
        data = _objects.read(reference, at, at + step)
        found = next((number for number, byte in enumerate(data) if byte in WHITE), None)
        if found is not None:
            return at + found + 1
        at += len(data)
        step = min(step * 2, 1 << 20)
    return size
