"""The store of the target's backups: Heroku's own, through the Data API.

Its verbs retry: a request that only reads is made again, and one that starts a transfer takes effect exactly once.
Another store would be another class with these verbs.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from release.asked import Asked, Lately
from release.clock import Deadline
from release.heroku.exactly_once import Request, start_once
from release.heroku.platform import AddOn
from release.heroku.transfers import DataAPI, Link, Source, Transfer
from release.run import Run


class Store(Struct, frozen=True, kw_only=True):
    """The backups of an add-on, with the verbs to make one and to load one. They raise HerokuError.

    Right before a transfer is asked for, the list of transfers is read: what is not in it may be what the request has
    made. A list that was asked for within the last second is not asked for again, unless a transfer has begun since.
    """

    addon: AddOn
    data: DataAPI
    listing: Lately[tuple[Transfer, ...]] = field(default_factory=Lately)
    finding: Lately[Transfer] = field(default_factory=Lately)

    def ask(self, run: Run, uuid: str | None = None) -> None:
        """Asks for the list of transfers, and for one of them, ahead of the moment when they are needed."""
        self.listing.ahead(lambda: self._ask(run))
        if uuid:
            self.finding.ahead(lambda: self._ask_for(run, uuid), of=uuid)

    def transfers(self, run: Run, *, deadline: Deadline | None = None) -> tuple[Transfer, ...]:
        """Lists all transfers of the billing app, of whatever database."""
        return self.listing.answer(lambda: self._ask(run, deadline))

    def _ask(self, run: Run, deadline: Deadline | None = None) -> Asked[tuple[Transfer, ...]]:
        return run.asked("GET transfers", self.listed, deadline=deadline)

    def listed(self) -> tuple[Transfer, ...]:
        """Lists the same with one request, for callers that retry themselves or have no time to."""
        return self.data.transfers(self.addon)

    def find(self, run: Run, uuid: str) -> Transfer:
        """Reads one transfer as it is now, or was within the last second."""
        return self.finding.answer(lambda: self._ask_for(run, uuid), of=uuid)

    def _forget(self) -> None:
        """Drops what was read, since a transfer is about to begin."""
        self.listing.forget()
        self.finding.forget()

    def _ask_for(self, run: Run, uuid: str) -> Asked[Transfer]:
        return run.asked("GET transfer", lambda: self.read(uuid))

    def read(self, uuid: str) -> Transfer:
        """Reads one transfer with one request, as it is now."""
        return self.data.transfer(self.addon, uuid)

    def ask_for_log(self, run: Run, transfer: Transfer, *, deadline: Deadline) -> Asked[tuple[str, ...]]:
        """Asks for the lines of a transfer's own log."""
        return run.asked("GET transfer logs", lambda: self.data.logs(self.addon, transfer.uuid), deadline=deadline)

    def link(self, backup: Transfer) -> Link:
        """Makes an address to download a backup from, with one request. Another request makes another address."""
        return self.data.link(self.addon, backup)

    def capture(self, run: Run, source: Source, *, kind: str, known: frozenset[str], deadline: Deadline) -> Transfer:
        """Starts a backup of the database, exactly once. Raises StepFailed, too.

        `known` has the uuids of the transfers that were listed right before.
        """
        self._forget()
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

        known = uuids(self.transfers(run))
        self._forget()
        request = Request(
            name="POST restores",
            post=post,
            listed=self.listed,
            known=known,
            ours=lambda transfer: both(transfer.writes(source), transfer.loads(backup)),
        )
        return start_once(request, clock=run.clock, log=run.log, deadline=run.deadline)


def uuids(transfers: tuple[Transfer, ...]) -> frozenset[str]:
    """Returns what identifies transfers."""
    return frozenset(transfer.uuid for transfer in transfers)


def both(one: bool | None, other: bool | None) -> bool | None:
    """Whether both are true. None when one is not known and the other is not false."""
    return False if one is False or other is False else one and other
