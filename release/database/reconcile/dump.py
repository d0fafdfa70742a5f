r"""The rows in a dump, as pg_restore writes them out: table by table, as a stream, in memory that does not grow.

pg_restore turns a dump into SQL (`--file=-`), in which a table is one COPY: its head with the columns, a line a row,
and `\.` at the end. A row never holds a newline in COPY's text format, so the end can be found without reading the
rows.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from release.errors import Reason, Refused, StepFailed

PIECE: Final = 256 * 1024
"""Bytes that are read at once."""

HEAD: Final = 256 * 1024
"""Bytes that the text between two tables may have. PostgreSQL's 1,600 columns of 63 bytes fit."""

LIST_WITHIN: Final = 300
"""Seconds that pg_restore may take to read the table of contents."""

OTHER_PLACES: Final = Path("/usr/lib/postgresql")
"""Where Debian, and Heroku's images, keep PostgreSQL's programs, by major version. They are not on PATH there."""

END: Final = b"\n\\.\n"

_COPY = re.compile(rb"^COPY (.+) \((.+)\) FROM stdin;\n", re.MULTILINE)
_ENCODING = re.compile(rb"^SET client_encoding = '([\w-]+)';", re.MULTILINE)
_IDENTIFIER = re.compile(r'"((?:[^"]|"")+)"|([^\s,."]+)')
_ENTRY = re.compile(r"^\d+; \d+ \d+ TABLE DATA ")

Name = tuple[str, str]
"""A schema and a table."""


class Dump(Struct, frozen=True, kw_only=True):
    """A dump on disk, the pg_restore that can read it, and the lines of its table of contents."""

    path: Path
    program: Path
    contents: tuple[str, ...]

    def holds(self, name: Name) -> bool:
        """Says whether it may hold the rows of a table. The table of contents does not quote names."""
        return any(_is_of(line, name) for line in self.contents)

    def without(self, names: Collection[Name]) -> list[str]:
        """Lists the tables that it holds beyond those of the names, but not Heroku's own and the journal."""
        entries = [line[found.end() :] for line in self.contents if (found := _ENTRY.match(line))]
        known = tuple(f"{schema} {table} " for schema, table in names)
        return [
            ".".join(entry.rsplit(" ", 1)[0].split(" ", 1))
            for entry in entries
            if not entry.startswith((*known, "release_phase ", "_heroku "))
        ]

    @property
    def large_objects(self) -> bool:
        """Whether it holds large objects."""
        return any(re.match(r"^\d+; \d+ \d+ (BLOBS|BLOB METADATA) ", line) for line in self.contents)


class Copied(Struct, frozen=True, kw_only=True):
    """The rows of one table: its name, the columns in their order, the text's encoding, and the bytes of COPY's format.

    `pieces` has to be read to its end before the next table comes.
    """

    name: Name
    columns: tuple[str, ...]
    encoding: str
    pieces: Iterator[bytes]


def programs(path: str) -> list[Path]:
    """Lists every pg_restore at hand, the one on PATH first, then Debian's, newest first.

    Raises Refused (no_pg_restore) where there is none.
    """
    first = shutil.which("pg_restore", path=path)
    others = sorted(OTHER_PLACES.glob("*/bin/pg_restore"), key=_major, reverse=True)
    found = [Path(first)] if first else []
    found += [program for program in others if program not in found]
    if not found:
        raise Refused(Reason.NO_PG_RESTORE, f"neither on PATH nor below {OTHER_PLACES}")
    return found


def _major(program: Path) -> float:
    try:
        return float(program.parts[-3])
    except ValueError:
        return 0.0


