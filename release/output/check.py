"""Whether an app is ready, as facts and as text for people: a line for each thing looked at, and a last one."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from textwrap import wrap

from msgspec import Struct, field

from release.errors import Outcome
from release.output.words import sentence

LABEL = 11
"""Columns of what a line is about."""


class State(StrEnum):
    """How something is: as it should be; to be looked at; in the way; not known, which is in nobody's way."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"


GLYPHS = {State.GOOD: "✓", State.WARNING: "!", State.BAD: "✗", State.UNKNOWN: "?"}


class Item(Struct, kw_only=True, frozen=True):
    """One thing that was looked at. `reason` is the slug of what a release would be refused with."""

    about: str
    state: State
    text: str
    hint: str = ""
    reason: str | None = None


class Checked(Struct, kw_only=True):
    """What was found, in the order in which it was looked at."""

    app: str | None = None
    backup: bool = True
    items: list[Item] = field(default_factory=list)

    @property
    def bad(self) -> list[Item]:
        """What is in the way."""
        return [item for item in self.items if item.state is State.BAD]

    @property
    def exit_code(self) -> int:
        """0 when the app is ready, else what a refused release exits with."""
        return Outcome.REFUSED.exit_code if self.bad else 0


def verdict(checked: Checked) -> str:
    """Says in one sentence whether the app is ready."""
    if checked.bad:
        more = len(checked.bad) - 1
        others = f" (and {more} more)" if more else ""
        return f"Not yet, because {sentence(_within(checked.bad[0].text).rstrip('.') + others)}"
    if not checked.backup:
        return "Ready, but nothing would be undone: RELEASE_BACKUP=off."
    return f"Ready: a release of {checked.app or 'this app'} is backed up first, and undone when it fails."


def _within(text: str) -> str:
    """Returns a sentence as it stands within another one: with a small letter, unless it begins with a name."""
    first = text.partition(" ")[0]
    return text if first == "Heroku" or not first.isalpha() or not first[1:].islower() else text[0].lower() + text[1:]


def as_text(checked: Checked, *, width: int) -> str:
    """Returns the text, in lines of at most `width` columns."""
    return "\n".join([*_lines(checked, width), "", *_wrapped(verdict(checked), "", "", width)]) + "\n"


def _lines(checked: Checked, width: int) -> Iterator[str]:
    if checked.app:
        yield checked.app
        yield ""
    for item, after in zip(checked.items, [*checked.items[1:], None], strict=True):
        head, room = f"{GLYPHS[item.state]} {item.about:{LABEL}} ", " " * (LABEL + 3)
        yield from _wrapped(item.text, head, room, width)
        if item.hint and (after is None or after.hint != item.hint):
            yield from _wrapped(item.hint, f"{room}→ ", f"{room}  ", width)


def _wrapped(text: str, head: str, room: str, width: int) -> list[str]:
    """Wraps a text; what is to be typed is never broken within a word."""
    return wrap(
        text, width, initial_indent=head, subsequent_indent=room, break_long_words=False, break_on_hyphens=False
    )
