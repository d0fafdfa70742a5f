"""Other sessions on the database: whose they are, and what they are in the middle of.

A process id alone may belong to somebody else a moment later, so a session is a process id and when it began. Moments
are microseconds since 1970 on the server's clock, which are exact where seconds as fractions are not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, LiteralString

import msgspec

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

END: Final[LiteralString] = """
SELECT pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
  JOIN unnest(%s::int[], %s::bigint[]) AS given (pid, since) ON a.pid = given.pid
   AND (extract(epoch FROM a.backend_start) * 1000000)::bigint = given.since
 WHERE NOT r.rolsuper
"""
"""A superuser's session cannot be ended by the default credential, and asking for it is an error."""

PAUSE: Final = 0.05
"""Seconds between two looks."""


class Other(msgspec.Struct, frozen=True):
    """A session of somebody else.

    `since`: when it began. `ours`: it is of the role that the hook and the app have. `here`: its client has the hook's
    own address. `port`: its client's. `transaction`: when its transaction began, None when it is in none.
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
        """What tells it from every other session, also from a later one of the same process id."""
        return self.pid, self.since

    @property
    def heroku(self) -> bool:
        """Whether it belongs to a transfer: Heroku's own, or somebody's pg_dump or pg_restore."""
        return self.name.startswith((HEROKU, "pg_dump", "pg_restore"))

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name or 'without a name'})"


def others(database: Database) -> list[Other]:
    """All other client sessions on the database. Raises Lost or Failed."""
    return [Other(*row) for row in database.rows(SESSIONS)]


def moment(database: Database) -> int:
    """Now, on the server's clock."""
    return int(database.one("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")[0])


def end(database: Database, sessions: Collection[Other]) -> None:
    """Asks the server to end sessions; one that is another by now is left alone. Raises Lost or Failed."""
    database.rows(END, [[session.pid for session in sessions], [session.since for session in sessions]])


def wait_until_gone(
    database: Database,
    which: Callable[[Other], bool],
    *,
    clock: Clock,
    deadline: Deadline,
    ending: bool = False,
) -> tuple[list[Other], list[Other]]:
    """Waits until there is no such session; with `ending`, ends them: (all that were seen, those that are left).

    Ending a session takes a moment, and a killed client's statement goes on in the server until then. Raises Lost or
    Failed.
    """
    seen: dict[tuple[int, int], Other] = {}
    left: list[Other] = []

    def gone() -> bool:
        left[:] = [other for other in others(database) if which(other)]
        seen.update((each.key, each) for each in left)
        return not left

    def sleep(seconds: float) -> None:
        if ending:
            end(database, left)
        clock.sleep(deadline.clamp(seconds))

    with suppress(TimedOut):  # those that are left are the answer then
        wait_until(gone, name="sessions' end", until=bool, pause=PAUSE, deadline=deadline, sleep=sleep)
    return list(seen.values()), left
