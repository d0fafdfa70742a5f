"""Frameworks of Node."""

from __future__ import annotations

from release.app.answers import Question, exit_code
from release.app.framework import Framework
from release.database.history import HistoryTable

NODE = (
    Framework(
        name="Prisma",
        markers=("prisma/schema.prisma",),
        tool=("npx", "prisma"),
        migrate=("migrate", "deploy"),
        pending=Question(("migrate", "status"), exit_code(1)),
        shown=("migrate", "status"),
        histories=(
            HistoryTable(
                table="_prisma_migrations",
                columns=("migration_name",),
                order="started_at",
                entry="concat(migration_name, ' ', checksum, CASE WHEN finished_at IS NOT NULL THEN ' finished' END,"
                " CASE WHEN rolled_back_at IS NOT NULL THEN ' rolled back' END)",
                more=frozenset({"checksum", "finished_at", "rolled_back_at"}),
            ),
        ),
        sources=("https://www.prisma.io/docs/orm/reference/prisma-cli-reference#migrate-status",),
    ),
)
