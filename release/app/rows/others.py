"""Frameworks of other languages, and those of none."""

from __future__ import annotations

from release.app.answers import Question, exit_code, listed, said
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
        known=Question(("db:migrate:status",), listed(r"\s+(?:up|down)\s+(\d+)\s+(?!\s|\*+ NO FILE)")),
        file="db/migrate/{}_*.rb",
        histories=(
            HistoryTable(table="schema_migrations", columns=("version",)),
            HistoryTable(table="ar_internal_metadata", columns=("key", "value"), entry="key || ' ' || value"),
        ),
        sources=("https://guides.rubyonrails.org/active_record_migrations.html#running-migrations",),
    ),
    Framework(
        name="Sqitch",
        markers=("sqitch.plan",),
        # It reads no variable with the URL of a database.
        tool=("sh", "-c"),
        program="sqitch",
        migrate=('exec sqitch deploy --target "db:$DATABASE_URL"',),
        # 1 means that nothing was ever deployed, and 2 a plan that lacks what is deployed, as well as all its errors.
        pending=Question(
            ('exec sqitch status --target "db:$DATABASE_URL"',),
            said(
                something=r"^Undeployed changes?:|^No changes deployed",
                nothing=r"^Nothing to deploy|^Cannot find this change in ",
                exit_codes=(0, 1, 2),
            ),
        ),
        shown=('exec sqitch status --target "db:$DATABASE_URL"',),
        known=Question(("exec sqitch plan --no-headers --format 'format:%o %n'",), listed(r"(\S+) (\S+)$")),
        histories=(
            HistoryTable(
                table="changes",
                columns=("project", "change"),
                order="committed_at",
                entry="concat(project, '.', change, ' ', change_id)",
                more=frozenset({"change_id", "committed_at", "planner_email"}),
            ),
        ),
        sources=("https://sqitch.org/docs/manual/sqitch-status/", "https://sqitch.org/docs/manual/sqitch-deploy/"),
    ),
)
