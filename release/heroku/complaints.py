"""What pg_restore complained of, read from a transfer's log.

Heroku runs pg_restore without `--exit-on-error`, so a transfer that succeeded may have ignored errors, which its
`warnings` count. Their number says nothing: a dump of a real Heroku database holds event triggers that its own
credential may not create, and a table whose rows are lost is one error as well. So the log is read, and what each error
was about decides.

Text is all there is. pg_restore names the entry of the dump's table of contents once (`from TOC entry 3; 0 16403 TABLE
DATA learners owner`), then the error, and below it what it had wanted to do (`Command was: …`); before version 12 the
errors began otherwise (src/bin/pg_dump/pg_backup_archiver.c, `warn_or_exit_horribly`, `ahlog`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

_ENTRY: Final = re.compile(r"[Ff]rom TOC entry \d+; \d+ \d+ (.*)$")
_ERROR: Final = re.compile(r"pg_restore: (?:error: |\[[^\]]+\] )(.*)")
_TABLE: Final = re.compile(r'COPY failed for table "(.+?)":')
_LOADING: Final = re.compile(r'pg_restore: processing data for table "(.+)"')
"""Said before each table, by --verbose: the only line that tells tables of one name in two schemas apart."""

_COMMAND: Final = re.compile(r"\s*Command was: (.*)")
_SUMMARY: Final = ("errors ignored on restore", "warning: errors ignored")

_DATA: Final = ("TABLE DATA", "BLOB", "BLOBS", "BLOB DATA", "LARGE OBJECTS")
"""Entries of the table of contents that are rows."""

_LOST: Final = (
    "COPY failed",
    "error returned by PQputCopy",
    "could not write to large object",
    "could not create large object",
    "server closed the connection",
    "terminating connection",
    "connection to server",
)
"""Complaints after which rows are missing."""

SHOWN: Final = 300
"""Characters of a complaint that are kept."""


class Complaint(msgspec.Struct, frozen=True):
    """One error that pg_restore ignored: `about` is the entry or the command, `error` the server's words.

    `fatal`: rows are missing; `table`: of which table, where that is said.
    """

    about: str
    error: str
    fatal: bool = False
    table: str | None = None

    def __str__(self) -> str:
        return f"{self.about}: {self.error}" if self.about else self.error


def complaints(lines: Iterable[str]) -> list[Complaint]:
    """All that a restore's log complains of, in its order."""
    return list(_complaints(lines))


def _complaints(lines: Iterable[str]) -> Iterator[Complaint]:
    entry, error, command, loading = "", "", "", ""
    for line in lines:
        named, said, loads = _ENTRY.search(line), _ERROR.match(line), _LOADING.match(line)
        if (named or said or loads) and error:
            yield _complaint(entry, error, command, loading)
            error, command = "", ""
        if loads:
            loading = loads[1]
        if named:
            entry = named[1]
        elif said and not any(word in line for word in _SUMMARY):
            error = said[1]
        elif error and not command and (found := _COMMAND.match(line)):
            command = found[1]
    if error:
        yield _complaint(entry, error, command, loading)


def _complaint(entry: str, error: str, command: str, loading: str) -> Complaint:
    fatal = entry.startswith(_DATA) or any(word in error for word in _LOST)
    words = error.removeprefix("could not execute query: ").removeprefix("ERROR:").strip()
    return Complaint(
        about=(command or entry)[:SHOWN],
        error=words[:SHOWN],
        fatal=fatal,
        table=_table(entry, error, loading),
    )


def _table(entry: str, error: str, loading: str) -> str | None:
    """The table that an error is about, with its schema where the log tells."""
    found = _TABLE.search(error)
    if found is None and not entry.startswith("TABLE DATA "):
        return None
    name = found[1] if found else entry.removeprefix("TABLE DATA ").rpartition(" ")[0]
    return loading if loading.endswith(f".{name}") else name
