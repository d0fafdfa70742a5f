"""What lets a command run anywhere: in a dyno, and on somebody's own machine with the key and the app's name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click
from msgspec import Struct
from msgspec.structs import replace

from release.errors import Reason, Refused, ReleaseError
from release.settings.model import Guard
from release.settings.reading import read

if TYPE_CHECKING:
    from release.edge import Edge
    from release.run import Run


def run_inspection(context: click.Context, work: Callable[[Run], int]) -> int:
    """Runs a command that only looks. No guard holds it up, since guards are there for what changes something."""

    def freely(run: Run) -> int:
        return work(replace(run, settings=replace(run.settings, allow=frozenset(Guard))))

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


class Asked(Struct, frozen=True, kw_only=True):
    """The app that is asked about: its environment, and its name where that is not only known from there."""

    environ: Mapping[str, str]
    name: str | None = None


def asked_about(edge: Edge, app: str | None) -> Asked:
    """Finds the environment of an app's dynos, as far as Heroku's API tells it: its config vars.

    Where no app is named, it is the environment as it is. Only on somebody's own machine, where the key and the app's
    name are set and no database is, the named app is asked about. Raises ReleaseError.
    """
    environ = edge.environ
    here = any(environ.get(name, "").strip() for name in ("DYNO", environ.get("RELEASE_DATABASE") or "DATABASE_URL"))
    if app is None and (here or not heroku_known(environ)):
        return Asked(environ=environ)
    from release.heroku.http import Session  # noqa: PLC0415 -- only for this command
    from release.heroku.platform import Platform  # noqa: PLC0415 -- only for this command
    from release.protected.locate import explained  # noqa: PLC0415 -- only for this command

    key = environ.get("HEROKU_API_KEY", "").strip()
    if not key:
        raise Refused(Reason.KEY_REJECTED, f"HEROKU_API_KEY is not set here, so {app} cannot be looked at")
    name = app or environ.get("HEROKU_APP_NAME") or environ["HEROKU_APP_ID"]
    # Nothing else of this machine counts: its DATABASE_URL is a developer's own.
    kept = {each: environ[each] for each in ("PATH", "HEROKU_HOST", "HEROKU_DATA_HOST") if each in environ}
    settings = read({**kept, "RELEASE_BACKUP": "off"})
    session = Session(key, clock=edge.clock, signals=edge.signals)
    with explained(name):
        config = Platform(session, settings.api_url, name).config_vars()
    return Asked(environ={**kept, **config}, name=name)
