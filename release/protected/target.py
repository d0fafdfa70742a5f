"""The target: the add-on behind the database, found through Heroku's APIs, and the refusals that follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from release.heroku.http import Session
from release.heroku.platform import AddOn, App
from release.heroku.transfers import Source, Transfer
from release.protected.site import Site
from release.protected.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """An app and the add-on behind its database, and the ways to them."""

    app: App
    addon: AddOn
    site: Site
    store: Store
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Attached):
    """What is protected, and how it stood when the run began.

    `formation`: quantities by process type; `transfers`: all of the billing app, of whatever database.
    """

    source: Source
    formation: dict[str, int]
    transfers: tuple[Transfer, ...]

    @property
    def baseline(self) -> int:
        """The highest number among them, so that a later run can tell what came after."""
        return max((transfer.number for transfer in self.transfers), default=0)

    def own_backups(self) -> list[Transfer]:
        """The operator's and this tool's manual backups of this database that are there, newest first."""
        found = [
            transfer
            for transfer in self.transfers
            if transfer.is_backup
            and transfer.succeeded
            and not transfer.schedule
            and not transfer.deleted_at
            and transfer.reads(self.source) is not False
        ]
        return sorted(found, key=lambda each: each.number, reverse=True)

    def expected(self, *, restores: bool) -> float | None:
        """Seconds that the latest backup or restore of this database took; None when there is none to go by."""
        finished = [
            each
            for each in sorted(self.transfers, key=lambda each: each.number)
            if each.succeeded and (each.writes(self.source) if restores else each.is_backup and each.reads(self.source))
        ]
        return finished[-1].seconds if finished else None


def restores(transfers: Iterable[Transfer], onto: Source, *, after: int) -> list[Transfer]:
    """Those that may have loaded something into the database since the transfer of that number, the newest last."""
    found = [
        transfer
        for transfer in transfers
        if transfer.is_restore and transfer.number > after and transfer.writes(onto) is not False
    ]
    return sorted(found, key=lambda each: each.number)
