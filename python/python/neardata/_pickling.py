"""Functions, arguments and results as bytes.

cloudpickle is imported when first needed: that takes about as long as the rest of this package.
"""

from __future__ import annotations

import io
import pickle
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def encode(data: bytes) -> str:
    """Base64 without a newline."""
    return b2a_base64(data, newline=False).decode("ascii")


def dump_function(function: Callable[..., Any], modules: Iterable[ModuleType] = ()) -> str:
    """Pickle a callable; one from `__main__` or from `modules` travels with its code, any other by its name."""
    import cloudpickle

    registered = []
    try:
        for module in modules:
            if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        return encode(cloudpickle.dumps(function))
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def dump_calls(calls: Iterable[Arguments]) -> list[str]:
    """Pickle the arguments of many calls with one pickler."""
    import cloudpickle

    buffer = io.BytesIO()
    pickler = cloudpickle.Pickler(buffer)
    texts = []
    for arguments in calls:
        pickler.dump(arguments)
        texts.append(encode(buffer.getvalue()))
        buffer.seek(0)
        buffer.truncate()
        pickler.clear_memo()  # every call is read on its own
    return texts


def load(text: str) -> Any:
    """Read a value that a worker sent."""
    return pickle.loads(a2b_base64(text))
