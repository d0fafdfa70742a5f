"""The watch over a migration while it runs: its sessions, who blocks them, and which timeout does not reach them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, LiteralString

from release.child.process import Running
from release.database.others import Other, others
from release.errors import StepFailed
from release.log.events import Event
from release.protected.blockers import Blockers, says_lock_timeout
from release.run import Run
from release.witness.verdict import NOT_ENDED, Ending

FIRST, EVERY, EVERY_WITH_TIMEOUT = 0.1, 1.0, 0.5
"""Seconds before the first look, and between two later on. With a lock timeout, a wait may be too short for `EVERY`."""

BEYOND = 1.0
"""Seconds beyond a timeout after which it is clear that a session does not obey it."""

AT_WORK: Final[LiteralString] = """
SELECT m.pid, m.application_name,
       (SELECT max(extract(epoch FROM clock_timestamp() - l.waitstart)) FROM pg_catalog.pg_locks l
         WHERE l.pid = m.pid AND NOT l.granted)::float8,
       extract(epoch FROM clock_timestamp() - m.query_start)::float8
  FROM pg_catalog.pg_stat_activity m WHERE m.pid = ANY (%s) AND m.state = 'active'
"""
"""Reads (pid, name, seconds waited for a lock, seconds that the statement has taken) of active sessions."""

UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


WAITING: Final[LiteralString] = """
SELECT l.pid, (extract(epoch FROM l.waitstart) * 1000000)::bigint,
       extract(epoch FROM clock_timestamp() - l.waitstart)::float8
  FROM pg_catalog.pg_locks l WHERE l.pid = ANY (%s) AND NOT l.granted AND l.waitstart IS NOT NULL
"""
"""Reads (pid, when the wait began, seconds waited) of sessions that wait for a lock."""


class Watch:
    """A watch over the migration while it runs.

    It notes in the journal which sessions are the migration's, says who blocks it and which timeout does not reach it,
    and remembers whether it gave up for a lock. `lock_waits` has the seconds that each wait was seen to take.
    """

    def __init__(self, run: Run) -> None:
        self.lock_timeout = False
        self.pause = FIRST
        self.lock_waits: dict[tuple[int, int], float] = {}
        self._every = EVERY_WITH_TIMEOUT if run.settings.lock_timeout else EVERY
        self._run = run
        self._blockers = Blockers(Event.MIGRATION_BLOCKED, run)
        self._seen: set[tuple[int, int]] = set()
        self._disobedient: set[str] = set()

    def hear(self, _stream: str, lines: Sequence[str]) -> None:
        """Takes note of lines of the migration's output."""
        self.lock_timeout = self.lock_timeout or says_lock_timeout(lines)

    def observe(self, running: Running) -> None:
        """Looks at the migration's sessions once. It never raises, because a look must not end a migration."""
        run = self._run
        self.pause = min(self.pause * 2, self._every)
        if not run.database.connected:  # a new session would not hold the lock; the next step finds that out
            return
        with suppress(StepFailed):
            sessions = self._find_sessions(running)
            if new := {session.key for session in sessions} - self._seen:
                run.journal.saw(run.id, new)
                self._seen |= new
            if sessions:
                pids = [session.pid for session in sessions]
                self._blockers.name(pids)
                self._measure_waits(pids)
                self._check_timeouts(pids)

    def _find_sessions(self, running: Running) -> list[Other]:
        """Finds the migration's sessions by name, by the port of one of its processes, or as seen before.

        The witness has noted in the journal those that it has let in.
        """
        ports = running.ports()
        if self._run.witnessing:
            self._seen |= self._run.journal.migration(self._run.id).sessions
        return [
            other
            for other in others(self._run.database)
            if other.name == self._run.migration_name or other.key in self._seen or (other.here and other.port in ports)
        ]

    def _measure_waits(self, pids: list[int]) -> None:
        """Notes how long each wait for a lock has taken by now. Its last moments may go unseen."""
        for pid, since, seconds in self._run.database.rows(WAITING, [pids], prepare=True):
            self.lock_waits[pid, since] = max(seconds, self.lock_waits.get((pid, since), 0.0))

    def _check_timeouts(self, pids: list[int]) -> None:
        """Warns of a timeout that has not reached a session: without the witness, a driver may read no PGOPTIONS."""
        settings = self._run.settings
        lock, statement = in_seconds(settings.lock_timeout), in_seconds(settings.statement_timeout)
        if lock is None and statement is None:
            return
        for pid, name, waited, taken in self._run.database.rows(AT_WORK, [pids], prepare=True):
            if lock is not None and (waited or 0) > lock + BEYOND:
                self._say_disobeyed("lock_timeout", f"pid {pid} ({name}) has waited {waited:.1f} s for a lock")
            if statement is not None and (taken or 0) > statement + BEYOND:
                self._say_disobeyed("statement_timeout", f"a statement of pid {pid} ({name}) takes {taken:.1f} s")

    def _say_disobeyed(self, timeout: str, what: str) -> None:
        if timeout not in self._disobedient:
            self._disobedient.add(timeout)
            self._run.warn(
                "timeout_ignored",
                f"RELEASE_{timeout.upper()} has not reached the migration: {what}. Without the witness or behind a"
                f" pooler, only a driver that reads PGOPTIONS obeys it; set {timeout} in the migration itself",
            )


def say_what_was_seen(run: Run, watch: Watch) -> None:
    """Logs what the witness saw of the migration, and warns of what no backup covers."""
    account = run.accounts[-1] if run.accounts else NOT_ENDED
    seen = account.seen
    run.log.info(
        Event.MIGRATION_WITNESSED,
        verdict=account.verdict.word,
        why=list(account.verdict.why),
        variables=list(account.variables),
        sessions=seen.sessions,
        **{str(ending): seen.transactions.get(ending, 0) for ending in Ending},
        statements=seen.statements,
        errors=seen.errors,
        slowest=[{"shape": ran.shape, "seconds": round(ran.seconds, 3), "rows": ran.rows} for ran in seen.slowest],
        lock_wait=round(sum(watch.lock_waits.values()), 3),
        written=None if account.written is None else list(account.written),
        elsewhere=list(account.elsewhere),
    )
    if account.elsewhere:
        run.warn(
            "committed_elsewhere",
            f"the migration has committed something in other databases, which this backup does not cover:"
            f" {', '.join(account.elsewhere)}",
        )


def in_seconds(duration: str | None) -> float | None:
    """Converts a duration as Postgres writes it into seconds. Returns None for 0, which switches a timeout off.

    Without a unit it is in milliseconds (guc_tables.c, GUC_UNIT_MS).
    """
    if duration is None:
        return None
    number, unit = duration.rstrip("usminhd ") or "0", duration.lstrip("0123456789 ") or "ms"
    return float(number) * UNITS[unit] or None
