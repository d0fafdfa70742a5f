"""A database that was dumped as Heroku dumps, and loaded into an empty one, has the same fingerprint."""

from __future__ import annotations

from pathlib import Path

import pytest

from release.database import fingerprint
from release.database.comparison import Verdict, same_structure
from release.database.put_back import put_back
from tests.unit.database.conftest import Database

EVERYTHING = (Path(__file__).parent / "everything.sql").read_text()


@pytest.mark.parametrize("keeping", [False, True], ids=["database dropped", "schemas dropped"])
def test_a_restored_database_has_the_fingerprint_of_the_dumped_one(database: Database, *, keeping: bool) -> None:
    database.execute(*EVERYTHING.split("-- next transaction"))
    before = fingerprint.take(database.connect())
    errors = database.restore(database.dump(), keeping=keeping)
    problems = put_back(database.connect(), before)
    after = fingerprint.take(database.connect())

    assert ("already exists" in errors) is keeping, errors  # publications and casts are in no schema
    assert problems == []
    found = same_structure(before, after, rows_must_match=True)
    assert [(str(each), each.before, each.after) for each in found.differences] == []
    assert [str(each) for each in found.notes if each.kind != "owner"] == [
        "contents of materialized view audit.paths made anew",
        "contents of materialized view public.totals made anew",
    ]
    assert after.digest() == before.digest()
    assert found.same
    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert len(before.schema["operators"]) > 5
