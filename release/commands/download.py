"""The download of a backup. It goes on after a break, is checked, and never leaves half a file under the final name."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from release.commands import backups
from release.errors import Misconfigured, Reason, StepFailed
from release.heroku.store import GONE_BEYOND, StoreError, opened
from release.heroku.transfers import Link, Transfer
from release.output.words import size
from release.protected.store import Store
from release.run import Run

MAGIC = b"PGDMP"
"""What every dump in pg_dump's custom format begins with."""

BREAKS = 1000
"""Connections for one download at most, as long as each of them brings something."""

LIST_WITHIN = 300
"""Seconds that pg_restore may take to read the table of contents."""

Progress = Callable[[int, int | None], None]
"""A function that is told how many bytes are there, and of how many; None where that is not known."""


class Saved(Struct, frozen=True, kw_only=True):
    """A backup that is on disk. `contents` says what pg_restore thinks of it, `origin` who made it and what it is."""

    path: Path
    bytes: int
    contents: str
    origin: str


class _Download(Struct, kw_only=True):
    """A download under way. `part`: the unfinished file; `link`: None when a new one is needed; `whole`: its bytes."""

    run: Run
    store: Store
    backup: Transfer
    part: Path
    progress: Progress
    ca: str | None
    link: Link | None = None
    whole: int | None = None


def download(
    run: Run, name: str | None, output: Path | None, *, any_database: bool, progress: Progress, ca: str | None
) -> Saved:
    """Downloads the backup of that name to `output` (a folder, or a file; None: here, under its own name).

    Without a name it is the newest good one. Raises Misconfigured, Refused, StepFailed or HerokuError; what has arrived
    stays for the next try.
    """
    shelf = backups.read_shelf(run)
    makers = backups.read_makers(run)
    backup = (
        backups.pick_newest(shelf, makers) if name is None else backups.pick(shelf, name, any_database=any_database)
    )
    path = destination(output, f"{shelf.attached.app.name}-{backup.name}.dump")
    # The uuid is in its name, so that a part of another backup is never gone on with.
    work = _Download(
        run=run,
        store=shelf.attached.store,
        backup=backup,
        part=path.with_name(f"{path.name}.{backup.uuid[:8]}.part"),
        progress=progress,
        ca=ca,
    )
    try:
        _make_room(work)
        _fetch(work)
        contents = _check(work)
        work.part.replace(path)
    except OSError as error:
        raise _unwritable(work, error) from error
    maker = backups.maker(backup, makers)
    origin = f"made by {maker.who if maker else backups.made_by(backup, makers)}"
    if backups.is_salvage(shelf, backup, makers):
        origin += ": a salvage, the state that was overwritten"
    return Saved(path=path, bytes=path.stat().st_size, contents=contents, origin=origin)


def destination(output: Path | None, name: str) -> Path:
    """Returns the final name.

    Raises Misconfigured when there is something already: it may be the only copy of another.
    """
    path = Path(name) if output is None else output / name if output.is_dir() else output
    if path.exists():
        raise Misconfigured(Reason.FILE_NOT_WRITTEN, f"{path} is there already")
    if not path.parent.is_dir():
        raise Misconfigured(Reason.FILE_NOT_WRITTEN, f"{path.parent} is no folder")
    return path


def _make_room(work: _Download) -> None:
    """Finds out before the first byte whether the folder can be written and has room enough. Raises OSError."""
    with work.part.open("ab") as file:
        missing = work.backup.size - file.tell()
    free = shutil.disk_usage(work.part.parent).free
    if missing > free:
        if not work.part.stat().st_size:
            work.part.unlink()
        raise OSError(errno.ENOSPC, f"{size(missing)} are to come, {size(free)} are free")


def _unwritable(work: _Download, error: OSError) -> StepFailed:
    kept = work.part.stat().st_size if work.part.exists() else 0
    rest = f"; {size(kept)} are kept in {work.part.name}" if kept else ""
    return StepFailed(Reason.FILE_NOT_WRITTEN, f"{work.part.parent}: {error.strerror or error}{rest}")


