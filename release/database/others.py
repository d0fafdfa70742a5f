"""Other sessions on the database: whose they are, and what they are in the middle of.

A process id alone may belong to somebody else a moment later. So a session is identified by its process id and the
moment when it began. Moments are whole microseconds since 1970 on the server's clock: fractions of a second as floating
point would not be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, LiteralString

from msgspec import Struct

from release.clock import Clock, Deadline
from release.database.session import Database
from release.database.transfer_sessions import HEROKU
from release.retry import TimedOut, wait_until

SESSIONS: Final[LiteralString] = """
SELECT a.pid, (extract(epoch FROM a.backend_start) * 1000000)::bigint, coalesce(a.application_name, ''),
       a.usename = current_user, a.client_addr IS NOT DISTINCT FROM inet_client_addr(), coalesce(a.client_port, -1),
       (extract(epoch FROM a.xact_start) * 1000000)::bigint
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
"""
"""The columns are the fields of `Other`, in their order. A client on a Unix socket has the port -1."""

END: Final[LiteralString] = """
SELECT pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
  JOIN unnest(%s::int[], %s::bigint[]) AS given (pid, since) ON a.pid = given.pid
   AND (extract(epoch FROM a.backend_start) * 1000000)::bigint = given.since
 WHERE NOT r.rolsuper
"""
"""Superusers' sessions are left out: the default credential cannot end them, and the server answers with an error."""

PAUSE: Final = 0.05
"""Seconds between two queries for the sessions that are left."""


class Other(Struct, frozen=True, kw_only=True):
    """A session of somebody else.

    `since` is the moment when it began. `ours` says that it has the role that the hook and the app have; `here`, that
    its client has the hook's own address. `port` is the client's port. `transaction` is the moment when its transaction
    began, and None when it is in none.
    """

    pid: int
    since: int
    name: str
    ours: bool
    here: bool
    port: int
    transaction: int | None

    @property
    def key(self) -> tuple[int, int]:
        """The process id and the beginning, which no other session has, not even a later one of the same process id."""
        return self.pid, self.since

    @property
    def heroku(self) -> bool:
        """Whether it belongs to a transfer: Heroku's own, or somebody's pg_dump or pg_restore."""
        return self.name.startswith((HEROKU, "pg_dump", "pg_restore"))

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name or 'without a name'})"


def others(database: Database) -> list[Other]:
    """Lists all other client sessions on the database. Raises Lost or Failed."""
    return [
        Other(pid=pid, since=since, name=name, ours=ours, here=here, port=port, transaction=transaction)
        for pid, since, name, ours, here, port, transaction in database.rows(SESSIONS, prepare=True)
    ]


def moment(database: Database) -> int:
    """Returns the present moment on the server's clock. Raises Lost or Failed."""
    return int(database.one("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")[0])


def end(database: Database, sessions: Collection[Other]) -> None:
    """Asks the server to end sessions. Raises Lost or Failed.

    A session that has the same process id but began at another moment is somebody else's, and is left alone.
    """
    database.rows(END, [[session.pid for session in sessions], [session.since for session in sessions]])


def wait_until_gone(
    database: Database,
    which: Callable[[Other], bool],
    *,
    clock: Clock,
    deadline: Deadline,
    ending: bool = False,
) -> tuple[list[Other], list[Other]]:
    """Waits until there is no session of the kind that `which` tells, and with `ending` ends them.

    Returns all such sessions that were seen, and those that are left at the deadline. Ending a session takes a moment,
    and a killed client's statement goes on in the server until then. Raises Lost or Failed.
    """
    seen: dict[tuple[int, int], Other] = {}
    left: list[Other] = []

    def gone() -> bool:
        left[:] = [other for other in others(database) if which(other)]
        seen.update((other.key, other) for other in left)
        return not left

    def sleep(seconds: float) -> None:
        if ending:
            end(database, left)
        clock.sleep(deadline.clamp(seconds))

    with suppress(TimedOut):  # The answer then has sessions that are left.
        wait_until(gone, name="sessions' end", until=bool, pause=PAUSE, deadline=deadline, sleep=sleep)
    return list(seen.values()), left
