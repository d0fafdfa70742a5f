"""What a child prints, as `command_output` events: bytes in whatever pieces they come, lines out, memory flat.

A line ends with a newline; carriage returns before it go, others (progress bars) stay in the line, as do NUL, terminal
escapes and whatever else JSON can escape. Bytes that are no UTF-8 become U+FFFD. A line that is too long for one event
comes as several, with `part` counted from 1 and `continued` true on all but the last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from release.log.logger import ROOM_FOR_OUTPUT, Log

LONGEST = 64 * 1024
"""Bytes without a newline that are kept before they are written as a part of a line."""
TAIL_LINES = 10
TAIL_WIDTH = 500
"""How much of a child's last words is kept: lines, and characters of each."""
OWN_LINES = 60
"""Lines of one stream that are kept, among which its error is looked for."""

Lines = Callable[[str, Sequence[str]], None]
"""A function that is called with the stream's name and its next lines, redacted, as they were logged."""

_encode = msgspec.json.encode


class Output:
    """One stream of a child on its way into the log. It is fed what was read, and closed at its end.

    `tail`: where its last lines are kept, beside another stream's; `own` has its own; `quiet`: the lines go to
    `on_lines` only.
    """

    def __init__(
        self,
        log: Log,
        stream: str,
        tail: deque[str] | None = None,
        on_lines: Lines | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        self.tail = deque[str](maxlen=TAIL_LINES) if tail is None else tail
        self.own = deque[str](maxlen=OWN_LINES)
        self._log = log
        self._stream = stream
        self._on_lines = on_lines
        self._quiet = quiet
        self._rest = bytearray()
        self._part = 0

    def feed(self, data: bytes) -> None:
        """Takes the next bytes, of any number."""
        newline = data.rfind(b"\n")
        if newline < 0:
            self._rest += data
        else:
            self._rest += data[:newline]
            self._complete(bytes(self._rest))
            self._rest = bytearray(data[newline + 1 :])
        # A secret that the cut would hit has to be seen whole, hence the reach.
        while len(self._rest) > LONGEST + self._log.redactor.reach:
            part, cut = self._log.redactor.head(bytes(self._rest), LONGEST)
            self._parts(part.decode("utf-8", "replace"), continued=True)
            del self._rest[:cut]

    def close(self) -> None:
        """Ends the stream: what came after the last newline is a line too."""
        if self._rest or self._part:
            self._complete(bytes(self._rest))
        self._rest = bytearray()

    def _complete(self, data: bytes) -> None:
        """Logs whole lines, given without the last newline."""
        lines = data.decode("utf-8", "replace").split("\n")
        if b"\r" in data:
            lines = [line.rstrip("\r") for line in lines]
        if self._part:
            self._parts(self._log.redactor.text(lines.pop(0)), continued=False)
        # Six bytes are the most that JSON makes of one character (a control character).
        if max(map(len, lines), default=0) * 6 < ROOM_FOR_OUTPUT:
            self._emit(lines)
            return
        for line in lines:
            if len(_encode(line)) <= ROOM_FOR_OUTPUT:
                self._emit([line])
            else:
                self._parts(self._log.redactor.text(line), continued=False)

    def _parts(self, text: str, *, continued: bool) -> None:
        """Logs a line, or the next piece of one, that does not fit into a single event.

        It has been redacted as a whole.
        """
        pieces = list(_halved(text))
        for place, piece in enumerate(pieces, 1):
            self._part += 1
            self._emit([piece], clean=True, part=self._part, continued=continued or place < len(pieces))
        if not continued:
            self._part = 0

    def _emit(self, lines: Sequence[str], *, clean: bool = False, **part: int) -> None:
        if not lines:
            return
        if self._quiet:
            lines = self._log.redactor.text("\n".join(lines)).split("\n")
        else:
            lines = self._log.command_output(lines, clean=clean, stream=self._stream, **part)
        last = [line[:TAIL_WIDTH] for line in lines[-OWN_LINES:]]
        self.own.extend(last)
        self.tail.extend(last[-TAIL_LINES:])
        if self._on_lines is not None:
            self._on_lines(self._stream, lines)


def _halved(text: str) -> Iterator[str]:
    """Halves the text until its pieces fit."""
    if len(_encode(text)) <= ROOM_FOR_OUTPUT:
        yield text
        return
    middle = len(text) // 2
    yield from _halved(text[:middle])
    yield from _halved(text[middle:])
