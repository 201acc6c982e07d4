"""Packages that only some tests need."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import neardata
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


def needs_core(path: Path, **cut: Any) -> None:
    """Skip a test of a format that the core does not read, or fail it in continuous integration."""
    try:
        neardata.slices(path, **cut)
    except neardata.FormatError as error:
        if "unknown format" not in str(error) or os.environ.get("CI"):
            raise
        pytest.skip(str(error))
