"""Text and tables."""

from .csv import CSV
from .text import UTF8Text

__all__ = ["CSV", "UTF8Text"]
