"""The fence, which keeps other writers out: maintenance mode is on, dynos stand at 0, other sessions are ended.

`web` stands at 0 as well: maintenance mode stops the router only, and a web dyno goes on with what it has begun. In a
Private Space `web` stays.

To raise or to lower it twice does no harm. How the app stood before is in the journal, and so in the dump, so that
whoever comes later can lower it. A client that is no dyno comes back: hold.py keeps it from writing.

No limit of connections is set, neither on the database nor on the role. Heroku's dump and load come in with the app's
own role, and a limit that a killed run leaves behind would keep them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto

from release.clock import Deadline
from release.database.entry import Entry
from release.database.others import Other, others, wait_until_gone
from release.database.session import Failed
from release.database.transfer_sessions import HEROKU
from release.errors import Reason, StepFailed
from release.heroku.http import HerokuError
from release.log.events import Event
from release.protected.site import Site
from release.protected.target import Target
from release.run import HOOKS, Run
from release.settings.model import FenceMode

NEVER_ENDED = (HOOKS, HEROKU)
"""What the names of sessions begin with that the fence leaves alone: the hook's, and those of Heroku's transfers."""

GONE_WITHIN = 10.0
"""Seconds that other sessions get to end."""

ROUNDS = 3
"""How often sessions are ended that have come back meanwhile."""

STAYS = 0.5
"""Seconds after which a session of somebody else's is one that stays."""

SAID_WITHIN = 60.0
"""Seconds within which the journal has to say that the fence is down."""

LOWERED_LATER = "`release-phase recover` or the next release lowers it"
"""What is said of a fence that stays up."""


def put_up(run: Run, target: Target, mode: FenceMode) -> None:
    """Raises the fence. The journal says so first. Raises HerokuError, Failed or Lost."""
    run.journal.fenced(run.id, mode)
    stopped = dict.fromkeys(stopping(target.site, target.formation), 0)
    target.site.change(run, stopped, maintenance=True)
    ended = end_sessions(run)
    run.log.info(Event.FENCE_RAISED, mode=mode, scaled=sorted(stopped), sessions=ended)


def stopping(site: Site, formation: Mapping[str, int] | None) -> dict[str, int]:
    """Returns the process types that the fence stops, with how many dynos of each there were before.

    `release` is this very process. `web` of a Private Space stays.
    """
    kept = {"release", "web"} if site.private else {"release"}
    return {kind: quantity for kind, quantity in (formation or {}).items() if quantity and kind not in kept}


def end_sessions(run: Run) -> list[str]:
    """Ends all other sessions and returns their names. One that keeps coming back is only warned of.

    Not every client can be kept away, and to wait for it would only keep the site down. Heroku's own sessions stay: a
    backup that a schedule has begun is waited for and never killed.
    """
    names: set[str] = set()
    by = run.deadline.within(GONE_WITHIN)
    try:
        for _ in range(ROUNDS):
            there = strangers(run)
            if not there:
                return sorted(names)
            names.update(other.name for other in there)
            keys = {other.key for other in there}
            _end(run, keys, by)
        if left := strangers(run):
            run.warn("sessions_left", f"they come back as soon as they are ended: {', '.join(map(str, left[:10]))}")
    except Failed as error:
        run.warn("sessions_left", str(error))
    return sorted(names)


def end_present(run: Run) -> None:
    """Ends the other sessions that there are now, and waits until exactly these are gone. A failure is a warning."""
    try:
        _end(run, {other.key for other in strangers(run)}, run.deadline.within(GONE_WITHIN))
    except Failed as error:
        run.warn("sessions_left", str(error))


def strangers(run: Run) -> list[Other]:
    """Lists the sessions of others that the fence is to keep out. Raises Lost or Failed."""
    return [other for other in others(run.database) if not other.name.startswith(NEVER_ENDED)]


def came_back(run: Run) -> list[Other]:
    """Lists the sessions of others that are there behind the fence, and stay. Raises Lost or Failed.

    One that ends by itself has handed in its counters, so that these tell whether it has written.
    """
    keys = {other.key for other in strangers(run)}
    stays = run.deadline.within(STAYS)
    return wait_until_gone(run.database, lambda other: other.key in keys, clock=run.clock, deadline=stays)[1]


def warn_of_leak(run: Run, *, tables: Sequence[str] = (), sessions: Sequence[Other] = ()) -> None:
    """Says that the fence has not kept everybody out, so that a backup behind it holds what others wrote meanwhile."""
    wrote = f"they have written to {', '.join(tables[:10])}" if tables else "their sessions are there again"
    run.warn(
        "fence_leaked",
        f"the fence is up, but it does not keep everybody out: {wrote}. It is a client outside the formation, which"
        " comes back when its session is ended. Its writes are salvaged like anybody's",
        tables=list(tables[:100]),
        sessions=[str(session) for session in sessions[:20]],
    )


