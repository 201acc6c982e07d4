"""The `neardata` command, as the wheel carries it."""

from __future__ import annotations

import signal
import sys

from . import _native


def main() -> int:
    """Run the command line in `sys.argv`, and return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Rust handles it, or it ends the process, as with any program
    return _native.run_cli(["neardata", *sys.argv[1:]], [sys.executable, "-m", "neardata"])
