"""The edge: a run between its first line and its last, whatever happens in between. Here is the only broad `except`.

The commands get an `Edge`. They call it for a run that is logged, and `inspect` for a command that only prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from release import __version__
from release.clock import Clock, Deadline, Interrupted, Signals
from release.database.session import Database
from release.errors import (
    MISCONFIGURED_EXIT_CODE,
    Misconfigured,
    Outcome,
    Reason,
    Refused,
    ReleaseError,
    RestoreUnderWay,
)
from release.log.events import Event
from release.log.logger import Log, Render, open_log
from release.log.redact import secrets_in
from release.notify.notifiers import find_audience
from release.program import named
from release.record import Tally, final_record, keep_record
from release.run import Ending, Run, ended, explain, hook_name
from release.settings.model import LogFormat, Settings
from release.settings.reading import read, without_database

MARGIN = 0.02
"""The share of the time limit, at most 30 s, that is kept back: the dyno starts before this process and ends after."""

GOES_ON = "The restore goes on at Heroku; `release-phase recover`, or the next release, waits for it and proves it."

Work = Callable[[Run], Ending]
Record = Callable[[Ending], dict[str, Any]]


class Edge(Struct, frozen=True, kw_only=True):
    """The environment, the signals and the time, which come in from outside."""

    environ: Mapping[str, str]
    signals: Signals
    clock: Clock

    def __call__(self, work: Work) -> int:
        """Does work that has a log and an outcome. Returns the exit code."""
        return execute(self, work)

    def inspect(self, work: Callable[[Run], int]) -> int:
        """Does work that only prints, and says on stderr what is in its way. Returns the exit code."""
        return inspect(self, work)


def execute(edge: Edge, work: Work) -> int:
    """Runs `work` between `release_started` and `release_finished`, which is the last line whatever happens.

    Returns the exit code.
    """
    run_id = os.urandom(6).hex()
    began = edge.clock.monotonic()
    tally = Tally(edge.clock)
    observers = [tally.observe]
    about: dict[str, Any] = {
        "run_id": run_id,
        "app": edge.environ.get("HEROKU_APP_NAME") or edge.environ.get("HEROKU_APP_ID"),
        "release": edge.environ.get("HEROKU_RELEASE_VERSION"),
    }

    def observe(event: Mapping[str, Any]) -> None:
        for observer in observers:
            observer(event)

    log = open_log(
        secrets=secrets_in(edge.environ), clock=edge.clock, render=renderer(edge.environ), observe=observe, **about
    )
    audience = find_audience(edge.environ, log, about)
    observers.append(audience.observe)
    durations: dict[str, float] = {}

    def record(ending: Ending) -> dict[str, Any]:
        return final_record(ending, tally, duration=edge.clock.monotonic() - began, steps=durations)

    ending = _guarded(lambda: _do_work(edge, work, log, run_id, durations, record), log)
    # What is left to do (notifiers, the last line) is short: a signal that comes now must not cut it off.
    edge.signals.acknowledge()
    received = edge.signals.received
    audience.finish(record(ending), since_signal=edge.clock.monotonic() - received.at if received else None)
    write = log.info if ending.exit_code == 0 else log.error
    write(Event.RELEASE_FINISHED, **record(ending), dropped_lines=log.dropped)
    return ending.exit_code


def _guarded(work: Callable[[], Ending], log: Log) -> Ending:
    """Returns the ending of `work`, also where it raised an error that nobody expected."""
    try:
        return work()
    except (ReleaseError, Interrupted) as error:
        return stopped(error)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # SystemExit: a library's exit code 0 is no success
        log.error(Event.STEP_FAILED, reason=Reason.UNEXPECTED_ERROR.slug, error=repr(error), exc_info=error)
        return Ending(
            outcome=Outcome.CRASHED,
            exit_code=Outcome.CRASHED.exit_code,
            reason=Reason.UNEXPECTED_ERROR,
            detail=repr(error),
        )


def stopped(error: ReleaseError | Interrupted) -> Ending:
    """Returns how a run ends by an error that reaches the edge: it was raised before anything was changed."""
    match error:
        case Misconfigured():
            return replace(ended(Outcome.REFUSED, error), outcome=None, exit_code=MISCONFIGURED_EXIT_CODE)
        case Refused():
            return ended(Outcome.REFUSED, error)
        case RestoreUnderWay():
            return ended(Outcome.HANDED_OVER, error, hint=GOES_ON)
        case _:
            return ended(Outcome.UNTOUCHED, error)


def _do_work(edge: Edge, work: Work, log: Log, run_id: str, durations: dict[str, float], record: Record) -> Ending:
    """Reads the settings, does the work on an open run, and keeps its record in the journal."""
    settings = read(edge.environ)
    log.info(Event.RELEASE_STARTED, **starting_facts(settings, edge.environ))
    with opened(edge, settings, log, run_id, durations) as run:
        ending = work(run)
        keep_record(run, record(ending))
    return ending


@contextmanager
def opened(
    edge: Edge, settings: Settings, log: Log, run_id: str, durations: dict[str, float] | None = None
) -> Iterator[Run]:
    """Opens a run on the database that the settings name; its time begins now. Raises Refused."""
    if settings.database_url is None:
        raise without_database(settings, edge.environ)
    limit = settings.time_limit
    url = settings.database_url.reveal()
    database = Database(url, application_name=hook_name(run_id), signals=edge.signals)
    try:
        yield Run(
            id=run_id,
            settings=settings,
            environ=edge.environ,
            folder=Path.cwd(),
            clock=edge.clock,
            signals=edge.signals,
            log=log,
            deadline=Deadline(edge.clock, limit - min(30.0, limit * MARGIN)),
            database=database,
            durations={} if durations is None else durations,
        )
    finally:
        database.close()


def inspect(edge: Edge, work: Callable[[Run], int]) -> int:
    """Runs `work`, which prints what it finds. Only retries are logged, and errors are printed, both on stderr.

    Returns the exit code.
    """
    log = open_log(fd=2, secrets=secrets_in(edge.environ), clock=edge.clock, render=_render_aside)
    try:
        with opened(edge, read(edge.environ), log, os.urandom(6).hex()) as run:
            return work(run)
    except (ReleaseError, Interrupted) as error:
        reason, detail = explain(error)
        log.last_words(named(f"Error: {detail}\n{reason.hint}"))
        return stopped(error).exit_code


def renderer(environ: Mapping[str, str]) -> Render | None:
    """Returns what turns events into text for people, where people are looking. None stands for JSON lines."""
    wanted = environ.get("RELEASE_LOG", "").strip() or LogFormat.AUTO
    in_release_phase = environ.get("DYNO", "").startswith("release.")
    if wanted != LogFormat.CONSOLE and (wanted != LogFormat.AUTO or in_release_phase or not os.isatty(1)):
        return None
    from release.output.live import open_console  # noqa: PLC0415 -- rich takes 0.2 s to load; JSON lines need none of it

    return open_console(1, environ)


def starting_facts(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Returns what `release_started` says: what made the release, and the settings that are not the defaults."""
    return {
        "trigger": "release phase" if environ.get("DYNO", "").startswith("release.") else "by hand",
        "description": settings.description,
        "commit": settings.commit,
        "version": __version__,
        "python": sys.version.split()[0],
        "settings": settings.public(),
    }


def _render_aside(event: Mapping[str, Any]) -> str:
    """Renders what a command that only prints says of its requests: that one failed and is made again."""
    if event["event"] != Event.RETRY_SCHEDULED:
        return ""
    from release.output import show  # noqa: PLC0415 -- a release renders nothing here

    return "".join(f"{line.glyph} {line.text}\n" for line in show.lines(event))
