"""The dyno manager: as many processes of each type run as the formation says, where the option `run_dynos` is on.

It follows Heroku's: a release restarts all of them, a dyno that ends by itself is started again once, and stays
`crashed` after that until somebody restarts it or releases; a dyno lives for a day at most. `web.1` listens on a port
that its app keeps; there is no router in front of it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from heroku_sandbox.dynos import Dyno, Dynos
from heroku_sandbox.options import Options
from heroku_sandbox.releases import Releases
from heroku_sandbox.state import App, Store

_DAY = 86_400.0
_TRIES = 2


@dataclass(slots=True)
class _Place:
    """Where a dyno of the formation runs, or has run last."""

    dyno: Dyno
    starts: int = 1
    """How often it was started since somebody asked for that."""


class Manager:
    """The processes of all formations."""

    def __init__(self, store: Store, dynos: Dynos, releases: Releases, *, options: Callable[[], Options]) -> None:
        self._store = store
        self._dynos = dynos
        self._releases = releases
        self._options = options
        self._places: dict[tuple[str, str], _Place] = {}

    def of(self, app: App, name: str) -> Dyno | None:
        """Returns the process of a dyno of the formation, running or crashed, if there is one."""
        place = self._places.get((app.id, name))
        return place.dyno if place else None

    def fit_all(self) -> None:
        """Starts what all apps need, after the sandbox's start or a change of its options."""
        for app in list(self._store.state.apps.values()):
            if not self._options().run_dynos:
                app.port = None
            self.fit(app)

    def fit(self, app: App) -> None:
        """Starts what an app's formation asks for, and stops what it does not, and what is of an older release."""
        if not self._options().run_dynos and not any(app_id == app.id for app_id, _ in list(self._places)):
            return  # nothing to change, and so nothing to save
        with self._store.change():
            wanted, current = self._wanted(app), app.current
            for (app_id, name), place in list(self._places.items()):
                if app_id == app.id and name not in wanted:
                    self._dynos.stop(place.dyno)
                    del self._places[app_id, name]
            for name in wanted:
                present = self.of(app, name)
                if present is None or (present.ended.is_set() and current and present.release_id != current.id):
                    self._start(app, name)
                elif current and present.release_id != current.id:
                    self._dynos.stop(present)  # and when it has ended, the next is started

    def restart(self, app: App, names: list[str]) -> None:
        """Restarts some dynos of the formation."""
        with self._store.change():
            for name in names:
                present = self.of(app, name)
                if present and present.ended.is_set():
                    self._start(app, name)
                elif present:
                    self._dynos.stop(present)

    def _wanted(self, app: App) -> dict[str, str]:
        """Returns the names of the dynos that have to run, with their process types."""
        current = app.current
        if not self._options().run_dynos or app.id not in self._store.state.apps or current is None:
            return {}
        if current.slug_id not in self._store.state.slugs:
            return {}
        return {
            f"{type_}.{number}": type_
            for type_, of in app.formation.items()
            if type_ != "release"
            for number in range(1, of.quantity + 1)
        }

    def _start(self, app: App, name: str, starts: int = 1) -> None:
        """Starts a dyno of the current release. Does nothing while the sandbox is stopping."""
        current = app.current
        slug = self._store.state.slugs.get((current.slug_id if current else None) or "")
        type_ = name.partition(".")[0]
        if current is None or slug is None or type_ not in slug.process_types:
            return
        size = app.formation[type_].size
        dyno = self._releases.dyno(app, current, type_=type_, command=slug.process_types[type_], size=size)
        dyno.name, dyno.managed = name, True
        environment = self._releases.environment(app, current, dyno)
        if type_ == "web":
            environment["PORT"] = str(self._port(app, name))
        self._places[app.id, name] = _Place(dyno, starts)
        with contextlib.suppress(RuntimeError):
            self._dynos.start(
                dyno,
                folder=self._releases.folder(slug),
                environment=environment,
                limit=_DAY,
                ended=lambda dyno: self._ended(app, dyno),
            )

    def _ended(self, app: App, dyno: Dyno) -> None:
        """Starts a dyno again: after a stop always, after a crash once."""
        with self._store.change():
            place = self._places.get((app.id, dyno.name))
            if place is None or place.dyno is not dyno:
                return
            if dyno.name not in self._wanted(app):
                del self._places[app.id, dyno.name]
            elif dyno.stopped:
                self._start(app, dyno.name)
            elif place.starts < _TRIES:
                self._start(app, dyno.name, place.starts + 1)

    def _port(self, app: App, name: str) -> int:
        """Returns the app's own port for web.1, which it keeps while it can, and any free one for the others."""
        if name != "web.1":
            return _free()
        if app.port is None or not _is_free(app.port):
            app.port = _free()
        return app.port


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
