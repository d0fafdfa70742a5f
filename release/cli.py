"""The edge: arguments and environment come in here only, and the exit code leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from release import __version__
from release.clock import Clock, Signals
from release.edge import Edge
from release.errors import MISCONFIGURED_EXIT_CODE
from release.run import Ending, Run
from release.stream.sink import settle_standard_streams


class Commands(click.Group):
    """The commands for people come from commands.py, which is imported when one of them, or the list, is asked for."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        return super().get_command(ctx, cmd_name) or self._for_people().get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted({*super().list_commands(ctx), *self._for_people()})

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant. An unknown one is compared with all there are, for the near one to be named."""
        if args[0] not in self.commands:
            self.commands.update(self._for_people())
        return super().resolve_command(ctx, args)

    def _for_people(self) -> dict[str, click.Command]:
        from release.people.commands import COMMANDS  # noqa: PLC0415

        return COMMANDS


@click.group(cls=Commands, invoke_without_command=True)
@click.version_option(__version__, prog_name="release-phase")
@click.pass_context
def cli(context: click.Context) -> None:
    """Back up the database, migrate, probe; restore the backup when a step fails.

    Without a command it runs the release phase, as the Procfile's `release: bin/release` does. Settings are environment
    variables; the README lists them.

    Example: heroku run bin/release history
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


@cli.command()
@click.pass_context
def plan(context: click.Context) -> None:
    """Say what a release would do and why, changing nothing.

    The same checks as a release, the settings in effect, what is pending, the time it will take, and which guard would
    refuse. Exits as a release would refuse: 0, 2 (settings), 3 (a guard), 1 (something cannot be reached).

    Example: heroku run bin/release plan
    """
    from release.people.plan import plan as make  # noqa: PLC0415

    context.exit(make(context.obj))


# Imported inside the guarded part: a help text needs none of it, and a broken installation has an outcome, too.


def _release(run: Run) -> Ending:
    from release.phase import release_phase  # noqa: PLC0415

    return release_phase(run)


def _recover(run: Run, choice: str | None, run_id: str | None) -> Ending:
    from release.steps.recover import Choice, recover  # noqa: PLC0415

    return recover(run, Choice(choice) if choice else None, run_id)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on stderr about objects that a signal has left half made; what goes wrong otherwise is in the log."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = before


def main(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[Signals], Clock] = Clock,
) -> int:
    """Runs a command and returns its exit code. Parameters are for tests; the process's own are the defaults."""
    environ = dict(os.environ if environ is None else environ)
    code = MISCONFIGURED_EXIT_CODE
    with Signals() as signals, _quiet():
        try:
            result = cli.main(
                args=None if argv is None else list(argv),
                prog_name="release-phase",
                obj=Edge(environ=environ, signals=signals, clock=clock(signals)),
                standalone_mode=False,
            )
            code = int(result or 0)
        except click.ClickException as error:
            error.show()
        except click.Abort:
            pass
    settle_standard_streams()
    return code
