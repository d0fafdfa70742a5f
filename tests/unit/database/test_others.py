"""Other sessions: each told from every other, and only the very one that was meant is ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from release.clock import Clock, Deadline
from release.database import session
from release.database.others import Other, end, moment, others, wait_until_gone
from tests.unit.database.conftest import Database


@pytest.fixture
def hook(database: Database) -> Iterator[session.Database]:
    url = database.server.url(database.name, database.owner, "secret")
    with closing(session.Database(url, application_name="release-hook-0f3a")) as hook:
        yield hook


def named(database: Database, name: str, role: str | None = None) -> psycopg.Connection[Any]:
    connection = database.connect(role)
    connection.execute("SELECT set_config('application_name', %s, false)", [name])
    return connection


def alive(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def port(connection: psycopg.Connection[Any]) -> int:
    return int(connection.execute("SELECT inet_client_port()").fetchall()[0][0])


def by_name(name: str) -> Callable[[Other], bool]:
    return lambda each: each.name == name


def test_a_session_is_told_by_what_the_server_knows_of_it(database: Database, hook: session.Database) -> None:
    began = moment(hook)
    other = named(database, "shop")

    (found,) = others(hook)

    assert (found.pid, found.name, found.port) == (other.info.backend_pid, "shop", port(other))
    assert (found.ours, found.here, found.transaction) == (True, True, None)
    assert began < found.since < moment(hook)
    assert found.key == (found.pid, found.since)
    assert str(found) == f"pid {found.pid} (shop)"


def test_a_session_without_a_name_is_said_to_have_none(database: Database, hook: session.Database) -> None:
    named(database, "")

    (found,) = others(hook)

    assert str(found) == f"pid {found.pid} (without a name)"


def test_a_session_of_another_role_is_not_ours(database: Database, hook: session.Database) -> None:
    named(database, "guest", database.role(f"guest_{database.name}"))
    database.server_session()

    assert [each.ours for each in others(hook)] == [False, False]


def test_sessions_on_other_databases_are_none(database: Database, hook: session.Database) -> None:
    with database.server.session():
        assert others(hook) == []


def test_a_transaction_is_known_by_when_it_began(database: Database, hook: session.Database) -> None:
    other = named(database, "shop")
    began = moment(hook)
    other.execute("BEGIN")

    (found,) = others(hook)

    assert found.transaction is not None
    assert began < found.transaction < moment(hook)
    other.execute("COMMIT")
    assert [each.transaction for each in others(hook)] == [None]


@pytest.mark.parametrize(
    ("name", "heroku"),
    [
        ("Heroku Postgres Backups", True),
        ("Heroku Postgres Backups - copy", True),
        ("pg_dump", True),
        ("pg_restore", True),
        ("my pg_dump", False),
        ("shop", False),
        ("", False),
    ],
)
def test_sessions_of_herokus_transfers_are_known_by_name(name: str, heroku: bool) -> None:
    assert Other(pid=1, since=2, name=name, ours=True, here=False, port=-1, transaction=None).heroku is heroku


# Ending.


def test_only_the_very_session_is_ended(database: Database, hook: session.Database) -> None:
    meant, other = named(database, "shop"), named(database, "shop")
    (target,) = [each for each in others(hook) if each.pid == meant.info.backend_pid]

    end(hook, [target])

    assert (alive(meant), alive(other)) == (False, True)


@pytest.mark.parametrize("moved", [-1, 1, -1_000_000, 1_000_000])
def test_a_later_session_of_the_same_number_is_left_alone(
    database: Database, hook: session.Database, moved: int
) -> None:
    other = named(database, "shop")
    (found,) = others(hook)

    end(hook, [replace(found, since=found.since + moved)])

    assert alive(other)


def test_a_mixture_of_numbers_and_beginnings_ends_nobody(database: Database, hook: session.Database) -> None:
    connections = named(database, "a"), named(database, "b")
    one, two = sorted(others(hook), key=lambda each: each.name)

    end(hook, [replace(one, since=two.since), replace(two, since=one.since)])

    assert all(map(alive, connections))


def test_what_may_not_be_ended_is_left_alone_and_no_error(database: Database, hook: session.Database) -> None:
    superuser, other = database.server_session(), named(database, "shop")

    end(hook, others(hook))

    assert (alive(superuser), alive(other)) == (True, False)


def test_nobody_is_nobody(database: Database, hook: session.Database) -> None:
    other = named(database, "shop")

    end(hook, [])

    assert alive(other)


# Waiting.


class Stepping(Clock):
    """Calls something at each sleep, which takes no time."""

    def __init__(self, step: Callable[[int], object]) -> None:
        super().__init__()
        self.slept: list[float] = []
        self._step = step

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._step(len(self.slept))


def test_waiting_for_nobody_takes_no_time(hook: session.Database) -> None:
    clock = Stepping(lambda _: None)

    assert wait_until_gone(hook, lambda _: True, clock=clock, deadline=Deadline(clock, 5)) == ([], [])
    assert clock.slept == []


def test_it_waits_until_the_last_one_is_gone_and_tells_all_it_saw(database: Database, hook: session.Database) -> None:
    first, second = named(database, "shop"), named(database, "shop")
    stays = named(database, "other")
    pids = [each.info.backend_pid for each in (first, second)]

    def step(count: int) -> None:
        if count == 3:
            first.close()
        if count == 6:
            second.close()

    clock = Stepping(step)
    seen, left = wait_until_gone(hook, by_name("shop"), clock=clock, deadline=Deadline(clock, 600))

    assert sorted(each.pid for each in seen) == sorted(pids)
    assert left == []
    assert len(clock.slept) >= 6
    assert alive(stays)


def test_when_time_is_up_those_are_told_that_are_left(database: Database, hook: session.Database) -> None:
    other = named(database, "shop")
    clock = Stepping(lambda _: None)

    seen, left = wait_until_gone(hook, by_name("shop"), clock=clock, deadline=Deadline(clock, 0.12))

    assert [each.pid for each in left] == [other.info.backend_pid]
    assert seen == left
    assert sum(clock.slept) == pytest.approx(0.12)
    assert alive(other)


def test_with_ending_they_are_ended_and_nobody_else_is(database: Database, hook: session.Database) -> None:
    meant, stays = named(database, "shop"), named(database, "other")
    clock = Clock()

    seen, left = wait_until_gone(hook, by_name("shop"), clock=clock, deadline=Deadline(clock, 10), ending=True)

    assert ([each.pid for each in seen], left) == ([meant.info.backend_pid], [])
    assert (alive(meant), alive(stays)) == (False, True)


def test_a_statement_that_goes_on_after_its_client_died_is_ended(database: Database, hook: session.Database) -> None:
    dying = named(database, "shop")
    dying.pgconn.send_query(b"SELECT pg_sleep(60)")
    dying.pgconn.finish()
    clock = Clock()

    seen, left = wait_until_gone(hook, by_name("shop"), clock=clock, deadline=Deadline(clock, 10), ending=True)

    assert (len(seen), left) == (1, [])
    assert others(hook) == []


def test_those_who_come_while_it_waits_are_ended_too(database: Database, hook: session.Database) -> None:
    named(database, "shop")
    later: list[psycopg.Connection[Any]] = []

    def step(count: int) -> None:
        if count == 1:
            later.append(named(database, "shop"))

    clock = Stepping(step)
    seen, left = wait_until_gone(hook, by_name("shop"), clock=clock, deadline=Deadline(clock, 600), ending=True)

    assert (len(seen), left) == (2, [])
    assert not alive(later[0])
