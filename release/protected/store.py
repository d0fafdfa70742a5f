"""The store of the target's backups: Heroku's own, through the Data API.

The retry is in here: what only reads is asked again, what starts a transfer is asked for exactly once. Another store
would be another class with these verbs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from release.clock import Deadline
from release.heroku.exactly_once import Request, start_once
from release.heroku.platform import AddOn
from release.heroku.transfers import DataAPI, Link, Source, Transfer
from release.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The backups of an add-on, and how the database is read into one and loaded from one. Raises HerokuError."""

    addon: AddOn
    data: DataAPI

    def transfers(self, run: Run, *, deadline: Deadline | None = None) -> tuple[Transfer, ...]:
        """All transfers of the billing app, of whatever database."""
        return run.retried("GET transfers", self.listed, deadline=deadline)

    def listed(self) -> tuple[Transfer, ...]:
        """The same, asked once: by whoever asks again himself, or has no time to."""
        return self.data.transfers(self.addon)

    def transfer(self, run: Run, uuid: str) -> Transfer:
        """One transfer as it is now."""
        return run.retried("GET transfer", lambda: self.read(uuid))

    def read(self, uuid: str) -> Transfer:
        """The same, asked once."""
        return self.data.transfer(self.addon, uuid)

    def log(self, run: Run, transfer: Transfer, *, deadline: Deadline) -> tuple[str, ...]:
        """The lines of a transfer's own log."""
        return run.retried("GET transfer logs", lambda: self.data.logs(self.addon, transfer.uuid), deadline=deadline)

    def link(self, backup: Transfer) -> Link:
        """An address to download a backup from, asked once; asking again makes another."""
        return self.data.link(self.addon, backup)

    def capture(self, run: Run, source: Source, *, kind: str, known: frozenset[str], deadline: Deadline) -> Transfer:
        """Starts a backup of the database, exactly once; `known`: the uuids listed before. Raises StepFailed, too."""
        request = Request(
            name=f"POST backups ({kind})",
            post=lambda: self.data.capture(self.addon),
            listed=self.listed,
            known=known,
            ours=lambda each: each.is_backup and not each.schedule and each.reads(source),
        )
        return start_once(request, clock=run.clock, log=run.log, deadline=deadline)

    def restore(self, run: Run, source: Source, backup: Transfer, *, first: Callable[[], None]) -> Transfer:
        """Starts the restore of a backup onto the database, exactly once. Raises StepFailed, too.

        `first` is done right before each request.
        """

        def post() -> Transfer:
            first()
            return self.data.restore(self.addon, backup)

        request = Request(
            name="POST restores",
            post=post,
            listed=self.listed,
            known=uuids(self.transfers(run)),
            ours=lambda each: both(each.writes(source), each.loads(backup)),
        )
        return start_once(request, clock=run.clock, log=run.log, deadline=run.deadline)


def uuids(transfers: tuple[Transfer, ...]) -> frozenset[str]:
    """What identifies transfers."""
    return frozenset(transfer.uuid for transfer in transfers)


def both(one: bool | None, other: bool | None) -> bool | None:
    """Whether both are so; None when that is not told."""
    return False if one is False or other is False else one and other
