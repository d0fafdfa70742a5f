"""Keep: closes an earlier run that was cut off, over the database as it is. It needs only the run's row in the journal.

It needs neither Heroku nor a backup nor a fingerprint, so that somebody who has decided is never held up by what is
gone. It lowers a fence where Heroku can be reached. Where it cannot, the last line says what to paste.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from release.database.entry import Entry, State
from release.errors import Outcome, Refused, ReleaseError, StepFailed
from release.heroku.http import HerokuError, Session
from release.heroku.platform import Platform
from release.log.events import Event
from release.protected import fence
from release.protected.sessions import end_ghosts
from release.protected.site import Site
from release.protected.target import Target
from release.run import Ending, Run, ended
from release.settings.model import Backup

FindAgain = Callable[[], tuple[Target, Entry | None]]
"""A function that finds the add-on and reads the row again, once no restore is under way.

The row is None where a restore broke off, which has taken it away.
"""


def keep(run: Run, entry: Entry, cause: StepFailed, find_again: FindAgain) -> Ending | None:
    """Closes the row of `run` as kept and lowers its fence. Returns None when the row is gone, or another app's.

    When the facts of the ending have `fence`, it may still be up. Raises Lost or Failed when the database does not
    answer.
    """
    site, current, problem = _find_what_is_left(run, entry, find_again)
    if current is None:
        return None
    end_ghosts(run, current.run_id)
    ending = ended(Outcome.KEPT, cause)
    if current.state is State.FINISHED:  # only its fence is left
        ending = ended(Outcome(current.outcome or Outcome.KEPT))
    else:
        run.journal.close(current.run_id, outcome=str(Outcome.KEPT), reason=cause.reason.slug)
    run.log.info(Event.RESTORE_SKIPPED, why="--keep: the database stays as it is")
    return ending if current.fence is None else _lower(run, site, current, ending, problem)


def _find_what_is_left(
    run: Run, entry: Entry, find_again: FindAgain
) -> tuple[Site | None, Entry | None, HerokuError | Refused | None]:
    """Returns the site if it can be reached, the row, and what was in the way."""
    if run.settings.backup is Backup.OFF:
        return *_reach_site(run, entry), None
    try:
        target, current = find_again()
    except (HerokuError, Refused) as error:
        run.warn("heroku_not_asked", f"{error}; the row in the journal is enough to keep the database as it is")
        return *_reach_site(run, entry), error
    return target.site, current, None


def _reach_site(run: Run, entry: Entry) -> tuple[Site | None, Entry | None]:
    """Reaches the app alone, without its add-on. Returns no row when Heroku says that the row is another app's."""
    settings = run.settings
    if not settings.heroku_api_key or not settings.app:
        return None, entry
    session = Session(settings.heroku_api_key.reveal(), clock=run.clock, signals=run.signals)
    platform = Platform(session, settings.api_url, settings.app)
    try:
        app = platform.app()
    except HerokuError:
        return None, entry
    site = Site(platform=platform, private=app.space is not None)
    return site, entry if entry.belongs(app.id, app=app.name) else None


def _lower(run: Run, site: Site | None, entry: Entry, ending: Ending, problem: ReleaseError | None) -> Ending:
    """Lowers the fence. Returns the ending, with what to paste where the fence may still be up."""
    try:
        if site is not None:
            fence.lower_by_row(run, site, entry)
            return ending
    except (HerokuError, StepFailed) as error:
        problem = error
    paste = "; ".join(fence.by_hand(entry.app, entry.formation, maintenance=entry.maintenance))
    hint = f"The fence may still be up ({problem or 'Heroku was not asked'}). Paste: {paste}"
    return replace(ending, hint=hint, facts={**ending.facts, "fence": entry.fence})
