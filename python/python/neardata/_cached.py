"""Functions whose results are kept and found again in later jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from ._pickling import Arguments

F = TypeVar("F", bound=Callable[..., Any])

MARK = "__neardata_cached__"


@overload
def cached(function: F, /) -> F: ...


@overload
def cached(*, version: str = "") -> Callable[[F], F]: ...


def cached(function: F | None = None, /, *, version: str = "") -> F | Callable[[F], F]:
    """Mark a function as pure: an [`Executor`][neardata.Executor] keeps its results and takes them from there the next time.

    ```python
    @neardata.cached
    def gc_content(part):
        bases = part.read()
        return (bases.count(b"G") + bases.count(b"C")) / len(bases)
    ```

    A result is found again when all of these are the same: the function's code with the values it refers to, the source of the
    modules of yours that it uses, the installed packages and the Python version, and the arguments. A slice counts by its JSON,
    entity tags included, so a changed object is computed anew. Called directly, the function runs as ever.

    Args:
        function: the function, when used as `@neardata.cached`.
        version: anything; another text means other results, for what the code alone does not show (a model file, a database).

    """

    def mark(function: F) -> F:
        setattr(function, MARK, version)
        return function

    return mark if function is None else mark(function)


def call_keys(function: Callable[..., Any], calls: Sequence[Arguments]) -> list[str] | None:
    """Give the address of each call's result, if the function is marked."""
    version = getattr(function, MARK, None)
    if version is None:
        return None
    from . import _digest

    base = _digest.of_function(function, version)
    return [_digest.of_call(base, arguments) for arguments in calls]
