"""The built-in probes: what a migration must not have left behind, whatever it was for."""

from __future__ import annotations

from release.app import drift
from release.app.command import Commands, ask_pending
from release.database import checks, evidence
from release.database.outset import emptied_tables
from release.database.session import translated
from release.errors import ProbeFailed, Reason
from release.probes.check import Facts, checked, failed
from release.run import Run
from release.settings.model import Guard, OnMissing
from release.target.before import Before

MOST_TABLES = 20
"""Tables that a failure names."""


# Built in.


def check_built_in(run: Run, commands: Commands, backup: Before) -> None:
    """Runs all of them, after a migration. Raises ProbeFailed."""
    checked(run, "nothing_pending", lambda: _nothing_pending(run, commands))
    if run.settings.on_missing_migrations is not OnMissing.OFF:
        checked(run, "nothing_missing", lambda: _nothing_missing(run, commands))
    checked(run, "valid_indexes", lambda: _valid_indexes(run, backup))
    _warn_of_invalid_indexes(run)
    checked(run, "valid_constraints", lambda: _valid_constraints(run, backup))
    checked(run, "emptied_tables", lambda: _emptied_tables(run, backup))
    checked(run, "sequences", lambda: _sequences(run, backup))


def _nothing_pending(run: Run, commands: Commands) -> Facts | None:
    answer = ask_pending(run, commands)
    if answer:
        raise failed("the migration ended well, but migrations are still pending")
    return {} if answer is False else None


def _nothing_missing(run: Run, commands: Commands) -> Facts | None:
    """For a framework that could not tell before the migration."""
    missing = drift.missing_after(run, commands)
    if not missing:
        return None
    detail = f"models were changed without a migration: {'; '.join(missing)}"
    if run.settings.on_missing_migrations is OnMissing.REFUSE:
        raise ProbeFailed(Reason.MISSING_MIGRATIONS, detail)
    run.warn("missing_migrations", detail)
    return None


def _valid_indexes(run: Run, backup: Before) -> Facts:
    """A concurrent index build that failed leaves an index that costs and serves nobody."""
    now = checks.invalid_indexes(run.database.connection)
    if invalid := sorted(set(now) - set(backup.before.invalid_indexes)):
        raise failed(f"invalid: {', '.join(invalid)}", indexes=invalid)
    return {}


def _warn_of_invalid_indexes(run: Run) -> None:
    """Those that were there before: CREATE INDEX … IF NOT EXISTS goes by the name and leaves them as they are."""
    if indexes := checks.invalid_indexes(run.database.connection):
        again = "; ".join(f"REINDEX INDEX CONCURRENTLY {index}" for index in indexes)
        run.warn(
            "invalid_indexes",
            "indexes that serve no query were there before this release, and IF NOT EXISTS skips them by name;"
            f" build them anew: {again}",
            indexes=indexes,
        )


def _valid_constraints(run: Run, backup: Before) -> Facts:
    if constraints := checks.unvalidated(run.database.connection, backup.before):
        raise failed(f"valid before, not valid now: {', '.join(constraints)}", constraints=constraints)
    return {}


def _emptied_tables(run: Run, backup: Before) -> Facts:
    """A migration that empties tables may end well, and all is gone: flush, schema:load, a careless DELETE."""
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


def _sequences(run: Run, backup: Before) -> Facts:
    """Only of tables that were written since: what was behind before is not this release's doing."""
    with translated():
        now = evidence.take(run.database.connection)
    written = evidence.compare(backup.outset.evidence, now).written
    behind = checks.sequences_behind(run.database.connection)
    ours = sorted(name for name, table in behind.items() if name not in backup.behind and table in written)
    if ours:
        raise failed(f"behind their columns, the next insert would fail: {', '.join(ours)}", sequences=ours)
    return {}
