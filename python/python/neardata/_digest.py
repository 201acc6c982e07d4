"""Digests of functions, environments and arguments that are the same in every process."""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import importlib.metadata
import io
import os
import pathlib
import pickle
import platform
import struct
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

from ._native import Slice

_KEY_SHAPE = b"neardata python call 1"


def of_function(function: Callable[..., Any], version: str) -> bytes:
    """Digest a function with all it refers to, and the environment it runs in."""
    return _hash(_KEY_SHAPE, version.encode(), _environment(), _Digest().value(function))


def of_call(function: bytes, arguments: Any) -> str:
    """Digest one call of a function; hex, as an address."""
    return _hash(function, _Digest().value(arguments)).hex()


@functools.lru_cache(maxsize=1)
def _environment() -> bytes:
    """Digest what is installed: interpreter, machine and every distribution with its version."""
    packages = {(dist.metadata["Name"] or "", dist.version) for dist in importlib.metadata.distributions()}
    lock = [f"{name}=={version}" for name, version in sorted(packages)]
    return _hash(sys.version.encode(), platform.machine().encode(), *(line.encode() for line in lock))


def _hash(*parts: bytes) -> bytes:
    """SHA-256 over parts, each with its length, so that no two lists of parts look alike."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(struct.pack(">Q", len(part)))
        digest.update(part)
    return digest.digest()


class _Digest:
    """Digests values by what they are; remembers what it is inside of, as functions and containers may refer to themselves."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}

    def value(self, value: Any) -> bytes:
        """Digest any value."""
        place = self._open.get(id(value))
        if place is not None:
            return _hash(b"recursion", str(len(self._open) - place).encode())
        self._open[id(value)] = len(self._open)
        try:
            return _hash(*self._parts(value))
        finally:
            del self._open[id(value)]

    def _parts(self, value: Any) -> Iterator[bytes]:  # noqa: PLR0912 - one branch a type
        kind = type(value)
        yield f"{kind.__module__}.{kind.__qualname__}".encode()
        if value is None or kind in (bool, int, float, complex):
            yield repr(value).encode()
        elif kind is str:
            yield value.encode("utf-8", "surrogatepass")
        elif kind in (bytes, bytearray):
            yield bytes(value)
        elif kind in (tuple, list):
            for item in value:
                yield self.value(item)
        elif kind is dict:
            yield from sorted(self.value(key) + self.value(item) for key, item in value.items())
        elif kind in (set, frozenset):
            yield from sorted(self.value(item) for item in value)
        elif kind is Slice:
            yield value.to_json().encode()
        elif isinstance(value, types.ModuleType):
            yield from self._module(value)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.MethodType):
            yield self.value(value.__func__)
            yield self.value(value.__self__)
        elif isinstance(value, functools.partial):
            yield self.value((value.func, value.args, value.keywords))
        elif isinstance(value, types.CodeType):
            yield from self._code(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, enum.Enum):
            yield value.name.encode()
        elif isinstance(value, pathlib.PurePath):
            yield str(value).encode()
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                yield field.name.encode()
                yield self.value(getattr(value, field.name))
        elif hasattr(value, "__array_interface__"):
            yield repr((value.shape, value.dtype.str)).encode()
            yield value.tobytes()
        else:
            yield _pickle(value)

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        name = function.__module__ or "__main__"
        yield f"{name}.{function.__qualname__}".encode()
        if name != "__main__" and not _is_own(sys.modules.get(name)):
            return  # of an installed package: the environment says which
        yield self.value(function.__code__)
        yield self.value(function.__defaults__)
        yield self.value(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                yield self.value(cell.cell_contents)
            except ValueError:
                yield b"empty"
        for global_name in sorted(_global_names(function.__code__)):
            if global_name in function.__globals__:
                yield global_name.encode()
                yield self.value(function.__globals__[global_name])
        if name != "__main__":
            yield from self._module(sys.modules[name])

    def _code(self, code: types.CodeType) -> Iterator[bytes]:
        yield code.co_code
        yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags)).encode()
        yield repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)).encode()
        for constant in code.co_consts:
            yield self.value(constant)

    def _class(self, kind: type) -> Iterator[bytes]:
        yield f"{kind.__module__}.{kind.__qualname__}".encode()
        if kind.__module__ == "__main__":
            for base in kind.__bases__:
                yield self.value(base)
            for name, member in sorted(vars(kind).items()):
                if isinstance(member, (staticmethod, classmethod)):
                    member = member.__func__  # noqa: PLW2901
                if isinstance(member, property):
                    member = (member.fget, member.fset, member.fdel)  # noqa: PLW2901
                if name in _CLASS_NOISE or isinstance(member, (types.GetSetDescriptorType, types.MemberDescriptorType)):
                    continue
                yield name.encode()
                yield self.value(member)
        elif _is_own(sys.modules.get(kind.__module__)):
            yield from self._module(sys.modules[kind.__module__])

    def _module(self, module: types.ModuleType) -> Iterator[bytes]:
        """Digest a module: the source of one's own, the name of an installed one.

        The modules that one's own module imports are followed, too, as a change in any of them may change the result.
        """
        seen: dict[str, types.ModuleType] = {}
        _own_modules(module, seen)
        yield module.__name__.encode()
        for name in sorted(seen):
            yield name.encode()
            file = seen[name].__file__
            if file and os.path.exists(file):
                with open(file, "rb") as source:
                    yield source.read()


_CLASS_NOISE = {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"}


def _own_modules(module: types.ModuleType, seen: dict[str, types.ModuleType]) -> None:
    if module.__name__ in seen or not _is_own(module):
        return
    seen[module.__name__] = module
    for value in list(vars(module).values()):
        used = value if isinstance(value, types.ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
        if isinstance(used, types.ModuleType):
            _own_modules(used, seen)


@functools.lru_cache(maxsize=1)
def _installed_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {os.path.realpath(path) for name in names if (path := sysconfig.get_path(name))}
    return tuple(folder + os.sep for folder in folders)


def _is_own(module: types.ModuleType | None) -> bool:
    """Whether a module is the user's: a file that is neither the standard library's nor an installed package's."""
    file = getattr(module, "__file__", None)
    if module is None or not file or module.__name__.partition(".")[0] in ("__main__", "neardata"):
        return False
    path = os.path.realpath(file)
    return not path.startswith(_installed_folders()) and f"{os.sep}site-packages{os.sep}" not in path


def _global_names(code: types.CodeType) -> set[str]:
    """Names of globals that a function or one inside it uses."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _pickle(value: Any) -> bytes:
    """Pickle a value without noting which of its parts are one object, as that differs between equal values."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=4)
    pickler.fast = True
    try:
        pickler.dump(value)
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError) as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        remedy = "pass something plainer, or take @neardata.cached away"
        raise TypeError(f"a {kind} has no address for @neardata.cached ({error}); {remedy}") from error
    return buffer.getvalue()
