"""One session on the protected database: who it is, what it may cost, the lock it holds, and whom it sends away.

The session names itself, limits every statement, and notices a dead client or server soon; see bounds.py for a server
that is alive and silent. psycopg's errors are
translated here: by SQLSTATE class, never by text, and never with more of the text than its first line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec
import psycopg
from psycopg import errors, sql

from release.clock import Clock, Deadline, Signals
from release.database import bounds
from release.database.transfer_sessions import QUERY as TRANSFERS
from release.database.transfer_sessions import Doing, Session, doing
from release.errors import Reason, StepFailed
from release.retry import TimedOut, Unavailable, wait_until
from release.settings.urls import LOOPBACK

LOCK_KEY = 0x52454C45415345
"""The advisory lock's key: "RELEASE" in ASCII. Advisory locks are per database, so one key serves all."""


LIMITS = {
    "statement_timeout": f"{bounds.STATEMENT:.0f}s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "client_connection_check_interval": "2s",
    "search_path": "",
    "default_transaction_read_only": "off",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
}
"""Of every session; settings that the server does not know are left out (client_connection_check_interval: PG 14).
The last three because a failed migration may have set them for the whole database, which has to be undone in it."""


END_OWN: Final[LiteralString] = """
SELECT pg_terminate_backend(pid, 1000) FROM pg_catalog.pg_stat_activity
 WHERE pid = ANY(%s) AND application_name = %s AND usename = current_user AND pid <> pg_backend_pid()
"""
"""Ends what is left in the server of sessions that broke, and waits for a second: they would keep the lock."""


class Lost(StepFailed, Unavailable):
    """The session is gone: killed, the server stopped, the network broke, or no connection could be made.

    Always passing: why a connection could not be made is told in words only, without a SQLSTATE.
    """


class Failed(StepFailed):
    """The server answered with an error. `facts["sqlstate"]` says which."""


class Busy(Failed, Unavailable):
    """Somebody holds a lock for longer than this session waits, or two waited for each other: it passes."""


