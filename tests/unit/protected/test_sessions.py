"""Whose a session is: the migration's surely, or perhaps, or somebody else's."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from release.database.entry import Migration
from release.database.others import Other
from release.protected.sessions import is_migration, may_be_migration
from release.run import HOOKS, migration_name

NAME = migration_name("0f3a")
BEGAN, UNTIL = 1_000, 2_000
MIGRATION = Migration(since=BEGAN, sessions=frozenset({(7, 1_100)}))
OTHER = Other(pid=9, since=500, name="", ours=True, here=False, port=4711, transaction=1_500)


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({}, True),
        ({"transaction": BEGAN}, True),
        ({"transaction": UNTIL}, True),
        ({"transaction": BEGAN - 1}, False),  # it could not know of the migration
        ({"transaction": UNTIL + 1}, False),  # the migration was over
        ({"transaction": None}, False),
        ({"since": 1_200}, True),
        ({"name": NAME}, True),
        ({"name": "shop"}, True),
        ({"ours": False}, False),
        ({"name": f"{HOOKS}0f3b"}, False),
        ({"name": "Heroku Postgres Backups"}, False),
        ({"name": "pg_dump"}, False),
    ],
)
def test_a_transaction_of_our_role_that_began_meanwhile_may_be_the_migrations(
    changes: dict[str, Any], meant: bool
) -> None:
    assert may_be_migration(replace(OTHER, **changes), MIGRATION, UNTIL) is meant


def test_of_a_migration_whose_beginning_is_unknown_any_transaction_may_be() -> None:
    assert may_be_migration(replace(OTHER, transaction=1), Migration(), UNTIL)


@pytest.mark.parametrize(
    ("changes", "surely"),
    [
        ({}, False),
        ({"name": NAME}, True),
        ({"name": f"{NAME}0"}, False),
        ({"name": migration_name("0f3b")}, False),
        ({"pid": 7, "since": 1_100}, True),
        ({"pid": 7}, False),  # another session of the same number
        ({"since": 1_100}, False),
    ],
)
def test_a_session_is_the_migrations_by_its_name_or_because_it_was_seen(changes: dict[str, Any], surely: bool) -> None:
    assert is_migration(replace(OTHER, **changes), NAME, MIGRATION) is surely
