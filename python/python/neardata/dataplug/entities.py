"""What DataPlug calls a format, a slice and a partitioning strategy."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from .cloudobject import CloudObject
    from .preprocessing.metadata import PreprocessingMetadata

P = ParamSpec("P")
S = TypeVar("S", bound="CloudObjectSlice")


class Attributes:
    """What preprocessing learned of an object, by name; read-only. Values that cost something are computed when first asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__["_values"] = values

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name not in values:
            raise AttributeError(f"there is no attribute `{name}`; there are {', '.join(values) or 'none'}")
        if isinstance(values[name], Deferred):
            values[name] = values[name].compute()
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"attributes are read-only: {name}")

    def __iter__(self) -> Iterator[Any]:
        return iter(self._asdict().values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and self._asdict() == other._asdict()

    __hash__ = None  # type: ignore[assignment]

    def _asdict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._values}

    def __reduce__(self) -> tuple[type[Attributes], tuple[dict[str, Any]]]:
        return Attributes, (self._asdict(),)

    def __repr__(self) -> str:
        return f"Attributes({', '.join(self._values)})"


class Deferred:
    """A value that is computed when it is asked for."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute


class CloudDataFormat:
    """A format, as a decorator of the class whose annotations name its attributes.

    ```python
    @CloudDataFormat(preprocessing_function=preprocess)
    class Npy:
        shape: list[int]
    ```

    The decorated name is the format, not the class. It pickles by its name.
    """

    def __init__(
        self,
        preprocessing_function: Callable[..., PreprocessingMetadata] | type | None = None,
        finalizer_function: Callable[..., PreprocessingMetadata] | None = None,
        is_folder: bool = False,
    ) -> None:
        self.co_class: type | None = None
        self.preprocessing_function: Callable[..., PreprocessingMetadata] | None = None
        self.finalizer_function = finalizer_function
        self.is_folder = is_folder
        self.attrs_types: dict[str, Any] = {}
        self.default_attrs: dict[str, Any] = {}
        if inspect.isclass(preprocessing_function):
            self(preprocessing_function)  # `@CloudDataFormat` without a call
        else:
            self.preprocessing_function = preprocessing_function

    def __call__(self, cls: type) -> CloudDataFormat:
        if not inspect.isclass(cls):
            raise TypeError(f"a format is made of a class, not of {type(cls).__name__}")
        if self.co_class is not None:
            raise TypeError(f"this decorator has made a format of {self.co_class.__name__} already")
        self.co_class = cls
        self.attrs_types = dict(inspect.get_annotations(cls))
        self.default_attrs = {name: value for name, value in vars(cls).items() if not name.startswith("__")}
        self.__module__, self.__qualname__, self.__doc__ = cls.__module__, cls.__qualname__, cls.__doc__
        return self

    @property
    def name(self) -> str:
        """Where the format is found: module and class."""
        return f"{self.__module__}.{self.__qualname__}"

    def debug(self) -> None:
        """Print what the format consists of."""
        print(json.dumps({name: repr(value) for name, value in vars(self).items()}, indent=2))

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<format {self.__qualname__}>"


def format_of(value: CloudDataFormat | type) -> CloudDataFormat:
    """Refuse what is not a format. Type checkers take a decorated class for the class."""
    if not isinstance(value, CloudDataFormat):
        raise TypeError(f"{value!r} is not a format; decorate its class with @CloudDataFormat")
    return value


class CloudObjectSlice:
    """A part of an object, read when `get` is called."""

    def __init__(self, range_0: int | None = None, range_1: int | None = None) -> None:
        self.range_0 = range_0
        self.range_1 = range_1
        self.cloud_object: CloudObject | None = None

    def get(self) -> Any:
        """Read the part."""
        raise NotImplementedError


class PartitioningStrategy:
    """Marks a function as a way to partition objects of one format.

    ```python
    @PartitioningStrategy(dataformat=Npy)
    def partition_rows(cloud_object, num_chunks): ...
    ```
    """

    def __init__(self, dataformat: CloudDataFormat | type) -> None:
        self._format = format_of(dataformat)

    def __call__(self, function: Callable[Concatenate[CloudObject, P], list[S]]) -> Callable[Concatenate[CloudObject, P], list[S]]:
        @functools.wraps(function)
        def strategy(cloud_object: CloudObject, /, *args: P.args, **kwargs: P.kwargs) -> list[S]:
            return function(cloud_object, *args, **kwargs)

        strategy.data_format = self._format  # type: ignore[attr-defined]  # `CloudObject.partition` compares it
        return strategy
