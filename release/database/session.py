"""One session on the protected database: its name, its limits, the lock that it holds, and the sessions that it ends.

The session names itself, limits every statement, and notices a dead client or server soon; see bounds.py for a server
that is alive and silent. psycopg's errors are translated here: by SQLSTATE class and never by text, and with no more of
the text than its first line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import psycopg
from msgspec import Struct
from psycopg import errors, sql

from release.clock import Deadline, Signals
from release.database import bounds, transfer_sessions
from release.database.transfer_sessions import Doing, Session
from release.errors import Reason, StepFailed
from release.retry import Unavailable
from release.settings.urls import LOOPBACK

LOCK_KEY = 0x52454C45415345
"""The advisory lock's key: "RELEASE" in ASCII. Advisory locks are per database, so one key serves all."""

_LOCK_HALVES: Final = [LOCK_KEY >> 32, LOCK_KEY & 0xFFFFFFFF]
"""The key as pg_locks shows it: its high 32 bits are the column `classid`, its low 32 bits `objid`."""

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
"""The settings of every session; those that the server does not know are left out.

client_connection_check_interval is of PostgreSQL 14. The last three are set because a failed migration may have set
them for the whole database, and this session has to be able to undo that.
"""

SET_KNOWN: Final[LiteralString] = (
    "SELECT set_config(name, given, false) FROM unnest(%s::text[], %s::text[]) AS limits (name, given)"
    " WHERE current_setting(name, true) IS NOT NULL"
)
"""A statement that sets those of some settings, by name and value, for the session that the server knows."""

END_OWN: Final[LiteralString] = """
SELECT pg_terminate_backend(pid, 1000) FROM pg_catalog.pg_stat_activity
 WHERE pid = ANY(%s) AND application_name = %s AND usename = current_user AND pid <> pg_backend_pid()
"""
"""A query that ends what is left in the server of broken sessions, and waits 1000 ms for each. They keep the lock."""


class Lost(StepFailed, Unavailable):
    """The loss of a session: it was killed, the server stopped, the network broke, or no connection could be made.

    It always counts as something that passes: the server says only in words, without a SQLSTATE, why a connection could
    not be made.
    """


class Failed(StepFailed):
    """An error with which the server answered. Its SQLSTATE is in `facts["sqlstate"]`."""


class Busy(Failed, Unavailable):
    """A lock that somebody held for longer than this session waits, or for which two waited in a circle. It passes."""


class Identity(Struct, frozen=True, kw_only=True):
    """The identity of a database, whatever address leads to it: the cluster's identifier and the database's name.

    `follows` says that it is a copy that cannot be written; `read_only`, that somebody has set that new sessions do not
    write. `direct` is false behind a pooler, where the state of a session cannot be trusted. `version` is the server's,
    as server_version_num counts.
    """

    system: str
    database: str
    follows: bool
    read_only: bool
    direct: bool
    version: int


class Holder(Struct, frozen=True, kw_only=True):
    """The session that holds the lock. `since` is when it began, as `2026-11-27 03:15:00 UTC`."""

    pid: int
    application_name: str
    since: str


