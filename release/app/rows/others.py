"""Frameworks of other languages, and those of none.

Those with `measured` were tried with the real tool: tests/toolchains/debian.py has the answers, less Liquibase's.
"""

from __future__ import annotations

from release.app.answers import Question, exit_code, listed, said
from release.app.crashes import says
from release.app.framework import Framework
from release.database.history import HistoryTable

_VERSIONS = HistoryTable(table="schema_migrations", columns=("version",))

OTHERS = (
    Framework(
        name="Rails",
        markers=("bin/rails",),
        tool=("bin/rails",),
        migrate=("db:migrate",),
        pending=Question(("db:abort_if_pending_migrations",), exit_code(1), ambiguous=True),
        crashed=says(
            r"^(\S*bin/)?(rails|rake) aborted!$|^\S+:\d+:in .+ \([A-Z]\w*(::\w+)*\)$",
            r"^([A-Z]\w*::)*[A-Z]\w*: ",
            unless=r"pending migration",
        ),
        shown=("db:migrate:status",),
        # What the code does not have is in the list, too, without a name.
        known=Question(("db:migrate:status",), listed(r"\s+(?:up|down)\s+(\d+)\s+(?!\s|\*+ NO FILE)")),
        file="db/migrate/{}_*.rb",
        histories=(
            _VERSIONS,
            HistoryTable(table="ar_internal_metadata", columns=("key", "value"), entry="key || ' ' || value"),
        ),
        measured="6.1",
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
        measured="1.3",
        sources=("https://sqitch.org/docs/manual/sqitch-status/", "https://sqitch.org/docs/manual/sqitch-deploy/"),
    ),
    Framework(
        name="Ecto",
        markers=("priv/repo/migrations/*.exs",),
        tool=("mix",),
        migrate=("ecto.migrate",),
        pending=Question(
            ("ecto.migrations",), said(something=r"^\s+down\s+\d", nothing=r"^\s+Status\s+Migration ID\s")
        ),
        shown=("ecto.migrations",),
        known=Question(("ecto.migrations",), listed(r"\s+(?:up|down)\s+(\d+)\s+(?!\s|\*+ FILE NOT FOUND)")),
        file="priv/repo/migrations/{}_*.exs",
        histories=(_VERSIONS,),
        sources=("https://hexdocs.pm/ecto_sql/Mix.Tasks.Ecto.Migrations.html",),
    ),
    Framework(
        name="Laravel",
        markers=("artisan",),
        tool=("php", "artisan"),
        migrate=("migrate", "--force"),
        # Laravel 8 prints a table, a later one, as documented, words at the end of the line.
        pending=Question(
            ("migrate:status",),
            said(
                something=r"\sPending$|^\|\s*No\s*\||Migration table not found",
                nothing=r"\sRan$|^\|\s*Yes\s*\|",
                exit_codes=(0, 1),
            ),
        ),
        shown=("migrate:status",),
        known=Question(("migrate:status",), listed(r"(?:\|\s*(?:Yes|No)\s*\|)?\s*(\d{4}_\d\d_\d\d_\d{6}_\w+)\s")),
        file="database/migrations/{}.php",
        histories=(
            HistoryTable(table="migrations", columns=("migration",), order="id", more=frozenset({"batch", "id"})),
        ),
        measured="8.83",
        sources=("https://laravel.com/docs/12.x/migrations#running-migrations",),
    ),
    Framework(
        name="Liquibase",
        markers=("liquibase.properties",),
        tool=("liquibase",),
        migrate=("update",),
        # 1 for a database that does not answer and for a changelog that cannot be read, else 0.
        pending=Question(
            ("status",), said(something=r"changesets? ha(s|ve) not been applied to ", nothing=r" is up to date$")
        ),
        shown=("status", "--verbose"),
        histories=(
            HistoryTable(
                table="databasechangelog",
                columns=("filename", "id", "author"),
                order="orderexecuted",
                entry="concat_ws(' ', filename, id, author, md5sum, exectype)",
                more=frozenset({"md5sum", "exectype", "orderexecuted"}),
            ),
        ),
        measured="4.28",
        sources=("https://docs.liquibase.com/commands/status/status.html",),
    ),
    Framework(
        name="Flyway",
        markers=("flyway.toml", "flyway.conf", "conf/flyway.toml", "conf/flyway.conf"),
        tool=("flyway",),
        migrate=("migrate",),
        # A migration that failed stands in the way: `migrate` says so.
        pending=Question(
            ("info",), said(something=r"\|\s*(Pending|Outdated?|Failed)\s*\|", nothing=r"\|\s*State\s*\|")
        ),
        shown=("info",),
        histories=(
            HistoryTable(
                table="flyway_schema_history",
                columns=("script",),
                order="installed_rank",
                entry="concat(script, ' ', checksum, CASE WHEN NOT success THEN ' failed' END)",
                more=frozenset({"checksum", "success", "installed_rank"}),
            ),
        ),
        sources=("https://documentation.red-gate.com/fd/info-277578886.html",),
    ),
    Framework(
        name="goose",
        tool=("goose",),
        migrate=("up",),
        pending=Question(("status",), said(something=r"\bPending\s+-- ", nothing=r"\bApplied At\s+Migration")),
        shown=("status",),
        histories=(
            HistoryTable(
                table="goose_db_version",
                columns=("version_id",),
                order="id",
                entry="concat(version_id, CASE WHEN NOT is_applied THEN ' undone' END)",
                more=frozenset({"is_applied", "id"}),
            ),
        ),
        sources=("https://pressly.github.io/goose/documentation/cli-commands/",),
    ),
    Framework(
        name="golang-migrate",
        tool=("migrate",),
        migrate=("up",),
        # It tells the database's version, but not what is pending.
        histories=(
            HistoryTable(
                table="schema_migrations",
                columns=("version",),
                entry="concat(version, CASE WHEN dirty THEN ' dirty' END)",
                more=frozenset({"dirty"}),
            ),
        ),
        sources=("https://github.com/golang-migrate/migrate/tree/master/cmd/migrate",),
    ),
)
