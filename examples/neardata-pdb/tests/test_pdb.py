from __future__ import annotations

import shutil
from pathlib import Path

import neardata
import neardata.testing
import neardata_pdb
import pytest

TRACE = Path(__file__).parent / "data" / "1lcd-trace.pdb"


def models(part: neardata.Slice) -> list[bytes]:
    """The models of a slice, without their numbers."""
    return [model.partition(b"\n")[2] for model in part.read().split(b"\nMODEL ")[1:]]


def made(path: Path, count: int) -> list[bytes]:
    """Write an ensemble of models of different sizes; give what they hold."""
    bodies = []
    for number in range(1, count + 1):
        atoms = "".join(
            f"ATOM  {serial:5d}  CA  GLY A{serial:4d}    {number:8.3f}{serial:8.3f}{0:8.3f}\n"
            for serial in range(1, number % 7 + 2)
        )
        bodies.append(f"{atoms}ENDMDL\n".encode())
    text = b"".join(b"MODEL     %4d\n%s" % (number, body) for number, body in enumerate(bodies, 1))
    path.write_bytes(b"HEADER    TEST\n" + text + b"END\n")
    return [body + (b"END\n" if body is bodies[-1] else b"") for body in bodies]


def test_the_law(tmp_path: Path) -> None:
    (tmp_path / "empty.pdb").write_bytes(b"HEADER    NOTHING\nEND\n")
    objects: dict[Path, list[bytes]] = {tmp_path / "empty.pdb": []}
    for count in (1, 2, 40):
        path = tmp_path / f"{count}.ent"
        objects[path] = [body.removesuffix(b"END\n") for body in made(path, count)]
    shutil.copy(TRACE, tmp_path)
    whole = TRACE.read_bytes()
    objects[tmp_path / TRACE.name] = [model.partition(b"\n")[2].partition(b"ENDMDL")[0] for model in whole.split(b"\nMODEL ")[1:]]

    def of(part: neardata.Slice) -> list[bytes]:
        keep_end = "1lcd" not in part.objects[0].uri
        bodies = [body.partition(b"ENDMDL")[0] for body in models(part)]
        return [body + b"ENDMDL\n" for body in bodies] if keep_end else bodies

    neardata.testing.check_format(neardata_pdb.pdb, objects, records=of)


def test_a_file_without_models_is_one(tmp_path: Path) -> None:
    path = tmp_path / "one.pdb"
    path.write_bytes(b"TITLE     ONE\nATOM      1  CA  GLY A   1       1.000   2.000   3.000\nTER\nCONECT    1\nEND\n")
    (part,) = neardata.slices(path, n=5)
    assert part.format == "pdb"
    assert part.read() == path.read_bytes()


def test_a_slice_is_a_file_of_its_own() -> None:
    parts = neardata.slices(TRACE, records=1)
    assert [part.selection for part in parts] == [[0, 1], [1, 2], [2, 3]]
    head = TRACE.read_bytes().partition(b"MODEL ")[0]
    assert all(part.read().startswith(head) and part.read().rstrip().endswith(b"END") for part in parts)


def test_atoms() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    tables = [pyarrow.table(part.to_arrow()) for part in neardata.slices(TRACE, n=2)]
    whole = pyarrow.concat_tables(tables)
    assert whole.num_rows == sum(line.startswith(("ATOM", "HETATM")) for line in TRACE.read_text().splitlines())
    assert whole.column("name").unique().to_pylist() == ["P", "CA"]
    assert whole.column("model").unique().to_pylist() == [1, 2, 3]


def test_what_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.pdb"
    path.write_bytes(TRACE.read_bytes().partition(b"ENDMDL")[0])
    with pytest.raises(neardata.FormatError, match=r"cut\.pdb: model 1 has no ENDMDL line; the file is cut off"):
        neardata.slices(path, n=2)
    with pytest.raises(neardata.FormatError, match="slices of pdb cannot be asked for by `region`; they can by `n`"):
        neardata.slices(TRACE, region="A")
