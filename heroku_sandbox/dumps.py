"""One run of pg_dump or pg_restore, as Heroku runs them: through pipes, verbose, watched and stoppable.

Neither `--exit-on-error` nor `--single-transaction` is among the flags: pg_restore ignores errors and counts them.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from heroku_sandbox.faults import TransferFault
from heroku_sandbox.names import TransferAction
from heroku_sandbox.postgres import variables
from heroku_sandbox.programs import tools
from heroku_sandbox.state import Transfer, now

_SESSION = "Heroku Postgres Backups"  # what Heroku's own sessions are called, whatever they do
_PIECE = 1 << 18
_DUMP = ("--format=custom", "--no-owner", "--no-privileges", "--verbose", "--exclude-schema=heroku_ext")
_RESTORE = ("--no-owner", "--no-privileges", "--verbose")
_EXTENSION = re.compile(r"^CREATE EXTENSION IF NOT EXISTS (\S+) WITH SCHEMA (\S+);$", re.MULTILINE)
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
_PARTIAL = (TransferAction.HALF, TransferAction.CANCEL, TransferAction.VANISH)


class Stopped(Exception):
    """The transfer was stopped; whoever stopped it has closed its record."""


class Failed(Exception):
    """The transfer has failed."""


@dataclass(slots=True, kw_only=True)
class Run:
    """A transfer at work: its fault if it has one, its log, and the way to stop it."""

    transfer: Transfer
    log: Path
    fault: TransferFault | None
    refresh_seconds: float
    """`processed_bytes` moves so often."""
    stopped: threading.Event = field(default_factory=threading.Event)
    child: subprocess.Popen[bytes] | None = None

    @property
    def action(self) -> TransferAction | None:
        """The fault's action: what is to go wrong."""
        return self.fault.action if self.fault else None

    def stop(self) -> None:
        """Ends it, wherever it is."""
        self.stopped.set()
        if self.child:
            self.child.kill()

    def raise_if_stopped(self) -> None:
        """Raises Stopped if it has been stopped."""
        if self.stopped.is_set():
            raise Stopped

    def pause(self, seconds: float | None) -> None:
        """Waits, for ever with None. Raises Stopped as soon as it is stopped."""
        if self.stopped.wait(seconds):
            raise Stopped

    def say(self, message: str) -> None:
        """Writes a line into the log."""
        with self.log.open("a") as log:
            log.write(f"{_stamp()} {message}\n")

    def dump(self, url: str, target: Path) -> None:
        """Dumps a database into a file. Raises Failed when pg_dump fails."""
        if self.action is TransferAction.FAIL:
            raise Failed("Could not connect to database to initialize transfer")
        if self.action is TransferAction.EMPTY:
            target.touch()
            return
        child = self._spawn(["pg_dump", *_DUMP], url, stdout=subprocess.PIPE)
        with child, target.open("wb") as file:
            reader = threading.Thread(target=self._keep_log, args=(child.stderr, []))
            reader.start()
            if child.stdout:
                self._pump(child.stdout, file.write)
            reader.join()
        self.raise_if_stopped()
        if child.returncode != 0:
            raise Failed(f"pg_dump exited with {child.returncode}")
        self.say("pg_dump done")

    def load(self, url: str, dump: IO[bytes]) -> int:
        """Loads a dump into a database. Returns how many errors pg_restore ignored; raises Failed when it gave up."""
        how: tuple[str, ...] = ()
        if self.action is TransferAction.KEEP_OBJECTS:
            how = ("--clean", "--if-exists")
        elif self.action in _PARTIAL:
            how = (f"--use-list={self._first_half(dump)}",)
        child = self._spawn(["pg_restore", *_RESTORE, *how, "--dbname="], url, stdin=subprocess.PIPE)
        lines: list[str] = []
        with child:
            reader = threading.Thread(target=self._keep_log, args=(child.stderr, lines))
            reader.start()
            if child.stdin:
                with suppress(BrokenPipeError):
                    self._pump(dump, child.stdin.write)
                with suppress(BrokenPipeError):
                    child.stdin.close()
            reader.join()
        self.raise_if_stopped()
        ignored = next((int(match[1]) for line in reversed(lines) if (match := _IGNORED.search(line))), None)
        if child.returncode != 0 and ignored is None:
            raise Failed(f"pg_restore exited with {child.returncode}")
        if self.action is TransferAction.HALF:
            raise Failed("restore stopped half way")
        self.say("restore done")
        return ignored or 0

    def extensions(self, dump: IO[bytes]) -> list[tuple[str, str]]:
        """Returns a dump's extensions and their schemas, as it writes them. A download, which is no file, has none."""
        if not Path(str(dump.name)).is_file():
            return []
        made = subprocess.run(
            [tools() / "pg_restore", "--section=pre-data", "--file=-", dump.name], check=False, capture_output=True
        )
        return _EXTENSION.findall(made.stdout.decode(errors="replace"))

    def _first_half(self, dump: IO[bytes]) -> Path:
        """Writes a list for `pg_restore --use-list` with the first half of a dump's objects."""
        listed = subprocess.run(
            [tools() / "pg_restore", "--list", dump.name], check=True, capture_output=True, text=True
        )
        entries = [line for line in listed.stdout.splitlines() if not line.startswith(";")]
        chosen = self.log.with_suffix(".list")
        chosen.write_text("\n".join(entries[: len(entries) // 2]) + "\n")
        return chosen

    def _spawn(
        self, command: list[str], url: str, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        self.child = subprocess.Popen(
            [tools() / command[0], *command[1:]],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGAPPNAME": _SESSION, "PGSSLMODE": "allow", **variables(url)},
        )
        return self.child

    def _pump(self, source: IO[bytes], sink: Callable[[bytes], object]) -> None:
        """Moves the dump and counts its bytes."""
        transfer, moved, refresh = self.transfer, 0, 0.0
        read = getattr(source, "read1", source.read)  # a pipe's read() would wait for a whole piece
        while piece := read(_PIECE):
            sink(piece)
            moved += len(piece)
            if time.monotonic() >= refresh and self.action is not TransferAction.LATE_BYTES:
                transfer.processed_bytes, transfer.updated_at = moved, now()
                refresh = time.monotonic() + self.refresh_seconds
            self.raise_if_stopped()
        transfer.processed_bytes = 0 if self.action is TransferAction.LATE_BYTES else moved
        if self.action is TransferAction.BACKWARDS:
            self.pause(self.refresh_seconds)
            transfer.processed_bytes = moved // 3
            self.pause(self.refresh_seconds)

    def _keep_log(self, stream: IO[bytes] | None, lines: list[str]) -> None:
        """Writes what a program says on stderr into the log, and into `lines`."""
        with self.log.open("a") as log:
            for raw in stream or ():
                line = raw.decode(errors="replace").rstrip("\n")
                log.write(f"{_stamp()} {line}\n")
                lines.append(line)


def _stamp() -> str:
    return now().strftime("%Y-%m-%d %H:%M:%S +0000")
