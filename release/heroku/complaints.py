"""What pg_restore complained of, read from a transfer's log.

Heroku runs pg_restore without `--exit-on-error`, so a transfer that succeeded may have ignored errors, which its
`warnings` count. Their number says nothing: a dump of a real Heroku database holds event triggers that its own
credential may not create, and a table whose rows are lost is one error as well. So the log is read, and what each error
was about decides: a failed command is left to the proof, unless it loads rows; anything else may have cost some.

Text is all there is. pg_restore names the entry of the dump's table of contents once (`from TOC entry 3; 0 16403 TABLE
DATA learners owner`), then the error, and below it what it had wanted to do (`Command was: …`); before version 12 the
errors began otherwise (src/bin/pg_dump/pg_backup_archiver.c, `warn_or_exit_horribly`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

_STAGE: Final = re.compile(r"pg_restore: (?:\[[^\]]+\] Error )?while [A-Z ]+:")
_ENTRY: Final = re.compile(r"pg_restore: (?:\[[^\]]+\] Error )?from TOC entry \d+; \d+ \d+ (.*)")
_ERROR: Final = re.compile(r"pg_restore: (?:error: |fatal: |\[[^\]]+\] (?!WARNING: ))(.*)")
_LEFT_OUT: Final = re.compile(r'pg_restore: (table "(.+)" could not be created, will not restore its data)')
"""How its lines begin; all but the second kind of error (before version 12) from version 12 on."""

_TABLE: Final = re.compile(r'COPY failed for table "(.+?)":')
_LOADING: Final = re.compile(r'pg_restore: processing data for table "(.+)"')
"""A line before each table (pg_restore --verbose). Only it tells tables of one name in two schemas apart."""

_COMMAND: Final = re.compile(r"\s*Command was: (.*)")

_DATA: Final = ("TABLE DATA ", "BLOB", "LARGE OBJECTS")
"""Entries of the table of contents that are rows; BLOB, BLOBS and BLOB METADATA (version 17) begin alike."""

_COMMAND_FAILED: Final = re.compile(r"could not execute query: ERROR: |could not set ")
"""The server refused a command, and the next one was sent. FATAL, or words of the client's, end the session instead."""

_VALUE: Final = re.compile(r'(: |\bvalue )".*"(?=$| is out of range)')
"""A place where the server's words quote a value of somebody's row."""

SHOWN: Final = 300
"""Characters of a complaint that are kept."""


class Complaint(Struct, frozen=True, kw_only=True):
    """One error that pg_restore ignored: `error` is the server's words, without values of rows.

    `about`: the entry, or outside of any the command, which may hold a password (CREATE SUBSCRIPTION) and is said there
    only. `fatal`: rows are missing, or may be; `table`: of which table, where that is said.
    """

    about: str
    error: str
    fatal: bool = False
    table: str | None = None

    def __str__(self) -> str:
        return f"{self.about}: {self.error}" if self.about else self.error


def complaints(messages: Iterable[str]) -> list[Complaint]:
    """Returns all that a restore's log complains of, in its order. A message may be of several lines."""
    return list(_complaints(line for message in messages for line in message.splitlines()))


def _complaints(lines: Iterable[str]) -> Iterator[Complaint]:
    """Yields each error once the line after it shows that it is complete: its command stands below it."""
    entry, error, command, loading = "", "", "", ""
    for line in lines:
        named, left_out, loads = _ENTRY.match(line), _LEFT_OUT.match(line), _LOADING.match(line)
        begins = _STAGE.match(line)
        said = None if named or begins or loads else _ERROR.match(line)
        if error and (named or begins or said or left_out or loads):
            yield _complaint(entry, error, command, loading)
            error, command = "", ""
        loading = loads[1] if loads else loading
        if named or begins:
            entry = named[1] if named else ""
        elif left_out:
            yield Complaint(about=f"TABLE DATA {left_out[2]}", error=left_out[1], fatal=True, table=left_out[2])
        elif said:
            error = said[1]
        elif error and not command and (wanted := _COMMAND.match(line)):
            command = wanted[1]
    if error:
        yield _complaint(entry, error, command, loading)


def _complaint(entry: str, error: str, command: str, loading: str) -> Complaint:
    words = error.removeprefix("could not execute query: ").removeprefix("ERROR:").strip()
    return Complaint(
        about=(entry or command).strip()[:SHOWN],
        error=_VALUE.sub(r'\1"…"', words)[:SHOWN],
        fatal=entry.startswith(_DATA) or not _COMMAND_FAILED.match(error),
        table=_table(entry, error, loading),
    )


def _table(entry: str, error: str, loading: str) -> str | None:
    """Returns the table that an error is about, with its schema where the log tells."""
    if table := _TABLE.search(error):
        name = table[1]
    elif entry.startswith("TABLE DATA "):
        words, _, owner = entry.removeprefix("TABLE DATA ").rpartition(" ")
        name = words or owner
    else:
        return None
    return loading if loading.endswith(f".{name}") else name
