"""Conversations that nobody would think of, each judged as the table shows and none lost track of."""

from __future__ import annotations

import random
import time

import psycopg
import pytest

from release.witness.conversation import NOT_UNDERSTOOD
from release.witness.protocol import message
from release.witness.verdict import Word, verdict
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import Witnessed, before
from tests.unit.witness.wire import COPY_DONE, SYNC, TERMINATE, Client, bind, copy_data, execute, parse, query, run

ADD = "INSERT INTO t SELECT nextval('s')"
BAD = "SELECT 1 / 0"
TEXTS = (
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE a",
    "SELECT 1",
    "SET work_mem = '5MB'",
    ADD,
    ADD,
    BAD,
    "INSERT INTO t VALUES (0)",  # fails: it is there
    "INSERT INTO child VALUES (-1)",  # fails when it is committed
    "",
    f"DO $$ BEGIN {ADD}; END $$",
    f"DO $$ BEGIN {ADD}; COMMIT; PERFORM 1 / 0; END $$",
    "VACUUM t",
    "DECLARE c CURSOR FOR SELECT n FROM t",
    "FETCH ALL FROM c",
    "FETCH ALL FROM p",
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "PREPARE TRANSACTION 'x'",
)
STRINGS = (
    *TEXTS,
    f"{ADD}; {BAD}",
    f"{ADD}; COMMIT; {BAD}",
    f"BEGIN; {ADD}",
    f"{ADD}; BEGIN; {BAD}",
    f"BEGIN; {ADD}; COMMIT; {ADD}; ROLLBACK",
    f"ROLLBACK; {ADD}",
    f"{ADD}; SELECT 2; {ADD}",
)
COPY = "COPY t FROM STDIN"
FAIL = message(b"f", b"no\0")
NAMES = ("", "p")


def messages(dice: random.Random) -> list[bytes]:
    """A conversation of some messages, in an order that no driver has."""
    row = copy_data(f"{dice.randrange(1000, 10**9)}\n".encode())
    copies = (row + COPY_DONE, row + FAIL, COPY_DONE, copy_data(b"no number\n") + COPY_DONE)
    found: list[bytes] = []
    for _ in range(dice.randrange(2, 25)):
        kinds = (
            query(dice.choice(STRINGS)),
            run(dice.choice(TEXTS)),
            run(dice.choice(TEXTS)) + SYNC,
            parse(dice.choice(TEXTS), dice.choice(NAMES)),
            bind(dice.choice(NAMES), dice.choice(NAMES)),
            execute(dice.choice(NAMES), dice.choice((0, 1))),
            message(b"D", dice.choice((b"S", b"P")) + dice.choice((b"\0", b"p\0"))),
            message(b"C", dice.choice((b"S", b"P")) + dice.choice((b"\0", b"p\0"))),
            query(COPY) + dice.choice(copies),
            run(COPY) + dice.choice((SYNC, b"")) + dice.choice(copies) + SYNC,
            dice.choice(copies),
            message(b"H"),
            SYNC,
        )
        found.append(dice.choice(kinds))
    return found


@pytest.fixture
def database(database: Database) -> Database:
    """With a table with one row, and one whose constraint is checked late."""
    database.execute(
        "CREATE TABLE t (n bigint PRIMARY KEY)",
        "CREATE SEQUENCE s",
        "INSERT INTO t VALUES (0)",
        "CREATE TABLE child (n bigint REFERENCES t DEFERRABLE INITIALLY DEFERRED)",
    )
    return database


def roll_back_prepared(database: Database) -> int:
    with database.server.session(database.name) as session:
        found = session.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()").fetchall()
        for (gid,) in found:
            session.execute(f"ROLLBACK PREPARED '{gid}'")
    return len(found)


def rows(database: Database) -> int:
    with psycopg.connect(database.server.url(database.name, database.owner, "secret")) as connection:
        found = connection.execute("SELECT count(*) FROM t").fetchone()
    assert found is not None
    return int(found[0])


def play(witnessed: Witnessed, dice: random.Random, *, cut: bool) -> None:
    """Sends a conversation without waiting for any answer; `cut`: the client is gone somewhere in it."""
    client = Client(witnessed)
    data = b"".join(messages(dice)) + SYNC + TERMINATE
    client.send(data[: dice.randrange(len(data))] if cut else data)
    if cut:
        time.sleep(dice.choice((0, 0.001, 0.01)))
    else:
        while client.socket.recv(65536):
            pass
    client.close()


@pytest.mark.parametrize("cut", [False, True], ids=["to its end", "cut off"])
@pytest.mark.parametrize("seed", range(8))
def test_any_conversation_is_judged_as_the_table_shows(database: Database, seed: int, cut: bool) -> None:
    for number in range(15):
        dice = random.Random(f"{seed} {number}")
        was = rows(database)
        for each in before(database):
            play(each, dice, cut=cut)
            seen = each.seen()
        changed = rows(database) - was + roll_back_prepared(database)
        assert seen.open == ()
        assert not changed or verdict(seen).word is not Word.NOTHING, (seed, number, seen)
        assert cut or not any(NOT_UNDERSTOOD in doubt for doubt in seen.doubts), (seed, number, seen)