def _end(run: Run, keys: set[tuple[int, int]], by: Deadline) -> None:
    """Ends exactly these sessions and waits. Raises Failed (sessions_left) where some do not end."""
    _, left = wait_until_gone(run.database, lambda other: other.key in keys, clock=run.clock, deadline=by, ending=True)
    if left:
        raise Failed(Reason.SESSIONS_LEFT, f"still there: {', '.join(map(str, left))}")


def is_up(target: Target, entry: Entry) -> bool:
    """Whether the fence that a row tells of is up, by what Heroku says now. Somebody may have lifted it since."""
    stopped = stopping(target.site, entry.formation)
    return target.app.maintenance and all(not target.formation.get(kind) for kind in stopped)


class Unread(Enum):
    """What is done about a fence where the journal, which would say whether it is up, cannot be read."""

    OURS = auto()
    """It is lowered: this run has raised it, and nobody else has come since."""
    PERHAPS = auto()
    """It stays: it may be up, and another run may be at work behind it, or behind its own."""
    NONE = auto()
    """It was never raised."""


def once_begun(run: Run) -> Unread:
    """Returns what holds from a run's backup on: a fence of a whole release is up, and is its own."""
    return Unread.OURS if run.settings.fence is FenceMode.RELEASE else Unread.NONE


def not_begun(run: Run) -> Unread:
    """Returns what holds until then: a fence of a whole release may be up."""
    return Unread.PERHAPS if run.settings.fence is FenceMode.RELEASE else Unread.NONE


def lower(run: Run, target: Target | None, *, unread: Unread, raised: bool = False) -> bool:
    """Lowers the fence if one may be up. Returns whether it is down.

    A failure is a warning, and the next run tries again. `raised` says that the fence is known to be up whatever the
    journal says, which a restore has taken back. This is only called over a database that is proved old, or new, or as
    somebody decided.
    """
    if target is None:
        return True
    try:
        entry = run.retried("fence", lambda: run.journal.entry(run.id))
    except StepFailed as error:
        return _lower_unread(run, target, Unread.OURS if raised else unread, error)
    if entry is None or (entry.fence is None and not raised):
        return True
    formation, maintenance = entry.formation or {}, entry.maintenance
    if not _try_lowering(run, lambda: _put_back(run, target.site, formation, maintenance=maintenance)):
        return False
    _say_that_it_is_down(run)
    return True


def _say_that_it_is_down(run: Run) -> None:
    """Notes in the journal that the fence is down; a journal that is away for a moment is waited for."""
    try:
        run.insisted("fence lowered", lambda: run.journal.fenced(run.id, None), seconds=SAID_WITHIN)
    except StepFailed as error:
        run.warn("journal_not_closed", f"{error}; the fence is down, which the journal does not say")


def _lower_unread(run: Run, target: Target, unread: Unread, why: StepFailed) -> bool:
    """Lowers the fence without the journal, to how the app stood when this run began. Returns whether it is down.

    If maintenance mode was on by then, the fence may have been up already, and only the journal knows what to put back.
    """
    if unread is Unread.NONE:
        return True
    if unread is Unread.PERHAPS or target.app.maintenance:
        run.warn("fence_not_lowered", f"{why}; {LOWERED_LATER}")
        return False
    run.warn("journal_unreadable", f"{why}; the fence is lowered to how it stood when the run began")
    formation = target.formation
    if not _try_lowering(run, lambda: _put_back(run, target.site, formation, maintenance=target.app.maintenance)):
        return False
    _say_that_it_is_down(run)
    return True


def _try_lowering(run: Run, lowering: Callable[[], None]) -> bool:
    """Lowers the fence. Returns whether that succeeded; a failure is a warning."""
    try:
        lowering()
    except (HerokuError, StepFailed) as error:
        run.warn("fence_not_lowered", f"{error}; {LOWERED_LATER}")
        return False
    return True


def lower_by_row(run: Run, site: Site, entry: Entry) -> None:
    """Puts back what the journal says was there before, and nothing else. An operator's own maintenance mode stays on.

    Raises HerokuError, Failed or Lost.
    """
    _put_back(run, site, entry.formation or {}, maintenance=entry.maintenance)
    run.journal.fenced(entry.run_id, None)


def _put_back(run: Run, site: Site, formation: Mapping[str, int], *, maintenance: bool | None) -> None:
    """Scales process types that stand at 0 now; another figure is somebody's newer wish. Ends maintenance mode."""
    stopped = {kind for kind, quantity in site.formation(run).items() if quantity == 0}
    back = {kind: quantity for kind, quantity in stopping(site, formation).items() if kind in stopped}
    site.change(run, back, maintenance=False if maintenance is False else None)
    run.log.info(Event.FENCE_LOWERED, scaled=back, maintenance=maintenance)


def by_hand(app: str, formation: Mapping[str, int] | None, *, maintenance: bool | None) -> list[str]:
    """What a person pastes to lower a fence: back to that formation and maintenance mode."""
    scale = " ".join(f"{kind}={count}" for kind, count in (formation or {}).items() if count and kind != "release")
    return [
        *([f"heroku ps:scale {scale} --app {app}"] if scale else []),
        *([] if maintenance else [f"heroku maintenance:off --app {app}"]),
    ]
