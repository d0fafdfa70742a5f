"""What an app needs for the hook, as text for people: numbered parts, with what to type or to put into a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from release.output.words import sentence


class Part(Struct, kw_only=True, frozen=True):
    """One thing that the app needs. `code` is what to type or to put into a file; `done` where it has been written."""

    title: str
    notes: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    done: bool = False


def as_text(about: Sequence[str], parts: Sequence[Part], ending: str) -> str:
    """Returns the text: what was found, the parts, and how it stands now."""
    text = "\n".join([*_lines(about, parts), "", ending]) + "\n"
    return text.encode("utf-8", "replace").decode()  # a file of the app may hold anything


def _lines(about: Sequence[str], parts: Sequence[Part]) -> Iterator[str]:
    yield f"Found: {sentence(', '.join(about))}"
    for place, part in enumerate(parts, 1):
        yield ""
        yield f"{place}. {part.title}" + (" (written)" if part.done else "")
        yield from (f"   {note}" for note in part.notes)
        yield from (f"       {line}" for line in part.code)
