"""PDB files: NMR ensembles and trajectories, cut between models.

A record is a model. What stands before the first model and behind the last (title, crystal, bonds) belongs to each slice, so that a
slice is a PDB file of its own. A file without `MODEL` lines has one model, if it has atoms.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import neardata
from neardata.formats import Index, Source, split

if TYPE_CHECKING:
    import pyarrow

ATOMS = (b"ATOM  ", b"HETATM")
COORDINATES = (*ATOMS, b"ANISOU", b"TER   ", b"TER\n", b"SIGATM", b"SIGUIJ")
OFFSET = struct.Struct("<Q")

pdb = neardata.format(name="pdb", extensions=[".pdb", ".ent"])


@pdb.preprocess
def find_models(source: Source) -> Index:
    """Note where each model begins, and where the last ends."""
    starts: list[int] = []
    at = end = 0
    is_open = numbered = False
    with source.open() as file:
        for line in file:
            if line.startswith(b"MODEL "):
                if is_open and numbered:
                    raise neardata.FormatError(f"{source.uri}: model {len(starts)} has no ENDMDL line before byte {at}")
                numbered = is_open = True
                starts.append(at)
            elif line.startswith(b"ENDMDL"):
                is_open, end = False, at + len(line)
            elif not numbered and line.startswith(COORDINATES):
                if not starts:
                    starts.append(at)
                end = at + len(line)
            at += len(line)
    if is_open:
        raise neardata.FormatError(f"{source.uri}: model {len(starts)} has no ENDMDL line; the file is cut off")
    offsets = [*starts, end] if starts else [0]
    return Index({"models": len(starts), "tail": end}, b"".join(map(OFFSET.pack, offsets)))


@pdb.partition
def cut(source: Source, n: int | None = None, bytes: int | None = None, records: int | None = None) -> list[list[int]]:
    """Cut between models."""
    return [list(run) for run in split(_offsets(source, 0, source.attributes.models), n=n, bytes=bytes, records=records)]


@pdb.read
def read(source: Source, selection: list[int]) -> list[bytes]:
    """Give the models `[first, end)`, with all that belongs to none of them."""
    (head,) = _offsets(source, 0, 0)
    offsets = _offsets(source, *selection)
    return [
        source.read(0, head),
        source.read(offsets[0], offsets[-1]),
        source.read(source.attributes.tail, source.size),
    ]


@pdb.arrow
def atoms(source: Source, selection: list[int]) -> pyarrow.Table:
    """Give the atoms of the models as a table: the columns of the PDB format, by their field's names."""
    import pyarrow

    rows = [row for number in range(*selection) for row in _atoms_of(source, number)]
    types = [
        *(("model", pyarrow.int32()), ("serial", pyarrow.int32()), ("name", pyarrow.string()), ("residue", pyarrow.string())),
        *(("chain", pyarrow.string()), ("residue_number", pyarrow.int32())),
        *((axis, pyarrow.float64()) for axis in "xyz"),
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(types)
    arrays = [pyarrow.array(column, kind) for column, (_, kind) in zip(columns, types, strict=True)]
    return pyarrow.table(arrays, [name for name, _ in types])


def _offsets(source: Source, first: int, end: int) -> list[int]:
    data = source.index.read(first * OFFSET.size, (end + 1) * OFFSET.size)
    return [offset for (offset,) in OFFSET.iter_unpack(data)]


def _atoms_of(source: Source, number: int) -> list[tuple[int | float | str, ...]]:
    start, end = _offsets(source, number, number + 1)
    rows = []
    for line in source.read(start, end).decode("latin-1").splitlines():
        if line.encode("latin-1").startswith(ATOMS):
            try:
                numbers = (int(line[22:26]), *(float(line[at : at + 8]) for at in (30, 38, 46)))
                rows.append((number + 1, int(line[6:11]), line[12:16].strip(), line[17:20].strip(), line[21].strip(), *numbers))
            except (ValueError, IndexError) as error:
                raise neardata.FormatError(f"{source.uri}: model {number + 1}: `{line}` is no atom: {error}") from error
    return rows
