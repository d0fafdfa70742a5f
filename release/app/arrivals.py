"""Arrivals: how many sessions have come to the database past the witness, by the server's own count.

Outside of a dyno the sockets of others cannot be told from the command's once they are closed, and a session may be
over before anybody has looked. The server counts every session, but not whose it is. So where some came while the
command ran, it is watched whether they go on coming without it: then they are a live app's. If not, they may be the
command's.

Source: pg_stat_database.sessions, since PostgreSQL 14 (monitoring-stats.html). A session is counted when it is first
idle, and at its end.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, LiteralString

from release.clock import Clock, Deadline
from release.database.session import Failed
from release.retry import TimedOut, wait_until
from release.run import HOOKS, Run

SHORTEST, LONGEST = 0.5, 3.0
"""Seconds for which it is watched whether others come: at least, and at most."""

EXPECTED: Final = 5
"""How many would come while it is watched, at the rate of before, if they had nothing to do with the command."""

PAUSE: Final = 0.05
"""Seconds between two looks."""

COUNTED: Final[LiteralString] = """
SELECT d.sessions, (SELECT count(*) FROM pg_catalog.pg_stat_activity a
                     WHERE a.datname = d.datname AND starts_with(a.application_name, %s))
  FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()
"""
"""Reads how many sessions there have been so far, and how many hooks' own ones there are now.

One of these may have begun since, to write the journal, or to wait for the lock.
"""


class Arrivals:
    """Counts from the moment when it is made."""

    def __init__(self, run: Run) -> None:
        self._run = run
        # A signal must not cut this short, and no clock of a test make it quick.
        self._clock = Clock()
        self._began = self._clock.monotonic()
        self._first = self._count()

    @property
    def counted(self) -> bool:
        """Whether the server counts sessions, and lets this role read the count."""
        return self._first is not None

    def strangers(self, known: int) -> int:
        """Returns how many sessions have come that are not known. `known` is how many went through the witness.

        Raises Lost.
        """
        present = self._count()
        return 0 if self._first is None or present is None else present - self._first - known

    def unexplained(self, known: int) -> str | None:
        """Returns, in words, why sessions may have gone past the witness; None where nothing speaks for it.

        An older server, or one that lets nobody read this, tells nothing here: only the sockets do. Raises Lost.
        """
        strangers = self.strangers(known)
        took = self._clock.monotonic() - self._began
        if strangers <= 0 or self._more_come(EXPECTED * took / strangers):
            return None
        return f"{strangers} sessions came to the database beside the witness while the command ran, and none since"

    def _more_come(self, seconds: float) -> bool:
        present = self._count() or 0
        with suppress(TimedOut):
            return wait_until(
                lambda: (self._count() or 0) > present,
                name="other sessions",
                until=bool,
                pause=PAUSE,
                sleep=self._clock.sleep,
                deadline=Deadline(self._clock, min(LONGEST, max(SHORTEST, seconds))),
            )
        return False

    def _count(self) -> int | None:
        """Reads how many sessions there have been, but for those hooks' own that are there now."""
        try:
            sessions, hooks = self._run.database.one(COUNTED, [HOOKS])
        except Failed:
            return None
        return int(sessions) - int(hooks)
