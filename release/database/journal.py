"""The journal: one table in its own schema, in which a run announces what it is about to do.

It is kept in the protected database on purpose. The row is written before the backup is captured, so that the dump
carries it as it was then. A restore therefore takes the row back to that state. Together with the list of transfers
that tells any later run what happened. The fingerprint leaves the schema out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from release import __version__
from release.database.entry import COLUMNS, COLUMNS_OF_FIRST, SYSTEM, Entry, Migration, State, read
from release.database.session import Database, Failed
from release.errors import Reason, StepFailed

VERSION = 2
"""The version of the table. Version 1 had none of the columns that the ALTER below adds."""

TABLES = f"""
CREATE SCHEMA IF NOT EXISTS release_phase;
COMMENT ON SCHEMA release_phase IS 'Journal of the release phase, version {VERSION}';
CREATE TABLE IF NOT EXISTS release_phase.runs (
    run_id      text PRIMARY KEY,
    version     integer NOT NULL DEFAULT {VERSION},
    app         text NOT NULL,
    release     text,
    commit      text,
    state       text NOT NULL,
    outcome     text,
    reason      text,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    fence       text,
    maintenance boolean,
    formation   jsonb,
    baseline    integer,
    fingerprint text,
    backup      text,
    salvage     text,
    restore     text,
    recovery_at timestamptz,
    record      jsonb
);
ALTER TABLE release_phase.runs
    ADD COLUMN IF NOT EXISTS app_id text, ADD COLUMN IF NOT EXISTS addon_id text,
    ADD COLUMN IF NOT EXISTS system_id text, ADD COLUMN IF NOT EXISTS database text,
    ADD COLUMN IF NOT EXISTS code_version text, ADD COLUMN IF NOT EXISTS xids text[],
    ADD COLUMN IF NOT EXISTS migrating_at timestamptz, ADD COLUMN IF NOT EXISTS outset text,
    ADD COLUMN IF NOT EXISTS sessions jsonb"""
"""Statements that are run only where something is missing, since the ALTER waits for all readers, such as a dump."""

UNDEFINED_COLUMN = "42703"
"""The SQLSTATE for a column that does not exist, as in a table of version 1."""

MISSING = frozenset({"3F000", "42P01", UNDEFINED_COLUMN})
"""The SQLSTATEs for a schema, a table and a column that does not exist."""


_NAMES = (
    "record = nullif(coalesce(record, '{}') || jsonb_strip_nulls(jsonb_build_object("
    "'names', coalesce(record -> 'names', '{}') || %s::jsonb)), '{}')"
)
"""SQL that adds names to those which the record has."""


def _as_json(names: Mapping[str, str | None] | None) -> str | None:
    known = {kind: name for kind, name in (names or {}).items() if name}
    return msgspec.json.encode(known).decode() if known else None


class Journal:
    """The journal of one database. Its methods raise Lost and Failed (session.py)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def exists(self) -> bool:
        """Says whether any run has ever been recorded here."""
        return bool(self._database.one("SELECT to_regclass('release_phase.runs') IS NOT NULL")[0])

    def unfinished(
        self, app_id: str | None = None, addon_id: str | None = None, *, app: str | None = None
    ) -> Entry | None:
        """Finds the run of this app and add-on that was cut off; None where there is none.

        It is the newest run that is not finished, or whose fence is still up. An argument that is None restricts
        nothing; see Entry.belongs.
        """
        cut_off = self._entries("WHERE state <> 'finished' OR fence IS NOT NULL ORDER BY started_at DESC")
        return next((entry for entry in cut_off if entry.belongs(app_id, addon_id, app=app)), None)

    def alone(self, run_id: str, app_id: str, addon_id: str, *, app: str) -> bool:
        """Says whether this run is there, and no other run of its app and add-on is unfinished.

        It is one look, since a restore may replace the journal between two.
        """
        rows = self._entries("WHERE run_id = %s OR state <> 'finished' OR fence IS NOT NULL", run_id)
        others = [entry for entry in rows if entry.run_id != run_id]
        return len(others) < len(rows) and not any(entry.belongs(app_id, addon_id, app=app) for entry in others)

    def entry(self, run_id: str) -> Entry | None:
        """Reads one run; None where it is not in the journal."""
        return next(iter(self._entries("WHERE run_id = %s", run_id)), None)

    def age(self, run_id: str) -> float:
        """Returns the seconds since a run last announced something, on the server's clock."""
        (age,) = self._database.one(
            "SELECT extract(epoch FROM clock_timestamp() - max(changed_at))::float8 FROM release_phase.runs"
            " WHERE run_id = %s",
            [run_id],
        )
        return float(age or 0)

    def runs(self, limit: int) -> list[Entry]:
        """Reads the newest runs, newest first, those from elsewhere among them."""
        return self._entries("ORDER BY started_at DESC LIMIT %s", limit)

    def open(
        self,
        *,
        run_id: str,
        app: str,
        release: str | None,
        commit: str | None,
        maintenance: bool | None,
        formation: dict[str, int] | None,
        baseline: int,
        app_id: str | None = None,
        addon_id: str | None = None,
    ) -> None:
        """Records a run that is about to back up. The server itself writes into the row which database this is."""
        self._write(
            "INSERT INTO release_phase.runs (run_id, version, code_version, app, release, commit, state, maintenance,"  # noqa: S608 -- constants
            " formation, baseline, app_id, addon_id, system_id, database, xids) VALUES (%s, %s, %s, %s, %s, %s, %s, %s,"
            f" %s, %s, %s, %s, {SYSTEM}, current_database(), ARRAY[pg_current_xact_id()::text])",
            [
                run_id,
                VERSION,
                __version__,
                app,
                release,
                commit,
                State.BACKING_UP,
                maintenance,
                None if formation is None else msgspec.json.encode(formation).decode(),
                baseline,
                app_id,
                addon_id,
            ],
            added_for=MISSING,
        )

    def fenced(self, run_id: str, mode: str | None) -> None:
        """Records that the fence is about to go up in a mode or, with None, that it is down again."""
        self._update(run_id, "fence = %s, changed_at = clock_timestamp()", [mode])

    def fingerprinted(self, run_id: str, document: bytes, evidence: bytes) -> None:
        """Keeps the fingerprint before the capture, so that the dump holds it. The evidence stays after the run."""
        self._update(
            run_id,
            "fingerprint = %s, record = jsonb_build_object('evidence', %s::jsonb), changed_at = clock_timestamp()",
            [document.decode(), evidence.decode()],
        )

    def evidence(self, backup: str) -> bytes | None:
        """Reads the evidence of the moment when a backup (a uuid) was taken; None where it was not kept."""
        if not self.exists():
            return None
        rows = self._database.rows(
            "SELECT record -> 'evidence' FROM release_phase.runs WHERE backup = %s AND record ? 'evidence' LIMIT 1",
            [backup],
        )
        return msgspec.json.encode(rows[0][0]) if rows else None

    def own_transactions(self, run_id: str) -> frozenset[int]:
        """Reads the ids (64 bits) of the transactions in which the hook has written this row; empty for version 1."""
        if not self.exists():
            return frozenset()
        rows = self._read(_select("xids", "WHERE run_id = %s"), _select("NULL", "WHERE run_id = %s"), run_id)
        return frozenset(int(xid) for (xids,) in rows for xid in xids or ())

    def in_the_dump(self) -> Entry | None:
        """Finds the run that made the dump from which the database was just restored; its fingerprint came with it."""
        entries = self._entries("WHERE state = 'backing_up' AND fingerprint IS NOT NULL ORDER BY started_at DESC")
        return next((entry for entry in entries if not entry.elsewhere), None)

    def keep_record(self, run_id: str, record: dict[str, Any]) -> bool:
        """Keeps the final record of a run that is decided; says whether there was a row for it. Waits 3 s at most."""
        if not self.exists():
            return False
        self._database.limit(3)
        kept = msgspec.json.encode(record).decode()
        return self._update(run_id, "record = coalesce(record, '{}') || %s::jsonb", [kept])

    def history(self, limit: int) -> list[tuple[Entry, dict[str, Any]]]:
        """Reads the newest runs with their final records (empty where none was kept), newest first."""
        if not self.exists():
            return []
        columns, clause = ", coalesce(record - ARRAY['evidence', 'landed'], '{}')", "ORDER BY started_at DESC LIMIT %s"
        rows = self._read(_select(COLUMNS + columns, clause), _select(COLUMNS_OF_FIRST + columns, clause), limit)
        return [(read(row[:-1]), row[-1]) for row in rows]

    def fingerprint(self, run_id: str) -> bytes | None:
        """Reads the fingerprint as it was kept; None where it was not kept, or is gone with the end of the run."""
        rows = self._database.rows("SELECT fingerprint FROM release_phase.runs WHERE run_id = %s", [run_id])
        return rows[0][0].encode() if rows and rows[0][0] else None

    def announce(self, run_id: str, state: State, *, backup: str | None = None, salvage: str | None = None) -> None:
        """Records that a run is about to enter a state. The uuids of its backup and its salvage stay once given.

        Raises StepFailed (lock_lost) when the row is finished: another run has settled this one in the meantime.
        """
        changes = (
            "state = %s, backup = coalesce(%s, backup), salvage = coalesce(%s, salvage), changed_at = clock_timestamp()"
        )
        self._require(self._update(run_id, changes, [state, backup, salvage], only="state <> 'finished'"))

    def begin_migration(
        self, run_id: str, *, backup: str | None, outset: bytes, names: Mapping[str, str | None] | None = None
    ) -> None:
        """Records that the migration is about to begin, with the outset (outset.py). May be called twice.

        `names`: as people know the run's `backup` and `salvage` (b012). Raises StepFailed (lock_lost) as `announce`
        does.
        """
        changes = (
            "state = %s, backup = coalesce(%s, backup), outset = %s, changed_at = clock_timestamp(),"
            f" migrating_at = coalesce(migrating_at, clock_timestamp()), {_NAMES}"
        )
        values: list[object] = [State.MIGRATING, backup, outset.decode(), _as_json(names)]
        self._require(self._update(run_id, changes, values, only="state <> 'finished'"))

    def outset(self, run_id: str) -> bytes | None:
        """Reads the outset as it was kept; None in a row of version 1."""
        rows = self._read(_select("outset", "WHERE run_id = %s"), _select("NULL", "WHERE run_id = %s"), run_id)
        return rows[0][0].encode() if rows and rows[0][0] else None

    def saw(self, run_id: str, sessions: Iterable[tuple[int, int]]) -> None:
        """Records sessions that are the migration's, each as its process id and the moment when it began."""
        seen = msgspec.json.encode(sorted(sessions)).decode()
        self._update(run_id, "sessions = coalesce(sessions, '[]') || %s::jsonb", [seen])

    def migration(self, run_id: str) -> Migration:
        """Reads what is known of a run's migration; nothing is known where the row is gone or of version 1."""
        if not self.exists():
            return Migration()
        columns = "(extract(epoch FROM migrating_at) * 1000000)::bigint, coalesce(sessions, '[]')"
        unknown = "NULL, '[]'::jsonb"
        rows = self._read(_select(columns, "WHERE run_id = %s"), _select(unknown, "WHERE run_id = %s"), run_id)
        if not rows:
            return Migration()
        ((since, sessions),) = rows
        return msgspec.convert({"since": since, "sessions": sessions}, Migration)

    def commit(self, run_id: str, landed: bytes | None = None) -> None:
        """Records that the release is in, and that nothing may undo it afterwards. May be called twice.

        `landed` is what is to be remembered of it (landed.py). Raises StepFailed (lock_lost) when the row does not say
        that this run's migration is what the database holds.
        """
        changes = (
            "state = 'finished', outcome = 'released', fingerprint = NULL, outset = NULL,"
            " finished_at = clock_timestamp(), changed_at = clock_timestamp(), record = CASE WHEN %s::text IS NULL"
            " THEN record ELSE coalesce(record, '{}') || jsonb_build_object('landed', %s::jsonb) END"
        )
        kept = landed.decode() if landed else None
        self._require(self._update(run_id, changes, [kept, kept], only="(state = 'probing' OR outcome = 'released')"))

    def landed(self, run_id: str) -> bytes | None:
        """Reads what is remembered of a run that landed; None where that is nothing."""
        rows = self._database.rows("SELECT record -> 'landed' FROM release_phase.runs WHERE run_id = %s", [run_id])
        return msgspec.json.encode(rows[0][0]) if rows and rows[0][0] else None

    def sign_of_life(self, run_id: str) -> None:
        """Records that a recovery has started, before it waits for the lock. Without the table it does nothing."""
        if self.exists():
            self._update(run_id, "recovery_at = clock_timestamp()", [])

    def recovery_seen(self, run_id: str) -> bool:
        """Says whether a recovery has given a sign of life."""
        rows = self._database.rows("SELECT recovery_at IS NOT NULL FROM release_phase.runs WHERE run_id = %s", [run_id])
        return bool(rows and rows[0][0])

    def close(
        self,
        run_id: str,
        *,
        outcome: str,
        reason: str | None,
        restore: str | None = None,
        fence: str | None = None,
        names: Mapping[str, str | None] | None = None,
    ) -> None:
        """Records that the run is over, and that the database is as before the release, or as somebody decided.

        `names`: as in `begin_migration`; a restore has taken away what was there of them. `fence` is the mode of a
        fence that still has to be lowered, where a restore took the row back to before it.
        """
        self._update(
            run_id,
            "state = 'finished', outcome = %s, reason = %s, restore = coalesce(%s, restore),"
            " fence = coalesce(fence, %s), fingerprint = NULL, outset = NULL, finished_at = clock_timestamp(),"
            f" changed_at = clock_timestamp(), {_NAMES}",
            [outcome, reason, restore, fence, _as_json(names)],
        )

    def _require(self, unsettled: bool) -> None:
        if not unsettled:
            raise StepFailed(Reason.LOCK_LOST, "another run has settled this one in the meantime")

    def _update(self, run_id: str, changes: str, values: list[object], *, only: str = "true") -> bool:
        """Changes a row, notes in it which transaction did so, and says whether there was such a row."""
        statement = (
            f"UPDATE release_phase.runs SET {changes}, xids = array_append(xids, pg_current_xact_id()::text)"  # noqa: S608 -- constants
            f" WHERE run_id = %s AND {only} RETURNING 1"
        )
        return bool(self._write(statement, [*values, run_id], added_for={UNDEFINED_COLUMN}))

    def _write(self, statement: Any, values: list[object], *, added_for: AbstractSet[str]) -> list[tuple[Any, ...]]:
        """Runs a statement. Where it fails with one of some SQLSTATEs, adds what is missing and runs it once more."""
        try:
            return self._database.rows(statement, values)
        except Failed as error:
            if error.facts.get("sqlstate") not in added_for:
                raise
        self._database.rows(TABLES)
        return self._database.rows(statement, values)

    def _entries(self, clause: str, *values: object) -> list[Entry]:
        if not self.exists():
            return []
        return [read(row) for row in self._read(_select(COLUMNS, clause), _select(COLUMNS_OF_FIRST, clause), *values)]

    def _read(self, query: Any, first: Any, *values: object) -> list[tuple[Any, ...]]:
        """Runs a query, or `first` where the table is of version 1, since reading must not change the table."""
        try:
            return self._database.rows(query, values)
        except Failed as error:
            if error.facts.get("sqlstate") != UNDEFINED_COLUMN:
                raise
        return self._database.rows(first, values)


def _select(columns: str, clause: str) -> str:
    return f"SELECT {columns} FROM release_phase.runs {clause}"  # noqa: S608 -- constants
