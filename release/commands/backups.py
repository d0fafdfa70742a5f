"""Backups by name: which there are, who made each, which one somebody means, which will be dropped next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from release.database.entry import Entry
from release.errors import Misconfigured, Reason, Refused, ReleaseError
from release.heroku.http import HerokuError
from release.heroku.transfers import Source, Transfer, moment
from release.output.backups import Held
from release.protected.locate import find_addon, source_of
from release.protected.target import Attached
from release.run import Run

NAME = re.compile(r"([a-z])?0*(\d{1,9})", re.IGNORECASE)
"""A backup's name as people type it: a letter or none, and a number with or without zeros before it."""


class Shelf(Struct, frozen=True, kw_only=True):
    """All backups of the billing app. `source`: what identifies this database among them."""

    attached: Attached
    source: Source
    transfers: tuple[Transfer, ...]

    @property
    def own(self) -> list[Transfer]:
        """The backups of this database, and those of which Heroku does not tell whose they are, newest first."""
        own = [
            transfer
            for transfer in self.transfers
            if transfer.is_backup and transfer.reads(self.source) is not False and not transfer.deleted_at
        ]
        return sorted(own, key=lambda backup: backup.number, reverse=True)

    @property
    def next_out(self) -> frozenset[str]:
        """The uuids of those that the next manual backup will make Heroku drop."""
        manual = [backup for backup in self.own if backup.succeeded and not backup.schedule]
        keep = next((backup.num_keep for backup in manual if backup.num_keep), None)
        # After the next one, Heroku keeps `keep` of them: that one, and the `keep - 1` newest of today's.
        return frozenset(backup.uuid for backup in manual[keep - 1 :]) if keep else frozenset()


def read_shelf(run: Run) -> Shelf:
    """Reads the list of backups. Raises Refused or HerokuError."""
    attached = find_addon(run)
    transfers = attached.store.transfers(run)
    return Shelf(attached=attached, source=source_of(run, attached.addon), transfers=transfers)


def pick_newest(shelf: Shelf, makers: Makers) -> Transfer:
    """Finds the newest backup of this database that succeeded and is no salvage: that holds what had failed.

    Raises Misconfigured (backup_unknown).
    """
    whole = [backup for backup in shelf.own if backup.succeeded and backup.reads(shelf.source)]
    newest = next((backup for backup in whole if not is_salvage(shelf, backup, makers)), None)
    if newest is None:
        salvages = ", ".join(backup.name for backup in whole[:8])
        but = f" but salvages: {salvages}; name the one that you mean" if salvages else ""
        raise Misconfigured(Reason.BACKUP_UNKNOWN, f"this database has none{but}")
    return newest


def pick(shelf: Shelf, name: str, *, any_database: bool = False) -> Transfer:
    """Finds the backup that somebody means: b012, 12, or a uuid.

    Raises Misconfigured (backup_unknown), Refused (other_backup, backup_unusable).
    """
    backup = _find_named(shelf.transfers, name)
    if backup is None:
        near = ", ".join(own.name for own in shelf.own[:8]) or "none"
        raise Misconfigured(Reason.BACKUP_UNKNOWN, f"{name}; there are: {near}")
    if not backup.reads(shelf.source) and not any_database:
        whose = "another database" if backup.reads(shelf.source) is False else "a database that Heroku does not tell"
        raise Refused(Reason.OTHER_BACKUP, f"{backup.name} was taken of {whose} ({backup.from_name or 'no name'})")
    if backup.succeeded is not True or backup.deleted_at:
        raise Refused(Reason.BACKUP_UNUSABLE, f"{backup.name}: {state(backup)}")
    return backup


