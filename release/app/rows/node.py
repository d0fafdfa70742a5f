"""Frameworks of Node. Each was measured with the real tool: tests/toolchains/node.py has its answers.

They are started from `node_modules/.bin`: `npx` costs 0.3 s, and fetches the newest version of a tool that the slug
does not have, to run it on production. Heroku takes a tool among `devDependencies` out of the slug.

Where nothing was ever migrated, the questions of Knex, Sequelize, TypeORM and MikroORM make their empty history table.
"""

from __future__ import annotations

from typing import Final

from release.app.answers import Question, denied, exit_code, listed, said
from release.app.crashes import says
from release.app.framework import Framework
from release.app.index import Index, drizzle_journal
from release.database.history import HistoryTable

BIN: Final = "node_modules/.bin"

NODE = (
    Framework(
        name="Prisma",
        markers=("prisma/schema.prisma", "prisma.config.*", "prisma/schema/schema.prisma"),
        tool=(f"{BIN}/prisma",),
        migrate=("migrate", "deploy"),
        # 1 is its answer for all that is not at its end, and that of all its errors.
        pending=Question(
            ("migrate", "status"),
            said(
                something="not yet been applied|migrations? have failed|not managed by Prisma Migrate",
                nothing="Database schema is up to date",
                exit_codes=(0, 1),
            ),
        ),
        # https://www.prisma.io/docs/orm/reference/error-reference#common: P1xxx is about schema and connection.
        crashed=says(r"^Error: P1\d{3}:|^Error code: P1012", r"^error: "),
        shown=("migrate", "status"),
        file="migrations/{}/migration.sql",
        histories=(
            HistoryTable(
                table="_prisma_migrations",
                columns=("migration_name",),
                order="started_at",
                entry="concat(migration_name, ' ', checksum, CASE WHEN finished_at IS NOT NULL THEN ' finished' END,"
                " CASE WHEN rolled_back_at IS NOT NULL THEN ' rolled back' END)",
                more=frozenset({"checksum", "finished_at", "rolled_back_at"}),
                applied="rolled_back_at IS NULL",
            ),
        ),
        measured="6.19",
        sources=("https://www.prisma.io/docs/orm/reference/prisma-cli-reference#migrate-status",),
    ),
    Framework(
        name="Knex",
        markers=("knexfile.*",),
        tool=(f"{BIN}/knex",),
        migrate=("migrate:latest",),
        # It compares the names of files with the history, and does neither list nor migrate where one is missing.
        pending=Question(
            ("migrate:list",),
            said(
                something=r"Found \d+ Pending Migration|migration directory is corrupt",
                nothing="No Pending Migration files Found",
                exit_codes=(0, 1),
            ),
        ),
        shown=("migrate:list",),
        unknown=Question(("migrate:list",), denied("following files are missing: (.+)", separator=", ")),
        histories=(
            HistoryTable(table="knex_migrations", columns=("name",), order="id", more=frozenset({"batch"})),
            # A migration that was killed leaves it locked; the next one refuses to begin.
            HistoryTable(table="knex_migrations_lock", columns=("index", "is_locked")),
        ),
        measured="3",
        sources=("https://knexjs.org/guide/migrations.html#migration-cli",),
    ),
    Framework(
        name="Sequelize",
        markers=(f"{BIN}/sequelize-cli",),
        tool=(f"{BIN}/sequelize-cli",),
        migrate=("db:migrate",),
        # What the history has is `up`, in the code or not. The heading is there without any migration.
        pending=Question(("db:migrate:status",), said(something=r"^down \S", nothing="^up |^Using environment ")),
        shown=("db:migrate:status",),
        file="migrations/{}",
        histories=(HistoryTable(table="SequelizeMeta", columns=("name",)),),
        measured="6",
        sources=("https://sequelize.org/docs/v6/other-topics/migrations/#running-migrations",),
    ),
    Framework(
        name="TypeORM",
        markers=(
            "data-source.js",
            "src/data-source.js",
            "dist/data-source.js",
            "dist/*/data-source.js",
            "build/data-source.js",
            "build/*/data-source.js",
        ),
        tool=(f"{BIN}/typeorm", "-d", "{marker}"),
        migrate=("migration:run",),
        pending=Question(("migration:show",), said(something=r"^\s*\[ \] ", nothing=r"^\s*\[X\] ")),
        shown=("migration:show",),
        # `[X] 7 AddPrice1704153600000`: the number is the row's, the class's name ends with the migration's time.
        known=Question(("migration:show",), listed(r"\s*\[[ X]\] (?:\d+ )?(?=\w*?(\d{13})$)(\w+)")),
        file="migrations/{}-*",
        histories=(HistoryTable(table="migrations", columns=("timestamp", "name"), order="id"),),
        measured="0.3",
        sources=("https://typeorm.io/docs/migrations/status",),
    ),
    Framework(
        name="node-pg-migrate",
        markers=(f"{BIN}/node-pg-migrate",),
        tool=(f"{BIN}/node-pg-migrate",),
        migrate=("up",),
        # A dry run runs the migrations' own queries (`pgm.db.query`), and commits what they wrote: so it is given a
        # session that cannot write. To be refused something there is an answer as well.
        pending=Question(
            (
                "sh",
                "-c",
                f'PGOPTIONS="$PGOPTIONS -c default_transaction_read_only=on" exec {BIN}/node-pg-migrate up --dry-run',
            ),
            said(
                something="^> Migrating files|in a read-only transaction|Not run migration .* is preceding",
                nothing="^No migrations to run",
                exit_codes=(0, 1),
            ),
            whole=True,
            name="node-pg-migrate up --dry-run",
        ),
        file="migrations/{}.*",
        histories=(HistoryTable(table="pgmigrations", columns=("name",), order="id", more=frozenset({"run_on"})),),
        measured="8",
        sources=("https://salsita.github.io/node-pg-migrate/cli",),
    ),
    Framework(
        name="Drizzle",
        markers=("drizzle.config.*",),
        tool=(f"{BIN}/drizzle-kit",),
        migrate=("migrate",),
        # It has no command that tells. It applies what is younger than the newest in its history.
        index=Index(file="meta/_journal.json", read=drizzle_journal),
        histories=(
            HistoryTable(
                table="__drizzle_migrations",
                columns=("created_at",),
                entry="concat(created_at, ' ', hash)",
                more=frozenset({"hash"}),
            ),
        ),
        measured="0.31",
        sources=("https://orm.drizzle.team/docs/drizzle-kit-migrate",),
    ),
    Framework(
        name="MikroORM",
        markers=("mikro-orm.config.*", "dist/mikro-orm.config.js", "build/mikro-orm.config.js"),
        tool=(f"{BIN}/mikro-orm",),
        migrate=("migration:up",),
        # What is pending is printed as a table.
        pending=Question(("migration:pending",), said(something="│", nothing="No pending migrations")),
        shown=("migration:pending",),
        file="migrations/{}.*",
        histories=(
            HistoryTable(table="mikro_orm_migrations", columns=("name",), order="id", more=frozenset({"executed_at"})),
        ),
        measured="6.5",
        sources=("https://mikro-orm.io/docs/migrations#using-via-cli",),
    ),
    Framework(
        name="dbmate",
        markers=(f"{BIN}/dbmate",),
        # It would write the schema into a file afterwards, by pg_dump.
        tool=(f"{BIN}/dbmate", "--no-dump-schema"),
        migrate=("migrate",),
        also=(("up",),),  # the same for a database that is there
        pending=Question(("status", "--exit-code"), exit_code(1)),  # 2 is all its errors'
        shown=("status",),
        known=Question(("status",), listed(r"\[[ X]\] (\d+)_")),
        file="migrations/{}_*.sql",
        histories=(HistoryTable(table="schema_migrations", columns=("version",)),),
        measured="2",
        sources=("https://github.com/amacneil/dbmate#commands",),
    ),
)

HISTORIES = (
    HistoryTable(  # graphile-migrate's
        table="migrations", columns=("filename",), order="date", more=frozenset({"hash", "previous_hash", "date"})
    ),
    HistoryTable(  # db-migrate's
        table="migrations", columns=("name",), order="id", more=frozenset({"run_on"})
    ),
)
"""The histories of tools that leave nothing by which they could be recognised."""
