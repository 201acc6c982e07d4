"""Preprocessing of formats that a program brings itself."""

from .metadata import PreprocessingMetadata

__all__ = ["PreprocessingMetadata"]