class Identity(msgspec.Struct, frozen=True):
    """Which database this is, whatever address leads to it: the cluster's identifier and the database's name.

    `follows`: it is a copy that cannot be written; `read_only`: somebody has set that new sessions do not write.
    `direct` is false behind a pooler.
    """

    system: str
    database: str
    follows: bool
    read_only: bool
    direct: bool
    version: int


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock: process id, application name, since when the session exists."""

    pid: int
    application_name: str
    since: str


class Database:
    """A session on one database; autocommit. Raises Lost and Failed."""

    def __init__(self, url: str, *, application_name: str, signals: Signals | None = None) -> None:
        self._url = with_tls(for_libpq(url))
        self._application_name = application_name
        self._connection: bounds.Bounded | None = None
        self._pid = 0
        self._given_up: set[int] = set()
        self._first: tuple[str, str] | None = None
        self._patience = bounds.Patience(signals=signals)

    @property
    def deadline(self) -> Deadline | None:
        """When set, nothing is waited for any longer after it: in the seconds between SIGTERM and SIGKILL."""
        return self._patience.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline | None) -> None:
        self._patience.deadline = deadline

    @property
    def name(self) -> str:
        """The database's name in the URL."""
        return unquote(urlsplit(self._url).path.lstrip("/"))

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The open connection; opened when there is none or when it broke."""
        if self._connection is None or self._connection.closed:
            if self._connection is not None:
                self._given_up.add(self._pid)
            self._connection = self._connect()
        return self._connection

    @property
    def connected(self) -> bool:
        """Whether the session is believed to be alive; `alive()` asks."""
        return self._connection is not None and not self._connection.closed

    def _connect(self) -> bounds.Bounded:
        with translated():
            connection = bounds.connect(
                self._url,
                self._patience,
                autocommit=True,
                prepare_threshold=sys.maxsize,  # only where a statement asks for it
                application_name=self._application_name,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )
            connection.execute(
                "SELECT set_config(name, given, false) FROM unnest(%s::text[], %s::text[]) AS limits (name, given)"
                " JOIN pg_catalog.pg_settings USING (name)",
                [list(LIMITS), list(LIMITS.values())],
            )
            if self._given_up:
                connection.execute(END_OWN, [list(self._given_up), self._application_name])
            self._pid = connection.info.backend_pid
        return connection

    def close(self) -> None:
        """Ends the session, and with it the lock. Never raises."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rows(self, query: LiteralString, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Runs a statement and returns its rows, none when it has no result."""
        with translated():
            cursor = self.connection.execute(query, params or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: LiteralString, params: Sequence[object] = ()) -> tuple[Any, ...]:
        """The first row."""
        return self.rows(query, params)[0]

    def limit(self, seconds: float) -> None:
        """Gives every statement of this session from here on so many seconds."""
        with translated():
            bounds.limit(self.connection, seconds)

    def identity(self) -> Identity:
        """Which database this is. `direct` is false behind a pooler, where session state cannot be trusted.

        Raises StepFailed (database_mismatch) when the same address leads to another database than it did at first.
        """
        system, database, follows, read_only, pid, version = self.one(
            "SELECT system_identifier::text, current_database(),"
            " pg_is_in_recovery(),"
            " (SELECT reset_val::bool FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'),"
            " pg_backend_pid(), current_setting('server_version_num')::int FROM pg_control_system()"
        )
        self._first = self._first or (system, database)
        if self._first != (system, database):
            raise StepFailed(Reason.DATABASE_MISMATCH, f"{database} is not the database that the run began with")
        return Identity(system, database, follows, read_only, pid == self.connection.info.backend_pid, version)

    # The lock.

    def try_lock(self) -> bool:
        """Takes the lock if it is free; it lives as long as the session.

        Raises Lost when a session of this very object holds it that was given up, and that the server cannot end.
        """
        if self.one("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY])[0]:
            return True
        holder = self.lock_holder() if self._given_up else None
        if holder and holder.pid in self._given_up:
            raise Lost(
                Reason.DATABASE_UNREACHABLE,
                f"an earlier session of this run (pid {holder.pid}) does not answer any more and still holds the lock",
            )
        return False

    def holds_lock(self) -> bool:
        """Whether this very session holds the lock, asked of the server; a session that broke does not."""
        if not self.connected:
            return False
        try:
            return bool(
                self.one(
                    "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND pid = pg_backend_pid() AND classid = %s AND objid = %s",
                    [LOCK_KEY >> 32, LOCK_KEY & 0xFFFFFFFF],
                )[0]
            )
        except Lost:
            return False

    def lock_holder(self) -> Holder | None:
        """Who holds the lock now."""
        found = self.rows(
            "SELECT a.pid, a.application_name, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
            " || ' UTC' FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s"
            " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())",
            [LOCK_KEY >> 32, LOCK_KEY & 0xFFFFFFFF],
        )
        return Holder(*found[0]) if found else None

    # Other sessions.

    def sessions(self, application_name: str | None = None) -> list[tuple[int, str]]:
        """Other client sessions on this database, (pid, application name); of one application name, or all."""
        found = self.rows(
            "SELECT pid, coalesce(application_name, '') FROM pg_catalog.pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            " AND (%s::text IS NULL OR application_name = %s)",
            [application_name, application_name],
        )
        return [(pid, name) for pid, name in found]

    def terminate(
        self, application_name: str | None = None, *, clock: Clock, deadline: Deadline, keep: tuple[str, ...] = ()
    ) -> list[str]:
        """Ends other sessions and waits until they are gone: a killed client's statement goes on in the server.

        Returns the application names of those ended. Sessions whose name begins with one of `keep` stay. Raises Failed
        (sessions_left) when some outlive the deadline.
        """
        ended: set[str] = set()
        left: list[tuple[int, str]] = []

        def gone() -> bool:
            left[:] = [session for session in self.sessions(application_name) if not session[1].startswith(keep)]
            ended.update(name for _, name in left)
            return not left

        def sleep(seconds: float) -> None:
            # A superuser's session cannot be ended by the default credential, and asking for it is an error.
            self.rows(
                "SELECT pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a"
                " JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid WHERE a.pid = ANY(%s) AND NOT r.rolsuper",
                [[pid for pid, _ in left]],
            )
            clock.sleep(deadline.clamp(seconds))

        try:
            wait_until(gone, name="sessions' end", until=bool, pause=0.05, deadline=deadline, sleep=sleep)
        except TimedOut as error:
            names = ", ".join(sorted(name for _, name in left))
            raise Failed(Reason.SESSIONS_LEFT, f"still there: {names}") from error
        return sorted(ended)

    def being_restored(self) -> bool:
        """Whether Heroku, or somebody, loads a dump into this database at this moment."""
        return Doing.LOAD in self._transfers()

    def dump_running(self) -> bool:
        """Whether Heroku, or somebody, dumps this database at this moment."""
        return Doing.DUMP in self._transfers()

    def _transfers(self) -> list[Doing | None]:
        return [doing(Session(*row)) for row in self.rows(TRANSFERS)]

    def prepared_transactions(self) -> list[str]:
        """Prepared transactions on this database: they hold locks and can commit at any time."""
        return [
            gid
            for (gid,) in self.rows("SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()")
        ]

    def roll_back_prepared(self, gid: str) -> None:
        """Rolls a prepared transaction back. Raises Failed where it belongs to another role."""
        with translated():
            self.connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))


