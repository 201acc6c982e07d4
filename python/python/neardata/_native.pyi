import io
import pathlib
from typing import Any, TypedDict, final

__version__: str

@final
class ObjectRef:
    """One version of one object: where it is, what pins it, how large it is."""

    @property
    def uri(self) -> str:
        """Its address."""

    @property
    def size(self) -> int:
        """Its size in bytes, as stored."""

    @property
    def etag(self) -> str | None:
        """The entity tag that pins it; `None` where the store gives none and the modification time or the size must do."""

    @property
    def endpoint(self) -> str | None:
        """The server the address is meant on; `None` for the provider's own."""

    @property
    def region(self) -> str | None:
        """The region of the server."""

    def __hash__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...

@final
class Slice:
    """A typed, lazily read part of an object, or of two objects that are read together.

    A slice is a small immutable value: it holds addresses, entity tags and positions, no data and no credentials. It can be
    pickled, hashed, compared and written as JSON, and read by any process that can reach the objects.

    ```python
    part = neardata.slices("s3://lab/reads.fastq.gz", n=32)[7]
    part.read()                          # its uncompressed bytes
    with part.open() as lines:           # the same as a file, a piece at a time
        first = next(lines)
    neardata.Slice.from_json(part.to_json()) == part
    ```
    """

    def __new__(cls, text: str) -> Slice:
        """Read a slice from its JSON text, as `from_json` does."""

    @classmethod
    def from_json(cls, text: str) -> Slice:
        """Read a slice from one line of JSON, as `to_json` and the command `neardata slice` write it.

        Raises:
            neardata.SliceError: the text is not a slice.

        """

    def to_json(self) -> str:
        """Write the slice as canonical JSON: equal slices give equal texts."""

    @property
    def format(self) -> str:
        """Name of the format, as `neardata inspect` gives it: `fastq`, `bam`, `las`, `parquet`, …."""

    @property
    def selection(self) -> Any:
        """Which part of the objects, in the format's own terms: a dictionary for the formats of the core."""

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The objects: one, or two for paired reads."""

    def read(self, object: int = 0) -> bytes:
        """Read the uncompressed bytes of one of its objects; other Python threads go on meanwhile.

        Args:
            object: which of the objects, from 0; 1 is the second mate of paired reads.

        Raises:
            neardata.ObjectChangedError: the object is not the version the slice was made for.
            neardata.ReadError: the object cannot be read.
            neardata.FormatError: its bytes are not what its format says.

        """

    def open(self, object: int = 0) -> io.BufferedReader:
        """Open the uncompressed bytes of one of its objects as a file: fetched and decompressed a piece at a time, as it is read.

        ```python
        with part.open() as file:
            for line in file:
                ...
        ```

        Args:
            object: which of the objects, from 0.

        """

    def to_arrow(
        self,
        columns: list[str] | None = None,
        *,
        object: int = 0,
        schema: Any = None,
        separator: str | None = None,
        header_row: bool = True,
    ) -> ArrowStream:
        """Read the slice as Arrow record batches.

        What comes back is taken, once and without a copy, by everything that knows the Arrow PyCapsule interface:

        ```python
        pyarrow.table(part.to_arrow())
        polars.DataFrame(part.to_arrow(["chrom", "pos"]))
        batches = part.to_arrow()
        duckdb.sql("select count(*) from batches")
        ```

        Args:
            columns: names of the columns wanted, in this order; what is not wanted is not decoded.
            object: which of the objects, from 0; 1 is the second mate of paired reads.
            schema: types of columns that cannot be told from the data (CSV, JSON Lines, INFO and FORMAT of variants): anything with
                `__arrow_c_schema__`, such as `pyarrow.schema`.
            separator: what stands between the fields of CSV; told from the first rows if absent.
            header_row: whether the first row of CSV names the columns.

        Raises:
            neardata.ObjectChangedError: the object is not the version the slice was made for.
            neardata.ReadError: the object cannot be read.
            neardata.FormatError: its bytes are not what its format says.

        """

    def __hash__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...

@final
class ArrowStream:
    """Arrow record batches of one schema, made as they are taken, and taken once."""

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Names and types of the columns."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give the batches as a PyCapsule of an Arrow C stream."""

    def __arrow_c_schema__(self) -> object:
        """Give the schema as a PyCapsule of an Arrow C schema."""

@final
class SliceStream:
    """The uncompressed bytes of a slice, as they come."""

    def read(self, size: int) -> bytes:
        """Read `size` bytes; fewer only at the end."""

class Request(TypedDict):
    """What is asked of an object; every key is there."""

    n: int | None
    bytes: int | None
    records: int | None
    tiles: int | None
    regions: list[str]
    bounds: tuple[float, float, float, float] | None
    window: tuple[float, float] | None
    resolution: float | None
    level: int | None
    columns: list[str]
    reference: str | None
    header: bool
    one_line_rows: bool
    format: str | None

def slices(uri: str, request: Request, mate2: str | None) -> list[Slice]:
    """Cut an object, or a pair of objects, into slices."""

def inspect(uri: str) -> str:
    """Say what an object is, in JSON."""

def cache_folder() -> pathlib.Path:
    """Say where the user's caches are."""

def parse_bytes(text: str) -> int:
    """Read a text like `64M` or `1.5GB`."""

def fetch(uri: str) -> bytes:
    """Get a whole object."""

def run_cli(arguments: list[str], self_command: list[str]) -> int:
    """Run the `neardata` command and return its exit code; `self_command` is how it starts itself for workers."""

def head(uri: str) -> str:
    """Pin the current version of an object; gives it as slices name it, in JSON."""

def put(uri: str, data: bytes) -> str:
    """Write an object whole; gives what was written as slices name it, in JSON."""

def upload_file(uri: str, path: str) -> str:
    """Write an object with the contents of a local file, in parts if it is large; gives what was written, in JSON."""

def delete(uri: str) -> None:
    """Remove an object; one that is not there is fine."""

def side_cars() -> str:
    """Say below which address side-cars lie, as configured."""

def core_formats() -> list[str]:
    """Give the names of the formats that the core has."""

def index(uri: str) -> str:
    """Make sure that there is a fresh index of an object, if its format has one; give what is known of it, in JSON."""

def index_parts(uri: str, count: int | None) -> list[str]:
    """Give the parts of an object that can be indexed on their own, in JSON; none where there is nothing to do."""

def index_part(part: str) -> bytes:
    """Index one part."""

def join_index(uri: str, partials: list[bytes]) -> str:
    """Join what indexing all parts gave, write the side-car, and give what is known, in JSON."""
