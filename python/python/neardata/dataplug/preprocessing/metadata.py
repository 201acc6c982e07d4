"""What a preprocessing function returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any


@dataclass
class PreprocessingMetadata:
    """What was learned of an object, or of a chunk of it.

    Attributes:
        metadata: the index: bytes, or a file to read them from.
        metadata_file_path: a file that holds the index instead; it is removed when it has been stored.
        attributes: values by the names the format's class annotates; they are kept as JSON.

    """

    metadata: IO[bytes] | bytes | None = None
    metadata_file_path: str | None = None
    attributes: dict[str, Any] | None = None
