"""The edge's work: a run between its first line and its last, whatever happens in between. The only broad `except`.

`Edge` is what the commands get: call it for a run that is logged, `look` for a command that only looks and prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from release.output import show
from release.record import Tally, final_record, keep
from release.run import Ending, Run, ended, explain, hook_name
from release.settings.model import LogFormat, Settings
from release.settings.reading import read
from release.settings.urls import is_webhook

if TYPE_CHECKING:
    from release.notify.webhook import Webhook

MARGIN = 0.02
"""Of the time limit, at most 30 s: the dyno was there before this process, and its end takes a moment."""

GOES_ON = "The restore goes on at Heroku; `bin/release recover`, or the next release, waits for it and proves it."

Work = Callable[[Run], Ending]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What comes in from outside: environment, signals, time."""

    environ: Mapping[str, str]
    signals: Signals
    clock: Clock

    def __call__(self, work: Work) -> int:
        """Does what has a log and an outcome; returns the exit code."""
        return execute(work, self.environ, self.signals, self.clock)

    def look(self, work: Callable[[Run], int]) -> int:
        """Does what only looks and prints; says on stderr what is in the way, and returns the exit code."""
        return look(work, self.environ, self.signals, self.clock)


def execute(work: Work, environ: Mapping[str, str], signals: Signals, clock: Clock) -> int:
    """Runs `work` between `release_started` and `release_finished`, which is the last line whatever happens."""
    run_id = os.urandom(6).hex()
    began = clock.monotonic()
    tally = Tally(clock)
    observers = [tally.observe]

    def observe(event: Mapping[str, Any]) -> None:
        for each in observers:
            each(event)

    about: dict[str, Any] = {
        "run_id": run_id,
        "app": environ.get("HEROKU_APP_NAME") or environ.get("HEROKU_APP_ID"),
        "release": environ.get("HEROKU_RELEASE_VERSION"),
    }
    log = open_log(
        secrets=secrets_in(environ),
        clock=clock,
        render=renderer(environ),
        observe=observe,
        **about,
    )
    webhook = messenger(environ, log, about)
    if webhook:
        observers.append(webhook.observe)
    durations: dict[str, float] = {}

    def record(ending: Ending) -> dict[str, Any]:
        return final_record(ending, tally, duration=clock.monotonic() - began, steps=durations)

    try:
        ending = _guarded(work, environ, signals, clock, log, run_id, durations, record)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # SystemExit: a library's exit code 0 is no success
        log.error(Event.STEP_FAILED, reason=Reason.UNEXPECTED_ERROR.slug, error=repr(error), exc_info=error)
        ending = Ending(
            outcome=Outcome.CRASHED,
            exit_code=Outcome.CRASHED.exit_code,
            reason=Reason.UNEXPECTED_ERROR,
            detail=repr(error),
        )
    signals.acknowledge()
    if webhook:
        webhook.finish(
            record(ending), since_signal=clock.monotonic() - signals.received.at if signals.received else None
        )
    write = log.info if ending.exit_code == 0 else log.error
    write(Event.RELEASE_FINISHED, **record(ending), dropped_lines=log.dropped)
    return ending.exit_code


def renderer(environ: Mapping[str, str]) -> Render | None:
    """What turns events into text for people, where people are looking; None for JSON lines."""
    wanted = environ.get("RELEASE_LOG", "").strip() or LogFormat.AUTO
    in_release_phase = environ.get("DYNO", "").startswith("release.")
    if wanted != LogFormat.CONSOLE and (wanted != LogFormat.AUTO or in_release_phase or not os.isatty(1)):
        return None
    from release.output.live import open_console  # noqa: PLC0415 -- rich costs 0.2 s, which only people pay

    return open_console(1, environ)


def messenger(environ: Mapping[str, str], log: Log, about: Mapping[str, Any]) -> Webhook | None:
    """The webhook, where one is set; read before the settings are, so that it hears when they are wrong, too."""
    url = environ.get("RELEASE_WEBHOOK_URL", "").strip()
    if not url or not is_webhook(url):
        return None
    from release.notify.webhook import Webhook  # noqa: PLC0415

    return Webhook(url, log, about)


