"""Where an object's index comes from: the core for the formats of this package, the program's own functions for its formats."""

from __future__ import annotations

import inspect
import io
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import _native, _objects, _sidecars
from .._errors import ConfigError, FormatError, ObjectNotFoundError
from .preprocessing.metadata import PreprocessingMetadata

if TYPE_CHECKING:
    from .cloudobject import CloudObject

VERSION = 1


class CoreFormat:
    """How to ask the core about a format. Formats of this package carry one.

    `main` gives the address that the core knows an object by, where DataPlug names another one of a pair.
    """

    def __init__(self, attributes: Callable[[CloudObject], dict[str, Any]], main: Callable[[str], str] | None = None) -> None:
        self.attributes = attributes
        self.main = main or (lambda uri: uri)


def is_done(co: CloudObject) -> bool:
    """Say whether there is a fresh index."""
    if _is_ours(co):
        return _sidecars.core_index_is_fresh(_main_reference(co), co.metadata_root)
    return _stored(co) is not None


def run(co: CloudObject, parallel_config: dict[str, Any], chunk_size: int | None, force: bool) -> None:
    """Make the index."""
    if force:
        remove(co)
    if _is_ours(co):
        with _index_store(co.metadata_root):
            _native.index(_main(co))
        return
    made = _whole(co) if chunk_size is None else _chunks(co, parallel_config, chunk_size)
    if made.metadata is not None and made.metadata_file_path is not None:
        raise TypeError("preprocessing returns metadata or metadata_file_path, not both")
    attributes = plain(made.attributes or {}, co)
    _sidecars.write(address(co), co.reference, kind=co.format.name, version=VERSION, attributes=attributes, body=_body_of(made))


def remove(co: CloudObject) -> None:
    """Remove the index."""
    for uri in _addresses(co):
        _objects.delete(uri)


def attributes(co: CloudObject) -> dict[str, Any]:
    """Give the attributes by name."""
    if _is_ours(co):
        return _core(co).attributes(co)
    return {**co.format.default_attrs, **_found(co).attributes}


def body(co: CloudObject) -> bytes:
    """Give what preprocessing stored beside the attributes."""
    found = _found(co)
    return found.read(0, found.size)


def address(co: CloudObject) -> str:
    """Give the address of the index."""
    return next((uri for uri in _addresses(co) if _exists(uri)), _addresses(co)[0])


def cut(co: CloudObject, *, counted: bool = False, **options: Any) -> list[_native.Slice]:
    """Slices of the object, made by the core.

    The core cuts large plain objects without an index, and then does not know how many records they have; `counted` has it
    index them.
    """
    from .. import _slices

    with _index_store(co.metadata_root):
        if counted:
            _native.index(_main(co))
        return _slices.slices(_main(co), **options)


def plain(value: Any, co: CloudObject) -> Any:
    """Give a value as JSON has it; arrays and scalars of NumPy become lists and numbers."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(name): plain(inner, co) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(inner, co) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), co)
    raise TypeError(f"{co.format!r}: an attribute holds a {type(value).__name__}, which JSON cannot; put it into metadata as bytes")


def _addresses(co: CloudObject) -> tuple[str, ...]:
    """Where an index may lie."""
    if _is_ours(co):
        return _sidecars.core_addresses(_main_reference(co), co.metadata_root)
    return (_sidecars.address(co.reference, co.metadata_root, co.format.name),)


def _exists(uri: str) -> bool:
    try:
        _objects.head(uri)
    except ObjectNotFoundError:
        return False
    return True


def _core(co: CloudObject) -> CoreFormat:
    core: CoreFormat = co.format.core  # type: ignore[attr-defined]
    return core


def _main(co: CloudObject) -> str:
    return _core(co).main(co.path.uri)


def _main_reference(co: CloudObject) -> _objects.Ref:
    uri = _main(co)
    return co.reference if uri == co.path.uri else _objects.head(uri)


def _is_ours(co: CloudObject) -> bool:
    return isinstance(getattr(co.format, "core", None), CoreFormat)


def _stored(co: CloudObject) -> _sidecars.SideCar | None:
    return _sidecars.stored(address(co), co.reference, co.format.name, VERSION)


def _found(co: CloudObject) -> _sidecars.SideCar:
    found = _stored(co)
    if found is None:
        raise FormatError(f"{co.path} is not preprocessed, or has changed since; call preprocess()")
    return found


def _whole(co: CloudObject) -> PreprocessingMetadata:
    function = _function(co)
    wanted = inspect.signature(function).parameters
    if missing := {"chunk_data", "chunk_id"} & set(wanted):
        raise ValueError(f"{function.__name__} works on chunks ({', '.join(sorted(missing))}); give preprocess() a chunk_size")
    extra = {name: value for name, value in co.arguments.items() if name in wanted and name != "cloud_object"}
    return function(cloud_object=co, **extra)


def _chunks(co: CloudObject, parallel_config: dict[str, Any], chunk_size: int) -> PreprocessingMetadata:
    function, finalizer = _function(co), co.format.finalizer_function
    if finalizer is None:
        raise ConfigError(f"{co.format!r} has no finalizer_function; preprocess it without chunk_size")
    count = math.ceil(co.size / chunk_size)  # the last chunk is what is left
    wanted = inspect.signature(function).parameters
    extra = {name: value for name, value in co.arguments.items() if name in wanted}
    sizes = {"chunk_size": chunk_size, "num_chunks": count}
    calls = [(function, {"cloud_object": co, "chunk_id": number, **sizes, **extra}) for number in range(count)]
    if not parallel_config:
        return finalizer(co, [_chunk(*call) for call in calls])
    import joblib

    with joblib.parallel_config(**parallel_config):
        return finalizer(co, joblib.Parallel()(joblib.delayed(_chunk)(*call) for call in calls))


def _chunk(function: Callable[..., PreprocessingMetadata], arguments: dict[str, Any]) -> PreprocessingMetadata:
    start = arguments["chunk_id"] * arguments["chunk_size"]
    data = _objects.read(arguments["cloud_object"].reference, start, start + arguments["chunk_size"])
    return function(chunk_data=io.BytesIO(data), **arguments)


def _function(co: CloudObject) -> Callable[..., PreprocessingMetadata]:
    if co.format.preprocessing_function is None:
        raise ConfigError(f"{co.format!r} has no preprocessing_function")
    return co.format.preprocessing_function


def _body_of(made: PreprocessingMetadata) -> bytes:
    if made.metadata_file_path is not None:
        with open(made.metadata_file_path, "rb") as file:
            data = file.read()
        os.unlink(made.metadata_file_path)
        return data
    if made.metadata is None or isinstance(made.metadata, (bytes, bytearray, memoryview)):
        return bytes(made.metadata or b"")
    return made.metadata.read()


@contextmanager
def _index_store(root: str | None) -> Iterator[None]:
    """Keep the core's side-cars below `root`."""
    if root is None:
        yield
        return
    before = os.environ.get("NEARDATA_INDEX_STORE")
    os.environ["NEARDATA_INDEX_STORE"] = root
    try:
        yield
    finally:
        if before is None:
            del os.environ["NEARDATA_INDEX_STORE"]
        else:
            os.environ["NEARDATA_INDEX_STORE"] = before
