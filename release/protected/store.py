"""The store of the target's backups: Heroku's own, through the Data API.

Its verbs retry: a request that only reads is made again, and one that starts a transfer takes effect exactly once.
Another store would be another class with these verbs.
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
    """The backups of an add-on, with the verbs to make one and to load one. They raise HerokuError."""

    addon: AddOn
    data: DataAPI

    def transfers(self, run: Run, *, deadline: Deadline | None = None) -> tuple[Transfer, ...]:
        """Lists all transfers of the billing app, of whatever database."""
        return run.retried("GET transfers", self.listed, deadline=deadline)

    def listed(self) -> tuple[Transfer, ...]:
        """Lists the same with one request, for callers that retry themselves or have no time to."""
        return self.data.transfers(self.addon)

    def transfer(self, run: Run, uuid: str) -> Transfer:
        """Reads one transfer as it is now."""
        return run.retried("GET transfer", lambda: self.read(uuid))

    def read(self, uuid: str) -> Transfer:
        """Reads the same with one request."""
        return self.data.transfer(self.addon, uuid)

    def log(self, run: Run, transfer: Transfer, *, deadline: Deadline) -> tuple[str, ...]:
        """Reads the lines of a transfer's own log."""
        return run.retried("GET transfer logs", lambda: self.data.logs(self.addon, transfer.uuid), deadline=deadline)

    def link(self, backup: Transfer) -> Link:
        """Makes an address to download a backup from, with one request. Another request makes another address."""
        return self.data.link(self.addon, backup)

    def capture(self, run: Run, source: Source, *, kind: str, known: frozenset[str], deadline: Deadline) -> Transfer:
        """Starts a backup of the database, exactly once. Raises StepFailed, too.

        `known` has the uuids of the transfers that were listed before.
        """
        request = Request(
            name=f"POST backups ({kind})",
            post=lambda: self.data.capture(self.addon),
            listed=self.listed,
            known=known,
            ours=lambda transfer: transfer.is_backup and not transfer.schedule and transfer.reads(source),
        )
        return start_once(request, clock=run.clock, log=run.log, deadline=deadline)

    def restore(self, run: Run, source: Source, backup: Transfer, *, first: Callable[[], None]) -> Transfer:
        """Starts the restore of a backup onto the database, exactly once. Raises StepFailed, too.

        `first` is called right before each request.
        """

        def post() -> Transfer:
            first()
            return self.data.restore(self.addon, backup)

        request = Request(
            name="POST restores",
            post=post,
            listed=self.listed,
            known=uuids(self.transfers(run)),
            ours=lambda transfer: both(transfer.writes(source), transfer.loads(backup)),
        )
        return start_once(request, clock=run.clock, log=run.log, deadline=run.deadline)


def uuids(transfers: tuple[Transfer, ...]) -> frozenset[str]:
    """Returns what identifies transfers."""
    return frozenset(transfer.uuid for transfer in transfers)


def both(one: bool | None, other: bool | None) -> bool | None:
    """Whether both are true. None when one is not known and the other is not false."""
    return False if one is False or other is False else one and other