def open_dump(path: Path, candidates: Collection[Path]) -> Dump:
    """Reads the table of contents with the first pg_restore that is new enough.

    Raises Refused (no_pg_restore) where none is, and StepFailed (dump_unreadable) where the file is no whole dump.
    """
    for program in candidates:
        ended = subprocess.run(
            [program, "--list", str(path)],
            capture_output=True,
            timeout=LIST_WITHIN,
            check=False,
            env={"PATH": "", "LC_ALL": "C"},
        )
        if ended.returncode == 0:
            return Dump(path=path, program=program, contents=tuple(ended.stdout.decode("utf-8", "replace").split("\n")))
        if b"unsupported version" not in ended.stderr:  # text is all there is (pg_backup_archiver.c)
            raise _unreadable(path, ended.stderr)
    raise Refused(Reason.NO_PG_RESTORE, f"each of them is older than the server: {', '.join(map(str, candidates))}")


def _unreadable(path: Path, complaint: bytes) -> StepFailed:
    last = complaint.decode("utf-8", "replace").strip().splitlines()[-1:]
    return StepFailed(Reason.DUMP_UNREADABLE, f"{path}: {last[0][:300] if last else 'pg_restore says nothing'}")


@contextmanager
def copied(dump: Dump, names: Collection[Name]) -> Iterator[Iterator[Copied]]:
    """Streams the rows of those tables, in the dump's order. Raises StepFailed where the dump ends too early."""
    wanted = [line for line in dump.contents if any(_is_of(line, name) for name in names)]
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as entries, tempfile.TemporaryFile() as complaints:
        entries.write("\n".join(wanted) + "\n")
        entries.flush()
        argv = [str(dump.program), "--data-only", "--file=-", f"--use-list={entries.name}", str(dump.path)]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=complaints, env={"PATH": "", "LC_ALL": "C"})
        try:
            assert child.stdout  # noqa: S101 -- a pipe, as asked
            yield _tables(child.stdout, frozenset(names))
            if child.wait():
                complaints.seek(0)
                raise _unreadable(dump.path, complaints.read(100_000))
        finally:
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()


def _is_of(line: str, name: Name) -> bool:
    entry = _ENTRY.match(line)
    return bool(entry) and line[entry.end() :].startswith(f"{name[0]} {name[1]} ") if entry else False


def _tables(stream: IO[bytes], names: frozenset[Name]) -> Iterator[Copied]:
    """Yields each table that is wanted. What another table of a similar name holds is read past."""
    buffer, encoding = bytearray(), "UTF8"
    while True:
        if head := _COPY.search(buffer):
            if given := _ENCODING.search(buffer, 0, head.start()):
                encoding = given[1].decode()
            name, columns = _identifiers(head[1]), _identifiers(head[2])
            del buffer[: head.end()]
            rows = _rows(stream, buffer)
            if (name[0], name[-1]) in names:
                yield Copied(name=(name[0], name[-1]), columns=tuple(columns), encoding=encoding, pieces=rows)
            for _ in rows:  # what is left of it
                pass
            continue
        if len(buffer) > HEAD:
            if given := _ENCODING.search(buffer):
                encoding = given[1].decode()
            del buffer[: -HEAD // 2]
        piece = stream.read(PIECE)
        if not piece:
            return
        buffer += piece


def _rows(stream: IO[bytes], buffer: bytearray) -> Iterator[bytes]:
    """Yields a table's rows and leaves in the buffer what comes after them. Raises StepFailed at an early end."""
    buffer[:0] = b"\n"  # so that the end of an empty table is found, too
    first = True
    while (found := buffer.find(END)) < 0:
        safe = len(buffer) - len(END)
        if safe > first:
            yield bytes(memoryview(buffer)[first:safe])
            del buffer[:safe]
            first = False
        piece = stream.read(PIECE)
        if not piece:
            raise StepFailed(Reason.DUMP_UNREADABLE, "its rows end in the middle of a table")
        buffer += piece
    if found + 1 > first:
        yield bytes(memoryview(buffer)[first : found + 1])
    del buffer[: found + len(END)]


def _identifiers(text: bytes) -> list[str]:
    """Parses names as SQL writes them, quoted or not."""
    return [
        quoted.replace('""', '"') if quoted else plain
        for quoted, plain in _IDENTIFIER.findall(text.decode("utf-8", "replace"))
    ]
