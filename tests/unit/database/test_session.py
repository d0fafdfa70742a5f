"""The hook's session on a real PostgreSQL: its limits, the lock, other sessions, and what its errors mean."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from heroku_sandbox.programs import tools
from release.clock import Clock, Deadline
from release.database import session
from release.database.others import others, wait_until_gone
from release.database.session import LIMITS, Failed, Holder, Lost, for_libpq, with_tls
from release.errors import Reason, StepFailed
from tests.unit.database.conftest import Database

Open = Callable[..., session.Database]


@pytest.fixture
def url(shared: Database) -> str:
    return shared.server.url(shared.name, shared.owner, "secret")


@pytest.fixture
def open_session(url: str) -> Iterator[Open]:
    """Opens sessions of the hook; they end with the test."""
    with ExitStack() as stack:
        yield lambda name="release-hook-0f3a", to=url: stack.enter_context(
            closing(session.Database(to, application_name=name))
        )


def _soon() -> Deadline:
    return Deadline(Clock(), 5)


def found(hook: session.Database) -> list[tuple[int, str]]:
    """The other sessions, by process id and name."""
    return [(other.pid, other.name) for other in others(hook)]


def ended(hook: session.Database, which: Callable[[str], bool]) -> list[str]:
    """Ends the sessions of such names, waits until they are gone, and returns the names."""
    seen, left = wait_until_gone(hook, lambda other: which(other.name), clock=Clock(), deadline=_soon(), ending=True)
    assert left == []
    return sorted({other.name for other in seen})


# The session itself.


def test_a_session_names_itself_and_limits_every_statement(open_session: Open) -> None:
    database = open_session()
    assert not database.connected

    rows = dict(database.rows("SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [[*LIMITS]]))

    assert database.connected
    assert rows == {**LIMITS, "idle_in_transaction_session_timeout": "1min", "search_path": ""}
    assert database.one("SHOW application_name") == ("release-hook-0f3a",)
    assert database.rows("SET work_mem = '1MB'") == []


def test_it_knows_which_database_it_is_on(open_session: Open, shared: Database) -> None:
    identity = open_session().identity()
    assert (identity.database, identity.read_only, identity.direct) == (shared.name, False, True)
    assert identity.system.isdigit()
    assert identity.version >= 150000
    assert open_session().name == shared.name
    assert open_session().identity() == identity


def test_an_address_that_leads_elsewhere_by_now_is_refused(open_session: Open, url: str) -> None:
    database = open_session()
    database.identity()
    database.close()

    database._url = url.rpartition("/")[0] + "/postgres"  # as an alias or a pooler's entry may be pointed elsewhere

    with pytest.raises(StepFailed) as refused:
        database.identity()
    assert (refused.value.reason, refused.value.detail.split()[0]) == (Reason.DATABASE_MISMATCH, "postgres")


def test_a_database_that_is_read_only_by_default_counts_as_read_only(open_session: Open, shared: Database) -> None:
    with shared.server.session() as elsewhere:
        elsewhere.execute(f"ALTER DATABASE {shared.name} SET default_transaction_read_only = on")
        try:
            assert open_session().identity().read_only
        finally:
            elsewhere.execute(f"ALTER DATABASE {shared.name} RESET default_transaction_read_only")


def test_a_session_that_was_killed_is_lost_and_the_next_statement_opens_another(
    open_session: Open, shared: Database
) -> None:
    database = open_session()
    (pid,) = database.one("SELECT pg_backend_pid()")
    assert database.try_lock()
    shared.superuser(f"SELECT pg_terminate_backend({pid}, 5000)")

    assert not database.holds_lock()
    assert not database.connected
    assert database.one("SELECT pg_backend_pid()") != (pid,)
    assert not database.holds_lock()


def test_a_session_can_be_closed_twice(open_session: Open) -> None:
    database = open_session()
    database.rows("SELECT 1")
    database.close()
    database.close()
    assert not database.connected


# What errors mean.


def test_a_statement_that_fails_says_so_with_its_code_and_the_session_goes_on(open_session: Open) -> None:
    database = open_session()
    with pytest.raises(Failed) as caught:
        database.rows("SELECT 1 / 0")
    assert (caught.value.reason, caught.value.detail) == (
        Reason.DATABASE_FAILED,
        "division by zero (SQLSTATE 22012)",
    )
    assert caught.value.facts == {"sqlstate": "22012"}
    assert database.one("SELECT 1") == (1,)


def test_a_statement_that_takes_too_long_is_a_failure_and_no_lost_session(open_session: Open) -> None:
    database = open_session()
    database.rows("SET statement_timeout = '20ms'")
    with pytest.raises(Failed) as caught:
        database.rows("SELECT pg_sleep(5)")
    assert caught.value.facts == {"sqlstate": "57014"}
    assert database.connected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace("secret", "wrong-word"), "password authentication failed"),
        (lambda url: url.rpartition("/")[0] + "/no_such_database", 'database "no_such_database" does not exist'),
        (lambda _: "postgres://u:wrong-word@127.0.0.1:1/d", "Connection refused"),
        (lambda _: "postgres://u:wrong-word@nobody.invalid/d", "failed to resolve host 'nobody.invalid'"),
    ],
)
def test_where_no_session_can_be_had_it_is_lost_and_the_password_is_not_shown(
    open_session: Open, url: str, change: Callable[[str], str], words: str
) -> None:
    with pytest.raises(Lost) as caught:
        open_session(to=change(url)).identity()
    assert caught.value.reason is Reason.DATABASE_UNREACHABLE
    assert words in caught.value.detail
    assert caught.value.passing
    assert "wrong-word" not in f"{caught.value!r}{caught.value.facts}"
    assert caught.value.__cause__ is None


def test_no_connection_left_is_passing(open_session: Open, shared: Database) -> None:
    shared.superuser(f"ALTER ROLE {shared.owner} CONNECTION LIMIT 0")
    try:
        with pytest.raises(Lost) as caught:
            open_session().identity()
    finally:
        shared.superuser(f"ALTER ROLE {shared.owner} CONNECTION LIMIT -1")
    assert caught.value.detail.endswith(f'too many connections for role "{shared.owner}"')
    assert caught.value.passing


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@db.example/n", "postgres://u:p@db.example/n?sslmode=require"),
        ("postgres://u:p@db.example/n?a=b", "postgres://u:p@db.example/n?a=b&sslmode=require"),
        ("postgres://u:p@db.example/n?sslmode=verify-full", "postgres://u:p@db.example/n?sslmode=verify-full"),
        ("postgres://u:p@localhost/n", "postgres://u:p@localhost/n"),
        ("postgres://u:p@[::1]:5432/n", "postgres://u:p@[::1]:5432/n"),
        ("postgres:///n?host=/tmp", "postgres:///n?host=/tmp"),
    ],
)
def test_tls_is_asked_for_unless_the_url_says_otherwise_or_leads_to_this_machine(url: str, expected: str) -> None:
    assert with_tls(url) == expected


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("?schema=public", ""),
        ("?schema=shop&pgbouncer=true&connection_limit=5&pool_timeout=10&sslaccept=accept_invalid_certs", ""),
        ("?sslmode=verify-full&schema=a%20b&connect_timeout=5", "?sslmode=verify-full&connect_timeout=5"),
        ("?options=-c%20geqo%3Doff+x&statement_cache_size=0", "?options=-c%20geqo%3Doff+x"),
        ("?sslmode=no-verify&ssl=true", "?ssl=true"),
        ("?&&", ""),
        ("?ssl=require", ""),
    ],
)
def test_parameters_of_other_drivers_are_left_out_of_the_hooks_own_url(given: str, kept: str) -> None:
    assert for_libpq(f"postgres://u:p@db.example.com:5432/d{given}") == f"postgres://u:p@db.example.com:5432/d{kept}"


@pytest.mark.parametrize("parameters", ["schema=public", "sslmode=no-verify", "pgbouncer=true&connection_limit=1"])
def test_a_session_opens_by_a_url_with_parameters_of_other_drivers(
    open_session: Open, url: str, parameters: str
) -> None:
    assert open_session(to=f"{url}?{parameters}").one("SELECT 1") == (1,)


# The lock.


def test_one_session_at_a_time_holds_the_lock_and_it_ends_with_the_session(open_session: Open) -> None:
    first, second = open_session("release-hook-1"), open_session("release-hook-2")
    assert first.lock_holder() is None
    assert first.try_lock()
    assert (first.holds_lock(), second.holds_lock(), second.try_lock()) == (True, False, False)

    holder = second.lock_holder()
    (pid,) = first.one("SELECT pg_backend_pid()")
    assert holder == Holder(pid=pid, application_name="release-hook-1", since=holder.since if holder else "")
    assert holder.since.endswith(" UTC")

    first.close()
    deadline = _soon()
    while not second.try_lock():  # the server takes a moment to notice
        assert not deadline.expired
    assert second.holds_lock()


def test_the_lock_of_another_database_is_another(open_session: Open, database: Database) -> None:
    here = open_session()
    there = open_session(to=database.server.url(database.name, database.owner, "secret"))
    assert here.try_lock()
    assert there.lock_holder() is None
    assert there.try_lock()


# Other sessions.


def test_other_sessions_are_seen_by_name_and_ended_but_for_those_to_be_kept(open_session: Open) -> None:
    hook, web, worker, waiting = (
        open_session("release-hook-1"),
        open_session("web"),
        open_session("worker"),
        open_session("release-hook-2"),
    )
    for each in (web, worker, waiting):
        each.rows("SELECT 1")
    assert sorted(name for _, name in found(hook)) == ["release-hook-2", "web", "worker"]
    assert [name for _, name in found(hook) if name == "web"] == ["web"]

    assert ended(hook, lambda name: name == "web") == ["web"]
    assert ended(hook, lambda name: not name.startswith(("release-hook-", "Heroku"))) == ["worker"]
    assert [name for _, name in found(hook)] == ["release-hook-2"]
    assert ended(hook, lambda name: name == "nobody") == []


def test_a_session_that_may_not_be_ended_is_named(open_session: Open, shared: Database) -> None:
    with shared.server.session(shared.name) as superuser:
        superuser.execute("SET application_name = 'maintenance'")
        clock = Clock()
        _, left = wait_until_gone(
            open_session(), lambda _: True, clock=clock, deadline=Deadline(clock, 0.1), ending=True
        )
    assert [other.name for other in left] == ["maintenance"]


def test_a_dump_and_a_restore_are_noticed(open_session: Open, url: str) -> None:
    hook = open_session()
    assert (hook.dump_running(), hook.being_restored()) == (False, False)
    open_session("pg_restore").rows("SELECT 1")
    assert (hook.dump_running(), hook.being_restored()) == (False, True)
    ended(hook, lambda _: True)

    hook.rows("CREATE TABLE public.held (n integer)")
    holder = open_session("holder")
    holder.rows("BEGIN")
    holder.rows("LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE")
    with subprocess.Popen([tools() / "pg_dump", "-f", "/dev/null", url]) as dump:
        deadline = _soon()
        while not hook.dump_running() and not deadline.expired:
            Clock().sleep(0.02)
        assert hook.dump_running()
        holder.rows("ROLLBACK")
        assert dump.wait(10) == 0
    hook.rows("DROP TABLE public.held")
    assert not hook.dump_running()


def test_no_prepared_transactions_is_an_empty_list(open_session: Open) -> None:
    assert open_session().prepared_transactions() == []
