"""What a terminal shows: the steps as they happen, with the time gone by, and an end in two sentences.

A `Console` turns events into text. On a live terminal the text ends with one line that stays at the bottom and is drawn
again and again: the step under way, its time, a bar for a transfer. A thread does that between the events; it never
waits for the terminal, and it is silent for a moment around every event, whose text the log's own writer writes.

`follow` does the same for a stream of JSON lines that somebody else's run has written.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any

from rich.console import Console as Rich
from rich.text import Text

from release.output.lines import parse, printable
from release.output.show import Line, lines
from release.output.words import seconds, size

EVERY = 0.125
"""Seconds between two drawings of the live line."""
QUIET = 0.15
"""Seconds around an event in which the live line is left alone."""
CLEAR = "\r\x1b[2K"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
NARROW = 24
WIDE = 100
"""Columns: nothing is drawn wider, so that lines stay readable and a drawing stays below 256 bytes or so."""

Fields = Mapping[str, Any]


def open_console(fd: int, environ: Mapping[str, str]) -> Console:
    """A console for a file descriptor, live where that is a terminal that can be drawn on."""
    terminal = os.isatty(fd)
    console = Console(
        width=lambda: _columns(fd, environ),
        environ=environ,
        colours=terminal,
        live=terminal and environ.get("TERM", "") not in {"", "dumb"},
    )
    if console.live:
        Thread(target=_draw, args=(console, fd), daemon=True).start()
    return console


def follow(log: Iterable[str], fd: int, environ: Mapping[str, str]) -> None:
    """Shows a stream of JSON lines on a file descriptor as it comes; lines that are no events are passed on."""
    console = open_console(fd, environ)
    for line in log:
        event = parse(line)
        text = console(event) if event is not None else console.foreign(line)
        with memoryview(text.encode("utf-8", "replace")) as view:
            written = 0
            while written < len(view):
                written += os.write(fd, view[written:])
    console.closed.set()


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
    while not console.closed.wait(EVERY):
        with console.lock:
            text = console.drawing()
            try:
                if text and poll.poll(0):
                    os.write(fd, text.encode("utf-8", "replace"))
            except OSError:
                return


class Console:
    """Turns events into text. `width` is asked anew each time: windows are dragged."""

    def __init__(
        self,
        *,
        width: Callable[[], int],
        environ: Mapping[str, str],
        colours: bool,
        live: bool,
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
        self._began = self._now()
        self._quiet_until = 0.0
        self._ticks = 0
        self._step: str | None = None
        self._step_began = 0.0
        self._transfer: dict[str, Any] | None = None

    def __call__(self, event: Fields) -> str:
        """The text for an event, with the live line below it."""
        with self.lock:
            self._rich.width = self._width()
            with self._rich.capture() as captured:
                self._note(event)
                if not self.live or event.get("event") != "transfer_progressed":
                    for line in lines(event):
                        self._put(line)
            self._quiet_until = self._now() + QUIET
            return self._with_live_line(captured.get())

    def foreign(self, line: str) -> str:
        """The text for a line that is no event: it is shown as it is, less what would draw over ours."""
        with self.lock:
            self._quiet_until = self._now() + QUIET
            return self._with_live_line(printable(line.rstrip("\r\n")) + "\n")

    def drawing(self) -> str:
        """The live line anew, or nothing while events are being written."""
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
        """One line, never as wide as the window: a full one would wrap, and could not be taken back."""
        room = self._rich.width - 1
        with self._rich.capture() as captured:
            text = Text(f"{SPINNER[self._ticks % len(SPINNER)]} ", style="cyan")
            if self._transfer is None:
                text.append(f"{self._step}  {seconds(self._now() - self._step_began)}", style="default")
                self._put_one_line(text, room)
            else:
                self._put_transfer(text, room, self._transfer)
        return captured.get()

    def _put_transfer(self, text: Text, room: int, transfer: Fields) -> None:
        gone = self._now() - transfer["began"]
        done, of, words = _estimate(transfer, gone)
        text.append(f"{transfer['kind']} {transfer['transfer']} ", style="default")
        said = Text(f" {words}", style="default")
        bar = room - text.cell_len - said.cell_len
        if bar >= 8:  # noqa: PLR2004 -- below that a bar says nothing
            bar = min(bar, 30)
            filled = int(bar * done / of) if of else 0
            text.append("━" * filled, style="cyan").append("─" * (bar - filled), style="dim")
            self._rich.print(text + said, end="")
        else:
            self._put_one_line(text + said, room)

    def _put_one_line(self, text: Text, room: int) -> None:
        text.truncate(room, overflow="ellipsis")
        self._rich.print(text, end="", no_wrap=True, overflow="crop")

    def _note(self, event: Fields) -> None:
        """What the live line shows from here on."""
        match event.get("event"):
            case "step_started":
                self._step, self._step_began, self._transfer = str(event.get("step")), self._now(), None
            case "step_finished" | "step_failed" | "release_finished":
                self._step = self._transfer = None
            case "transfer_started":
                names = ("kind", "transfer", "expected", "expected_bytes")
                self._transfer = {name: event.get(name) for name in names} | {"began": self._now(), "bytes": 0}
            case "transfer_progressed" if self._transfer is not None:
                self._transfer["bytes"] = max(self._transfer["bytes"], event.get("bytes") or 0)
            case "transfer_finished":
                self._transfer = None
        if event.get("event") == "release_finished":
            self.closed.set()

    def _put(self, line: Line) -> None:
        """A line, wrapped behind its indent, which shrinks in a narrow window."""
        indent = " " * min(line.indent, self._rich.width // 10)
        glyph = f"{line.glyph} " if line.glyph else ""
        text = Text(printable(line.text), style="" if line.glyph else line.style)
        for number, piece in enumerate(text.wrap(self._rich, self._rich.width - len(indent + glyph)) or [text]):
            piece.rstrip()
            start = Text.assemble(indent, (glyph if not number else " " * len(glyph), line.style))
            self._rich.print(start + piece if glyph or indent else piece)


def _estimate(transfer: Fields, gone: float) -> tuple[float, float | None, str]:
    """Done, whole, and both in words: by bytes where they move, else by the time that it took earlier."""
    expected, whole, moved = transfer["expected"], transfer["expected_bytes"], transfer["bytes"]
    left = f", about {seconds(expected - gone)} left" if expected and expected > gone else ""
    if whole and moved:
        return min(moved, whole * 0.99), whole, f"{size(moved)} of about {size(whole)}, {seconds(gone)}{left}"
    return (min(gone, expected * 0.99) if expected else 0), expected, f"{size(moved)}, {seconds(gone)}{left}"
