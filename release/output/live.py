"""What a terminal shows: the steps as they happen, with the time gone by, and an end in two sentences.

A `Console` turns events into text. On a live terminal the text ends with one line that stays at the bottom and is drawn
again and again: the step under way, its time, a bar for a transfer. A thread does that between the events; it never
waits for the terminal, and it is silent for a moment around every event, whose text the log's own writer writes.

`follow` does the same for a stream of JSON lines that somebody else's run has written.
"""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.console import Console as Rich
from rich.text import Text

from release.output.lines import parse, printable
from release.output.progress import Transfer, drawable
from release.output.show import Line, Telling
from release.output.words import seconds

DRAW_EVERY = 0.125
"""Seconds between two drawings of the live line."""
QUIET = 0.15
"""Seconds around an event in which the live line is left alone."""
CLEAR = "\r\x1b[2K"
"""What moves the cursor to the line's beginning and empties the line."""
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
NARROW = 24
"""Columns at least, however narrow a terminal says it is."""
WIDE = 100
"""Columns at most, so that lines stay readable and a drawing stays below 256 bytes or so."""
HANG = 2
"""Columns by which the rest of a line stands further in than its beginning."""

Fields = Mapping[str, Any]


def open_console(fd: int, environ: Mapping[str, str], *, folds: bool = False) -> Console:
    """Opens a console for a file descriptor, live where that is a terminal that can be drawn on.

    `folds` is as in show.py.
    """
    terminal = os.isatty(fd)
    console = Console(
        width=lambda: _columns(fd, environ),
        environ=environ,
        colours=terminal,
        live=terminal and drawable(environ),
        folds=folds,
    )
    if console.live:
        Thread(target=_draw, args=(console, fd), daemon=True).start()
    return console


def follow(log: Iterable[str], fd: int, environ: Mapping[str, str]) -> None:
    """Shows a stream of JSON lines on a file descriptor as it comes; lines that are no events are passed on."""
    console = open_console(fd, environ, folds=True)
    for line in log:
        event = parse(line)
        _write(fd, console(event) if event is not None else console.foreign(line))
    _write(fd, console.end())


def _write(fd: int, text: str) -> None:
    with memoryview(text.encode("utf-8", "replace")) as view:
        written = 0
        while written < len(view):
            written += os.write(fd, view[written:])


def _columns(fd: int, environ: Mapping[str, str]) -> int:
    try:
        columns = os.get_terminal_size(fd).columns
    except OSError:
        given = environ.get("COLUMNS", "")
        columns = int(given) if given.isdecimal() else 80
    return max(NARROW, min(WIDE, columns or 80))