def _find_named(transfers: tuple[Transfer, ...], name: str) -> Transfer | None:
    """Finds a backup by its uuid or its exact name, else by its number: `B12` and `12` are b012."""
    backups = [transfer for transfer in transfers if transfer.is_backup]
    if exact := next((backup for backup in backups if name in {backup.uuid, backup.name}), None):
        return exact
    typed = NAME.fullmatch(name)
    if not typed:
        return None
    letter, number = (typed[1] or "").lower(), int(typed[2])
    return next(
        (backup for backup in backups if backup.number == number and letter in {"", backup.name[0]}),
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


class Maker(Struct, frozen=True, kw_only=True):
    """The run that made a backup, in words, and whether it is the salvage of what that run was about to overwrite."""

    who: str
    salvage: bool

    def __str__(self) -> str:
        return f"salvage of {self.who}" if self.salvage else self.who


Makers = Mapping[str, Maker]
"""Who made which backup, by its uuid and by its name."""


def makers(runs: Runs) -> Makers:
    """Tells which run made which backup or salvage."""
    made: dict[str, Maker] = {}
    for entry, record in reversed(runs):  # the oldest first, so that of two runs the newer one's words stay
        if entry.elsewhere:  # its backups are another database's, and may have the same names
            continue
        by_hand = "proof" in (record.get("facts") or {})
        who = f"run {entry.run_id}" if not entry.release else f"release {entry.release} (run {entry.run_id})"
        for kind, uuid in (("backup", entry.backup), ("salvage", entry.salvage)):
            if kind == "backup" and by_hand:  # it restored that one and did not make it
                continue
            for name in (uuid, name_in(record, kind)):
                if name:
                    made[name] = Maker(who=who, salvage=kind == "salvage")
    return made


def name_in(record: Mapping[str, Any], kind: str) -> str | None:
    """Returns the name of a run's `backup` or `salvage`: by its record, or as another run noted it that finished it."""
    name = record.get(kind) or (record.get("names") or {}).get(kind)
    return str(name) if name else None


def maker(transfer: Transfer, makers: Makers) -> Maker | None:
    """Returns the run that made it, where the journal knows that."""
    return makers.get(transfer.uuid) or makers.get(transfer.name)


def made_by(transfer: Transfer, makers: Makers) -> str:
    """Says who made it."""
    known = maker(transfer, makers)
    if known:
        return str(known)
    return "schedule" if transfer.schedule else "somebody, or a run the journal does not know"


def is_salvage(shelf: Shelf, transfer: Transfer, makers: Makers) -> bool:
    """Tells whether it holds a state that was overwritten next.

    Where the journal does not know it (the database may be down), its place tells: a restore of another backup into
    this database follows at once.
    """
    known = maker(transfer, makers)
    if known or transfer.schedule:
        return known is not None and known.salvage
    after = next((each for each in shelf.transfers if each.number == transfer.number + 1), None)
    return after is not None and after.writes(shelf.source) is True and after.loads(transfer) is False


def backups(run: Run) -> list[Held]:
    """Lists the backups of this database, newest first.

    The journal is asked who made them, where the database answers.

    Raises Refused or HerokuError.
    """
    shelf = read_shelf(run)
    makers = read_makers(run)
    now = run.clock.now()
    return [_held(backup, shelf, makers, now) for backup in shelf.own]


def read_makers(run: Run) -> Makers:
    """Asks the journal who made which backup. A database that does not answer is no reason not to list them."""
    try:
        return makers(run.journal.history(1000))
    except HerokuError:
        raise
    except ReleaseError as error:
        run.log.last_words(f"The journal cannot be read ({error}), so it is not known who made each backup.")
        return {}


def _held(transfer: Transfer, shelf: Shelf, makers: Makers, now: datetime) -> Held:
    at = moment(transfer.started_at or transfer.created_at)
    return Held(
        backup=transfer.name,
        uuid=transfer.uuid,
        made_by=made_by(transfer, makers),
        salvage=is_salvage(shelf, transfer, makers),
        taken_at=at.isoformat().replace("+00:00", "Z") if at else None,
        age=(now - at).total_seconds() if at else None,
        bytes=transfer.processed_bytes,
        state=state(transfer),
        dropped_next=transfer.uuid in shelf.next_out,
    )
