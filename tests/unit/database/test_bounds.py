"""A server that is alive and silent: whatever is asked of it, the wait ends on this side."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg
import pytest

from release.clock import Clock, Deadline, Received, ScaledClock, Signals
from release.database import bounds, fingerprint, read_only_query, repair, session
from release.database.bounds import Patience
from release.database.entry import State
from release.database.journal import Journal
from release.database.others import others, wait_until_gone
from release.database.pruning import prune
from release.database.session import Failed, Lost, translated
from release.errors import Reason
from tests.unit.database.conftest import Database


@pytest.fixture
def url(database: Database) -> str:
    return database.server.url(database.name, database.owner, "secret")


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
def hook(url: str, signals: Signals) -> Iterator[session.Database]:
    with closing(session.Database(url, application_name="release-hook-0f3a", signals=signals)) as hook:
        hook.rows("CREATE TABLE public.held (n integer)")
        yield hook


@contextmanager
def stopped(hook: session.Database, statement: float = 0.3) -> Iterator[int]:
    """The session's backend stands still; the session has that long for a statement, and as long again to say so."""
    bounds.limit(hook.connection, statement, margin=statement)
    pid = hook.connection.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def took(least: float, most: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert least <= time.monotonic() - began <= most


def _transaction(hook: session.Database) -> None:
    with translated(), hook.connection.transaction():
        hook.connection.execute("SELECT 1")


def _fingerprint(hook: session.Database) -> None:
    with translated():
        fingerprint.take(hook.connection)


def _analyze(hook: session.Database) -> None:
    with translated():
        repair.analyze(hook.connection, seconds=1)


CALLS: dict[str, Callable[[session.Database], object]] = {
    "rows": lambda hook: hook.rows("SELECT 1"),
    "with parameters": lambda hook: hook.rows("SELECT %s", ["x" * 100_000]),
    "identity": session.Database.identity,
    "try_lock": session.Database.try_lock,
    "lock_holder": session.Database.lock_holder,
    "sessions": others,
    "terminate": lambda hook: wait_until_gone(
        hook, lambda _: True, clock=Clock(), deadline=Deadline(Clock(), 5), ending=True
    ),
    "limit": lambda hook: hook.limit(3),
    "transaction": _transaction,
    "fingerprint": _fingerprint,
    "analyze": _analyze,
    "question": lambda hook: read_only_query.run(hook, "SELECT true", 1),
    "journal": lambda hook: Journal(hook).unfinished(),
    "announce": lambda hook: Journal(hook).announce("0f3a", State.MIGRATING),
    "prune": prune,
    "a larger answer than a buffer": lambda hook: hook.rows("SELECT repeat('x', 1000) FROM generate_series(1, 50000)"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_whatever_is_asked_of_a_stopped_backend_is_given_up(
    hook: session.Database, call: Callable[[session.Database], object]
) -> None:
    with stopped(hook), took(0.4, 3), pytest.raises(Lost) as caught:
        call(hook)
    assert caught.value.reason is Reason.DATABASE_UNREACHABLE
    assert caught.value.detail == "the server did not answer for 1 s"
    assert not hook.connected
    assert hook.one("SELECT 1") == (1,)


def test_holding_the_lock_is_not_known_of_a_stopped_backend(hook: session.Database) -> None:
    assert hook.try_lock()
    with stopped(hook), took(0.4, 3):
        assert not hook.holds_lock()


def test_a_session_with_a_stopped_backend_can_be_closed(hook: session.Database) -> None:
    with stopped(hook), took(0, 0.3):
        hook.close()
    assert not hook.connected


def test_a_backend_that_stops_in_the_middle_of_a_transaction_is_given_up(hook: session.Database) -> None:
    with took(0.4, 3), pytest.raises(Lost, match="did not answer"):
        _insert_twice(hook)
    assert hook.one("SELECT count(*) FROM public.held") == (0,)


def _insert_twice(hook: session.Database) -> None:
    with translated(), hook.connection.transaction():
        hook.connection.execute("INSERT INTO public.held VALUES (1)")
        with stopped(hook):
            hook.connection.execute("INSERT INTO public.held VALUES (2)")


def test_what_is_allowed_more_time_gets_it_and_what_answers_late_counts(hook: session.Database) -> None:
    bounds.limit(hook.connection, 0.3, margin=0.3)
    with translated(), bounds.allowing(hook.connection, 5):
        hook.rows("SELECT pg_sleep(1)")
    assert hook.one("SELECT current_setting('statement_timeout')") == ("300ms",)
    with pytest.raises(Failed) as caught:
        hook.rows("SELECT pg_sleep(1)")
    assert caught.value.facts == {"sqlstate": "57014"}
    assert hook.connected


def test_a_new_session_has_the_usual_limits_again(hook: session.Database) -> None:
    with stopped(hook), pytest.raises(Lost):
        hook.rows("SELECT 1")
    assert hook.one("SELECT current_setting('statement_timeout')") == ("30s",)
    with took(1, 5):
        hook.rows("SELECT pg_sleep(1)")


# The lock.


def test_a_lock_that_ones_own_silent_session_holds_is_no_other_runs(hook: session.Database, url: str) -> None:
    assert hook.try_lock()
    with stopped(hook) as pid:
        assert not hook.holds_lock()
        with pytest.raises(Lost) as caught:
            hook.try_lock()
        assert caught.value.detail == (
            f"an earlier session of this run (pid {pid}) does not answer any more and still holds the lock"
        )
        with closing(session.Database(url, application_name="release-hook-other")) as other:
            assert not other.try_lock()
            holder = other.lock_holder()
            assert holder is not None
            assert holder.pid == pid
    # It was asked to end, and does so as soon as it can.
    ends = time.monotonic() + 5
    while not _tried(hook):
        assert time.monotonic() < ends
        time.sleep(0.05)


def _tried(hook: session.Database) -> bool:
    try:
        return hook.try_lock()
    except Lost:
        return False


def test_what_a_broken_network_left_behind_in_the_server_is_ended(hook: session.Database) -> None:
    assert hook.try_lock()
    os.close(os.dup(hook.connection.fileno()))
    with socket.socket(fileno=os.dup(hook.connection.fileno())) as line:
        line.shutdown(socket.SHUT_RD)  # the server hears nothing of it
    with pytest.raises(Lost):
        hook.rows("SELECT pg_sleep(0.5)")  # an answer that is there already would still be read
    assert hook.try_lock()


# Signals and deadlines.


def test_a_signal_in_the_middle_of_a_statement_shortens_the_wait(hook: session.Database, signals: Signals) -> None:
    with stopped(hook, 20):
        signals.received = Received(name="SIGTERM", at=time.monotonic())
        with took(1.9, 4), pytest.raises(Lost):
            hook.rows("SELECT 1")


def test_long_after_a_signal_hardly_anything_is_waited_for(hook: session.Database, signals: Signals) -> None:
    with stopped(hook, 20):
        signals.received = Received(name="SIGTERM", at=time.monotonic() - bounds.LAST)
        signals.acknowledge()
        with took(0.4, 1.5), pytest.raises(Lost):
            hook.rows("SELECT 1")
        with took(0, 0.5), pytest.raises(Lost, match="no time is left to connect"):
            hook.rows("SELECT 1")


def test_a_server_that_is_well_is_heard_after_a_signal_too(hook: session.Database, signals: Signals) -> None:
    signals.received = Received(name="SIGTERM", at=time.monotonic() - 10)
    hook.rows("SELECT pg_sleep(1)")
    signals.acknowledge()
    hook.rows("SELECT pg_sleep(3)")


@pytest.mark.parametrize("clock", [Clock(), ScaledClock(10)], ids=["real", "ten times as fast"])
def test_a_deadline_ends_every_wait_and_a_late_statement_gets_a_moment(hook: session.Database, clock: Clock) -> None:
    with stopped(hook, 20):
        hook.deadline = Deadline(clock, 10 / clock.real(10))
        with took(0.9, 2.5), pytest.raises(Lost):
            hook.rows("SELECT 1")
    hook.deadline = None
    hook.rows("SELECT 1")
    hook.deadline = Deadline(clock, 0)
    assert hook.one("SELECT pg_sleep(0.2), 1")[1] == 1


def test_the_time_in_which_this_process_was_stopped_itself_does_not_count(
    hook: session.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter([0.0, 1000.0])
    monkeypatch.setattr(bounds, "monotonic", lambda: time.monotonic() + next(jumps, 1000.0))
    assert hook.one("SELECT pg_sleep(0.3), 1")[1] == 1


# Connecting.


def test_a_server_that_accepts_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CONNECT", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = session.Database(f"postgres://u:p@127.0.0.1:{silent.getsockname()[1]}/d", application_name="a")
        with took(1.5, 4), pytest.raises(Lost) as caught:
            hook.rows("SELECT 1")
    assert caught.value.detail == "connection timeout expired"


def test_a_name_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CONNECT", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    hook = session.Database("postgres://u:p@db.example:5432/d", application_name="a")
    with took(1.5, 3), pytest.raises(Lost) as caught:
        hook.rows("SELECT 1")
    assert caught.value.detail == "the name server did not answer for 2 s, asked for 'db.example'"


def test_all_addresses_of_a_name_are_tried(database: Database, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    port = psycopg.conninfo.conninfo_to_dict(url)["port"]

    def answer(host: str, *rest: object, **named: object) -> Sequence[object]:
        if host != "db.example":
            return real(host, *rest, **named)  # type: ignore[arg-type]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(str(port)))) for each in ("127.0.0.9", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    named = f"postgres://{database.owner}:secret@db.example:{port}/{database.name}?sslmode=disable"
    with closing(session.Database(named, application_name="a")) as hook:
        assert hook.one("SELECT 1") == (1,)
        assert hook.connection.info.host == "db.example"


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("db.example", False), ("1.2.3", False), ("a", False)],
)
def test_addresses_are_not_asked_for(host: str, is_one: bool) -> None:
    assert bounds._is_address(host) is is_one


def test_time_for_a_connection_is_what_is_left() -> None:
    patience = Patience(deadline=Deadline(Clock(), 4))
    assert 3 < patience.connecting() <= 4
    patience.deadline = Deadline(Clock(), 1)
    assert patience.connecting() == 2
    patience.deadline = Deadline(Clock(), 0)
    with pytest.raises(bounds.Silent):
        patience.connecting()
