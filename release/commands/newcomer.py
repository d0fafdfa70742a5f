"""The commands of the first ten minutes: what an app needs, and whether it is ready."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from release.commands.help import Command
from release.errors import MISCONFIGURED_EXIT_CODE
from release.program import named

if TYPE_CHECKING:
    from release.edge import Edge

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
