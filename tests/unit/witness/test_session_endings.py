"""However a session ends, at whatever message: `nothing` is only said when the database shows nothing."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator

import psycopg
import pytest

from release.witness.conversation import Conversation
from release.witness.protocol import message
from release.witness.tls import ServerTls
from release.witness.verdict import Seen, Word, verdict
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import SOON, Witnessed, before
from tests.unit.witness.wire import COPY_DONE, SYNC, TERMINATE, Client, bind, copy_data, cut, execute, parse, query, run

ADD = "INSERT INTO t VALUES (1)"
TWICE = "INSERT INTO t VALUES (0)"

IN_BLOCK = [query("BEGIN"), query(ADD), run(ADD.replace("1", "2")), SYNC, query("COMMIT"), TERMINATE]
BY_ITSELF = [parse(ADD), bind(), execute(), SYNC, query("SELECT 1"), TERMINATE]
COPYING = [query("COPY t FROM STDIN"), copy_data(b"1\n"), copy_data(b"2\n"), COPY_DONE, TERMINATE]
COPYING_EXTENDED = [run("COPY t FROM STDIN"), SYNC, copy_data(b"1\n"), COPY_DONE, SYNC, TERMINATE]
CONVERSATIONS = {
    "in a block": IN_BLOCK,
    "by itself": BY_ITSELF,
    "copying": COPYING,
    "copying, extended": COPYING_EXTENDED,
}
CUTS = [
    pytest.param(name, sum(map(len, messages[:n])) + more, id=f"{name}, message {n}{' and a part' if more else ''}")
    for name, messages in CONVERSATIONS.items()
    for n in range(len(messages) + 1)
    for more in ((0, 3) if n < len(messages) else (0,))
]
"""After every message, and in the middle of the next one."""


@pytest.fixture
def witnessed(database: Database) -> Iterator[Witnessed]:
    """A witness before a table with one row."""
    database.execute("CREATE TABLE t (n int PRIMARY KEY)", "INSERT INTO t VALUES (0)")
    yield from before(database)


def rows(database: Database) -> int:
    """How many rows of others than the setup are in the table, asked beside the witness."""
    with psycopg.connect(database.server.url(database.name, database.owner, "secret")) as connection:
        found = connection.execute("SELECT count(*) FROM t WHERE n > 0").fetchone()
    assert found is not None
    return int(found[0])


def agrees(witnessed: Witnessed) -> Seen:
    """Checks the word against the table: all sessions have ended, and nothing that stayed is called nothing."""
    seen = witnessed.seen()
    assert seen.open == ()
    until = time.monotonic() + SOON  # the server has to notice that a wire was cut
    while witnessed.alive() and time.monotonic() < until:
        time.sleep(0.01)
    assert witnessed.alive() == []
    word = verdict(seen).word
    assert word in ({Word.COMMITTED, Word.UNKNOWN} if rows(witnessed.database) else {Word.NOTHING, Word.UNKNOWN})
    return seen


@pytest.mark.parametrize(("name", "length"), CUTS)
def test_a_client_cut_off_anywhere_is_judged_as_the_table_shows(witnessed: Witnessed, name: str, length: int) -> None:
    client = Client(witnessed)
    client.send(b"".join(CONVERSATIONS[name])[:length])
    client.close()
    agrees(witnessed)


@pytest.mark.parametrize("upwards", [False, True], ids=["answers", "questions"])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_server_cut_off_anywhere_is_judged_as_the_table_shows(database: Database, name: str, upwards: bool) -> None:
    database.execute("CREATE TABLE t (n int PRIMARY KEY)", "INSERT INTO t VALUES (0)")
    whole, passed, greeting = judged(database, name, 10**9, upwards=upwards)
    assert whole is Word.COMMITTED
    step = max(1, (passed - greeting) // 20)
    words = {judged(database, name, after, upwards=upwards)[0] for after in range(greeting + 1, passed + step, step)}
    assert Word.UNKNOWN in words  # it was cut before the end


def judged(database: Database, name: str, after: int, *, upwards: bool) -> tuple[Word, int, int]:
    """Plays a conversation over a wire that is cut: the word, the bytes that passed, and those of the greeting."""
    database.execute("DELETE FROM t WHERE n > 0")
    with cut(database.server.host, database.server.port, after, upwards=upwards) as (port, passed):
        for witnessed in before(database, port=port, tls=ServerTls(mode="disable")):
            client = Client(witnessed)
            greeting = passed[0]
            client.send(b"".join(CONVERSATIONS[name]))
            while client.socket.recv(65536):
                pass
            client.close()
            return verdict(agrees(witnessed)).word, passed[0], greeting
    raise AssertionError


def test_a_commit_whose_answer_never_came_is_unknown(database: Database) -> None:
    database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    with cut(database.server.host, database.server.port, 10**9) as (port, passed):
        for witnessed in before(database, port=port, tls=ServerTls(mode="disable")):
            client = Client(witnessed)
            client.ask(query("BEGIN"))
            client.ask(query(ADD))
            before_commit = passed[0]
            client.close()
    with cut(database.server.host, database.server.port, before_commit) as (port, _):
        for witnessed in before(database, port=port, tls=ServerTls(mode="disable")):
            client = Client(witnessed)
            client.send(query("BEGIN") + query(ADD) + query("COMMIT"))
            while client.socket.recv(65536):
                pass
            client.close()
            seen = witnessed.seen()
    assert verdict(seen).word is Word.UNKNOWN
    assert rows(database) == 1


def test_a_session_that_the_server_ends_rolls_back(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.ask(query("BEGIN"))
    client.ask(query(ADD))
    witnessed.database.superuser(f"SELECT pg_terminate_backend({witnessed.opened[0].pid})")
    assert b"57P01" in client.until(b"E")[-1][1]
    assert client.socket.recv(1) == b""
    client.close()
    assert verdict(agrees(witnessed)).word is Word.NOTHING


def test_a_running_statement_is_cancelled_when_the_command_is_over(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.ask(query("BEGIN"))
    client.send(query(f"{ADD}; SELECT pg_sleep(60)") + query("COMMIT"))
    time.sleep(0.2)
    begin = time.monotonic()
    seen = witnessed.relay.end()
    assert time.monotonic() - begin < 3
    assert verdict(seen).word is Word.NOTHING
    assert seen.last_error is not None
    client.close()
    assert rows(witnessed.database) == 0


def test_a_session_that_cannot_be_ended_in_time_is_unknown(database: Database) -> None:
    database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    stubborn = (
        "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(5); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$"
    )
    for witnessed in before(database):
        witnessed.relay._patience = 0.5
        client = Client(witnessed)
        client.send(query(stubborn))
        time.sleep(0.1)
        word = verdict(witnessed.relay.end())
        client.close()
        database.superuser(f"SELECT pg_terminate_backend({witnessed.opened[0].pid})")
    assert word.word is Word.UNKNOWN
    assert "it did not end when it was cancelled" in word.why[0]


def test_a_server_that_has_stopped_is_not_waited_for(database: Database) -> None:
    database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    for witnessed in before(database):
        witnessed.relay._patience = 0.5
        client = Client(witnessed)
        client.ask(query("BEGIN") + query(ADD))
        client.until(b"Z")
        os.kill(witnessed.opened[0].pid, signal.SIGSTOP)
        begin = time.monotonic()
        try:
            seen = witnessed.relay.end()
        finally:
            os.kill(witnessed.opened[0].pid, signal.SIGCONT)
        assert time.monotonic() - begin < 3
        client.close()
    assert (seen.open, verdict(seen).word) == ((), Word.UNKNOWN)
    assert seen.doubts[0].endswith("it did not end when it was cancelled")


def test_a_whole_pipeline_is_undone_by_its_error(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.ask(run(ADD) + run(TWICE) + run(ADD.replace("1", "3")) + SYNC)
    client.send(TERMINATE)
    client.close()
    assert verdict(agrees(witnessed)).word is Word.NOTHING


def test_what_follows_a_failed_pipeline_counts(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.send(run(TWICE) + run(ADD) + SYNC + run(ADD.replace("1", "3")) + SYNC + TERMINATE)
    while client.socket.recv(65536):
        pass
    client.close()
    assert verdict(agrees(witnessed)).word is Word.COMMITTED


def test_a_name_stands_for_what_the_server_took_it_for(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.ask(parse(ADD, "p") + SYNC)
    client.ask(parse("SELECT 1", "p") + SYNC)  # an error: the name is taken
    client.ask(bind(name="p") + execute() + SYNC)
    client.close()
    assert verdict(agrees(witnessed)).word is Word.COMMITTED


def test_an_unnamed_statement_that_was_skipped_is_not_what_runs(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.ask(parse(f"{ADD} RETURNING n") + SYNC)
    client.ask(bind(name="nothing") + parse("SELECT 1") + SYNC)  # an error, and what follows it is skipped
    client.ask(bind() + execute() + SYNC)
    client.close()
    assert verdict(agrees(witnessed)).word is Word.COMMITTED


def test_a_portal_that_a_fetch_runs_is_a_write(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.ask(query("BEGIN"))
    client.ask(parse(f"{ADD} RETURNING n") + bind("c") + SYNC)
    client.ask(query("FETCH ALL FROM c"))
    client.ask(query("COMMIT"))
    client.close()
    assert verdict(agrees(witnessed)).word is Word.COMMITTED


def test_a_portal_that_was_suspended_is_a_write(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.ask(parse("INSERT INTO t VALUES (1), (2) RETURNING n") + bind() + execute(rows=1) + SYNC)
    client.close()
    assert verdict(agrees(witnessed)).word is Word.COMMITTED


def test_a_copy_that_fails_midway_leaves_nothing(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    client.send(run("COPY t FROM STDIN") + SYNC)
    client.until(b"G")
    client.send(copy_data(b"1\n") + copy_data(b"not a number\n") + COPY_DONE + SYNC)
    client.until(b"Z")
    client.ask(query("SELECT 1"))
    client.close()
    seen = agrees(witnessed)
    assert (verdict(seen).word, seen.doubts) == (Word.NOTHING, ())


def test_a_call_of_a_function_by_its_number_is_a_write(witnessed: Witnessed) -> None:
    client = Client(witnessed)
    lo_create = 715
    client.ask(message(b"F", lo_create.to_bytes(4) + bytes([0, 1, 0, 1, 0, 1]) + (4).to_bytes(4) + bytes(4) + b"\0\1"))
    client.close()
    assert witnessed.verdict().word is Word.COMMITTED


def test_a_beginning_that_cannot_be_noted_is_a_doubt_and_nothing_more(witnessed: Witnessed) -> None:
    def fails(_: object) -> None:
        raise OSError("no space")

    witnessed.relay._opened = fails
    with witnessed.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    word = witnessed.verdict()
    assert word.word is Word.UNKNOWN
    assert word.why[0].endswith("its beginning could not be noted: OSError")


def test_where_the_witness_fails_the_bytes_pass_and_nothing_is_sure(
    witnessed: Witnessed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("of ours")

    monkeypatch.setattr(Conversation, "_complete", fails)
    with witnessed.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.execute("SELECT 2").fetchone() == (2,)
    word = witnessed.verdict()
    assert word.word is Word.UNKNOWN
    assert word.why[0].endswith("the witness failed: KeyError: 'of ours'")
    assert witnessed.alive() == []


def test_without_a_session_nothing_is_known(witnessed: Witnessed) -> None:
    assert witnessed.verdict().word is Word.UNKNOWN
    assert witnessed.verdict().why == ("no session was opened through the witness",)


def test_a_session_that_goes_on_is_not_judged(witnessed: Witnessed) -> None:
    witnessed.connect().execute("SELECT 1")
    word = verdict(witnessed.relay.seen())
    assert word.why == (f"session {witnessed.opened[0].pid} has not ended",)


def test_a_server_that_cannot_be_reached_is_told(database: Database) -> None:
    for witnessed in before(database, port=1):
        with pytest.raises(psycopg.OperationalError, match="the database could not be reached"):
            witnessed.connect()


def test_a_server_is_checked_as_the_url_says(database: Database) -> None:
    for witnessed in before(database, tls=ServerTls(mode="verify-full", root="system")):
        with pytest.raises(psycopg.OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
            witnessed.connect()


def test_nonsense_is_refused(witnessed: Witnessed) -> None:
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", bytes(8), (8).to_bytes(4) + (2 << 16).to_bytes(4)):
        client = Client.__new__(Client)
        client.socket = socket.create_connection((witnessed.entrance.host, witnessed.entrance.port))
        client.send(nonsense)
        assert b"08P01" in client.until(b"E")[-1][1]
        client.close()
    assert witnessed.relay.seen().sessions == 0


def test_fifty_sessions_at_once_are_all_seen(witnessed: Witnessed) -> None:
    connections = [witnessed.connect() for _ in range(50)]
    for connection in connections:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    for connection in connections:
        connection.close()
    seen = witnessed.seen()
    assert (seen.sessions, seen.statements, verdict(seen).word) == (50, 50, Word.NOTHING)
