"""A progress bar, on a terminal or in a notebook; nothing anywhere else."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._job import Job

WIDTH = 30
FIRST_DRAW_S = 0.4  # what is over before that needs no bar
REDRAW_S = 0.1

_on_terminal: Bar | None = None  # one line of the terminal, so one bar at a time


class Bar:
    """Shows how far one job is; drawn by the follower's thread only."""

    def __init__(self, job: Job, total: int, notebook: Any) -> None:
        self._job = job
        self._total = total
        self._display = notebook
        self._handle: Any = None
        self._started = time.monotonic()
        self._next_draw = self._started + FIRST_DRAW_S
        self._drawn = False
        self._finished = False

    def draw(self) -> None:
        """Draw the bar if it is time to."""
        now = time.monotonic()
        if now >= self._next_draw and not self._finished:
            self._next_draw = now + REDRAW_S
            self._paint()

    def finish(self) -> None:
        """Draw it a last time, if it was drawn at all, and leave it."""
        global _on_terminal  # noqa: PLW0603
        if self._finished:
            return
        self._finished = True
        if self._drawn:
            self._paint()
            if self._display is None:
                sys.stderr.write("\n")
                sys.stderr.flush()
        if _on_terminal is self:
            _on_terminal = None

    def text(self) -> str:
        """Write the bar as one line."""
        job = self._job
        filled = WIDTH * job.ended // self._total
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        parts = [f"{job.name} {'━' * filled}{'─' * (WIDTH - filled)} {job.ended}/{self._total}"]
        if job.running:
            parts.append(f"{job.running} running")
        if job.failed:
            parts.append(f"{job.failed} failed")
        if job.retried:
            parts.append(f"{job.retried} retried")
        parts.append(f"{minutes}:{seconds:02}")
        return " · ".join(parts)

    def _paint(self) -> None:
        global _on_terminal  # noqa: PLW0603
        try:
            if self._display is not None:
                content = {"text/plain": self.text()}
                if self._handle is None:
                    self._handle = self._display(content, raw=True, display_id=True)
                else:
                    self._handle.update(content, raw=True)
            elif _on_terminal in (None, self):
                _on_terminal = self
                sys.stderr.write(f"\r{self.text()}\x1b[K")
                sys.stderr.flush()
            else:
                return
        except Exception:  # a closed terminal or notebook must not stop the work
            self._finished = True
            return
        self._drawn = True


def make_bar(job: Job, total: int, wanted: bool | None) -> Bar | None:
    """Make a bar where somebody can see it: `None` decides by whether there is a notebook or a terminal."""
    if wanted is False or total == 0:
        return None
    display = _notebook_display()
    if display is None and not wanted and not _is_terminal():
        return None
    return Bar(job, total, display)


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def _notebook_display() -> Any:
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return None
    shell = ipython.get_ipython()
    if type(shell).__name__ != "ZMQInteractiveShell":
        return None
    from IPython.display import display

    return display
