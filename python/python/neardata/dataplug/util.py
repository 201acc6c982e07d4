"""Logging, as DataPlug's examples set it up."""

from __future__ import annotations

import logging


def setup_logging(level: int = logging.INFO) -> None:
    """Print the log of this package to standard error."""
    logger = logging.getLogger("neardata.dataplug")
    logger.setLevel(level)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s [%(name)s.%(funcName)s:%(lineno)d] %(message)s"))
        logger.addHandler(handler)
