"""`CloudObject`: an object of a known format, as DataPlug's programs use it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Concatenate, ParamSpec, TypeVar

from .. import _native, _objects
from .._errors import ConfigError, ObjectNotFoundError
from .._objects import Ref
from . import _preprocess, _server
from ._storage import Storage
from .entities import Attributes, CloudDataFormat, CloudObjectSlice, format_of

P = ParamSpec("P")
S = TypeVar("S", bound=CloudObjectSlice)


@dataclass(frozen=True)
class ObjectPath:
    """Where an object lies."""

    uri: str

    @property
    def bucket(self) -> str:
        """The bucket; empty for files."""
        return self.uri.split("://", 1)[1].split("/", 1)[0]

    @property
    def key(self) -> str:
        """The key inside the bucket; for files the path."""
        rest = self.uri.split("://", 1)[1]
        return rest.partition("/")[2] if self.bucket else rest

    @property
    def name(self) -> str:
        """The last segment of the key."""
        return self.key.rsplit("/", 1)[-1]

    def as_uri(self) -> str:
        """Give the whole address."""
        return self.uri

    def __str__(self) -> str:
        return self.uri


class CloudObject:
    """An object of a known format.

    ```python
    from neardata.dataplug import CloudObject
    from neardata.dataplug.formats.genomics.fasta import FASTA, partition_chunks_strategy

    co = CloudObject.from_s3(FASTA, "s3://lab/genome.fa", s3_config={"endpoint_url": "http://127.0.0.1:9000"})
    for part in co.partition(partition_chunks_strategy, num_chunks=8):
        part.get()
    ```

    It pickles without credentials; see the page on DataPlug for how workers get theirs.
    """

    def __init__(
        self,
        data_format: CloudDataFormat | type,
        uri: str | os.PathLike[str],
        metadata_bucket: str | None = None,
        s3_config: Mapping[str, Any] | None = None,
    ) -> None:
        _server.register(s3_config)
        self.format = format_of(data_format)
        self.path = ObjectPath(_absolute(os.fspath(uri)))
        self.arguments: dict[str, Any] = {}
        self._metadata_bucket = metadata_bucket
        self._endpoint = _server.current_endpoint()
        self._reference: Ref | None = None
        self._attributes: Attributes | None = None

    @classmethod
    def from_s3(
        cls,
        data_format: CloudDataFormat | type,
        storage_uri: str | os.PathLike[str],
        fetch: bool | None = True,
        metadata_bucket: str | None = None,
        s3_config: Mapping[str, Any] | None = None,
    ) -> CloudObject:
        """Refer to an object.

        Args:
            data_format: its format.
            storage_uri: its address: `s3://`, and any other that NearData reads.
            fetch: whether to look at it at once; then an object that is not there is an error here.
            metadata_bucket: the bucket where indexes go; default: where NearData keeps them anyway.
            s3_config: `endpoint_url`, `region_name` and `credentials` of the server. They become those of this process, and stay
                out of slices and pickles.

        Raises:
            neardata.ObjectNotFoundError: it is not there.

        """
        made = cls(data_format, storage_uri, metadata_bucket, s3_config)
        if fetch:
            made.fetch()
        return made

    @classmethod
    def from_bucket_key(cls, data_format: CloudDataFormat | type, bucket: str, key: str, fetch: bool = True) -> CloudObject:
        """Refer to the object `key` of a bucket on the server that the environment names."""
        return cls.from_s3(data_format, f"s3://{bucket}/{key}", fetch)

    @classmethod
    def new_from_file(
        cls,
        data_format: CloudDataFormat | type,
        file_path: str | os.PathLike[str],
        cloud_path: str,
        s3_config: Mapping[str, Any] | None = None,
        override: bool = False,
    ) -> CloudObject:
        """Upload a local file, and refer to it.

        Raises:
            FileExistsError: there is such an object already, and `override` is false.

        """
        made = cls(data_format, cloud_path, None, s3_config)
        if made.exists():
            if not override:
                raise FileExistsError(f"{cloud_path} exists; give override=True to replace it")
            made.clean()
        _native.upload_file(made.path.uri, os.fspath(file_path))
        made._reference = None
        return made

    def fetch(self) -> None:
        """Look at the object again: its size, its version, and whether it is preprocessed."""
        self._use()
        if not self.format.is_folder:
            self._reference = _objects.head(self.path.uri)
        self._attributes = None

    def exists(self) -> bool:
        """Say whether the object is there."""
        try:
            self.fetch()
        except ObjectNotFoundError:
            return False
        return True

    def is_preprocessed(self) -> bool:
        """Say whether there is an index of the object as it is now; one of an earlier version does not count."""
        self._use()
        try:
            self._reference = _objects.head(self.path.uri)
        except ObjectNotFoundError:
            return False
        return _preprocess.is_done(self)

    def clean(self) -> None:
        """Remove the index."""
        self._use()
        _preprocess.remove(self)
        self._attributes = None

    def preprocess(
        self,
        parallel_config: Mapping[str, Any] | None = None,
        extra_args: Mapping[str, Any] | None = None,
        chunk_size: int | None = None,
        force: bool = False,
        debug: bool = False,
    ) -> None:
        """Index the object, unless there is an index of its present version.

        The formats of this package index in one streaming pass and take neither `parallel_config` nor `chunk_size` nor `debug`
        into account. For formats of your own `chunk_size` runs the preprocessing function once a chunk and then the finalizer, in
        parallel with joblib if `parallel_config` is given.

        Args:
            parallel_config: arguments of `joblib.parallel_config`.
            extra_args: further arguments of the preprocessing function; `separator` for CSV.
            chunk_size: bytes of a chunk.
            force: index again in any case.
            debug: taken for compatibility.

        """
        self.fetch()
        self.arguments = dict(extra_args or {})
        if chunk_size is not None and not 0 < chunk_size <= max(self.size, 1):
            raise ValueError(f"a chunk has 1 to {self.size} bytes, not {chunk_size}")
        if force or not _preprocess.is_done(self):
            _preprocess.run(self, dict(parallel_config or {}), chunk_size, force)
        self._attributes = None

    def partition(self, strategy: Callable[Concatenate[CloudObject, P], list[S]], /, *args: P.args, **kwargs: P.kwargs) -> list[S]:
        """Cut the object with a strategy of its format; it is indexed first if it is not."""
        wanted = getattr(strategy, "data_format", self.format)
        if wanted is not self.format:
            raise TypeError(f"{getattr(strategy, '__name__', strategy)} partitions {wanted!r}, not {self!r}")
        self._use()
        if self._reference is None:
            self.fetch()
        if self.format.preprocessing_function is not None and not _preprocess.is_done(self):
            self.preprocess(extra_args=self.arguments)
        parts = strategy(self, *args, **kwargs)
        for part in parts:
            part.cloud_object = self
        return parts

    @property
    def attributes(self) -> Attributes:
        """What is known of the object, by name; formats of your own have attributes once they are preprocessed."""
        if self._attributes is None:
            self._use()
            self._attributes = Attributes(_preprocess.attributes(self))
        return self._attributes

    def get_attribute(self, key: str) -> Any:
        """Give one of the attributes."""
        return getattr(self.attributes, key)

    def __getitem__(self, key: str) -> Any:
        return getattr(self.attributes, key)

    @property
    def reference(self) -> Ref:
        """The version of the object that this refers to."""
        if self._reference is None:
            self.fetch()
        if self._reference is None:
            raise ConfigError(f"{self.path} is a folder; it has no size")
        return self._reference

    @property
    def size(self) -> int:
        """Its size in bytes, as stored."""
        return int(self.reference["size"])

    @property
    def meta_path(self) -> ObjectPath:
        """Where the index lies."""
        self._use()
        return ObjectPath(_preprocess.address(self))

    @property
    def meta_size(self) -> int:
        """Size of the index in bytes; `AttributeError` if there is none."""
        try:
            return int(_objects.head(self.meta_path.uri)["size"])
        except ObjectNotFoundError:
            raise AttributeError(f"{self.path} is not preprocessed") from None

    @property
    def metadata_root(self) -> str | None:
        """The prefix where indexes go, if one was given."""
        return f"s3://{self._metadata_bucket}" if self._metadata_bucket else None

    @property
    def storage(self) -> Storage:
        """A client with the verbs that plug-ins use: `get_object`, `head_object`, `download_file`, and more if boto3 is there."""
        self._use()
        return Storage(self)

    def open(self, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """Open the object as a seekable file; `rb` for bytes, `r` for text."""
        self._use()
        file = _objects.open_file(self.reference)
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8")

    def open_metadata(self, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """Open the index that a preprocessing function of yours made."""
        file = io.BytesIO(_preprocess.body(self))
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8")

    def _use(self) -> None:
        _server.use(self._endpoint)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reference": None, "_attributes": None}

    def __repr__(self) -> str:
        return f"CloudObject<{self.format.__qualname__}>({self.path})"


def _absolute(uri: str) -> str:
    return uri if "://" in uri else f"file://{os.path.abspath(uri)}"
