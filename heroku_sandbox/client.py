"""A handle on a sandbox in a process of its own, for tests and for the command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from heroku_sandbox.connection import Connection, Failure
from heroku_sandbox.names import Action, TransferAction, path_of_caller

_MAIN = Path(__file__).with_name("__main__.py")
_START_SECONDS = 90
_POLL_SECONDS = 0.02
_SILENCE_SECONDS = 1.0
"""How long nothing comes of a release under way until all that it has printed is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How a release ended: `succeeded`, `failed`, or `pending` when it was not waited for."""

    id: str
    version: int
    status: str
    description: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app in a sandbox, with its first database."""

    connection: Connection
    id: str
    name: str
    addon_id: str
    addon_name: str

    @property
    def key(self) -> str:
        """The sandbox's API key, for HEROKU_API_KEY."""
        return self.connection.key

    @property
    def database_url(self) -> str:
        """The URL of its first add-on with the default credential, as it is now."""
        addons = self.connection.request("GET", f"/sandbox/apps/{self.id}")["addons"]
        url: str = next(addon["url"] for addon in addons if addon["id"] == self.addon_id)
        return url

    @property
    def config(self) -> dict[str, str]:
        """The config vars of the current release."""
        config: dict[str, str] = self.connection.request("GET", f"/apps/{self.id}/config-vars")
        return config

    def environment(self) -> dict[str, str]:
        """Returns the variables for a hook run by hand: HEROKU_HOST, HEROKU_API_KEY, HEROKU_APP_ID, DATABASE_URL, …."""
        environment: dict[str, str] = self.connection.request("GET", f"/sandbox/apps/{self.id}/environment")
        return environment

    def release(
        self,
        folder: str | os.PathLike[str],
        *,
        commit: str | None = None,
        description: str = "",
        path: str | None = None,
        wait: bool = True,
    ) -> Release:
        """Pushes a folder. `path` is the dynos' PATH; by default this process's Python comes first in it."""
        body = {
            "folder": str(Path(folder).resolve()),
            "commit": commit or secrets.token_hex(20),
            "description": description,
            "path": path or path_of_caller(os.environ),
        }
        return self._ended(self.connection.request("POST", f"/sandbox/apps/{self.id}/deploys", body), wait=wait)

    def set_config(self, changes: Mapping[str, str | None], *, wait: bool = True) -> Release:
        """Changes config vars; None removes one. Returns the release that this made, else the newest."""
        self.connection.request("PATCH", f"/apps/{self.id}/config-vars", dict(changes))
        return self._ended(self.releases()[0], wait=wait)

    def rollback(self, version: int, *, wait: bool = True) -> Release:
        """Goes back to an older release."""
        answer = self.connection.request("POST", f"/apps/{self.id}/releases", {"release": str(version)})
        return self._ended(answer, wait=wait)

    def promote(self, addon: str, *, wait: bool = True) -> list[Release]:
        """Makes another add-on DATABASE. Returns its two releases, Detach and Attach."""
        before = self.releases()[0]["version"]
        body = {"addon": {"name": addon}, "app": {"name": self.id}, "name": "DATABASE", "confirm": self.name}
        self.connection.request("POST", "/addon-attachments", body)
        made = [release for release in self.releases() if release["version"] > before]
        return [self._ended(release, wait=wait) for release in reversed(made)]

    def releases(self) -> list[dict[str, Any]]:
        """Returns the newest releases (up to 1000), newest first, as the Platform API shows them."""
        headers = {"Range": "version ..; max=1000, order=desc"}
        releases: list[dict[str, Any]] = self.connection.request("GET", f"/apps/{self.id}/releases", headers=headers)
        return releases

    def _ended(self, release: dict[str, Any], *, wait: bool) -> Release:
        return self.wait(release["version"]) if wait else self.get_release(release["version"])

    def get_release(self, version: int) -> Release:
        """Returns a release as it is now, once it has ended with what its phase has printed."""
        answer = self.connection.request("GET", f"/apps/{self.id}/releases/{version}")
        output = b""
        if answer["status"] != "pending":
            output = b"".join(self.connection.stream(f"/streams/{answer['id']}"))
        return Release(
            id=answer["id"],
            version=answer["version"],
            status=answer["status"],
            description=answer["description"],
            output=output.decode(errors="replace"),
        )

    def output(self, release: Release) -> Iterator[bytes]:
        """Yields what a release's phase prints, as it comes, to its end."""
        shown = False
        while not shown:  # its stream is there once the command has started
            for piece in self.connection.stream(f"/streams/{release.id}"):
                shown = True
                yield piece
            if self.get_release(release.version).status != "pending":
                return
            time.sleep(_POLL_SECONDS)

    def printed(self, release: Release) -> Iterator[bytes]:
        """Yields what a release's phase has printed by now, whether it has ended or not."""
        return self.connection.stream(f"/streams/{release.id}", patience=_SILENCE_SECONDS)

    def log(self, *, tail: bool = False) -> Iterator[bytes]:
        """Yields the newest 1,500 lines of the app's log, and with `tail` those that follow, without an end."""
        body = {"lines": 1500, "tail": tail}
        session = self.connection.request("POST", f"/apps/{self.name}/log-sessions", body)
        return self.connection.stream(f"/logs/{session['id']}")

    def wait(self, version: int, seconds: float = 600) -> Release:
        """Waits until a release has ended. Raises Failure if it has not after `seconds`."""
        deadline = time.monotonic() + seconds
        while (release := self.get_release(version)).status == "pending":
            if time.monotonic() > deadline:
                raise Failure(f"v{version} of {self.name} is still pending after {seconds} s")
            time.sleep(_POLL_SECONDS)
        return release

    def add_database(self, **fields: Any) -> dict[str, Any]:
        """Adds a database: plan, name, attachment, fork, follow, num_keep. Returns its id, name, url, attached_as."""
        addon: dict[str, Any] = self.connection.request("POST", f"/sandbox/apps/{self.id}/addons", fields)
        return addon

    def add_credential(self, name: str) -> dict[str, str]:
        """Adds a login to the first database. Returns its `user` and `password`."""
        path = f"/postgres/v0/databases/{self.addon_id}/credentials"
        self.connection.request("POST", path, {"name": name})
        login: dict[str, str] = self.connection.request("GET", f"{path}/{name}")["credentials"][0]
        return login

    def transfers(self) -> list[dict[str, Any]]:
        """Returns the backups, restores and copies in the order of their numbers."""
        transfers = self.connection.request("GET", f"/client/v11/apps/{self.id}/transfers")
        return sorted(transfers, key=lambda transfer: int(transfer["num"]))

    def scheduled_backup(self) -> dict[str, Any]:
        """Starts the backup that a schedule would, without waiting for the hour. Returns the transfer."""
        transfer: dict[str, Any] = self.connection.request("POST", f"/sandbox/addons/{self.addon_id}/scheduled-backup")
        return transfer

    def dynos(self) -> list[dict[str, Any]]:
        """Returns all dynos that ran as processes, ended ones too, with `pid`, exit `code` and `output`."""
        dynos: list[dict[str, Any]] = self.connection.request("GET", f"/sandbox/apps/{self.id}/dynos")
        return dynos

    def signal(self, dyno: str, number: int) -> None:
        """Sends a signal to all processes of a dyno, which is named as `release.1234` or by its type."""
        self.connection.request("POST", f"/sandbox/apps/{self.id}/dynos/{dyno}/signal", {"signal": int(number)})

    def maintenance(self) -> bool:
        """Tells whether maintenance mode is on."""
        return bool(self.connection.request("GET", f"/apps/{self.id}")["maintenance"])

    def scale(self, **quantities: int) -> None:
        """Sets the formation: `scale(web=2, worker=1)`."""
        updates = [{"type": name, "quantity": quantity} for name, quantity in quantities.items()]
        self.connection.request("PATCH", f"/apps/{self.id}/formation", {"updates": updates})

    def formation(self) -> dict[str, int]:
        """Returns how many dynos there are of each process type."""
        return {
            process["type"]: process["quantity"]
            for process in self.connection.request("GET", f"/apps/{self.id}/formation")
        }


