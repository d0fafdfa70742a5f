"""The commands of the first ten minutes: what an app needs, and whether it is ready."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from release.clock import Interrupted
from release.commands.help import Command
from release.errors import MISCONFIGURED_EXIT_CODE
from release.program import named

if TYPE_CHECKING:
    from release.edge import Edge

WIDTH = 100
"""Columns of a text that nobody's terminal limits."""

app_option = click.option("--app", metavar="NAME", help="The app's name on Heroku.")


@click.command(cls=Command)
@click.option(
    "--write", "writing", is_flag=True, help="Write what can be written: new files, and lines at a file's end."
)
@click.option("--overwrite", is_flag=True, help="With --write, also replace a release line of the Procfile.")
@app_option
@click.pass_context
def init(context: click.Context, writing: bool, overwrite: bool, app: str | None) -> None:
    """Show what the app in this folder needs, and write it on request.

    The Procfile's line, how the hook is installed, what migrates, the review apps' environment, and the commands for
    Heroku. Nothing is written without --write, and what stands in a file stays there.

    Example: release-phase init --write --app my-app
    """
    from release.commands import init as beginning  # noqa: PLC0415 -- only for this command
    from release.output.init import as_text  # noqa: PLC0415 -- only for this command

    edge: Edge = context.obj
    found = beginning.look(Path.cwd(), app or edge.environ.get("HEROKU_APP_NAME"))
    if found is None:
        click.echo(
            named("There is no app in this folder. Run `release-phase init` where the Procfile belongs."), err=True
        )
        context.exit(MISCONFIGURED_EXIT_CODE)
    about, parts = beginning.about(found), beginning.wanted(found, overwrite=overwrite)
    if writing:
        try:
            parts = beginning.write(found, parts)
        except OSError as error:
            raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}.") from error
    ending = beginning.ending(parts, writing=writing)
    click.echo(as_text(about, [each.part for each in parts], ending), nl=False)


@click.command(cls=Command)
@app_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def check(context: click.Context, app: str | None, as_json: bool) -> None:
    """Say whether an app is ready for the hook, and what is missing.

    All that can be known with its key, in seconds: key, scopes, add-on, plan, size, what a restore could not bring
    back, the lab, the Procfile. Changes nothing, and takes no lock. In a dyno it looks at the app there; with --app, or
    HEROKU_APP_NAME, from any machine at that one, through HEROKU_API_KEY. Exits 0: ready; 3: not yet.

    Example: release-phase check --app my-app
    """
    from release.commands.check import check as look_at  # noqa: PLC0415 -- only for this command
    from release.edge import stopped  # noqa: PLC0415 -- only for this command
    from release.output.check import as_text, verdict  # noqa: PLC0415 -- only for this command

    if app is None and not _some_app(context.obj.environ):
        raise click.UsageError(
            "Which app? Name it with --app, where HEROKU_API_KEY is set; or run it in the app's dyno."
        )
    try:
        checked = look_at(context.obj, app)
    except Interrupted as error:
        click.echo(f"Error: {error}", err=True)
        context.exit(stopped(error).exit_code)
    if as_json:
        facts = {"ready": not checked.bad, "verdict": verdict(checked), **msgspec.to_builtins(checked)}
        click.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
    else:
        click.echo(as_text(checked, width=shutil.get_terminal_size((WIDTH, 24)).columns), nl=False)
    context.exit(checked.exit_code)


def _some_app(environ: Mapping[str, str]) -> bool:
    """Tells whether the environment is an app's, or names one."""
    return any(environ.get(name, "").strip() for name in ("DYNO", "HEROKU_APP_NAME", "HEROKU_APP_ID", "DATABASE_URL"))