def _fetch(work: _Download) -> None:
    """Gets what is missing, over as many connections as it takes. Raises StoreError when nothing more comes."""
    for _ in range(BREAKS):  # no pauses here: each connection brought something, or was tried again in `retried`
        if work.whole is not None and _bytes_so_far(work) == work.whole:
            return
        work.run.retried(f"GET {work.backup.name}", lambda: _fetch_part(work))
    raise StepFailed(Reason.DOWNLOAD_FAILED, f"the connection broke {BREAKS} times")


def _bytes_so_far(work: _Download) -> int:
    return work.part.stat().st_size


def _fetch_part(work: _Download) -> None:
    """Writes as much as one connection brings. A break after some progress is no failure. Raises StoreError."""
    if work.link is None:
        work.link = work.store.link(work.backup)
    begin = _bytes_so_far(work)
    try:
        with opened(work.link.url, begin=begin, ca=work.ca) as body:
            if body.begins != begin:  # the store ignores Range and sends all of it again
                os.truncate(work.part, 0)
                begin = 0
            work.whole = body.whole
            with work.part.open("ab") as file:
                for piece in body.pieces:
                    work.run.signals.check()
                    if not file.tell() and not piece.startswith(MAGIC):
                        raise StoreError("what the store sends is no dump", passing=False)
                    file.write(piece)
                    work.progress(file.tell(), work.whole)
        _judge_end(work)
    except StoreError as error:
        if error.expired:
            work.link = None
        if error.status == GONE_BEYOND and begin:
            _take_for_whole(work, begin)
            return
        if _bytes_so_far(work) <= begin:
            raise


def _judge_end(work: _Download) -> None:
    """Compares what is there with the file's size, of which the store and Heroku's list speak. Raises StoreError."""
    there = _bytes_so_far(work)
    if work.whole is None:
        work.whole = there
    if there > work.whole:
        os.truncate(work.part, 0)
        raise StoreError(f"{there} bytes came of {work.whole}")
    if work.whole < work.backup.size:  # Heroku's figure may lag behind, but it never runs ahead
        work.whole = None
        raise StoreError(f"{there} bytes came, and Heroku's list says {work.backup.size}")


def _take_for_whole(work: _Download, there: int) -> None:
    """Takes the file for whole, since there is nothing beyond it, unless the store has lost some. Raises StepFailed."""
    if there < work.backup.size:
        work.part.unlink()
        raise StepFailed(
            Reason.DOWNLOAD_FAILED, f"the store holds {there} bytes, Heroku's list says {work.backup.size}"
        )
    work.whole = there


def _check(work: _Download) -> str:
    """Reads the table of contents and says what was found; the size is right by now.

    A file that fails is removed, since the next download would only go on with it. Raises StepFailed.
    """
    program = shutil.which("pg_restore", path=work.run.environ.get("PATH", ""))
    if program is None:
        return "its table of contents was not looked at: there is no pg_restore here"
    ended = subprocess.run(
        [program, "--list", str(work.part)],
        capture_output=True,
        timeout=LIST_WITHIN,
        check=False,
        env={"PATH": work.run.environ.get("PATH", ""), "LC_ALL": "C"},
    )
    if ended.returncode == 0:
        entries = sum(not line.startswith(b";") for line in ended.stdout.splitlines())
        return f"its table of contents has {entries:,} {'entry' if entries == 1 else 'entries'}"
    if too_old(ended.stderr):
        return "its table of contents was not looked at: the pg_restore here is older than the server"
    work.part.unlink()
    raise StepFailed(Reason.DOWNLOAD_FAILED, "pg_restore cannot read its table of contents, so the file was removed")


def too_old(complaint: bytes) -> bool:
    """Tells whether pg_restore only says that a newer pg_dump made the file.

    Text is all there is (pg_backup_archiver.c).
    """
    return b"unsupported version" in complaint
