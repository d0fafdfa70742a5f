"""The lines of a log that is read again: JSON, with whatever a terminal, `heroku logs` or a drain has put around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from release.log.events import Event

# CSI sequences (colours, cursor), OSC sequences (titles, links), other escapes, and control characters; tabs and
# newlines stay.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def parse(line: str) -> Mapping[str, Any] | None:
    """Returns the event in a line, whatever stands before it; None for a line that holds none.

    A child's output cannot pass for an event: it stands inside one, as the text of a `command_output`.
    """
    begin = line.find('{"timestamp"')  # as this hook writes it; a prefix before it may hold a brace of its own
    begin = line.find("{") if begin < 0 else begin
    if begin < 0:
        return None
    try:
        event = msgspec.json.decode(line[begin:].strip())
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    if not isinstance(event, dict) or not all(isinstance(event.get(name), str) for name in ("timestamp", "event")):
        return None
    return event if event["event"] in EVENTS or "run_id" in event else None


EVENTS = frozenset(map(str, Event))
"""The names of all events that this version writes."""


def whole_lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yields the lines of a stream that comes in pieces, each once it is whole."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")


def printable(text: str) -> str:
    """Removes terminal escapes and control characters: what a child prints must not draw over what is ours."""
    return _ESCAPES.sub("", text.expandtabs(4))
