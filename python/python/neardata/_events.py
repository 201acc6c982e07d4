"""Reading an event stream: bytes in, events out, no I/O."""

from __future__ import annotations

import json
from typing import Any

from ._service import read_head

Event = dict[str, Any]


class EventParser:
    r"""Takes the bytes of an HTTP/1.0 answer as they come; gives the newline-delimited JSON values of its body.

    >>> parser = EventParser()
    >>> parser.feed(b'HTTP/1.1 200 OK\r\n\r\n{"seq":1}\n{"se')
    [{'seq': 1}]
    >>> parser.feed(b'q":2}\n\n')
    [{'seq': 2}]
    """

    def __init__(self) -> None:
        self.status = 0
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Take some bytes, and return the events that are complete now."""
        data = self._rest + data
        if not self.status:
            answer = read_head(data)
            if answer is None:
                self._rest = data
                return []
            self.status, data = answer
        if self.status != 200:
            self._rest = data
            return []
        complete, newline, self._rest = data.rpartition(b"\n")
        if not newline:
            return []
        # One call of the parser for all lines that are there: several times faster than one a line.
        lines = [line for line in complete.split(b"\n") if line and not line.isspace()]
        events: list[Event] = json.loads(b"[" + b",".join(lines) + b"]")
        return events

    @property
    def refusal(self) -> bytes:
        """The body of an answer that is not an event stream."""
        return self._rest
