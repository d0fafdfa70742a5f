"""An index: a file in which a framework lists its migrations. It is read where no command tells what is pending."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from release.app.answers import Entry

DEPTH = 3
"""Folders below the app's own in which an index is looked for."""


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """An index. `file` is the end of its path.

    `read` returns the entries of the history that the migrations in it will have. They are numbers, which grow. It
    returns None where the file is none of this framework's, or of another database.
    """

    file: str
    read: Callable[[bytes], set[Entry] | None]

    def entries(self, folder: Path) -> set[Entry] | None:
        """Returns what the one index in the app's folder lists; None where there is none, or there are several."""
        found = [entries for path in _files(folder, self.file) if (entries := self.read(path.read_bytes())) is not None]
        return found[0] if len(found) == 1 else None


def _files(folder: Path, end: str) -> Iterator[Path]:
    for path, folders, _ in os.walk(folder):
        if (file := Path(path, end)).is_file():
            yield file
        deep = len(Path(path).relative_to(folder).parts) >= DEPTH
        folders[:] = [] if deep else [name for name in folders if name != "node_modules" and not name.startswith(".")]


def is_pending(known: set[Entry] | None, applied: list[Entry]) -> bool | None:
    """Tells whether a migration is younger than all that were applied; None: the index is not that of this history."""
    if known is None or (applied and known.isdisjoint(applied)):
        return None
    return _youngest(known) > _youngest(applied)


def _youngest(entries: set[Entry] | list[Entry]) -> int:
    return max((int(number) for number, *_ in entries if number.isdigit()), default=-1)


class _Listed(msgspec.Struct):
    when: int


class _Journal(msgspec.Struct):
    dialect: str
    entries: list[_Listed]


def drizzle_journal(content: bytes) -> set[Entry] | None:
    """Reads Drizzle's journal: the time of a migration is its `created_at` in the history."""
    try:
        journal = msgspec.json.decode(content, type=_Journal)
    except msgspec.DecodeError:
        return None
    return {(str(listed.when),) for listed in journal.entries} if journal.dialect == "postgresql" else None
