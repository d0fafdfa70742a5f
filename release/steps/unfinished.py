"""Whether an earlier run was cut off: what every release looks for first. What to do about it is in recover.py."""

from __future__ import annotations

from release.database.entry import Entry
from release.database.session import Failed, Lost
from release.protected.lock import RECONNECT_WITHIN, take_lock
from release.retry import wait_until
from release.run import Run


def unfinished(run: Run) -> Entry | None:
    """Reads the row of a run that was cut off. It tries again where a restore that begins has ended the session."""

    def sleep(seconds: float) -> None:
        run.clock.sleep(seconds)
        take_lock(run)

    return wait_until(
        lambda: run.journal.unfinished(run.settings.heroku_app_id),
        name="the journal",
        despite=(Lost, Failed),
        pause=0.5,
        deadline=run.deadline.within(RECONNECT_WITHIN),
        sleep=sleep,
        told=lambda error: run.warn("journal_unreadable", f"{error}; it is read again"),
    )
