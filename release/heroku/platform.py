"""Heroku's Platform API, through heroku3: the app, its add-ons' attachments, formation, maintenance mode, dynos.

Source of the shapes: https://devcenter.heroku.com/articles/platform-api-reference. heroku3 5.2 knows no attachments and
sends `0` for `false`, so its `_http_resource` is what is used: the session, the addresses and the headers are its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec

from release.heroku.http import Session, decode, pages
from release.heroku.shape import INFORMS

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")


class Ref(msgspec.Struct, frozen=True):
    """A reference to an app: id (UUID) and name."""

    id: str
    name: str


class Stack(msgspec.Struct, frozen=True):
    """What an app's dynos are made from: `heroku-24`, `container`, or `cnb` in the Fir generation."""

    name: str


class App(msgspec.Struct, frozen=True):
    """An app, with what is needed of it. `space` is its Private Space, in whatever form, and None where it has none."""

    id: str
    name: str
    maintenance: bool
    space: object = None
    stack: Annotated[Stack | None, INFORMS] = None

    def one_off(self, command: str) -> str:
        """Returns a command as a one-off dyno of this app is to be given it.

        On Fir a dyno has the environment that the build made only where `launcher` starts the command, as Heroku's CLI
        does (heroku/cli, packages/cli/src/lib/run/helpers.ts).
        """
        return f"launcher {command}" if self.stack and self.stack.name == "cnb" else command


class Plan(msgspec.Struct, frozen=True):
    """A plan, `heroku-postgresql:standard-0` for one."""

    name: str


class AddOn(msgspec.Struct, frozen=True):
    """The add-on behind an attachment; `app` is its billing app, which its transfers belong to."""

    id: str
    name: str
    app: Ref
    plan: Annotated[Plan | None, INFORMS] = None


class Attachment(msgspec.Struct, frozen=True):
    """An add-on attached to the app, with the names of the config vars it sets there."""

    addon: AddOn
    config_vars: tuple[str, ...]


class Place(msgspec.Struct, frozen=True):
    """A place where an add-on is attached: the app."""

    app: Ref


class Process(msgspec.Struct, frozen=True):
    """One process type of the formation and how many dynos it has."""

    type: str
    quantity: Annotated[int, msgspec.Meta(ge=0)]


class Feature(msgspec.Struct, frozen=True):
    """A feature of Heroku's labs, on or off for the app."""

    enabled: bool


class Dyno(msgspec.Struct, frozen=True):
    """A dyno that was started. It is there whatever it is called, so its name only informs."""

    name: Annotated[str, INFORMS] = "run"


def client(session: Session, base: str) -> Callable[..., Response]:
    """heroku3's way to one API: `call(method, parts, data)` for the API at `base`.

    The key is set on the session and not verified by a request of its own (heroku3's `from_key` makes one and hides a
    bad key): the first real request tells.
    """
    from release.heroku.library import heroku3  # noqa: PLC0415 -- costs a third of what a release with nothing pending may cost; it needs none

    session.reach(base)
    heroku = heroku3.api.Heroku(session=session)
    heroku._heroku_url = base.rstrip("/")  # noqa: SLF001 -- heroku3 has no setting for it
    session.headers["Accept-Inclusion"] = "addon:plan,config_vars"

    def call(
        method: str,
        parts: tuple[str, ...],
        data: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        span: str | None = None,
    ) -> Response:
        body = None if data is None else json.dumps(data)
        resource = tuple(quote(part, safe="") for part in parts)
        response: Response = heroku._http_resource(method, resource, params, data=body, valrange=span)  # noqa: SLF001 -- heroku3's own way in
        return response

    return call


class Platform:
    """The Platform API for one app. Every method makes one request (one a page) and raises HerokuError."""

    def __init__(self, session: Session, base: str, app: str) -> None:
        self._call = client(session, base)
        self._app = app

    def _get(self, kind: type[T], *parts: str) -> T:
        return decode(f"GET /{'/'.join(parts)}", self._call("GET", parts), kind)

    def _list(self, kind: type[T], *parts: str) -> tuple[T, ...]:
        return pages(f"GET /{'/'.join(parts)}", lambda span: self._call("GET", parts, span=span), kind)

    def app(self) -> App:
        """Reads the app itself."""
        return self._get(App, "apps", self._app)

    def config_var(self, name: str) -> str | None:
        """Reads the value of a config var, which is often a secret; None when it is not set."""
        return self.config_vars().get(name)

    def config_vars(self) -> dict[str, str]:
        """Reads all config vars, secrets among them."""
        found = self._get(dict[str, object], "apps", self._app, "config-vars")
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def feature(self, name: str) -> Feature:
        """Reads a feature of Heroku's labs."""
        return self._get(Feature, "apps", self._app, "features", name)

    def attachments(self) -> tuple[Attachment, ...]:
        """Lists everything attached to the app, with plans and config vars."""
        return self._list(Attachment, "apps", self._app, "addon-attachments")

    def places_of(self, addon: AddOn) -> tuple[Place, ...]:
        """Lists all attachments of an add-on, to whatever app."""
        return self._list(Place, "addons", addon.id, "addon-attachments")

    def formation(self) -> tuple[Process, ...]:
        """Process types and their quantities."""
        return self._list(Process, "apps", self._app, "formation")

    def set_maintenance(self, *, on: bool) -> None:
        """Switches maintenance mode; the same request twice does no harm."""
        self._call("PATCH", ("apps", self._app), {"maintenance": on})

    def scale(self, quantities: Mapping[str, int]) -> None:
        """Sets quantities of process types, absolute, so that the same request twice does no harm."""
        updates = [{"type": kind, "quantity": quantity} for kind, quantity in quantities.items()]
        self._call("PATCH", ("apps", self._app, "formation"), {"updates": updates})

    def run(self, command: str, env: Mapping[str, str], *, time_to_live: int) -> Dyno:
        """Starts a one-off dyno, detached; `time_to_live` in seconds."""
        data = {"attach": False, "command": command, "env": dict(env), "time_to_live": time_to_live}
        return decode("POST /apps/…/dynos", self._call("POST", ("apps", self._app, "dynos"), data), Dyno)
