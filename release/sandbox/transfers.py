"""Transfers: backups, restores and copies, by real pg_dump and pg_restore runs with Heroku's habits.

A backup is `pg_dump -Fc` by the default credential, through a pipe, without owners, grants and the schema
`heroku_ext`. A restore resets its target first and then loads without `--exit-on-error` and without
`--single-transaction`: the errors that pg_restore ignored are counted as `warnings` of a transfer that has
`succeeded`. After each successful backup the older manual ones beyond `num_keep` are deleted. There is no
"one at a time": two transfers of one database may overlap.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg

from . import databases, lookup
from .faults import TransferFault
from .names import TransferAction
from .postgres import tools
from .state import Transfer, TransferType, now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .addons import Addons
    from .faults import Faults
    from .options import Options
    from .postgres import Server
    from .state import Addon, Store

_PIECE = 1 << 18
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DUMP = ("--format=custom", "--no-owner", "--no-privileges", "--verbose", "--exclude-schema=heroku_ext")
_RESTORE = ("--no-owner", "--no-privileges", "--verbose")
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")


class _Stopped(Exception):
    """The transfer is over; its record has been closed by somebody else."""


class _Failed(Exception):
    """The transfer has failed."""


class Transfers:
    """Starts transfers, each in a thread of its own, and closes them."""

    def __init__(
        self, store: Store, server: Server, addons: Addons, faults: Faults, *, options: Callable[[], Options]
    ) -> None:
        self._store = store
        self._server = server
        self._addons = addons
        self._faults = faults
        self._options = options
        self._stop: dict[str, threading.Event] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def recover(self) -> None:
        """After a restart: nobody works on the unfinished transfers any more."""
        with self._store.change() as state:
            for transfer in state.transfers.values():
                if transfer.finished_at is None:
                    transfer.finished_at = transfer.updated_at = now()
                    transfer.succeeded = False

    def file(self, transfer: Transfer) -> Path:
        """The dump of a backup."""
        return self._store.home / "dumps" / transfer.id

    def logs(self, transfer: Transfer) -> list[tuple[str, str]]:
        """Lines as (timestamp, message)."""
        with suppress(FileNotFoundError):
            text = self._log(transfer).read_text(errors="replace")
            return [(line[:25], line[26:]) for line in text.splitlines()]
        return []

    def capture(self, addon: Addon, *, schedule_id: str | None = None) -> Transfer:
        """Start a backup."""
        transfer = self._new(
            addon,
            from_type=TransferType.PG_DUMP,
            from_name=self._name(addon),
            from_url=self._addons.url(addon),
            to_type=TransferType.GOF3R,
            to_name="SCHEDULED BACKUP" if schedule_id else "BACKUP",
            to_url="",
        )
        transfer.schedule_id = schedule_id
        return self._begin(transfer, "backup", lambda fault: self._dump(addon, transfer, fault))

    def restore(self, addon: Addon, url: str, *, extensions: list[str]) -> Transfer:
        """Start a restore of one of the sandbox's backups, or of a dump behind a URL on loopback."""
        source = self.behind(url)
        if source is None and urlsplit(url).hostname not in _LOOPBACK:
            raise lookup.invalid("backup_url is neither a backup of this sandbox nor on this machine")
        transfer = self._new(
            addon,
            from_type=TransferType.GOF3R if source else TransferType.HTCAT,
            from_name="BACKUP",
            from_url=url,
            to_type=TransferType.PG_RESTORE,
            to_name=self._name(addon),
            to_url=self._addons.url(addon),
        )

        def work(fault: TransferFault | None) -> int:
            if source and fault and fault.action is TransferAction.EVICT:
                self.delete(source)
            with self._open(transfer, source, url) as dump:
                return self._load(addon, transfer, dump, fault, extensions)

        return self._begin(transfer, "restore", work)

    def copy(self, addon: Addon, *, from_name: str, from_url: str, to_name: str, to_url: str) -> Transfer:
        """Start a copy into a database of this sandbox (`pg:copy`)."""
        target = next(
            (each for each in self._store.state.addons.values() if self._addons.url(each) == to_url), None
        )
        if target is None or urlsplit(from_url).hostname not in _LOOPBACK:
            raise lookup.invalid("Both databases have to be of this sandbox")
        transfer = self._new(
            addon,
            from_type=TransferType.PG_DUMP,
            from_name=from_name,
            from_url=from_url,
            to_type=TransferType.PG_RESTORE,
            to_name=to_name,
            to_url=to_url,
        )

        def work(fault: TransferFault | None) -> int:
            self._run_dump(transfer, from_url, fault)
            with self.file(transfer).open("rb") as dump:
                return self._load(target, transfer, dump, fault, [])

        return self._begin(transfer, "copy", work)

    def behind(self, url: str) -> Transfer | None:
        """The finished backup that a URL stands for: a transfer's `to_url`, signed or not."""
        name = urlsplit(url).path.rpartition("/")[2]
        found = self._store.state.transfers.get(name)
        return found if found and found.succeeded and found.to_type is TransferType.GOF3R else None

    def cancel(self, transfer: Transfer) -> None:
        """Stop a transfer; what it has loaded so far stays."""
        with self._store.change():
            if transfer.finished_at:
                raise lookup.ApiError(
                    400, "bad_request", "Transfer cannot be canceled: it has already finished"
                )
            transfer.canceled_at = transfer.finished_at = transfer.updated_at = now()
            transfer.succeeded = False
        self._halt(transfer)
        self.file(transfer).unlink(missing_ok=True)

    def delete(self, transfer: Transfer) -> None:
        """Forget a transfer and its dump."""
        with self._store.change() as state:
            state.transfers.pop(transfer.id, None)
        self._halt(transfer)
        self.file(transfer).unlink(missing_ok=True)
        self._log(transfer).unlink(missing_ok=True)

    def close(self) -> None:
        """Stop everything that runs."""
        for event in list(self._stop.values()):
            event.set()
        for child in list(self._children.values()):
            child.kill()

    def _halt(self, transfer: Transfer) -> None:
        event, child = self._stop.get(transfer.id), self._children.get(transfer.id)
        if event:
            event.set()
        if child:
            child.kill()

    def _name(self, addon: Addon) -> str:
        attachments = lookup.attachments(self._store.state, app_id=addon.app_id, addon_id=addon.id)
        names = sorted((each.name for each in attachments), key=lambda name: (name != "DATABASE", name))
        return names[0].removeprefix("HEROKU_POSTGRESQL_") if names else "DATABASE"

    def _new(
        self,
        addon: Addon,
        *,
        from_type: TransferType,
        from_name: str,
        from_url: str,
        to_type: TransferType,
        to_name: str,
        to_url: str,
    ) -> Transfer:
        with self._store.change() as state:
            app = state.apps[addon.app_id]
            app.last_transfer += 1
            transfer = Transfer(
                num=app.last_transfer,
                app_id=app.id,
                addon_id=addon.id,
                from_type=from_type,
                from_name=from_name,
                from_url=from_url,
                to_type=to_type,
                to_name=to_name,
                to_url=to_url,
                num_keep=addon.num_keep,
            )
            state.transfers[transfer.id] = transfer
            return transfer

    def _begin(self, transfer: Transfer, kind: str, work: Callable[[TransferFault | None], int]) -> Transfer:
        self._stop[transfer.id] = threading.Event()
        fault = self._faults.for_transfer(kind)
        threading.Thread(target=self._run, args=(transfer, work, fault), daemon=True).start()
        return transfer

    def _run(
        self, transfer: Transfer, work: Callable[[TransferFault | None], int], fault: TransferFault | None
    ) -> None:
        options = self._options()
        action = fault.action if fault else None
        with suppress(_Stopped):
            self._pause(transfer, None if action is TransferAction.STUCK_PENDING else options.pending_seconds)
            with self._store.change():
                transfer.started_at = transfer.updated_at = now()
            begun = time.monotonic()
            least = options.transfer_seconds
            if fault and action is TransferAction.SLOW:
                least = max(least, fault.seconds)
            warnings, succeeded = 0, True
            try:
                warnings = work(fault)
            except (_Failed, OSError, psycopg.Error) as failure:
                self._check(transfer)
                self._say(transfer, str(failure))
                succeeded = bool(fault and fault.succeeds)
            if action is TransferAction.CANCEL:
                self.cancel(transfer)
            elif action is TransferAction.VANISH:
                self.delete(transfer)
            if action is TransferAction.STUCK_RUNNING:
                least = float("inf")
            while (left := begun + least - time.monotonic()) > 0:
                self._pause(transfer, min(left, options.refresh_seconds))
                transfer.updated_at = now()
            self._finish(transfer, succeeded=succeeded, warnings=warnings, fault=fault)

    def _pause(self, transfer: Transfer, seconds: float | None) -> None:
        if self._stop[transfer.id].wait(seconds):
            raise _Stopped

    def _finish(self, transfer: Transfer, *, succeeded: bool, warnings: int, fault: TransferFault | None) -> None:
        with self._store.change() as state:
            if transfer.finished_at or transfer.id not in state.transfers:
                return
            late = fault is not None and fault.action is TransferAction.LATE_BYTES
            size = transfer.processed_bytes
            if self.file(transfer).exists():
                size = self.file(transfer).stat().st_size
            transfer.processed_bytes = 0 if late else size
            transfer.warnings = fault.warnings if fault and fault.action is TransferAction.WARN else warnings
            transfer.succeeded = succeeded
            transfer.finished_at = transfer.updated_at = now()
            backup = transfer.to_type is TransferType.GOF3R
            if backup and not succeeded:
                self.file(transfer).unlink(missing_ok=True)
            if backup and succeeded:
                self._rotate(transfer)
        if late and fault:
            self._stop[transfer.id].wait(fault.seconds)
            with self._store.change():
                transfer.processed_bytes, transfer.updated_at = size, now()

    def _rotate(self, latest: Transfer) -> None:
        """Delete the older manual backups of the same name beyond `num_keep`, as Heroku does after a new one."""

        def age(transfer: Transfer) -> datetime:
            return transfer.created_at

        kept = [
            each
            for each in self._store.state.transfers.values()
            if each.app_id == latest.app_id
            and each.from_name == latest.from_name
            and each.to_type is TransferType.GOF3R
            and each.succeeded
            and each.schedule_id is None
        ]
        for transfer in sorted(kept, key=age, reverse=True)[latest.num_keep :]:
            self.delete(transfer)

    # The work itself

    def _dump(self, addon: Addon, transfer: Transfer, fault: TransferFault | None) -> int:
        transfer.source_bytes = databases.size(self._server, addon)
        self._run_dump(transfer, transfer.from_url, fault)
        self._say(transfer, "upload done")
        return 0

    def _run_dump(self, transfer: Transfer, url: str, fault: TransferFault | None) -> None:
        target = self.file(transfer)
        action = fault.action if fault else None
        if action is TransferAction.FAIL:
            raise _Failed("Could not connect to database to initialize transfer")
        if action is TransferAction.EMPTY:
            target.touch()
            return
        child = self._spawn(transfer, ["pg_dump", *_DUMP, f"--dbname={url}"], stdout=subprocess.PIPE)
        with child, target.open("wb") as file:
            reader = threading.Thread(target=self._listen, args=(transfer, child.stderr))
            reader.start()
            if child.stdout:
                self._pump(transfer, child.stdout, file.write, fault)
            reader.join()
        self._check(transfer)
        if child.returncode != 0:
            raise _Failed(f"pg_dump exited with {child.returncode}")
        self._say(transfer, "pg_dump done")

    def _load(
        self,
        addon: Addon,
        transfer: Transfer,
        dump: IO[bytes],
        fault: TransferFault | None,
        extensions: list[str],
    ) -> int:
        action = fault.action if fault else None
        how: tuple[str, ...] = ()
        if action is TransferAction.KEEP_OBJECTS:
            how = ("--clean", "--if-exists")
        else:
            databases.reset(self._server, addon, self._options().reset, extensions)
        if action in (TransferAction.WIPE, TransferAction.FAIL):
            raise _Failed("restore failed")
        partial = action in (TransferAction.HALF, TransferAction.CANCEL, TransferAction.VANISH)
        if partial:
            how = (f"--use-list={self._first_half(transfer, dump)}",)
        command = ["pg_restore", *_RESTORE, *how, f"--dbname={transfer.to_url}"]
        child = self._spawn(transfer, command, stdin=subprocess.PIPE)
        lines: list[str] = []
        with child:
            reader = threading.Thread(target=self._listen, args=(transfer, child.stderr, lines))
            reader.start()
            if child.stdin:
                with suppress(BrokenPipeError):
                    self._pump(transfer, dump, child.stdin.write, fault)
                with suppress(BrokenPipeError):
                    child.stdin.close()
            reader.join()
        self._check(transfer)
        ignored = next((int(found[1]) for line in reversed(lines) if (found := _IGNORED.search(line))), None)
        if child.returncode != 0 and ignored is None:
            raise _Failed(f"pg_restore exited with {child.returncode}")
        if action is TransferAction.HALF:
            raise _Failed("restore stopped half way")
        self._say(transfer, "restore done")
        return ignored or 0

    def _first_half(self, transfer: Transfer, dump: IO[bytes]) -> Path:
        """A list for `pg_restore --use-list` with the first half of a dump's objects."""
        listed = subprocess.run(
            [tools() / "pg_restore", "--list", dump.name], check=True, capture_output=True, text=True
        )
        entries = [line for line in listed.stdout.splitlines() if not line.startswith(";")]
        chosen = self._log(transfer).with_suffix(".list")
        chosen.write_text("\n".join(entries[: len(entries) // 2]) + "\n")
        return chosen

    def _open(self, transfer: Transfer, source: Transfer | None, url: str) -> IO[bytes]:
        try:
            if source is None:
                dump: IO[bytes] = urllib.request.urlopen(url, timeout=60)  # noqa: S310 - loopback, see restore()
            else:
                transfer.source_bytes = self.file(source).stat().st_size
                dump = self.file(source).open("rb")
        except OSError as error:
            raise _Failed(f"Could not read the backup: {error}") from error
        return dump

    def _spawn(
        self, transfer: Transfer, command: list[str], *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [tools() / command[0], *command[1:]],
            stdin=stdin,
            stdout=stdout or subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGAPPNAME": "Heroku Postgres Backups"},
        )
        self._children[transfer.id] = child
        return child

    def _pump(
        self,
        transfer: Transfer,
        source: IO[bytes],
        sink: Callable[[bytes], object],
        fault: TransferFault | None,
    ) -> None:
        """Move the dump and count its bytes."""
        action = fault.action if fault else None
        refresh, moved = 0.0, 0
        read = getattr(source, "read1", source.read)  # a pipe's read() would wait for a whole piece
        while piece := read(_PIECE):
            sink(piece)
            moved += len(piece)
            if time.monotonic() >= refresh and action is not TransferAction.LATE_BYTES:
                transfer.processed_bytes, transfer.updated_at = moved, now()
                refresh = time.monotonic() + self._options().refresh_seconds
            self._check(transfer)
        transfer.processed_bytes = 0 if action is TransferAction.LATE_BYTES else moved
        if action is TransferAction.BACKWARDS:
            self._pause(transfer, self._options().refresh_seconds)
            transfer.processed_bytes = moved // 3
            self._pause(transfer, self._options().refresh_seconds)

    def _check(self, transfer: Transfer) -> None:
        if self._stop[transfer.id].is_set():
            raise _Stopped

    def _listen(self, transfer: Transfer, stream: IO[bytes] | None, lines: list[str] | None = None) -> None:
        with self._log(transfer).open("a") as log:
            for raw in stream or ():
                line = raw.decode(errors="replace").rstrip("\n")
                log.write(f"{_stamp()} {line}\n")
                if lines is not None:
                    lines.append(line)

    def _say(self, transfer: Transfer, message: str) -> None:
        with self._log(transfer).open("a") as log:
            log.write(f"{_stamp()} {message}\n")

    def _log(self, transfer: Transfer) -> Path:
        return self._store.home / "logs" / transfer.id


def _stamp() -> str:
    return now().strftime("%Y-%m-%d %H:%M:%S +0000")


