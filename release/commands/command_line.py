"""The commands: finishing what was cut off, what would happen, what ran, what there is, and how to get it back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec.structs import replace

from release import __version__
from release.commands.anywhere import complete, heroku_known, run_inspection
from release.commands.help import Group
from release.commands.newcomer import check, init
from release.commands.sandbox import sandbox
from release.errors import MISCONFIGURED_EXIT_CODE, Reason, Refused
from release.output.words import size
from release.program import name, named

if TYPE_CHECKING:
    from release.edge import Edge
    from release.run import Ending, Run

LONGEST_LINE = 1_000_000
"""Bytes. No line of ours is over 10,000, so a longer one is left out: it is another program's."""


def command(words: Sequence[str], edge: Edge) -> int:
    """Does what the words ask for; returns the exit code."""
    try:
        return int(cli.main(args=list(words), prog_name=name(), obj=edge, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
    except click.Abort:
        pass
    return MISCONFIGURED_EXIT_CODE


@click.group(cls=Group)
@click.version_option(__version__, prog_name="release-phase")
def cli() -> None:
    """Back up the database, migrate, probe; restore the backup when a step fails.

    Without a command it runs the release phase, as the Procfile's `release: release-phase` does. Settings are
    environment variables; docs/settings.md lists them.

    Example: heroku run release-phase history
    """


for each in (init, check, sandbox):
    cli.add_command(each)


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

    Example: heroku run release-phase recover --restore
    """

    def work(run: Run) -> Ending:
        from release.steps.recover import Choice  # noqa: PLC0415 -- guarded, as the release phase itself is
        from release.steps.recover import recover as finish  # noqa: PLC0415 -- only for this command

        return finish(run, Choice(choice) if choice else None, run_id)

    edge = context.obj
    if choice == "keep" and not heroku_known(edge.environ):  # the journal's row is enough to keep what is there
        needing = {"RELEASE_FENCE", "RELEASE_REHEARSAL_DATABASE"}
        environ = {name: value for name, value in edge.environ.items() if name not in needing}
        edge = replace(edge, environ={**environ, "RELEASE_BACKUP": "off"})
    context.exit(edge(work))


json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")


@cli.command()
@json_option
@click.pass_context
def plan(context: click.Context, as_json: bool) -> None:
    """Say what a release would do and why, changing nothing.

    The same checks as a release, the settings that are not the defaults, what is pending, the time it will take, and
    which guard would refuse. Exits as a release would refuse: 0, 2 (settings), 3 (a guard), 1 (something cannot be
    reached).

    Example: heroku run release-phase plan
    """
    from release.commands.plan import plan as make_plan  # noqa: PLC0415 -- only for this command
    from release.output import plan as text  # noqa: PLC0415 -- only for this command

    edge: Edge = context.obj
    made = make_plan(edge)
    if as_json:
        click.echo(msgspec.json.encode({"version": __version__, **msgspec.to_builtins(made)}))
    else:
        click.echo(text.as_text(made, width=_columns()), nl=False)
    context.exit(made.exit_code)


class WrongInput(click.ClickException):
    """A usage error: what was given cannot be worked with, and nothing was started."""

    exit_code = MISCONFIGURED_EXIT_CODE


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--html", "html", is_flag=True, help="One self-contained page, with the timeline as a picture.")
@json_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it to a file.")
def report(file: Path | None, html: bool, as_json: bool, output: Path | None) -> None:
    """Show a run's log as a timeline.

    Steps, transfers, retries, probes, what changed by name, how it ended and what to do, from FILE or standard input.
    Other programs' lines and the prefixes of `heroku logs` do no harm, several runs in one log are shown one by one,
    and a log that is cut off says so.

    Example: heroku releases:output --app my-app | release-phase report
    """
    from release.output import page, timeline  # noqa: PLC0415 -- only for this command
    from release.output import report as text  # noqa: PLC0415 -- only for this command

    if file is None and sys.stdin.isatty():
        raise click.UsageError("Give it a FILE, or a log on standard input.")
    what = "standard input" if file is None else str(file)
    try:
        lines = _lines(file)
    except OSError as error:
        raise WrongInput(f"{what} cannot be read: {error.strerror}.") from error
    stories = timeline.read(lines)
    if not stories:
        empty = "" if any(map(str.strip, lines)) else " is empty"
        raise WrongInput(named(f"{Reason.NOT_A_LOG.text}: {what}{empty}. {Reason.NOT_A_LOG.hint}"))
    if html:
        result = page.as_html(stories)
    elif as_json:
        result = _json(text.as_data(stories))
    else:
        result = text.as_text(stories, width=min(110, _columns()))
    if output is None:
        click.echo(result, nl=False)
        return
    try:
        output.write_text(result, encoding="utf-8")
    except OSError as error:
        raise WrongInput(f"{output} cannot be written: {error.strerror}.") from error


def _lines(file: Path | None) -> list[str]:
    data = sys.stdin.buffer.read() if file is None else file.read_bytes()
    return [line.decode("utf-8", "replace") for line in data.splitlines() if len(line) < LONGEST_LINE]


def _columns() -> int:
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 100


def _json(data: object) -> str:
    return msgspec.json.format(msgspec.json.encode(data)).decode() + "\n"


@cli.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@json_option
@click.pass_context
def history(context: click.Context, run_name: str | None, as_json: bool) -> None:
    """Show what earlier runs did, newest first.

    From the journal in the database; with RUN, that one in full. A RUN is named by its id, the beginning of it, or
    its release. Runs that had nothing to migrate are not in the journal, and a restore takes the journal back with
    everything else.

    Example: heroku run release-phase history v42
    """
    from release.commands import history as past  # noqa: PLC0415 -- only for this command
    from release.output import history as text  # noqa: PLC0415 -- only for this command

    def show(run: Run) -> int:
        if run_name:
            one = past.pick(run, run_name)
            click.echo(_json(one) if as_json else text.in_full(one), nl=False)
        else:
            runs = past.history(run)
            click.echo(_json(runs) if as_json else text.as_text(runs), nl=False)
        return 0

    context.exit(run_inspection(context, show))


@cli.command()
@json_option
@click.pass_context
def backups(context: click.Context, as_json: bool) -> None:
    """List the database's backups.

    Age, size, state, which run made each, and which of them the next backup makes Heroku drop. Works from any
    machine with HEROKU_API_KEY and HEROKU_APP_NAME; DATABASE_URL is asked of Heroku where it is not set.

    Example: heroku run release-phase backups
    """
    from release.commands.backups import backups as held_now  # noqa: PLC0415 -- only for this command
    from release.output.backups import as_text  # noqa: PLC0415 -- only for this command

    def show(run: Run) -> int:
        held = held_now(run)
        click.echo(_json(held) if as_json else as_text(held), nl=False)
        return 0

    context.exit(run_inspection(context, show))


@cli.command()
@click.argument("backup", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File or folder; by default APP-BACKUP.dump here."
)
@click.option("--from-any-database", is_flag=True, help="Also a backup of another database of the app.")
@click.pass_context
def download(context: click.Context, backup: str | None, output: Path | None, from_any_database: bool) -> None:
    """Download a backup and check it.

    BACKUP is b012, 12 or a uuid; by default the newest of this database that is no salvage. A download that broke
    is taken up where it ended when the command is run again. The file appears under its name only when it is whole;
    where pg_restore is at hand, its table of contents is read first.

    Example: release-phase download b012 -o backups/
    """
    from release.commands.download import download as fetch  # noqa: PLC0415 -- only for this command

    def save(run: Run) -> int:
        with _progress(run.environ) as progress:
            saved = fetch(
                run,
                backup,
                output,
                any_database=from_any_database,
                progress=progress,
                ca=run.environ.get("RELEASE_SANDBOX_CA"),
            )
        click.echo(f"{saved.path}: {size(saved.bytes)}; {saved.contents}; {saved.origin}.")
        return 0

    context.exit(run_inspection(context, save))


def _progress(environ: Mapping[str, str]) -> AbstractContextManager[Callable[[int, int | None], None]]:
    """Shows how far a download is, on a terminal only."""
    if not sys.stderr.isatty():
        return nullcontext(lambda _done, _whole: None)
    from release.output.progress import download as shown  # noqa: PLC0415 -- rich costs 0.2 s

    return shown(sys.stderr, environ)


@cli.command()
@click.argument("backup")
@click.option("--yes", is_flag=True, help="Do not ask. For scripts.")
@click.pass_context
def restore(context: click.Context, backup: str, yes: bool) -> None:
    """Restore a backup by hand. It OVERWRITES the database.

    Fence, salvage of the present state, restore, proof, as after a failed release. Shows first what will be lost,
    then asks for the app's name. Refuses while a release runs, and without a terminal unless --yes is given. Works
    from any machine with HEROKU_API_KEY and HEROKU_APP_NAME.

    Example: release-phase restore b012
    """

    def confirm(run: Run, app: str) -> None:
        from release.commands.restore import confirmed  # noqa: PLC0415 -- only for this command

        if yes:
            return
        if not sys.stdin.isatty():
            raise Refused(Reason.NOT_CONFIRMED, "there is no terminal to ask on")
        with run.signals.interruptible():
            sys.stderr.write(f"\nType the app's name ({app}) to overwrite its database: ")
            sys.stderr.flush()
            typed = sys.stdin.readline()
        confirmed(app, typed)

    def work(run: Run) -> Ending:
        from release.commands.restore import restore_by_hand  # noqa: PLC0415 -- only for this command

        return restore_by_hand(run, backup, lambda app: confirm(run, app))

    context.exit(complete(context.obj)(work))


@cli.command()
@click.argument("salvage", required=False)
@click.option("--table", "tables", multiple=True, metavar="TABLE", help="Put this table's rows back. May be repeated.")
@click.option("--with-updates", is_flag=True, help="Also change rows that are different, but none written since.")
@click.option("--with-deletes", is_flag=True, help="Also delete rows that the salvage lacks, but none made since.")
@click.option("--fire-triggers", is_flag=True, help="Let the tables' triggers fire. By default they do not.")
@click.option(
    "--skip-conflicts", is_flag=True, help="Leave out rows that conflict. By default nothing is written then."
)
@click.option("--common-columns", is_flag=True, help="Put back the columns that both have, where others differ.")
@click.option("--dry-run", is_flag=True, help="Only show.")
@click.option("--yes", is_flag=True, help="Do not ask. For scripts.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="The folder for the salvage and for rows that conflict; by default this one.",
)
@json_option
@click.pass_context
def reconcile(
    context: click.Context,
    salvage: str | None,
    tables: tuple[str, ...],
    with_updates: bool,
    with_deletes: bool,
    fire_triggers: bool,
    skip_conflicts: bool,
    common_columns: bool,
    dry_run: bool,
    yes: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Bring back what others wrote, after a restore.

    A restore takes everybody's rows back. Its salvage holds them. This compares SALVAGE (b012; by default that of the
    newest run that was restored) with the database, by table and primary key, and shows what is only in one of them,
    or different. Then it asks, and puts rows back in one transaction: those that the database lacks, of the tables
    that are named. Without a terminal and without --yes it only shows. Needs pg_restore, which Heroku's dynos have.

    Example: heroku run release-phase reconcile b012 --table public.orders
    """
    from release.commands.reconcile import Order, Talk, confirm_on_terminal  # noqa: PLC0415 -- only for this command
    from release.commands.reconcile import reconcile as bring_back  # noqa: PLC0415 -- only for this command
    from release.database.reconcile.put_back import Wishes  # noqa: PLC0415 -- only for this command
    from release.output.reconcile import as_text, done_as_text  # noqa: PLC0415 -- only for this command

    wishes = Wishes(
        updates=with_updates, deletes=with_deletes, fire_triggers=fire_triggers, skip_conflicts=skip_conflicts
    )
    order = Order(
        salvage=salvage,
        tables=tables,
        wishes=wishes,
        common_columns=common_columns,
        dry_run=dry_run,
        folder=output,
    )

    def work(run: Run) -> int:
        talk = Talk(
            show=lambda shown: click.echo(_json(shown) if as_json else as_text(shown), nl=False),
            confirm=lambda app: yes or confirm_on_terminal(run, app),
            progress=lambda: _progress(run.environ),
            demanded=yes,
        )
        done = bring_back(run, order, talk)
        if done is not None:
            click.echo(_json(done) if as_json else done_as_text(done), nl=False)
        return 0

    context.exit(run_inspection(context, work))