def _guarded(
    work: Work,
    environ: Mapping[str, str],
    signals: Signals,
    clock: Clock,
    log: Log,
    run_id: str,
    durations: dict[str, float],
    record: Callable[[Ending], dict[str, Any]],
) -> Ending:
    """The work, with every expected error as an ending: what reaches here was raised before anything was changed."""
    database = None
    try:
        settings = read(environ)
        log.info(Event.RELEASE_STARTED, **started(settings, environ))
        if settings.database_url is None:
            raise Refused(Reason.NO_DATABASE, f"{settings.database} is not set")
        database = Database(settings.database_url.reveal(), application_name=hook_name(run_id), signals=signals)
        run = new_run(run_id, settings, environ, signals, clock, log, database, durations)
        ending = work(run)
        keep(run, record(ending))
    except Misconfigured as error:
        ending = replace(ended(Outcome.REFUSED, error), outcome=None, exit_code=MISCONFIGURED_EXIT_CODE)
    except Refused as error:
        ending = ended(Outcome.REFUSED, error)
    except RestoreUnderWay as error:
        ending = ended(Outcome.HANDED_OVER, error, hint=GOES_ON)
    except (ReleaseError, Interrupted) as error:
        ending = ended(Outcome.UNTOUCHED, error)
    finally:
        if database is not None:
            database.close()
    return ending


def started(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """What `release_started` says: what made the release, and the settings that are not the defaults."""
    return {
        "trigger": "release phase" if environ.get("DYNO", "").startswith("release.") else "by hand",
        "description": settings.heroku_slug_description,
        "commit": settings.heroku_slug_commit,
        "version": __version__,
        "python": sys.version.split()[0],
        "settings": settings.public(),
    }


def look(work: Callable[[Run], int], environ: Mapping[str, str], signals: Signals, clock: Clock) -> int:
    """Runs `work`, which prints what it finds. Nothing is logged but retries, on stderr; errors end up there, too."""
    log = open_log(fd=2, secrets=secrets_in(environ), clock=clock, render=_aside)
    run_id = os.urandom(6).hex()
    database = None
    try:
        settings = read(environ)
        if settings.database_url is None:
            raise Refused(Reason.NO_DATABASE, f"{settings.database} is not set")
        database = Database(settings.database_url.reveal(), application_name=hook_name(run_id), signals=signals)
        return work(new_run(run_id, settings, environ, signals, clock, log, database, {}))
    except (ReleaseError, Interrupted) as error:
        reason, detail = explain(error)
        log.last_words(f"Error: {detail}\n{reason.hint}")
        return _exit_code(error)
    finally:
        if database is not None:
            database.close()


def _exit_code(error: ReleaseError | Interrupted) -> int:
    match error:
        case Misconfigured():
            return MISCONFIGURED_EXIT_CODE
        case Refused():
            return Outcome.REFUSED.exit_code
        case _:
            return Outcome.UNTOUCHED.exit_code


def _aside(event: Mapping[str, Any]) -> str:
    """What a command that only looks has to say of its requests: that one failed and is made again."""
    if event["event"] != Event.RETRY_SCHEDULED:
        return ""
    return "".join(f"{line.glyph} {line.text}\n" for line in show.lines(event))


def new_run(
    run_id: str,
    settings: Settings,
    environ: Mapping[str, str],
    signals: Signals,
    clock: Clock,
    log: Log,
    database: Database,
    durations: dict[str, float],
) -> Run:
    """A run, whose time begins now."""
    limit = settings.time_limit
    return Run(
        id=run_id,
        settings=settings,
        environ=environ,
        folder=Path.cwd(),
        clock=clock,
        signals=signals,
        log=log,
        deadline=Deadline(clock, limit - min(30.0, limit * MARGIN)),
        database=database,
        durations=durations,
    )
