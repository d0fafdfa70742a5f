"""What frameworks answer, and how it is read. Exit codes alone do not tell an answer from a crash.

A reader makes a fact of an answer. Readers are columns of the table of frameworks; those that several rows share, and
those that need more than a line, are here. They compile no pattern before there is an answer.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct, field

T = TypeVar("T")

Entry = tuple[str, ...]
"""A migration as the history table identifies it: its columns, such as (app, name)."""


LAST = 1000
"""Lines of stderr that are looked at for a crash."""


class Answer(Struct, kw_only=True):
    """A command's answer: its exit code (None when it did not start or did not end), and all lines of both streams.

    `errors` has the last lines of stderr alone.
    """

    exit_code: int | None = None
    lines: list[str] = field(default_factory=list)
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=LAST))

    def hear(self, stream: str, lines: Sequence[str]) -> None:
        """Takes lines as they come."""
        self.lines += lines
        self.hear_errors(stream, lines)

    def hear_errors(self, stream: str, lines: Sequence[str]) -> None:
        """Takes the lines of stderr alone."""
        if stream == "stderr":
            self.errors.extend(lines)


class Question(Struct, Generic[T], frozen=True):
    """A question to a framework: words of a command that changes nothing, and the reader of its answer.

    `whole`: the words are the whole command, without the framework's tool before them. `ambiguous`: a crash may have
    the exit code of an answer. `name`: what people call it, where the words are a script.
    """

    words: tuple[str, ...]
    read: Callable[[Answer], T]
    whole: bool = False
    ambiguous: bool = False
    name: str | None = None


# Is something pending? None: the answer does not tell.


def exit_code(*something: int) -> Callable[[Answer], bool | None]:
    """Makes a reader of exit codes: 0 says that nothing is pending, `something` that a migration is."""
    meanings: dict[int | None, bool] = {0: False, **dict.fromkeys(something, True)}
    return lambda answer: meanings.get(answer.exit_code)


def said(*, something: str, nothing: str, exit_codes: Sequence[int] = (0,)) -> Callable[[Answer], bool | None]:
    """Makes a reader of lines: one that matches `something` says that a migration is pending.

    Else one that matches `nothing` says that none is. A command that ended with none of `exit_codes` has not answered.
    """

    def answered(answer: Answer) -> bool | None:
        if answer.exit_code not in exit_codes:
            return None
        if any(re.search(something, line) for line in answer.lines):
            return True
        return False if any(re.search(nothing, line) for line in answer.lines) else None

    return answered


# Are migrations missing? A change, or a line, each; None: the answer does not tell.


def changes(
    *exit_codes: int, says: str, read: Callable[[Sequence[str]], list[str]] | None = None
) -> Callable[[Answer], list[str] | None]:
    """Makes a reader of changes.

    0 says that no migration is missing. One of `exit_codes` says that some are, when a line matches the pattern `says`
    too.
    """
    read = read or _all_lines

    def answered(answer: Answer) -> list[str] | None:
        if answer.exit_code == 0:
            return []
        told = answer.exit_code in exit_codes and any(re.search(says, line) for line in answer.lines)
        return read(answer.lines) if told else None

    return answered


def _all_lines(lines: Sequence[str]) -> list[str]:
    return [line.strip() for line in without_log(lines)]


_LOGGED = re.compile(r"(?:INFO|DEBUG)\s+\[[\w.]+\] ")
"""How a line begins that Alembic logs, as its own template of alembic.ini has it: it says how it works, not what is."""


def without_log(lines: Sequence[str]) -> list[str]:
    """Returns the lines that say something, without those that a tool only logs."""
    return [line for line in lines if line.strip() and not _LOGGED.match(line)]


# Which migrations does the code have?


def listed(pattern: str) -> Callable[[Answer], set[Entry]]:
    """Makes a reader of the entries in the lines that begin with the pattern.

    Its groups are the history table's columns.
    """
    return lambda answer: {match.groups() for line in answer.lines if (match := re.match(pattern, line))}


def denied(pattern: str, *, separator: str | None = None) -> Callable[[Answer], set[Entry]]:
    """Makes a reader of the entries that a command which failed says it does not know.

    The pattern is as in `listed`, but may match anywhere in a line. With a separator its one group is many entries.
    """

    def answered(answer: Answer) -> set[Entry]:
        if answer.exit_code == 0:
            return set()
        found = {match.groups() for line in answer.lines if (match := re.search(pattern, line))}
        return {(name,) for (names,) in found for name in names.split(separator)} if separator else found

    return answered


# Alembic's list of operations.

_OPERATIONS = "New upgrade operations detected: "
_OWN_SCHEMA = re.compile(
    r"^\('remove_table', .*, schema='release_phase'\)\)$|^\[?\('\w+', 'release_phase', ", re.DOTALL
)
"""Alembic's words for a table of the journal, and for a part of one."""
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<comma>,)""", re.DOTALL
)
SHOWN_OPERATION = 300
"""Characters of an operation that are shown."""


def operations(lines: Sequence[str]) -> list[str]:
    """Returns the operations in the list that Alembic prints, one text for each.

    Returns all lines when no list can be read to its end.

    Alembic with `include_schemas` sees the hook's own journal, which is no change of the app's: it is left out.
    """
    printed = _operations(lines)
    if printed is None:
        return _all_lines(lines)
    return [_short(operation) for operation in printed if not _OWN_SCHEMA.search(operation)]


def _operations(lines: Sequence[str]) -> list[str] | None:
    """Returns the operations as text; None when no list can be read to its end.

    Alembic prints the list as Python shows it, twice (as an error, and in the log), in a line that may come in pieces.
    """
    for place, line in enumerate(lines):
        _, heading, rest = line.partition(_OPERATIONS)
        if heading and (items := _items("".join([rest, *lines[place + 1 :]]))) is not None:
            return items
    return None


def _items(text: str) -> list[str] | None:
    """Returns the items of the list with which a text begins, as Python shows a list; None when it does not end."""
    if not text.startswith("["):
        return None
    depth, start, items = 0, 1, []
    for token in _TOKEN.finditer(text):
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        if depth == 0 or (depth == 1 and token.lastgroup == "comma"):
            items.append(text[start : token.start()].strip())
            start = token.end()
        if depth == 0:
            return [item for item in items if item]
    return None


def _short(operation: str) -> str:
    return operation if len(operation) <= SHOWN_OPERATION else f"{operation[:SHOWN_OPERATION]}…"
