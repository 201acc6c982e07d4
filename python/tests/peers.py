"""Packages that only some tests need."""

from __future__ import annotations

import importlib.util
import os

import pytest


def needs(*packages: str) -> None:
    """Skip a test whose packages are missing, or fail it where all of them belong: in continuous integration."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if not missing:
        return
    message = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
