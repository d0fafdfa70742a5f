"""A database that was dumped as Heroku dumps, and loaded into an empty one, has the same fingerprint."""

from __future__ import annotations

from pathlib import Path

from release.database import fingerprint
from release.database.comparison import Verdict, same_structure
from tests.unit.database.conftest import Database

EVERYTHING = (Path(__file__).parent / "everything.sql").read_text()


def test_a_restored_database_has_the_fingerprint_of_the_dumped_one(database: Database) -> None:
    database.execute(*EVERYTHING.split("-- next transaction"))
    before = fingerprint.take(database.connect())
    dump = database.dump()
    database.reset()
    errors = database.load(dump)
    after = fingerprint.take(database.connect())

    assert not errors, errors
    found = same_structure(before, after, rows_must_match=True)
    assert [(str(each), each.before, each.after) for each in found.differences] == []
    assert [(str(each), each.before, each.after) for each in found.notes] == []
    assert after.digest() == before.digest()
    assert found.same
    assert found.verdict is Verdict.SCHEMA_UNCHANGED
