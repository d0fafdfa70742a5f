"""A run as the journal has it: the state that it has announced, its row, and what is known of its migration."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class State(StrEnum):
    """The state that a run has announced. In any but FINISHED the run is under way or was cut off.

    LOADING says that the run is requesting a restore. Where none is listed, the request may still be on its way.
    """

    BACKING_UP = "backing_up"
    MIGRATING = "migrating"
    PROBING = "probing"
    RESTORING = "restoring"
    LOADING = "loading"
    FINISHED = "finished"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One run in the journal.

    `baseline` is the highest transfer number before the run, `formation` the number of dynos by process type before it.
    `fence` is the mode of a fence that may be up; `release` means since before the backup. `app_id`, `addon_id`,
    `system_id` (the cluster's identifier) and `database` say where the row was written. They are None where that is
    unknown: in version 1, or where there was no backup. `elsewhere` says that it was written in another database than
    the one that holds it now. `code_version` is the hook's own.
    """

    run_id: str
    app: str
    release: str | None
    commit: str | None
    state: State
    outcome: str | None
    reason: str | None
    started_at: str
    finished_at: str | None
    fence: str | None
    maintenance: bool | None
    formation: dict[str, int] | None
    baseline: int | None
    backup: str | None
    salvage: str | None
    restore: str | None
    app_id: str | None = None
    addon_id: str | None = None
    system_id: str | None = None
    database: str | None = None
    code_version: str | None = None
    elsewhere: bool = False

    def belongs(self, app_id: str | None, addon_id: str | None = None, *, app: str | None = None) -> bool:
        """Says whether it is a run of this app on this add-on in this very database, as far as both sides know.

        `app` is the app's name, by which rows without an id are told apart. Any other row came with a dump that was
        loaded here, or is another app's. It is history, and nobody may act upon it.
        """
        if self.elsewhere or not _alike(self.app_id, app_id) or not _alike(self.addon_id, addon_id):
            return False
        return self.app_id is not None or app is None or self.app in {"", app, app_id}


class Migration(msgspec.Struct, frozen=True):
    """A run's migration, as far as it is known: when it began, and its sessions.

    `since` is in microseconds since 1970 on the server's clock, and None when the migration had not begun. `sessions`
    are those that were seen, each as its process id and the moment when it began.
    """

    since: int | None = None
    sessions: frozenset[tuple[int, int]] = frozenset()


def _alike(one: str | None, other: str | None) -> bool:
    """Says whether two ids are the same as far as is known: one that is missing may be any."""
    return one is None or other is None or one == other


SYSTEM = "(SELECT system_identifier::text FROM pg_catalog.pg_control_system())"
"""SQL for the cluster's identifier."""

COLUMNS_OF_FIRST = (
    "run_id, app, release, commit, state, outcome, reason,"
    " to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
    " to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
    " fence, maintenance, formation, baseline, backup, salvage, restore"
)
"""The columns of version 1."""

_ELSEWHERE = f"(system_id <> {SYSTEM} OR database <> current_database()) IS TRUE"
"""SQL for `Entry.elsewhere`. It is false where the row does not say in which database it was written."""

COLUMNS = f"{COLUMNS_OF_FIRST}, app_id, addon_id, system_id, database, code_version, {_ELSEWHERE}"
"""The columns in the order of the fields of `Entry`."""


def read(row: tuple[Any, ...]) -> Entry:
    """Reads a row that has COLUMNS, or COLUMNS_OF_FIRST."""
    # A row of version 1 is shorter (hence not strict), and the other fields have their defaults.
    return msgspec.convert(dict(zip(Entry.__struct_fields__, row, strict=False)), Entry, strict=False)
