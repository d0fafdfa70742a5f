"""The built-in probes: what a migration must not have left behind, whatever it was for.

`BUILT_IN` is the list of them. A new one is a row there and a function here.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from release.app import migrations
from release.app.command import Commands, ask_pending
from release.database import checks, evidence
from release.database.outset import emptied_tables
from release.database.session import translated
from release.errors import ProbeFailed, Reason
from release.probes.check import Facts, Probe, failed
from release.protected.before import Before
from release.run import Run
from release.settings.model import Guard, OnMissing

MOST_TABLES = 20
"""Tables that a failure names."""


class Migrated(Struct, frozen=True, kw_only=True):
    """A migration that ended well: the run, the app's commands, and the backup from before it with what it holds."""

    run: Run
    commands: Commands
    backup: Before


def _nothing_pending(migrated: Migrated) -> Facts | None:
    is_pending = ask_pending(migrated.run, migrated.commands)
    if is_pending:
        raise failed("the migration ended well, but migrations are still pending")
    return {} if is_pending is False else None


def _nothing_missing(migrated: Migrated) -> Facts | None:
    """Asks a framework that could not tell before the migration."""
    run = migrated.run
    missing = migrations.missing_after(run, migrated.commands)
    if not missing:
        return None
    detail = f"models were changed without a migration: {'; '.join(missing)}"
    if run.settings.on_missing_migrations is OnMissing.REFUSE:
        raise ProbeFailed(Reason.MISSING_MIGRATIONS, detail)
    run.warn("missing_migrations", detail)
    return None


def _valid_indexes(migrated: Migrated) -> Facts:
    """Fails when an index became invalid: it costs and serves nobody.

    A concurrent index build that failed leaves one.

    Those that were there before are warned of: CREATE INDEX … IF NOT EXISTS goes by the name and leaves them as they
    are.
    """
    run = migrated.run
    indexes = checks.invalid_indexes(run.database.connection)
    if new := sorted(set(indexes) - set(migrated.backup.before.invalid_indexes)):
        raise failed(f"invalid: {', '.join(new)}", indexes=new)
    if indexes:
        again = "; ".join(f"REINDEX INDEX CONCURRENTLY {index}" for index in indexes)
        run.warn(
            "invalid_indexes",
            "indexes that serve no query were there before this release, and IF NOT EXISTS skips them by name;"
            f" build them anew: {again}",
            indexes=indexes,
        )
    return {}


def _valid_constraints(migrated: Migrated) -> Facts:
    if constraints := checks.unvalidated(migrated.run.database.connection, migrated.backup.before):
        raise failed(f"valid before, not valid now: {', '.join(constraints)}", constraints=constraints)
    return {}


def _emptied_tables(migrated: Migrated) -> Facts:
    """Fails when a table that held rows is empty: flush, schema:load, a careless DELETE.

    Such a migration may end well, and all is gone.
    """
    run, backup = migrated.run, migrated.backup
    with translated():
        emptied, usual, unknown = emptied_tables(run.database.connection, backup.before, backup.outset)
    if usual:
        run.warn("tables_emptied", f"empty now, as they often are: {', '.join(usual)}", tables=usual)
    if unknown:
        run.warn("rows_unknown", f"could not be looked into for rows: {', '.join(unknown)}", tables=unknown)
    if not emptied:
        return {}
    detail = f"held rows before the migration, and are empty now: {', '.join(emptied[:MOST_TABLES])}"
    run.guard(Guard.EMPTIED_TABLES, ProbeFailed(Reason.EMPTIED_TABLES, detail, tables=emptied))
    return {"tables": emptied}


def _sequences(migrated: Migrated) -> Facts:
    """Fails when a sequence fell behind the column that it fills, so that the next insert would fail.

    Only tables that were written since the backup count: what was behind before is not this release's doing.
    """
    run, backup = migrated.run, migrated.backup
    with translated():
        written = evidence.written_since(run.database.connection, backup.outset.evidence)
    behind = checks.sequences_behind(run.database.connection)
    ours = sorted(name for name, table in behind.items() if name not in backup.behind and table in written)
    if ours:
        raise failed(f"behind their columns, the next insert would fail: {', '.join(ours)}", sequences=ours)
    return {}


BUILT_IN: Final[tuple[Probe[Migrated], ...]] = (
    Probe(
        name="nothing_pending",
        describe=lambda _: "nothing is pending",
        run=_nothing_pending,
    ),
    Probe(
        name="nothing_missing",
        given=lambda settings: settings.on_missing_migrations is not OnMissing.OFF,
        describe=lambda _: "no model was changed without a migration",
        run=_nothing_missing,
    ),
    Probe(
        name="valid_indexes",
        describe=lambda _: "no index became invalid",
        run=_valid_indexes,
    ),
    Probe(
        name="valid_constraints",
        describe=lambda _: "no constraint lost its validation",
        run=_valid_constraints,
    ),
    Probe(
        name="emptied_tables",
        describe=lambda _: "no table that held rows is empty",
        run=_emptied_tables,
    ),
    Probe(
        name="sequences",
        describe=lambda _: "no sequence fell behind its column",
        run=_sequences,
    ),
)
"""The built-in probes, in the order in which they run. `describe` ends the sentence "Check that …"."""
