"""Frameworks of other languages, and those of none."""

from __future__ import annotations

from release.app.answers import Question, exit_code, listed
from release.app.framework import Framework
from release.database.history import HistoryTable

OTHERS = (
    Framework(
        name="Rails",
        markers=("bin/rails",),
        tool=("bin/rails",),
        migrate=("db:migrate",),
        # 1 is the answer of a crash, too (6.1).
        pending=Question(
            ("db:abort_if_pending_migrations",),
            exit_code(1),
            crash=r"(bin/)?(rails|rake) aborted!|.*\((Load|Name)Error\)",
        ),
        shown=("db:migrate:status",),
        # What the code does not have is in the list, too, without a name.
        known=Question(("db:migrate:status",), listed(r"\s+(?:up|down)\s+(\d+)\s+(?!\*+ NO FILE)")),
        file="db/migrate/{}_*.rb",
        histories=(
            HistoryTable(table="schema_migrations", columns=("version",)),
            HistoryTable(table="ar_internal_metadata", columns=("key", "value"), entry="key || ' ' || value"),
        ),
        sources=("https://guides.rubyonrails.org/active_record_migrations.html#running-migrations",),
    ),
)
