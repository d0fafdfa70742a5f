"""The edge: arguments and environment come in here only, and the exit code leaves. The only broad `except`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from release import __version__
from release.clock import Clock, Deadline, Interrupted, Signals
from release.database.session import Database
from release.errors import MISCONFIGURED_EXIT_CODE, Misconfigured, Outcome, Reason, Refused, ReleaseError
from release.log import Event, Log, Render, open_log
from release.record import Tally, final_record, keep
from release.redact import secrets_in
from release.run import Ending, Run, ended, hook_name
from release.settings import LogFormat, Settings, is_webhook, read
from release.sink import settle_standard_streams

if TYPE_CHECKING:
    from release.webhook import Webhook

MARGIN = 0.02
"""Of the time limit, at most 30 s: the dyno was there before this process, and its end takes a moment."""

Work = Callable[[Run], Ending]


@click.group(invoke_without_command=True)
@click.version_option(__version__, prog_name="release-phase")
@click.pass_context
def cli(context: click.Context) -> None:
    """Back up the database, migrate, probe; restore the backup when a step fails.

    Without a command it runs the release phase, as the Procfile's `release: bin/release` does. Settings are environment
    variables; the README lists them.
    """
    if context.invoked_subcommand is None:
        context.exit(context.obj(_release))


@cli.command()
@click.option("--restore", "choice", flag_value="restore", help="Undo the changes: fence, salvage, restore, proof.")
@click.option("--keep", "choice", flag_value="keep", help="Accept the database as it is.")
@click.option("--run", "run_id", help="The run that hands over; its decision to restore stands.")
@click.pass_context
def recover(context: click.Context, choice: str | None, run_id: str | None) -> None:
    """Finish what an interrupted run left.

    Waits for a restore under way and proves it, lowers a fence, closes a run that changed nothing. Where a run left
    changes, it asks for a decision: --restore or --keep. Nothing to do is a good end, and it may be run again at any
    time.

    Example: heroku run bin/release recover --restore
    """
    context.exit(context.obj(lambda run: _recover(run, choice, run_id)))


# Imported inside the guarded part: a help text needs none of it, and a broken installation has an outcome, too.


def _release(run: Run) -> Ending:
    from release.phase import release_phase  # noqa: PLC0415

    return release_phase(run)


def _recover(run: Run, choice: str | None, run_id: str | None) -> Ending:
    from release.recover import Choice, recover  # noqa: PLC0415

    return recover(run, Choice(choice) if choice else None, run_id)


def main(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[Signals], Clock] = Clock,
) -> int:
    """Runs a command and returns its exit code. Parameters are for tests; the process's own are the defaults."""
    environ = dict(os.environ if environ is None else environ)
    code = MISCONFIGURED_EXIT_CODE
    with Signals() as signals:
        try:
            result = cli.main(
                args=None if argv is None else list(argv),
                prog_name="release-phase",
                obj=lambda work: execute(work, environ, signals, clock(signals)),
                standalone_mode=False,
            )
            code = int(result or 0)
        except click.ClickException as error:
            error.show()
        except click.Abort:
            pass
    settle_standard_streams()
    return code


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
    except Exception as error:
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
    from release.console import open_console  # noqa: PLC0415 -- rich costs 0.2 s, which only people pay

    return open_console(1, environ)


def messenger(environ: Mapping[str, str], log: Log, about: Mapping[str, Any]) -> Webhook | None:
    """The webhook, where one is set; read before the settings are, so that it hears when they are wrong, too."""
    url = environ.get("RELEASE_WEBHOOK_URL", "").strip()
    if not url or not is_webhook(url):
        return None
    from release.webhook import Webhook  # noqa: PLC0415

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
        database = Database(settings.database_url.reveal(), application_name=hook_name(run_id))
        limit = settings.time_limit
        run = Run(
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
        ending = work(run)
        keep(run, record(ending))
    except Misconfigured as error:
        ending = replace(ended(Outcome.REFUSED, error), outcome=None, exit_code=MISCONFIGURED_EXIT_CODE)
    except Refused as error:
        ending = ended(Outcome.REFUSED, error)
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