class Sandbox:
    """A sandbox in a child process.

    Without `home` it is temporary: everything goes with it. `postgres` is a superuser's URL of a server to use
    instead of an embedded one. `options` are the fields of options.Options; other than there, the rate limit is
    out of reach by default.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        postgres: str | None = None,
        port: int = 0,
        **options: Any,
    ) -> None:
        self.temporary = home is None
        self.home = Path(home).resolve() if home else Path(tempfile.mkdtemp(prefix="sandbox-"))
        self._command = [sys.executable, "-I", str(_MAIN), "serve", "--home", str(self.home), "--port", str(port)]
        self._command += ["--options", json.dumps({"rate_limit": 1_000_000, **options}), "--attached"]
        self._command += ["--temporary"] if self.temporary else []
        self._environment = {"PATH": os.environ.get("PATH", os.defpath)}
        if postgres:
            self._environment["RELEASE_SANDBOX_POSTGRES"] = postgres
        self._process: subprocess.Popen[bytes] | None = None
        self._status: dict[str, Any] = {}
        self.connection = Connection(0, "", "")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it. Returns when requests are answered; raises Failure when it does not come up."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment
        )
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            self.stop()
            raise Failure("The sandbox did not start. It has said why on stderr.")
        self.connection = Connection.to(self.home)
        self._status = self.connection.request("GET", "/sandbox")

    def stop(self) -> None:
        """Stops it. All that a temporary one held is deleted."""
        process = self._process
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        process.wait(_START_SECONDS)
        self._process = None

    def kill(self) -> None:
        """Ends it with SIGKILL, as a crash would; its PostgreSQL goes with it. start() brings it back."""
        if self._process:
            self._process.kill()
        self.stop()

    @property
    def url(self) -> str:
        """The address of both APIs, as in HEROKU_HOST."""
        return f"http://127.0.0.1:{self.connection.port}"

    @property
    def key(self) -> str:
        """Its API key, to which everything is open."""
        return self.connection.key

    @property
    def ca(self) -> Path:
        """The certificate that the downloads' https has to be checked with."""
        return self.home / "ca.pem"

    def superuser_url(self, app: App | None = None) -> str:
        """Returns the URL of PostgreSQL's superuser, for an app's database or for the maintenance database."""
        url: str = self._status["superuser_url"]
        return url if app is None else url.rpartition("/")[0] + "/" + app.database_url.rpartition("/")[2]

    def create_app(
        self,
        name: str,
        *,
        plan: str = "standard-0",
        num_keep: int | None = None,
        config: Mapping[str, str] | None = None,
        space: str | None = None,
        stack: str | None = None,
    ) -> App:
        """Creates an app with a database attached as DATABASE; `plan="none"` leaves the database out.

        `space` names a Private Space for it. `stack="cnb"` makes it one of the Fir generation.
        """
        body: dict[str, Any] = {"name": name, "plan": plan, "num_keep": num_keep, "config": dict(config or {})}
        body |= {"space": space, "stack": stack}
        self.connection.request("POST", "/sandbox/apps", body)
        return self.app(name)

    def app(self, name: str) -> App:
        """Returns an app by name or id. Raises Failure when there is none."""
        answer = self.connection.request("GET", f"/sandbox/apps/{name}")
        first = next(iter(answer["addons"]), {"id": "", "name": ""})
        return App(
            connection=self.connection,
            id=answer["id"],
            name=answer["name"],
            addon_id=first["id"],
            addon_name=first["name"],
        )

    def fault(self, action: Action, path: str = "^", **fields: Any) -> int:
        """Puts a fault of HTTP in place and returns its id. The fields are those of faults.Rule."""
        answer = self.connection.request("POST", "/sandbox/faults", {"action": action, "path": path, **fields})
        return int(answer["id"])

    def transfer_fault(self, kind: str, action: TransferAction, **fields: Any) -> int:
        """Puts a fault of backups or restores (`kind`) in place and returns its id; fields as in TransferFault."""
        answer = self.connection.request("POST", "/sandbox/faults", {"kind": kind, "action": action, **fields})
        return int(answer["id"])

    def fired(self) -> list[dict[str, Any]]:
        """Returns which faults have fired: `id`, `action`, `subject` (the request or the kind), `seen`, `at`."""
        log: list[dict[str, Any]] = self.connection.request("GET", "/sandbox/faults")["log"]
        return log

    def clear_faults(self) -> None:
        """Takes all faults away and forgets which have fired."""
        self.connection.request("DELETE", "/sandbox/faults")

    def requests(self) -> list[dict[str, Any]]:
        """Returns all requests to the APIs so far.

        `method`, `path`, `route`, `status` as the client saw it (0: not at all), `effects` (how often the sandbox
        accepted it), `at` (Unix time), `keyed` (whether a key came with it).
        """
        requests: list[dict[str, Any]] = self.connection.request("GET", "/sandbox/requests")
        return requests

    def forget_requests(self) -> None:
        """Forgets the requests so far: count() counts from here."""
        self.connection.request("DELETE", "/sandbox/requests")

    def count(self, method: str | None = None, path: str = "^", *, accepted: bool = False) -> int:
        """Counts the requests so far; `path` as in faults.Rule. `accepted` counts their effects, answered or not."""
        pattern = path if path.startswith("^") else re.sub(r":\w+", "[^/]+", path) + "$"
        return sum(
            request["effects"] if accepted else 1
            for request in self.requests()
            if method in (None, request["method"]) and re.match(pattern, request["path"])
        )

    def connect(self, pipeline: str, folder: str | os.PathLike[str], *, path: str | None = None) -> None:
        """Lets a folder stand for a pipeline's repository, from which review apps are made; `path` as in release()."""
        body = {"folder": str(Path(folder).resolve()), "path": path or path_of_caller(os.environ)}
        self.connection.request("PUT", f"/sandbox/pipelines/{pipeline}/repository", body)

    def set_options(self, **options: Any) -> None:
        """Changes fields of options.Options while it runs."""
        self.connection.request("PATCH", "/sandbox/options", options)

    def set_key(self, key: str, scopes: list[str] | None) -> None:
        """Allows an API key with OAuth scopes (`global`, `read`, `write-protected`, …); None revokes it."""
        self.connection.request("PUT", f"/sandbox/keys/{key}", {"scopes": scopes})


@contextlib.contextmanager
def shared_postgres() -> Iterator[str]:
    """Runs a PostgreSQL for several sandboxes and yields its superuser's URL. To be entered from the main thread."""
    from heroku_sandbox import certificates, postgres  # noqa: PLC0415 -- a handle needs neither

    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        certificate = certificates.issue(Path(folder))
        embedded = postgres.Embedded(Path(folder), certificate=certificate.chain, key=certificate.key)
        try:
            yield embedded.start().superuser_url
        finally:
            embedded.stop(hard=True)
            embedded.remove()
