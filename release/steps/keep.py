"""Keep: an earlier run that was cut off is closed over the database as it is. Its row in the journal is all it takes.

Neither Heroku nor a backup nor a fingerprint is needed, so that somebody who has decided is never held up by what is
gone. A fence is lowered where Heroku can be reached; where it cannot, the last line says what to paste.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from release.database.journal import Entry, State
from release.errors import Outcome, Refused, ReleaseError, StepFailed
from release.heroku.http import HerokuError, Session
from release.heroku.platform import Platform
from release.log.events import Event
from release.protected import fence
from release.protected.sessions import no_ghosts
from release.protected.site import Site
from release.protected.target import Target
from release.run import Ending, Run, ended
from release.settings.model import Backup

Look = Callable[[], tuple[Target, Entry | None]]
"""Finds the add-on and reads the row again, once no restore is under way; the row is gone where one broke off."""


def keep(run: Run, entry: Entry, cause: StepFailed, look: Look) -> Ending | None:
    """Closes the row of `run` as kept and lowers its fence. None when the row is gone, or another app's.

    `fence` in the facts of the ending: it may still be up. Raises Lost or Failed when the database does not answer.
    """
    site, now, problem = _look(run, entry, look)
    if now is None:
        return None
    no_ghosts(run, now.run_id)
    ending = ended(Outcome.KEPT, cause)
    if now.state is State.FINISHED:  # only its fence is left
        ending = ended(Outcome(now.outcome or Outcome.KEPT))
    else:
        run.journal.close(now.run_id, outcome=str(Outcome.KEPT), reason=cause.reason.slug)
    run.log.info(Event.RESTORE_SKIPPED, why="--keep: the database stays as it is")
    return ending if now.fence is None else _lower(run, site, now, ending, problem)


def _look(run: Run, entry: Entry, look: Look) -> tuple[Site | None, Entry | None, HerokuError | Refused | None]:
    """As much of the target as can be found, the row, and what was in the way."""
    if run.settings.backup is Backup.OFF:
        return *_reach(run, entry), None
    try:
        target, now = look()
    except (HerokuError, Refused) as error:
        run.warn("heroku_not_asked", f"{error}; the row in the journal is enough to keep the database as it is")
        return *_reach(run, entry), error
    return target.site, now, None


def _reach(run: Run, entry: Entry) -> tuple[Site | None, Entry | None]:
    """The app alone, without its add-on. The row is nobody's here when Heroku says that this is another app."""
    settings = run.settings
    if not settings.heroku_api_key or not settings.app:
        return None, entry
    session = Session(settings.heroku_api_key.reveal(), clock=run.clock, signals=run.signals)
    platform = Platform(session, settings.api_url, settings.app)
    try:
        app = platform.app()
    except HerokuError:
        return None, entry
    return Site(platform=platform), entry if entry.belongs(app.id, app=app.name) else None


def _lower(run: Run, site: Site | None, entry: Entry, ending: Ending, problem: ReleaseError | None) -> Ending:
    """The ending with the fence lowered, or with what to paste."""
    try:
        if site is not None:
            fence.down(run, site, entry)
            return ending
    except (HerokuError, StepFailed) as error:
        problem = error
    paste = "; ".join(fence.by_hand(entry.app, entry.formation, maintenance=entry.maintenance))
    hint = f"The fence may still be up ({problem or 'Heroku was not asked'}). Paste: {paste}"
    return replace(ending, hint=hint, facts={**ending.facts, "fence": entry.fence})
