"""Latecomers: what others write after the failed state was captured, and before the restore has reset the database.

Such rows are in no dump. So writers are held (database/hold.py) from before the salvage until the reset. Where that
cannot be, or not for all tables, the counters tell what was written: it is salvaged again, or named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from release.database import hold
from release.database.evidence import Written
from release.database.hold import Hold, Reading
from release.database.session import Busy, translated
from release.errors import StepFailed
from release.protected import fence
from release.run import Run, hook_name

TRIES: Final = 3
"""How often it is tried to lock the tables. Who stands in the way is ended in between."""

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at the counters while the restore begins."""

COST: Final = 5.0
"""How many times as long as a look took the next one is waited for at least, so that many tables cost little."""


class Latecomers:
    """The writes of others since the salvage, as far as they are seen. Without a mark nothing is said."""

    def __init__(self, run: Run, held: Hold) -> None:
        self._run = run
        self._held = held
        self._asked = False
        self.began: Reading | None = None
        """The counters when the last salvage that succeeded was asked for."""
        self.last: Reading | None = None
        """The counters when they were read last."""

    def read(self) -> Reading | None:
        """Reads the counters while the database is surely still the failed one. None where they could not be read."""
        reading = self._held.look()
        if reading is None:
            try:
                with translated():
                    reading = hold.read(self._run.database.connection)
            except StepFailed as error:
                self._run.warn("writes_unknown", f"{error}; what others write meanwhile is not known")
        self.last = reading or self.last
        return reading

    def stay(self) -> None:
        """Keeps the hold while something else is waited for."""
        self._held.stay()

    def asked(self) -> None:
        """Looks once more right before the restore is asked for."""
        self.read()
        self._asked = True

    def sleep(self, seconds: float) -> None:
        """Sleeps, and looks meanwhile, until the reset has ended the session that looks."""
        ends = self._run.clock.monotonic() + seconds
        while self._asked and self._held.alive:
            began = self._run.clock.monotonic()
            reading = self._held.look(asked=True)
            if reading is None or not self._goes_on(reading):
                self._held.close()
                break
            self.last = reading
            pause = max(LOOK_EVERY, (self._run.clock.monotonic() - began) * COST)
            if began + pause >= ends:
                break
            self._run.clock.sleep(pause)
        self._run.clock.sleep(max(ends - self._run.clock.monotonic(), 0.0))

    def _goes_on(self, reading: Reading) -> bool:
        """Whether no table has been dropped yet."""
        return self.last is None or self.last.writes.keys() <= reading.writes.keys()

    def written(self) -> dict[str, Written]:
        """Returns what was written to each table since the salvage, by the last look."""
        if self.began is None or self.last is None or not hold.comparable(self.began, self.last):
            return {}
        return hold.written(self.began.writes, self.last.writes)

    def named(self) -> dict[str, str]:
        """Returns in words, by table, what may be in no dump.

        The reset ends all sessions one after the other, this one among them. Who had waited to write may do so in the
        moment before the end of his own session, or before the first DROP.
        """
        words = {table: str(rows) for table, rows in self.written().items()}
        if self.began is not None:
            for table, sessions in self._held.waiting.items():
                words.setdefault(table, f"{sessions} waited to write, and may have done so right before the reset")
        return words


@contextmanager
def latecomers(run: Run, *, holding: bool) -> Iterator[Latecomers]:
    """Holds writers, if that is wanted, and looks at what they write. A failure to do so is a warning."""
    held = Hold(run.database.beside(f"{hook_name(run.id)}-hold"))
    try:
        try:
            held.open()
            if holding:
                _lock(run, held)
        except StepFailed as error:
            run.warn("writers_not_held", f"{error}; what others write until the restore begins is counted and named")
        yield Latecomers(run, held)
    finally:
        held.close()


def _lock(run: Run, held: Hold) -> None:
    """Locks the tables. Whoever is in the way with a transaction is ended. Raises Lost or Failed."""
    for attempt in range(1, TRIES + 1):
        try:
            held.lock()
            break
        except Busy:
            if attempt == TRIES:
                raise
            fence.end_sessions(run)
    # Whoever has written since the fence went up is ended: a session hands in its counters at the latest when it ends.
    fence.end_present(run)
