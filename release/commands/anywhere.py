"""What lets a command run anywhere: in a dyno, and on somebody's own machine with the key and the app's name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from msgspec import structs

from release.errors import ReleaseError
from release.settings.model import Guard
from release.settings.reading import read

if TYPE_CHECKING:
    from release.edge import Edge
    from release.run import Run


def run_inspection(context: click.Context, work: Callable[[Run], int]) -> int:
    """Runs a command that only looks. No guard holds it up, since guards are there for what changes something."""

    def freely(run: Run) -> int:
        return work(replace(run, settings=structs.replace(run.settings, allow=frozenset(Guard))))

    edge: Edge = complete(context.obj)
    return edge.inspect(freely)


def complete(edge: Edge) -> Edge:
    """Asks Heroku for the database's URL, which is not set on somebody's own machine.

    It is left out where that fails.
    """
    environ = edge.environ
    try:
        settings = read(environ)
    except ReleaseError:
        return edge  # the command itself says what is wrong
    if settings.database_url is not None or settings.heroku_api_key is None or settings.app is None:
        return edge
    from release.heroku.http import Session  # noqa: PLC0415 -- only for this command
    from release.heroku.platform import Platform  # noqa: PLC0415 -- only for this command

    session = Session(settings.heroku_api_key.reveal(), clock=edge.clock, signals=edge.signals)
    try:
        url = Platform(session, settings.api_url, settings.app).config_var(settings.database)
    except ReleaseError as error:
        sys.stderr.write(f"{settings.database} is not set, and Heroku does not tell it: {error}\n")
        return edge
    known: Mapping[str, str] = {**environ, settings.database: url} if url else environ
    return replace(edge, environ=known)


def heroku_known(environ: Mapping[str, str]) -> bool:
    """Tells whether there is a key and an app's name to ask Heroku with."""

    def given(name: str) -> bool:
        return bool(environ.get(name, "").strip())

    return given("HEROKU_API_KEY") and (given("HEROKU_APP_ID") or given("HEROKU_APP_NAME"))
