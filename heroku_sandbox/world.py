"""All parts of one sandbox, put together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heroku_sandbox import door, lookup, shapes, wire
from heroku_sandbox.addons import Addons
from heroku_sandbox.dynos import Dynos
from heroku_sandbox.faults import Faults
from heroku_sandbox.logplex import Logs
from heroku_sandbox.manager import Manager
from heroku_sandbox.options import Options
from heroku_sandbox.pooling import POOLED, Pooler
from heroku_sandbox.postgres import Server
from heroku_sandbox.releases import Releases
from heroku_sandbox.rendezvous import Rendezvous
from heroku_sandbox.state import Store, Transfer
from heroku_sandbox.transfers import Transfers
from heroku_sandbox.web import Answer, Exchange

_REMEMBERED = 100_000
_FORMER_KEY = "sandbox"  # the key of homes made before each had its own: everybody knows it


@dataclass(slots=True, kw_only=True)
class Addresses:
    """Where the sandbox listens, without a slash at the end: both APIs (http), downloads (https), attached dynos."""

    api: str = ""
    downloads: str = ""
    rendezvous: str = ""

    @property
    def store(self) -> str:
        """The address below which the backups are."""
        return f"{self.downloads}/backups"


@dataclass(slots=True)
class World:
    """One sandbox with all its parts."""

    home: Path
    key: str
    """The API key that the home holds: everything is open to it."""
    server: Server
    options: Options
    addresses: Addresses = field(default_factory=Addresses)
    faults: Faults = field(default_factory=Faults)
    requests: deque[Exchange] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    """The requests so far, without those to the control."""
    store: Store = field(init=False)
    logs: Logs = field(default_factory=Logs)
    dynos: Dynos = field(init=False)
    rendezvous: Rendezvous = field(init=False)
    releases: Releases = field(init=False)
    manager: Manager = field(init=False)
    addons: Addons = field(init=False)
    transfers: Transfers = field(init=False)

    def __post_init__(self) -> None:
        """Builds the parts, and closes what a sandbox that was killed has left open."""
        self.store = Store(self.home)
        self.dynos = Dynos(grace=lambda: self.options.grace, logs=self.logs)
        self.rendezvous = Rendezvous(self.dynos, patience=lambda: self.options.attach_seconds)
        self.releases = Releases(self.store, self.dynos, logs=self.logs, options=lambda: self.options)
        self.manager = Manager(self.store, self.dynos, self.releases, options=lambda: self.options)
        self.releases.changed = self.manager.fit
        pooler = Pooler(self.home, self.server)
        self.addons = Addons(store=self.store, server=self.server, releases=self.releases, pooler=pooler)
        self.transfers = Transfers(self.store, self.server, self.addons, self.faults, options=lambda: self.options)
        self.releases.recover()
        self.transfers.recover()
        self._renew_key()
        self._renew_urls()

    def _renew_key(self) -> None:
        """Opens the sandbox to the home's own key, also in releases that hold the key of former times."""
        with self.store.change() as state:
            state.keys.pop(_FORMER_KEY, None)
            state.keys[self.key] = ["global"]
            for release in (release for app in state.apps.values() for release in app.releases):
                if release.config and release.config.get("HEROKU_API_KEY") == _FORMER_KEY:
                    release.config["HEROKU_API_KEY"] = self.key

    def _renew_urls(self) -> None:
        """Puts today's URLs into the releases: PostgreSQL may listen on another port than last time."""
        with self.store.change() as state:
            self.addons.pool()
            for attachment in state.attachments.values():
                if attachment.namespace == POOLED and not self.addons.pooler.installed:
                    continue
                url = self.addons.url(state.addons[attachment.addon_id], attachment.namespace)
                for release in state.apps[attachment.app_id].releases:
                    if release.config and attachment.variable in release.config:
                        release.config[attachment.variable] = url

    def listen(self, api: str, downloads: str) -> None:
        """Notes where the sandbox can be reached. Heroku's clients take scheme and port from HEROKU_HOST."""
        self.addresses.api, self.addresses.downloads = api, downloads
        self.releases.hosts = {"HEROKU_HOST": api, "HEROKU_DATA_HOST": "127.0.0.1"}

    def gate(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        """Answers a request if it may come in at all: as the faults say, unless it is one to the control."""
        if refusal := door.refusal(exchange):
            exchange.send(refusal)
        elif exchange.path.startswith("/sandbox"):
            exchange.send(answer())
        else:
            self.requests.append(exchange)
            self.faults.gate(exchange, answer)

    def close(self) -> None:
        """Stops all dynos and transfers, and the pool."""
        self.rendezvous.close()
        self.dynos.close()
        self.transfers.close()
        self.addons.pooler.stop()

    def shape(self, of: Transfer, *, verbose: bool = False) -> dict[str, Any]:
        """Shows a transfer as the Data API does, with its log if `verbose`."""
        logs = self.transfers.logs(of) if verbose else None
        return wire.transfer(shapes.transfer(of, self.addresses.store, logs), of, self.options.variants)

    def commands(self, app_id: str) -> dict[str, str]:
        """Returns the process types of an app's running code with their commands."""
        current = self.store.state.apps[app_id].current
        slug = self.store.state.slugs.get((current.slug_id if current else None) or "")
        return slug.process_types if slug else {}

    def environment(self, app_name: str) -> dict[str, str]:
        """Returns the variables with which the hook and Heroku's CLI speak to the sandbox about an app."""
        app = lookup.app(self.store.state, app_name)
        authority = str(self.home / "ca.pem")
        return {
            **self.releases.hosts,
            "HEROKU_PARTICLEBOARD_URL": self.addresses.api,
            "PGDIAGNOSE_URL": "127.0.0.1",
            "HEROKU_API_KEY": self.key,
            "HEROKU_APP": app.name,
            "HEROKU_APP_NAME": app.name,
            "HEROKU_APP_ID": app.id,
            "NODE_EXTRA_CA_CERTS": authority,
            "RELEASE_SANDBOX_CA": authority,
            **{name: value for name, value in app.config.items() if name.endswith("_URL")},
        }
