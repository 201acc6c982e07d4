"""Imaging mass spectrometry: imzML with its .ibd, cut between spectra."""

from __future__ import annotations

import io
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from .... import _objects
from ... import _preprocess
from ..._core import CoreDataFormat, CoreSlice
from ...entities import PartitioningStrategy

if TYPE_CHECKING:
    from ...cloudobject import CloudObject

UUID = 16
"""Bytes of the identifier with which an .ibd begins; what `get` gives begins behind them."""


def _parse(xml: IO[bytes]) -> dict[str, Any]:
    from pyimzml.ImzMLParser import ImzMLParser

    parser = ImzMLParser(xml, ibd_file=None)
    return {
        "is_continuous": "IMS:1000030" in parser.metadata.file_description,
        "coordinates": parser.coordinates,
        "mz_precision": parser.mzPrecision,
        "int_precision": parser.intensityPrecision,
        "mz_size": parser.sizeDict[parser.mzPrecision],
        "int_size": parser.sizeDict[parser.intensityPrecision],
        "mz_offsets": parser.mzOffsets,
        "int_offsets": parser.intensityOffsets,
        "mz_lengths": parser.mzLengths,
        "int_lengths": parser.intensityLengths,
    }


def _attributes(co: CloudObject) -> dict[str, Any]:
    with _objects.open_file(_objects.head(_of_pair(co.path.uri))) as xml:
        return _parse(xml)


def _of_pair(uri: str) -> str:
    """Give the address of the imzML by that of either of the pair."""
    return uri[: -len(".ibd")] + ".imzML" if uri.lower().endswith(".ibd") else uri


@CoreDataFormat(_attributes, _of_pair)
class ImzML:
    """ImzML with its .ibd; either of the two names the pair.

    Attributes:
        is_continuous: whether all spectra share one m/z array.
        coordinates: x, y and z of each spectrum.
        mz_precision: type of m/z values, as NumPy writes it.
        int_precision: type of intensities.
        mz_size: bytes of an m/z value.
        int_size: bytes of an intensity.
        mz_offsets: where the m/z array of each spectrum lies in the .ibd.
        int_offsets: where its intensities lie.
        mz_lengths: number of m/z values.
        int_lengths: number of intensities.

    """

    is_continuous: bool
    coordinates: list[tuple[int, int, int]]
    mz_precision: str
    int_precision: str
    mz_size: int
    int_size: int
    mz_offsets: list[int]
    int_offsets: list[int]
    mz_lengths: list[int]
    int_lengths: list[int]


class ImzMLSlice(CoreSlice):
    """Some spectra. Offsets count from the first byte that `get` gives; with one m/z array for all there is one of each."""

    data_format = ImzML

    def get(self) -> bytes:
        """Read the arrays."""
        return self.read(_place(self.slice, ".ibd"))[UUID:]

    @property
    def spectrum_index(self) -> int:
        """Which spectrum of the whole the first one is, from 0."""
        return int(self.cloud_object.attributes.coordinates.index(self._own["coordinates"][0]))

    @property
    def mz_offsets(self) -> list[int]:
        """Where the m/z arrays lie."""
        return self._offsets("mz_offsets")[: self._arrays]

    @property
    def mz_lengths(self) -> list[int]:
        """How many values they have."""
        lengths: list[int] = self._own["mz_lengths"]
        return lengths[: self._arrays]

    @property
    def int_offsets(self) -> list[int]:
        """Where the intensities lie."""
        return self._offsets("int_offsets")

    @property
    def int_lengths(self) -> list[int]:
        """How many values they have."""
        lengths: list[int] = self._own["int_lengths"]
        return lengths

    @property
    def _arrays(self) -> int | None:
        return 1 if self._own["is_continuous"] else None

    def _offsets(self, name: str) -> list[int]:
        return [offset - UUID for offset in self._own[name]]

    @cached_property
    def _own(self) -> dict[str, Any]:
        """What the slice's own imzML says."""
        return _parse(io.BytesIO(self.read(_place(self.slice, ".imzml"))))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_own"}


def _place(part: Any, ending: str) -> int:
    """Which object of the slice ends so."""
    return next(number for number, reference in enumerate(part.objects) if reference.uri.lower().endswith(ending))


@PartitioningStrategy(ImzML)
def partition_chunks_strategy(cloud_object: CloudObject, chunk_size: int) -> list[ImzMLSlice]:
    """Cut into slices of about `chunk_size` bytes or fewer, between spectra."""
    return [ImzMLSlice(part) for part in _preprocess.cut(cloud_object, bytes=chunk_size)]
