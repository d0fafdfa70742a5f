"""Heroku on this machine, under this program's name. It is a package of its own, of which nothing is imported here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from release import program
from release.commands.help import Command
from release.errors import MISCONFIGURED_EXIT_CODE

MISSING = "The sandbox is not installed here. It is a package of its own: `pip install heroku-sandbox`."


@click.command(cls=Command, context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def sandbox(context: click.Context, words: tuple[str, ...]) -> None:
    """Heroku on this machine, to try a release before it counts.

    All that `heroku-sandbox` does, which is a package of its own. `release-phase sandbox --help` says more.

    Example: release-phase sandbox release my-app ../my-app
    """
    path = found()
    if path is None:
        click.echo(MISSING, err=True)
        context.exit(MISCONFIGURED_EXIT_CODE)
    become(path, words)


def found() -> Path | None:
    """Returns the sandbox's program: the checkout's, or the one installed beside this program, or on PATH."""
    own = program.ROOT / "bin" / "sandbox"
    beside = Path(sys.executable).with_name("heroku-sandbox")
    if program.is_checkout(program.ROOT) and own.is_file():
        return own
    on_path = shutil.which("heroku-sandbox")
    return beside if beside.is_file() else Path(on_path) if on_path else None


def become(path: Path, words: Sequence[str]) -> NoReturn:
    """Goes on as the sandbox's program, which a signal then reaches itself."""
    sys.stdout.flush()
    os.execv(path, [str(path), *words])  # noqa: S606 -- the sandbox that stands beside this program
