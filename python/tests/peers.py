"""Packages that only some tests need."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

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


def needs_arrow(path: Path) -> None:
    """Skip a test of a format that the core does not read as Arrow, or fail it in continuous integration."""
    try:
        neardata.slices(path, n=1)[0].to_arrow()
    except neardata.FormatError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def needs_core(path: Path, name: str) -> None:
    """Skip a test of a format that the core does not read, or fail it in continuous integration."""
    try:
        found = neardata.slices(path, n=1)[0].format
    except neardata.FormatError as error:
        found = str(error)
    if found == name:
        return
    message = f"the core does not read {path.name} as {name}: {found}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def needs_program(*programs: str) -> None:
    """Skip a test whose programs are missing, or fail it in continuous integration."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    message = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