class Database:
    """A session on one database, in autocommit mode. Its methods raise Lost and Failed unless they say otherwise."""

    def __init__(self, url: str, *, application_name: str, signals: Signals | None = None) -> None:
        self._url = with_tls(for_libpq(url))
        self._application_name = application_name
        self._connection: bounds.Bounded | None = None
        self._pid = 0
        self._given_up: set[int] = set()
        self._first: tuple[str, str] | None = None
        self._patience = bounds.Patience(signals=signals)

    def beside(self, application_name: str) -> Database:
        """Returns another session on the same database, of another name. It is not opened yet."""
        return Database(self._url, application_name=application_name, signals=self._patience.signals)

    @property
    def deadline(self) -> Deadline | None:
        """The end of all waiting for the server. It is set between SIGTERM and SIGKILL, and None otherwise."""
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
        """The open connection. One is opened where there is none or where it broke."""
        if self._connection is None or self._connection.closed:
            if self._connection is not None:
                self._given_up.add(self._pid)
            self._connection = self._connect()
        return self._connection

    def address(self) -> list[tuple[str, int]]:
        """Returns the server's IP address and port; none where it is reached by a Unix socket, or libpq is too old."""
        with translated():
            info = self.connection.info
            return [(info.hostaddr, info.port)] if info.hostaddr and not info.hostaddr.startswith("/") else []

    @property
    def connected(self) -> bool:
        """Whether the session is believed to be alive. The server is not asked."""
        return self._connection is not None and not self._connection.closed

    def _connect(self) -> bounds.Bounded:
        with translated():
            connection = bounds.connect(
                self._url,
                self._patience,
                autocommit=True,
                prepare_threshold=sys.maxsize,  # Statements are prepared only where `prepare=True` asks for it.
                application_name=self._application_name,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )
            connection.execute(SET_KNOWN, [list(LIMITS), list(LIMITS.values())])
            if self._given_up:
                connection.execute(END_OWN, [list(self._given_up), self._application_name])
            self._pid = connection.info.backend_pid
        return connection

    def close(self) -> None:
        """Ends the session, and with it the lock. Never raises."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rows(
        self, query: LiteralString, params: Sequence[object] = (), *, prepare: bool = False
    ) -> list[tuple[Any, ...]]:
        """Runs a statement and returns its rows, and no rows for one that has no result.

        One that a run asks again and again is worth to `prepare`: planning it takes longer than running it. Behind a
        pooler a statement may meet a server that does not know it, so nothing is prepared that `check` asks there.
        """
        with translated():
            cursor = self.connection.execute(query, params or None, prepare=prepare)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: LiteralString, params: Sequence[object] = ()) -> tuple[Any, ...]:
        """Runs a statement and returns its first row."""
        return self.rows(query, params)[0]

    def limit(self, seconds: float) -> None:
        """Limits every later statement of this session to so many seconds."""
        with translated():
            bounds.limit(self.connection, seconds)

    def identity(self) -> Identity:
        """Asks the server which database this is.

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
        return Identity(
            system=system,
            database=database,
            follows=follows,
            read_only=read_only,
            # A pooler tells its clients another process id than that of the session that runs their statements.
            direct=pid == self.connection.info.backend_pid,
            version=version,
        )

    # The lock.

    def try_lock(self) -> bool:
        """Takes the lock if it is free, and says whether this session has it. It lasts as long as the session.

        Raises Lost when an earlier session of this very object, which was given up, holds it and the server cannot end
        that session.
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
        """Asks the server whether this very session holds the lock. A session that broke does not."""
        if not self.connected:
            return False
        try:
            return bool(
                self.rows(
                    "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND pid = pg_backend_pid() AND classid = %s AND objid = %s",
                    _LOCK_HALVES,
                    prepare=True,
                )[0][0]
            )
        except Lost:
            return False

    def lock_holder(self) -> Holder | None:
        """Asks the server who holds the lock; None where nobody does."""
        holders = self.rows(
            "SELECT a.pid, a.application_name, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
            " || ' UTC' FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s"
            " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())",
            _LOCK_HALVES,
        )
        return next((Holder(pid=pid, application_name=name, since=since) for pid, name, since in holders), None)

    # Other sessions; see others.py.

    def being_restored(self) -> bool:
        """Says whether anybody, Heroku included, loads a dump into this database at this moment."""
        return Doing.LOAD in self._transfers()

    def dump_running(self) -> bool:
        """Says whether anybody, Heroku included, dumps this database at this moment."""
        return Doing.DUMP in self._transfers()

    def _transfers(self) -> list[Doing | None]:
        return [transfer_sessions.doing(Session(*row)) for row in self.rows(transfer_sessions.SESSIONS)]

    def prepared_transactions(self) -> list[str]:
        """Lists the prepared transactions on this database, which hold locks and can commit at any time."""
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
    """Turns psycopg's errors in the block into Lost, Busy and Failed."""
    try:
        yield
    except psycopg.Error as error:
        raise _translate(error) from None


def _translate(error: psycopg.Error) -> StepFailed:
    code = error.sqlstate
    text = error.diag.message_primary or (str(error).strip().splitlines() or [""])[0]
    detail = f"{text} (SQLSTATE {code})" if code else text
    # The session is gone for the classes 08 (connection) and 53 (out of connections or memory), for 57P0x (shutdown, or
    # the session was ended), and without a SQLSTATE: then the server was never reached.
    gone = isinstance(error, errors.OperationalError) and (
        code is None or code[:2] in {"08", "53"} or code.startswith("57P")
    )
    if gone or code in {"57P01", "57P02", "57P03", "57P05"}:
        return Lost(Reason.DATABASE_UNREACHABLE, detail, sqlstate=code)
    kind = Busy if code in {"55P03", "40P01"} else Failed  # lock_not_available, deadlock_detected
    return kind(Reason.DATABASE_FAILED, detail, sqlstate=code)


SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
"""The modes that libpq knows. Other drivers have more, such as `no-verify` of node-postgres."""


def for_libpq(url: str) -> str:
    """Takes the parameters that libpq does not know, and would refuse, out of a URL.

    Prisma and others keep settings of their own there: `schema`, `pgbouncer`, `connection_limit`, `sslaccept`. The
    app's commands are given the URL as it is.
    """
    parts = urlsplit(url)
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    given, kept = parts.query.split("&"), []
    for parameter in given:
        name, _, value = (unquote(part) for part in parameter.partition("="))
        # `ssl=true` is no option of libpq's, but libpq takes it for `sslmode=require`, as JDBC's URLs have it.
        if (name, value) == ("ssl", "true") or (name in known and (name != "sslmode" or value in SSL_MODES)):
            kept.append(parameter)
    return url if kept == given else parts._replace(query="&".join(kept)).geturl()


def with_tls(url: str) -> str:
    """Adds `sslmode=require`, as Heroku asks for, to a URL that has no sslmode and does not lead to this machine."""
    parts = urlsplit(url)
    if not parts.hostname or parts.hostname in LOOPBACK or "sslmode" in dict(parse_qsl(parts.query)):
        return url
    query = "&".join(filter(None, [parts.query, urlencode({"sslmode": "require"})]))
    return parts._replace(query=query).geturl()
