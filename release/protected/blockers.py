"""Locks that a migration or a dump waits for: who holds them, and whether a statement gave up waiting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, LiteralString

from release.log.events import Event
from release.run import Run

AGAIN = 30.0
"""Seconds after which a holder that still blocks is named again."""

SHOWN = 200
"""Characters of a query that are shown at most."""

BLOCKED: Final[LiteralString] = """
SELECT b.pid, h.application_name, h.usename, h.state,
       extract(epoch FROM clock_timestamp() - h.xact_start)::float8, h.query, m.query
  FROM pg_catalog.pg_stat_activity m
 CROSS JOIN LATERAL unnest(pg_blocking_pids(m.pid)) AS b (pid)
  LEFT JOIN pg_catalog.pg_stat_activity h ON h.pid = b.pid
 WHERE m.pid = ANY (%s) AND m.wait_event_type = 'Lock'
"""
"""Reads who blocks the sessions of the given pids. The pid of a prepared transaction that blocks is 0."""

# Text is all there is: the migration is a child, and what it prints comes from whatever driver and framework it uses.
# The SQLSTATE is 55P03 (lock_not_available). PostgreSQL's own message comes first; then its code and its names in
# psycopg and pg (Ruby), in ActiveRecord, Npgsql and JDBC. Being wrong costs little: a retry also needs the database to
# be proved unchanged.
_LOCK_TIMEOUT = re.compile(
    r"canceling statement due to lock timeout|could not obtain lock on|\b55P03\b"
    r"|\bLockNotAvailable\b|\bLockWaitTimeout\b|\block_not_available\b"
)

_LOCK_WORDS = ("lock", "Lock", "55P03")
"""Words of which one is in all that the pattern finds. To look for them first is fifty times as quick."""

_VALUES = re.compile(
    r"\$(\w*)\$.*?(?:\$\1\$|$)"  # $tag$ … $tag$
    r"|\b[eE]'(?:[^'\\]|\\.|'')*(?:'|$)"  # E'…', in which a backslash keeps the next sign, a quotation mark, too
    r"|'(?:[^']|'')*(?:'|$)"  # '…'; the server cuts long queries, so the end may be missing
    r"|\b\d+(?:\.\d+)?\b",
    re.DOTALL,
)


def says_lock_timeout(lines: Sequence[str]) -> bool:
    """Whether output says that a statement gave up waiting for a lock."""
    return any(_LOCK_TIMEOUT.search(line) for line in lines if any(word in line for word in _LOCK_WORDS))


def shape(query: str | None) -> str:
    """Returns a query without the values in it, in one line and shortened: what it does, and nobody's data."""
    text = " ".join(_VALUES.sub("?", query or "").split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


class Blockers:
    """The holders of locks that block some sessions. Each is logged once, and again after a while."""

    def __init__(self, event: Event, run: Run) -> None:
        self._run = run
        self._event = event
        self._named: dict[int, float] = {}

    def name(self, pids: Sequence[int]) -> None:
        """Logs who blocks these sessions at this moment. Raises Lost or Failed."""
        run = self._run
        now = run.clock.monotonic()
        blocked = run.database.rows(BLOCKED, [list(pids)], prepare=True)
        for pid, application, user, state, seconds, query, waiting in blocked:
            if now < self._named.get(pid, 0.0):
                continue
            self._named[pid] = now + AGAIN
            run.log.warning(
                self._event,
                holder=application or ("a prepared transaction" if pid == 0 else None),
                holder_pid=pid,
                user=user,
                state=state,
                transaction_for=seconds,
                query=shape(query),
                waiting=shape(waiting),
            )
