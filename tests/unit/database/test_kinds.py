"""Fingerprints of two versions of this code: compared by what both know, and never taken for more than that."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from release.database import catalog, fingerprint, grants, repair
from release.database.comparison import Verdict, compare, same_structure
from release.database.fingerprint import AROUND, Fingerprint
from release.database.kinds import FIRST, HISTORY, KINDS
from tests.unit.database.conftest import Database, added
from tests.unit.database.test_fingerprint import BASE
from tests.unit.database.test_fingerprint_round_trip import EVERYTHING


def _of(kinds: dict[str, int], **changes: Any) -> Fingerprint:
    return msgspec.structs.replace(BASE, kinds=kinds, **changes)


def _less(*kinds: str) -> dict[str, int]:
    return {kind: revision for kind, revision in KINDS.items() if kind not in kinds}


def test_every_kind_that_a_database_can_show_is_in_the_list_and_no_other(database: Database) -> None:
    database.execute(*EVERYTHING.split("-- next transaction"))
    found = fingerprint.take(database.connect())
    assert {*found.schema, *found.surroundings} <= KINDS.keys()
    text = " ".join(
        query.text for query in (*catalog.STRUCTURE, *catalog.RARER, *catalog.GRANTS, *catalog.SURROUNDINGS)
    )
    assert set(re.findall(r"'([a-z -]+)'", text)) >= KINDS.keys() - {HISTORY}
    assert KINDS.keys() >= FIRST.keys()


def test_a_fingerprint_says_what_its_code_knew() -> None:
    assert BASE.kinds == KINDS
    assert Fingerprint.from_json(BASE.to_json()).kinds == KINDS


@pytest.mark.parametrize("kinds", [_less("columns"), {**KINDS, "columns": KINDS["columns"] + 1}])
def test_a_kind_that_one_does_not_know_is_left_out_and_proves_nothing(kinds: dict[str, int]) -> None:
    before = _of(kinds, schema={"table": BASE.schema["table"], "columns": {"public.a": "written\tdifferently"}})
    found = compare(before, BASE)
    assert (found.differences, found.left_out) == ((), ("columns",))
    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert found.unproved == "only one of the two fingerprints knows of: columns"
    assert same_structure(before, BASE).left_out == ("columns",)


def test_what_both_know_is_compared_all_the_same() -> None:
    before = _of({**_less("columns"), "kind of tomorrow": 1}, schema={"kind of tomorrow": {"a": "b"}})
    found = compare(before, BASE)
    assert [str(each) for each in found.differences] == ["table public.a added"]
    assert found.left_out == ("columns", "kind of tomorrow")
    assert (compare(BASE, BASE).left_out, compare(BASE, BASE).unproved) == ((), None)


def test_histories_are_a_kind_like_others() -> None:
    assert same_structure(_of(_less(HISTORY), history={}), BASE).differences == ()
    assert len(same_structure(_of(KINDS, history={}), BASE).differences) == 1


# Documents.


def _document(**changes: Any) -> bytes:
    found = {**msgspec.json.decode(BASE.to_json()), **changes}
    return msgspec.json.encode({name: value for name, value in found.items() if value is not msgspec.UNSET})


def test_a_document_without_a_list_knows_what_the_first_version_knew() -> None:
    found = Fingerprint.from_json(_document(version=1, kinds=msgspec.UNSET))
    assert found.kinds == FIRST
    assert found.evidence == BASE.evidence
    assert found.schema == BASE.schema


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"version": 3, "of_tomorrow": {"a": 1}}, KINDS),
        ({"evidence": {"writes": {"public.a": {"inserted": 1}}}}, _less(*AROUND)),
        ({"evidence": msgspec.UNSET}, _less(*AROUND)),
        ({"evidence": [["a", 1, True]], "version": 1}, {k: r for k, r in FIRST.items() if k not in AROUND}),
        ({"holding": ["public.a"]}, KINDS),
        ({"holding": msgspec.UNSET}, KINDS),
        ({"history": ["a.0001"]}, _less(HISTORY)),
        ({"schema": [["table", "public.a", "table"]]}, {}),
        ({"kinds": "all"}, {}),
        ({"version": "next"}, {}),
        ({"row_counts": 12.5, "server_version": "18.1"}, KINDS),
    ],
)
def test_what_cannot_be_read_of_a_document_is_not_known(changes: dict[str, Any], known: dict[str, int]) -> None:
    found = Fingerprint.from_json(_document(**changes))
    assert found.kinds == known
    comparison = compare(found, BASE)
    assert comparison.differences == ()
    assert comparison.verdict is (Verdict.UNCHANGED if changes.get("version") == 3 else Verdict.SCHEMA_UNCHANGED)


@pytest.mark.parametrize("document", [b"", b"of another time", b"[]", b"null", b"{}", b"\xff\xfe", b'{"version": 1'])
def test_of_what_is_no_document_nothing_is_known(document: bytes) -> None:
    found = Fingerprint.from_json(document)
    comparison = compare(found, BASE)
    assert (found.kinds, comparison.differences) == ({}, ())
    assert comparison.left_out == tuple(sorted(KINDS))
    assert comparison.verdict is Verdict.SCHEMA_UNCHANGED


# What is done with one.


@pytest.mark.parametrize("kinds", [{}, _less("view"), {**KINDS, "view": 99}])
def test_nothing_is_dropped_of_a_kind_that_the_fingerprint_does_not_know(
    database: Database, kinds: dict[str, int]
) -> None:
    connection = database.connect()
    before = msgspec.structs.replace(fingerprint.take(connection), kinds=kinds)
    database.execute(
        "CREATE TABLE a (n integer)",
        "CREATE VIEW only_a_view AS SELECT 1 AS n",
        "CREATE VIEW a_view AS SELECT n FROM a",
        "CREATE TABLE b (n integer)",
    )
    assert repair.remove_added(connection, before, added(connection, before)) == (["table public.b"] if kinds else [])
    left = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
    assert {"a", "only_a_view", "a_view"} <= {name for (name,) in left}


def test_grants_that_another_version_wrote_down_are_left_alone(database: Database) -> None:
    database.role("reader")
    connection = database.connect()
    before = msgspec.structs.replace(fingerprint.take(connection), kinds=_less("grants"))
    database.execute("CREATE TABLE a (n integer)", "GRANT SELECT ON a TO reader")
    assert grants.put_back_grants(connection, before) == [
        "owners and grants: another version of this code wrote them down, and they were not put back:"
        r" check with \dp in psql whether they are right"
    ]
    assert connection.execute("SELECT has_table_privilege('reader', 'a', 'SELECT')").fetchall() == [(True,)]
