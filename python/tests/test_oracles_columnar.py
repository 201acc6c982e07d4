"""Parquet and Arrow IPC written by pyarrow, pandas and polars: slices hold the rows that these and DuckDB read themselves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import neardata
import pytest
from peers import needs, needs_core

ROWS = 2_000
GROUP = 700
CUTS: list[dict[str, Any]] = [
    {"n": 1},
    {"n": 2},
    {"n": 11},
    {"bytes": "16K"},
    {"records": 333},
    {"records": 700},
    {"n": 3, "columns": ["number", "row"]},
    {"records": 450, "columns": ["word", "inner", "items"]},
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDATA_CACHE", str(tmp_path / "cache"))


def table() -> Any:
    """Every kind of column, with nulls, and what pandas notes of its own."""
    import pandas
    import pyarrow

    rows = range(ROWS)
    frame = pandas.DataFrame(
        {
            "row": rows,
            "number": pandas.array([None if row % 7 == 0 else row * row for row in rows], dtype="Int64"),
            "share": [row / 7 for row in rows],
            "text": [None if row % 5 == 0 else f"text {row} " * (row % 4) for row in rows],
            "word": pandas.Categorical([f"word {row % 13}" for row in rows]),
            "when": pandas.date_range("2026-01-01", periods=ROWS, freq="h", tz="Europe/Madrid"),
        }
    )
    made = pyarrow.Table.from_pandas(frame)
    items = [None if row % 11 == 0 else list(range(row % 5)) for row in rows]
    inner = [None if row % 17 == 0 else {"low": row, "name": f"n{row % 3}"} for row in rows]
    made = made.append_column("items", pyarrow.array(items, pyarrow.list_(pyarrow.int32())))
    return made.append_column("inner", pyarrow.array(inner))


def pyarrow_parquet(path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table(), path, row_group_size=GROUP, compression="zstd", data_page_size=2000)


def pandas_parquet(path: Path) -> None:
    table().to_pandas().to_parquet(path, row_group_size=GROUP)


def polars_parquet(path: Path) -> None:
    import polars

    polars.DataFrame(table()).write_parquet(path, row_group_size=GROUP)


def pyarrow_ipc(path: Path, compression: str | None = None) -> None:
    import pyarrow

    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with pyarrow.ipc.new_file(path, table().schema, options=options) as file:
        file.write_table(table(), max_chunksize=GROUP)


def pandas_ipc(path: Path) -> None:
    table().to_pandas().to_feather(path, chunksize=GROUP)


def polars_ipc(path: Path) -> None:
    import polars

    polars.DataFrame(table()).write_ipc(path, compression="zstd", record_batch_size=GROUP)


WRITERS: list[tuple[str, Callable[[Path], None]]] = [
    ("parquet", pyarrow_parquet),
    ("parquet", pandas_parquet),
    ("parquet", polars_parquet),
    ("arrow", pyarrow_ipc),
    ("arrow", lambda path: pyarrow_ipc(path, "lz4")),
    ("arrow", pandas_ipc),
    ("arrow", polars_ipc),
]
NAMES = ["pyarrow-parquet", "pandas-parquet", "polars-parquet", "pyarrow-ipc", "pyarrow-lz4", "pandas-ipc", "polars-ipc"]


def read_alone(source: Any, format: str) -> Any:
    """Read a file with pyarrow alone."""
    import pyarrow.parquet

    if format == "parquet":
        return pyarrow.parquet.ParquetFile(source).read()
    return pyarrow.ipc.open_file(source).read_all()


def chosen(whole: Any, cut: dict[str, Any]) -> Any:
    """The columns that a cut keeps, in the order of the file."""
    return whole.select([name for name in whole.column_names if name in cut.get("columns", whole.column_names)])


def check_other_readers(data: bytes, format: str, expected: Any, folder: Path) -> None:
    """Pandas, polars and DuckDB see these rows in a slice."""
    import duckdb
    import pandas
    import polars

    read_pandas = pandas.read_parquet if format == "parquet" else pandas.read_feather
    found = read_pandas(io.BytesIO(data)).reset_index(drop=True)
    # Parquet keeps no order of categories.
    pandas.testing.assert_frame_equal(found, expected.to_pandas().reset_index(drop=True), check_categorical=format == "arrow")
    read_polars = polars.read_parquet if format == "parquet" else polars.read_ipc
    assert read_polars(io.BytesIO(data)).to_dicts() == polars.DataFrame(expected).to_dicts()
    with duckdb.connect() as connection:
        connection.register("expected", expected)
        if format == "parquet":
            path = folder / "part.parquet"
            path.write_bytes(data)
            found = connection.read_parquet(str(path))
        else:
            connection.register("held", read_alone(io.BytesIO(data), format))
            found = connection.sql("select * from held")
        rows = connection.sql("select * from expected").to_arrow_table().to_pylist()
        assert found.to_arrow_table().to_pylist() == rows


@pytest.mark.parametrize(("format", "write"), WRITERS, ids=NAMES)
def test_slices_hold_the_rows_of_the_object(format: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    needs("pandas", "pyarrow", "polars", "duckdb")
    import pyarrow

    path = tmp_path / f"table.{format}"
    write(path)
    needs_core(path, format)
    whole = read_alone(path, format)
    assert whole.num_rows == ROWS
    for cut in CUTS:
        expected = chosen(whole, cut)
        parts = neardata.slices(path, **cut)
        streamed = [pyarrow.table(part.to_arrow()) for part in parts]
        assert [name for one in streamed[:1] for name in one.column_names] == expected.column_names
        rows = [row for one in streamed for row in one.to_pylist()]
        assert rows == expected.to_pylist(), cut
        start = 0
        for part, one in zip(parts, streamed, strict=True):
            assert len(part.to_json()) < 1024 + len(part.objects[0].uri)
            data = part.read()
            copy = read_alone(io.BytesIO(data), format)
            slice_of_whole = expected.slice(start, one.num_rows)
            assert copy.schema.equals(expected.schema, check_metadata=False), cut
            assert (copy.schema.metadata or {}).get(b"pandas") == (whole.schema.metadata or {}).get(b"pandas")
            assert copy.to_pylist() == slice_of_whole.to_pylist(), cut
            if start == 0 or start + one.num_rows == ROWS:
                check_other_readers(data, format, slice_of_whole, tmp_path)
            start += one.num_rows
        assert start == ROWS


def test_whole_batches_come_with_their_schema(tmp_path: Path) -> None:
    needs("pandas", "pyarrow")
    import pyarrow

    path = tmp_path / "table.arrow"
    pyarrow_ipc(path)
    needs_core(path, "arrow")
    whole = read_alone(path, "arrow")
    parts = [pyarrow.table(part.to_arrow()) for part in neardata.slices(path, n=3)]
    assert pyarrow.concat_tables(parts).equals(whole, check_metadata=True)


def test_streams_of_batches_are_refused_with_the_remedy(tmp_path: Path) -> None:
    needs("pandas", "pyarrow")
    import pyarrow

    pyarrow_ipc(tmp_path / "table.arrow")
    needs_core(tmp_path / "table.arrow", "arrow")
    path = tmp_path / "table.arrows"
    with pyarrow.ipc.new_stream(path, table().schema) as stream:
        stream.write_table(table())
    with pytest.raises(neardata.FormatError, match=r"pyarrow\.ipc\.new_file"):
        neardata.slices(path, n=2)
