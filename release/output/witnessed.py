"""What the witness saw of a migration, in words: from the fields of `migration_witnessed`.

Statements come from the app and may hold any characters. What cannot be printed, or would turn the text around it, is
shown as an escape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from release.output.words import count, seconds

Fields = Mapping[str, Any]

MOST = 5
"""Statements that are shown: as many as the event has."""
NAMED = 3
"""Tables that are named in a line."""
NOTICED = 1.0
"""Seconds from which on a statement is worth a line while a run is watched."""
OFF = "RELEASE_WITNESS=off"
"""The only reason of a run that was to have no witness."""
A_TENTH = 0.0995
"""Seconds below which a duration is told in milliseconds, or not at all."""
LARGEST = 1e15
"""What a number of the event may be; a log that somebody made up may have longer ones."""

_ENDINGS = (
    ("committed", "committed"),
    ("rolled_back", "rolled back"),
    ("read", "only read"),
    ("unknown", "without a last word"),
)
"""How transactions end, as the event's fields and as people say it."""


class Statement(NamedTuple):
    """A statement without its values; `seconds` and `rows` are None where they are not known."""

    shape: str
    seconds: float | None
    rows: int | None

    @property
    def took(self) -> str:
        """How long it took, in words."""
        if self.seconds is not None and self.seconds < A_TENTH:
            return f"{self.seconds * 1000:.0f} ms"
        return seconds(self.seconds)

    def __str__(self) -> str:
        """All of it in a line: `41 s, 120,000 rows: UPDATE learners SET points = ?`."""
        rows = "" if self.rows is None else f", {count(self.rows, 'row')}"
        return f"{self.took}{rows}: {self.shape}"


def summary(event: Fields) -> str:
    """Says in a line what the sessions did: how their transactions ended, and how long they waited for locks."""
    where = "the copy" if event.get("rehearsal") else "database"
    if _is_off(event):
        return f"{where}: what was committed was not watched ({OFF})"
    return f"{where}: {', '.join(_parts(event))}"


def _parts(event: Fields) -> Iterator[str]:
    yield count(_whole(event, "sessions"), "session") if _whole(event, "sessions") else "no session"
    if event.get("verdict") == "nothing":
        yield "nothing was committed"
    elif event.get("verdict") == "unknown":
        yield "what was committed is not known"
    yield from _transactions(event)
    for name in ("statement", "error"):
        if number := _whole(event, f"{name}s"):
            yield count(number, name)
    if (waited := _number(event.get("lock_wait")) or 0) >= A_TENTH:
        yield f"{seconds(waited)} waiting for locks"
    if written := _texts(event, "written"):
        more = [f"{len(written) - NAMED} more"] if len(written) > NAMED else []
        yield f"wrote to {' and '.join([*written[:NAMED], *more])}"
    for name in _texts(event, "elsewhere"):
        yield f"something was committed in {name}, too"


def _transactions(event: Fields) -> Iterator[str]:
    """Yields `2 transactions committed`, `1 rolled back`, and so on, of those that there were."""
    noun = True
    for name, words in _ENDINGS:
        if number := _whole(event, name):
            yield f"{count(number, 'transaction') if noun else f'{number:,}'} {words}"
            noun = False


def doubts(event: Fields) -> list[str]:
    """Says why it is not known whether anything was committed; nothing where it is known."""
    if event.get("verdict") != "unknown" or _is_off(event):
        return []
    return [f"not known: {text}" for text in _texts(event, "why") or ["the witness does not say why"]]


def _is_off(event: Fields) -> bool:
    """Whether somebody has decided that there is no witness: that is no doubt to be warned of."""
    return _texts(event, "why") == [OFF] and not _whole(event, "sessions")


def slowest(event: Fields) -> list[Statement]:
    """Returns the slowest statements, the slowest first; none for another event."""
    found = event.get("slowest") if event.get("event") == "migration_witnessed" else None
    return [
        Statement(visible(each.get("shape") or "-"), _number(each.get("seconds")), _rows(each.get("rows")))
        for each in (found if isinstance(found, list) else [])[:MOST]
        if isinstance(each, dict)
    ]


def visible(text: object) -> str:
    r"""Returns a text on one line, with what is not printable as an escape: a bell as `\x07`."""
    line = " ".join(str(text).split())
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)


def _texts(event: Fields, name: str) -> list[str]:
    found = event.get(name)
    return [visible(each) for each in found] if isinstance(found, list) else []


def _number(value: object) -> float | None:
    """Returns a number of a log that anybody may have written; None for anything else."""
    return float(value) if isinstance(value, int | float) and 0 <= value < LARGEST else None


def _rows(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _whole(event: Fields, name: str) -> int:
    return int(_number(event.get(name)) or 0)
