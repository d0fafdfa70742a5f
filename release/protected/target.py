"""The target: the add-on behind the database, with what is known of it since the run began."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from release.heroku.http import Session
from release.heroku.platform import AddOn, App
from release.heroku.transfers import Source, Transfer
from release.protected.site import Site
from release.protected.store import Store


class Attached(Struct, frozen=True, kw_only=True):
    """An app and the add-on behind its database, with the ways to reach them."""

    app: App
    addon: AddOn
    site: Site
    store: Store
    session: Session


class Target(Attached, frozen=True, kw_only=True):
    """What is protected, and how it stood when the run began.

    `formation` has quantities by process type. `transfers` has all of the billing app, of whatever database.
    """

    source: Source
    formation: dict[str, int]
    transfers: tuple[Transfer, ...]

    @property
    def baseline(self) -> int:
        """The highest number among the transfers, by which a later run can tell what came after. 0 without any."""
        return max((transfer.number for transfer in self.transfers), default=0)

    def own_backups(self) -> list[Transfer]:
        """Returns the manual backups of this database that still exist, this tool's among them, newest first."""
        backups = [
            transfer
            for transfer in self.transfers
            if transfer.is_backup
            and transfer.succeeded
            and not transfer.schedule
            and not transfer.deleted_at
            and transfer.reads(self.source) is not False
        ]
        return sorted(backups, key=lambda backup: backup.number, reverse=True)

    def expected(self, *, restores: bool) -> float | None:
        """Returns the seconds that the latest backup or restore of this database took. None when there is none."""

        def is_alike(transfer: Transfer) -> bool | None:
            return transfer.writes(self.source) if restores else transfer.is_backup and transfer.reads(self.source)

        finished = [transfer for transfer in self.transfers if transfer.succeeded and is_alike(transfer)]
        return max(finished, key=lambda transfer: transfer.number).seconds if finished else None


def restores(transfers: Iterable[Transfer], onto: Source, *, after: int) -> list[Transfer]:
    """Returns those that may have loaded something into the database since the transfer `after`, the newest last."""
    loading = [
        transfer
        for transfer in transfers
        if transfer.is_restore and transfer.number > after and transfer.writes(onto) is not False
    ]
    return sorted(loading, key=lambda transfer: transfer.number)
