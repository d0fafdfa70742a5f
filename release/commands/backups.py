"""Backups by name: which there are, who made each, which one somebody means, which will be dropped next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from release.database.journal import Entry
from release.errors import Misconfigured, Reason, Refused, ReleaseError
from release.heroku.http import HerokuError
from release.heroku.transfers import Source, Transfer, moment
from release.output.backups import Held
from release.protected.locate import find_addon, source_of
from release.protected.target import Attached
from release.run import Run

NAME = re.compile(r"([a-z])?0*(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """All backups of the billing app. `source`: what identifies this database among them."""

    attached: Attached
    source: Source
    transfers: tuple[Transfer, ...]

    @property
    def own(self) -> list[Transfer]:
        """Of this database, and those of which Heroku does not tell whose they are, newest first."""
        found = [
            transfer for transfer in self.transfers if transfer.is_backup and transfer.reads(self.source) is not False
        ]
        return sorted((each for each in found if not each.deleted_at), key=lambda each: each.number, reverse=True)

    @property
    def next_out(self) -> frozenset[str]:
        """The uuids of those that the next manual backup will make Heroku drop."""
        manual = [each for each in self.own if each.succeeded and not each.schedule]
        keep = next((each.num_keep for each in manual if each.num_keep), None)
        return frozenset(each.uuid for each in manual[keep - 1 :]) if keep else frozenset()


def shelf(run: Run) -> Shelf:
    """Reads the list. Raises Refused or HerokuError."""
    attached = find_addon(run)
    transfers = attached.store.transfers(run)
    return Shelf(attached=attached, source=source_of(run, attached.addon), transfers=transfers)


def pick(shelf: Shelf, name: str | None, *, any_database: bool = False) -> Transfer:
    """Finds the backup that somebody means: b012, 12, a uuid, or (None) the latest of this database that succeeded.

    Raises Misconfigured (backup_unknown), Refused (other_backup, backup_unusable).
    """
    if name is None:
        found = next((each for each in shelf.own if each.succeeded and each.reads(shelf.source)), None)
        if found is None:
            raise Misconfigured(Reason.BACKUP_UNKNOWN, "this database has none")
        return found
    found = _named(shelf.transfers, name)
    if found is None:
        near = ", ".join(each.name for each in shelf.own[:8]) or "none"
        raise Misconfigured(Reason.BACKUP_UNKNOWN, f"{name}; there are: {near}")
    if not found.reads(shelf.source) and not any_database:
        whose = "another database" if found.reads(shelf.source) is False else "a database that Heroku does not tell"
        raise Refused(Reason.OTHER_BACKUP, f"{found.name} was taken of {whose} ({found.from_name or 'no name'})")
    if found.succeeded is not True or found.deleted_at:
        raise Refused(Reason.BACKUP_UNUSABLE, f"{found.name}: {state(found)}")
    return found


def _named(transfers: tuple[Transfer, ...], name: str) -> Transfer | None:
    backups = [transfer for transfer in transfers if transfer.is_backup]
    if exact := next((backup for backup in backups if name in {backup.uuid, backup.name}), None):
        return exact
    found = NAME.fullmatch(name)
    if not found:
        return None
    letter = (found[1] or "").lower()
    return next(
        (backup for backup in backups if backup.number == int(found[2]) and letter in {"", backup.name[0]}),
        None,
    )


def state(transfer: Transfer) -> str:
    """Says in a word or two how it stands."""
    if transfer.deleted_at:
        return "deleted"
    if transfer.canceled_at:
        return "cancelled"
    if transfer.finished_at:
        warnings = f", {transfer.warnings} warnings" if transfer.warnings else ""
        return f"completed{warnings}" if transfer.succeeded else "failed"
    return "running" if transfer.started_at else "pending"


Runs = list[tuple[Entry, dict[str, Any]]]


def makers(runs: Runs) -> dict[str, str]:
    """Tells which run made which backup or salvage, in words, by uuid and by name."""
    found: dict[str, str] = {}
    for entry, record in reversed(runs):
        if entry.elsewhere:  # its backups are another database's, and may have the same names
            continue
        by_hand = "proof" in (record.get("facts") or {})
        who = f"run {entry.run_id}" if not entry.release else f"release {entry.release} (run {entry.run_id})"
        for kind, uuid in (("backup", entry.backup), ("salvage", entry.salvage)):
            if kind == "backup" and by_hand:  # it restored that one and did not make it
                continue
            named = record.get(kind)
            for each in (uuid, named):
                if each:
                    found[str(each)] = who if kind == "backup" else f"salvage of {who}"
    return found


def made_by(transfer: Transfer, makers: Mapping[str, str]) -> str:
    """Says who made it."""
    known = makers.get(transfer.uuid) or makers.get(transfer.name)
    return known or ("schedule" if transfer.schedule else "somebody, or a run the journal does not know")


def backups(run: Run) -> list[Held]:
    """Lists the backups of this database, newest first.

    The journal is asked who made them, where the database answers.

    Raises Refused or HerokuError.
    """
    found = shelf(run)
    known = _makers(run)
    now = run.clock.now()
    return [_held(each, known, now, dropped_next=each.uuid in found.next_out) for each in found.own]


def _makers(run: Run) -> dict[str, str]:
    try:
        return makers(run.journal.history(1000))
    except HerokuError:
        raise
    except ReleaseError as error:
        run.log.last_words(f"The journal cannot be read ({error}): who made each is not known.")
        return {}


def _held(transfer: Transfer, makers: Mapping[str, str], now: datetime, *, dropped_next: bool) -> Held:
    at = moment(transfer.started_at or transfer.created_at)
    return Held(
        backup=transfer.name,
        uuid=transfer.uuid,
        made_by=made_by(transfer, makers),
        taken_at=at.isoformat().replace("+00:00", "Z") if at else None,
        age=(now - at).total_seconds() if at else None,
        bytes=transfer.processed_bytes,
        state=state(transfer),
        dropped_next=dropped_next,
    )
