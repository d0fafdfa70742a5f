"""The database as it is, seen from outside: a dump that the tests make themselves, never the hook's own word."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import psycopg

from tests.hook import POSTGRES_BIN


def picture(superuser_url: str) -> str:
    """All of a database but the hook's own journal: structure, data, ownership and grants, sequences' positions."""
    dump = subprocess.run(
        [POSTGRES_BIN / "pg_dump", "--exclude-schema=release_phase", superuser_url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # A dump made by PostgreSQL's newest minor releases brackets itself with a random word.
    return re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.MULTILINE)


def execute(url: str, *statements: str) -> None:
    """Runs statements, each its own transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """The rows of a query."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def running(url: str, words: str) -> bool:
    """Whether another session of this very database runs a statement with these words; a cluster has many tests'."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND state = 'active' AND strpos(query, %s) > 0",
            [words],
        )
        return found.rowcount > 0


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found]