def _draw(console: Console, fd: int) -> None:
    """Draws the live line until the end. A terminal that does not take it at once is left alone."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    while not console.closed.wait(DRAW_EVERY):
        with console.lock:
            text = console.drawing()
            try:
                if text and poll.poll(0):
                    os.write(fd, text.encode("utf-8", "replace"))
            except OSError:
                return


class Console:
    """What turns events into text.

    `width` is asked anew each time, since a window may be dragged; `now` gives seconds.
    """

    def __init__(
        self,
        *,
        width: Callable[[], int],
        environ: Mapping[str, str],
        colours: bool,
        live: bool,
        folds: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.live = live
        self.lock = Lock()
        self.closed = Flag()
        self._width = width
        self._now = now
        self._rich = Rich(
            width=WIDE,
            force_terminal=colours,
            color_system="auto" if colours else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            _environ=dict(environ),
        )
        self._lines = Telling(folds=folds)
        self._quiet_until = 0.0
        self._ticks = 0
        self._step: str | None = None
        self._step_began = 0.0
        self._transfer: Transfer | None = None

    def __call__(self, event: Fields) -> str:
        """Returns the text for an event, with the live line below it."""
        with self.lock:
            self._rich.width = self._width()
            with self._rich.capture() as captured:
                self._note(event)
                if not self.live or event.get("event") != "transfer_progressed":
                    for line in self._lines(event):
                        self._put(line)
            self._quiet_until = self._now() + QUIET
            return self._with_live_line(captured.get())

    def foreign(self, line: str) -> str:
        """Returns the text for a line that is no event: it is shown as it is, less what would draw over ours."""
        with self.lock:
            self._quiet_until = self._now() + QUIET
            return self._with_live_line(printable(line.rstrip("\r\n")) + "\n")

    def end(self) -> str:
        """Returns the text for a stream that has ended, wherever in a run that was: the live line goes."""
        with self.lock:
            self.closed.set()
            self._step = None
            return CLEAR if self.live else ""

    def drawing(self) -> str:
        """Returns the live line anew, or nothing while events are being written."""
        if self._now() < self._quiet_until or self._step is None:
            return ""
        self._ticks += 1
        self._rich.width = self._width()
        return CLEAR + self._live_line()

    def _with_live_line(self, text: str) -> str:
        if not self.live:
            return text
        return CLEAR + text + (self._live_line() if self._step is not None else "")

    def _live_line(self) -> str:
        """Returns one line, never as wide as the window: a full one would wrap, and could not be taken back."""
        room = self._rich.width - 1
        with self._rich.capture() as captured:
            if self._transfer is not None:
                self._rich.print(self._transfer.line(), width=room)
            else:
                text = Text(f"{SPINNER[self._ticks % len(SPINNER)]} ", style="cyan")
                text.append(f"{self._step}  {seconds(self._now() - self._step_began)}", style="default")
                text.truncate(room, overflow="ellipsis")
                self._rich.print(text, no_wrap=True, overflow="crop")
        return captured.get().rstrip("\n")

    def _note(self, event: Fields) -> None:
        """Takes note of what the live line shows from here on."""
        match event.get("event"):
            case "step_started":
                self._step, self._step_began, self._transfer = str(event.get("step")), self._now(), None
            case "step_finished" | "step_failed" | "release_finished":
                self._step = self._transfer = None
            case "transfer_started":
                self._transfer = Transfer(event, self._rich, self._now)
            case "transfer_progressed" if self._transfer is not None:
                self._transfer.hear(event)
            case "transfer_finished":
                self._transfer = None
        if event.get("event") == "release_finished":
            self.closed.set()

    def _put(self, line: Line) -> None:
        """Prints a line, wrapped behind its indent, which shrinks in a narrow window."""
        indent = " " * min(line.indent, self._rich.width // 10)
        glyph = f"{line.glyph} " if line.glyph else ""
        text = printable(line.text).rstrip()
        own = len(text) - len(text.lstrip(" "))
        hang = 0 if glyph else min(own, self._rich.width // 4) + HANG
        for number, piece in enumerate(wrapped(text, self._rich.width - len(indent + glyph), hang) or [""]):
            start = Text.assemble(indent, (glyph if not number else " " * len(glyph), line.style))
            whole = start + Text(piece, style="" if glyph else line.style)
            self._rich.print(whole if piece else "", no_wrap=True, overflow="ignore")


_WORDS = re.compile(r"\s*\S+")
_PARTS = re.compile(r".*[/\\.,:;=&?@_-]")
"""The place where a word that is longer than a line is broken: behind a sign between the parts of a path or a name."""


def wrapped(text: str, width: int, hang: int) -> list[str]:
    """Yields the text in lines of at most `width` columns, all but the first `hang` columns in.

    It is broken between words, or within one that would not fit on a line of its own, if it can be between its parts.
    """
    return list(_wrapped(text, width, hang))


def _wrapped(text: str, width: int, hang: int) -> Iterator[str]:
    line, empty = "", True
    for whole_word in _WORDS.findall(text):
        word = whole_word  # what is left of it
        while cell_len(line + word) > width:
            if cell_len(word.strip()) > width - hang:
                piece = _head(word, width - cell_len(line), whole=empty)
                line, word = line + piece, word[len(piece) :]
            if line.strip():
                yield line.rstrip()
            line, word, empty = " " * hang, word.lstrip(), True
        line, empty = line + word, False
    if line.strip():
        yield line


def _head(word: str, room: int, *, whole: bool) -> str:
    """Returns as much of a word as fits.

    On a line that has other words already, that is only up to the end of a part.
    """
    room = max(room, 2 if whole else 0)  # a sign may be two columns wide, and one has to go
    fits = chop_cells(word[:room], room)[0] if room else ""
    parts = _PARTS.match(fits)
    return parts[0] if parts and parts[0].strip() else fits if whole else ""
