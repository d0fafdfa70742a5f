"""Transfers: backups, restores and copies, by real pg_dump and pg_restore runs with Heroku's habits.

A backup is `pg_dump -Fc` by the default credential, through a pipe, without owners, grants and the schema
`heroku_ext`. A restore resets its target first and then loads without `--exit-on-error` and without
`--single-transaction`: the errors that pg_restore ignored are counted as `warnings` of a transfer that has
`succeeded`. After each successful backup the older manual ones beyond `num_keep` are deleted. Two transfers of
one database may overlap.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psycopg

from heroku_sandbox import databases, lookup
from heroku_sandbox.addons import Addons
from heroku_sandbox.dumps import Failed, Run, Stopped
from heroku_sandbox.faults import Faults
from heroku_sandbox.names import TransferAction
from heroku_sandbox.options import Options
from heroku_sandbox.postgres import Server
from heroku_sandbox.state import Addon, Store, Transfer, TransferType, now

_KEPT_OF_RESTORES = 5
"""`num_keep` of restores in recorded traffic, whatever the plan."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that are read from: the sandbox reaches out to no other machine."""


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
        self._runs: dict[str, Run] = {}

    def recover(self) -> None:
        """Makes unfinished transfers failed ones after a restart, since nothing works on them any more."""
        with self._store.change() as state:
            for transfer in state.transfers.values():
                if transfer.finished_at is None:
                    transfer.finished_at = transfer.updated_at = now()
                    transfer.succeeded = False

    def file(self, transfer: Transfer) -> Path:
        """Returns the file that holds a backup's dump."""
        return self._store.home / "dumps" / transfer.id

    def logs(self, transfer: Transfer) -> list[tuple[str, str]]:
        """Returns the lines of a transfer's log, each as (timestamp, message)."""
        with suppress(FileNotFoundError):
            text = self._log(transfer).read_text(errors="replace")
            return [(line[:25], line[26:]) for line in text.splitlines()]
        return []

    def capture(self, addon: Addon, *, schedule_id: str | None = None) -> Transfer:
        """Starts a backup."""
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
        return self._begin(transfer, "backup", lambda run: self._capture(addon, run))

    def restore(self, addon: Addon, url: str, *, extensions: list[str]) -> Transfer:
        """Starts a restore of one of the sandbox's backups, or of a dump behind a URL on loopback."""
        source = self.backup_behind(url)
        if source is None and urlsplit(url).hostname not in _LOOPBACK:
            raise lookup.invalid("backup_url is neither a backup of this sandbox nor an address of this machine.")
        transfer = self._new(
            addon,
            from_type=TransferType.GOF3R if source else TransferType.HTCAT,
            from_name="BACKUP",
            from_url=url,
            to_type=TransferType.PG_RESTORE,
            to_name=self._name(addon),
            to_url=self._addons.url(addon),
        )

        def work(run: Run) -> int:
            if source and run.action is TransferAction.EVICT:
                self.delete(source)
            with self._open(transfer, source, url) as dump:
                return self._load(addon, run, dump, extensions)

        return self._begin(transfer, "restore", work)

    def copy(self, addon: Addon, *, from_name: str, from_url: str, to_name: str, to_url: str) -> Transfer:
        """Starts a copy into a database of this sandbox (`pg:copy`)."""
        target = next(
            (record for record in self._store.state.addons.values() if self._addons.url(record) == to_url), None
        )
        if target is None or urlsplit(from_url).hostname not in _LOOPBACK:
            raise lookup.invalid("Both databases have to be in this sandbox.")
        transfer = self._new(
            addon,
            from_type=TransferType.PG_DUMP,
            from_name=from_name,
            from_url=from_url,
            to_type=TransferType.PG_RESTORE,
            to_name=to_name,
            to_url=to_url,
        )

        def work(run: Run) -> int:
            run.dump(from_url, self.file(transfer))
            with self.file(transfer).open("rb") as dump:
                return self._load(target, run, dump, [])

        return self._begin(transfer, "copy", work)

    def backup_behind(self, url: str) -> Transfer | None:
        """Returns the finished backup that a URL stands for (a transfer's `to_url`, signed or not), or None."""
        name = urlsplit(url).path.rpartition("/")[2]
        backup = self._store.state.transfers.get(name)
        return backup if backup and backup.succeeded and backup.to_type is TransferType.GOF3R else None

    def cancel(self, transfer: Transfer) -> None:
        """Stops a transfer. What it has loaded so far stays. Raises ApiError (400) when it has finished."""
        with self._store.change():
            if transfer.finished_at:
                raise lookup.ApiError(400, "bad_request", "Transfer cannot be canceled: it has already finished")
            transfer.canceled_at = transfer.finished_at = transfer.updated_at = now()
            transfer.succeeded = False
        self._halt(transfer)
        self.file(transfer).unlink(missing_ok=True)

    def delete(self, transfer: Transfer) -> None:
        """Deletes a transfer, its log and its dump."""
        with self._store.change() as state:
            state.transfers.pop(transfer.id, None)
        self._halt(transfer)
        self.file(transfer).unlink(missing_ok=True)
        self._log(transfer).unlink(missing_ok=True)

    def close(self) -> None:
        """Stops everything that runs."""
        for run in list(self._runs.values()):
            run.stop()

    def _halt(self, transfer: Transfer) -> None:
        if run := self._runs.get(transfer.id):
            run.stop()

    def _name(self, addon: Addon) -> str:
        attachments = lookup.attachments(self._store.state, app_id=addon.app_id, addon_id=addon.id)
        names = sorted((attachment.name for attachment in attachments), key=lambda name: (name != "DATABASE", name))
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
        """Records a transfer, with the next number of the billing app."""
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
                num_keep=_KEPT_OF_RESTORES if to_type is TransferType.PG_RESTORE else addon.num_keep,
            )
            state.transfers[transfer.id] = transfer
            return transfer

    def _begin(self, transfer: Transfer, kind: str, work: Callable[[Run], int]) -> Transfer:
        """Starts the thread in which a transfer runs, with the fault that is due for it."""
        run = Run(
            transfer=transfer,
            log=self._log(transfer),
            fault=self._faults.for_transfer(kind),
            refresh_seconds=self._options().refresh_seconds,
        )
        self._runs[transfer.id] = run
        threading.Thread(target=self._run, args=(run, work), daemon=True).start()
        return transfer

    def _run(self, run: Run, work: Callable[[Run], int]) -> None:
        with suppress(Stopped):
            self._play(run, work)
        del self._runs[run.transfer.id]

    def _play(self, run: Run, work: Callable[[Run], int]) -> None:
        """Takes a transfer from pending over running to finished."""
        transfer, options = run.transfer, self._options()
        run.pause(None if run.action is TransferAction.STUCK_PENDING else options.pending_seconds)
        with self._store.change():
            transfer.started_at = transfer.updated_at = now()
        end = time.monotonic() + options.transfer_seconds
        if run.fault and run.action is TransferAction.SLOW:
            end = max(end, time.monotonic() + run.fault.seconds)
        warnings, succeeded = 0, True
        try:
            warnings = work(run)
        except (Failed, OSError, psycopg.Error) as failure:
            run.raise_if_stopped()
            run.say(str(failure))
            succeeded = bool(run.fault and run.fault.succeeds)
        if run.action is TransferAction.CANCEL:
            self.cancel(transfer)
        elif run.action is TransferAction.VANISH:
            self.delete(transfer)
        elif run.action is TransferAction.STUCK_RUNNING:
            end = float("inf")
        while (left := end - time.monotonic()) > 0:
            run.pause(min(left, options.refresh_seconds))
            transfer.updated_at = now()
        self._finish(run, succeeded=succeeded, warnings=warnings)

    def _finish(self, run: Run, *, succeeded: bool, warnings: int) -> None:
        """Closes a transfer's record, unless it was cancelled or deleted meanwhile."""
        transfer, fault = run.transfer, run.fault
        with self._store.change() as state:
            if transfer.finished_at or transfer.id not in state.transfers:
                return
            late = run.action is TransferAction.LATE_BYTES
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
            run.stopped.wait(fault.seconds)
            with self._store.change():
                transfer.processed_bytes, transfer.updated_at = size, now()

    def _rotate(self, latest: Transfer) -> None:
        """Deletes the older manual backups of the same name beyond `num_keep`, as Heroku does after a new one."""

        def age(transfer: Transfer) -> datetime:
            return transfer.created_at

        kept = [
            backup
            for backup in self._store.state.transfers.values()
            if backup.app_id == latest.app_id
            and backup.from_name == latest.from_name
            and backup.to_type is TransferType.GOF3R
            and backup.succeeded
            and backup.schedule_id is None
        ]
        for transfer in sorted(kept, key=age, reverse=True)[latest.num_keep :]:
            self.delete(transfer)

    def _capture(self, addon: Addon, run: Run) -> int:
        run.transfer.source_bytes = databases.size(self._server, addon)
        run.dump(run.transfer.from_url, self.file(run.transfer))
        run.say("upload done")
        return 0

    def _load(self, addon: Addon, run: Run, dump: IO[bytes], extensions: list[str]) -> int:
        """Empties the target and loads the dump. Returns how many errors pg_restore ignored."""
        if run.action is not TransferAction.KEEP_OBJECTS:
            databases.reset(self._server, addon, self._options().reset, extensions)
        if run.action in (TransferAction.WIPE, TransferAction.FAIL):
            raise Failed("restore failed")
        databases.allow_extensions(self._server, addon, run.extensions(dump))
        if run.fault and run.action is TransferAction.HESITATE:
            run.pause(run.fault.seconds)
        return run.load(run.transfer.to_url, dump)

    def _open(self, transfer: Transfer, source: Transfer | None, url: str) -> IO[bytes]:
        """Opens the dump to restore: one of the sandbox's own, or a download. Raises Failed."""
        try:
            if source is None:
                dump: IO[bytes] = urllib.request.urlopen(url, timeout=60)  # noqa: S310 -- loopback, see restore()
            else:
                transfer.source_bytes = self.file(source).stat().st_size
                dump = self.file(source).open("rb")
        except OSError as error:
            raise Failed(f"Could not read the backup: {error}") from error
        return dump

    def _log(self, transfer: Transfer) -> Path:
        return self._store.home / "logs" / transfer.id