@contextmanager
def translated() -> Iterator[None]:
    """Psycopg's errors in, ours out."""
    try:
        yield
    except psycopg.Error as error:
        raise _translate(error) from None


def _translate(error: psycopg.Error) -> StepFailed:
    code = error.sqlstate
    text = error.diag.message_primary or (str(error).strip().splitlines() or [""])[0]
    detail = f"{text} (SQLSTATE {code})" if code else text
    # 08 connection, 57P0x shutdown or session ended, 53 out of connections or memory, none: never got through.
    gone = isinstance(error, errors.OperationalError) and (
        code is None or code[:2] in {"08", "53"} or code.startswith("57P")
    )
    if gone or code in {"57P01", "57P02", "57P03", "57P05"}:
        return Lost(Reason.DATABASE_UNREACHABLE, detail, sqlstate=code)
    kind = Busy if code in {"55P03", "40P01"} else Failed  # lock_not_available, deadlock_detected
    return kind(Reason.DATABASE_FAILED, detail, sqlstate=code)


SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
"""libpq's; other drivers have more, such as node-postgres' `no-verify`."""


def for_libpq(url: str) -> str:
    """The URL without the parameters that libpq does not know, which it takes for errors.

    Prisma and others keep settings of their own there: `schema`, `pgbouncer`, `connection_limit`, `sslaccept`. The
    app's commands are given the URL as it is.
    """
    parts = urlsplit(url)
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    given, kept = parts.query.split("&"), []
    for each in given:
        name, _, value = (unquote(part) for part in each.partition("="))
        if (name, value) == ("ssl", "true") or (name in known and (name != "sslmode" or value in SSL_MODES)):
            kept.append(each)
    return url if kept == given else parts._replace(query="&".join(kept)).geturl()


def with_tls(url: str) -> str:
    """The URL with `sslmode=require` unless it says otherwise or leads to this machine, as Heroku asks for."""
    parts = urlsplit(url)
    if not parts.hostname or parts.hostname in LOOPBACK or "sslmode" in dict(parse_qsl(parts.query)):
        return url
    query = "&".join(filter(None, [parts.query, urlencode({"sslmode": "require"})]))
    return parts._replace(query=query).geturl()
