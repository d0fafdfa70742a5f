"""The sandbox's process: PostgreSQL below, the APIs and the downloads above, until somebody stops it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from heroku_sandbox import (
    absent,
    access,
    certificates,
    databases,
    downloads,
    home,
    inventory,
    lookup,
    review_apps,
    wire,
)
from heroku_sandbox.account_api import access as access_routes
from heroku_sandbox.account_api import features, keys
from heroku_sandbox.addons_api import addons, attachments
from heroku_sandbox.connection import CONTROL_FILE
from heroku_sandbox.control import control
from heroku_sandbox.data_api import credential_routes, database_routes, schedule_routes, transfer_routes
from heroku_sandbox.dynos_api import dynos, formations, logs, restarts
from heroku_sandbox.extras_api import configuration, linked, pools
from heroku_sandbox.lookup import ApiError
from heroku_sandbox.maintenance_api import maintenance, upgrades
from heroku_sandbox.options import Options
from heroku_sandbox.pipelines_api import couplings, pipelines, promotions
from heroku_sandbox.platform_api import apps, releases
from heroku_sandbox.postgres import Embedded, Server, server_at
from heroku_sandbox.programs import Unusable
from heroku_sandbox.review_apps_api import repositories, review_app_routes
from heroku_sandbox.state import new_id
from heroku_sandbox.statistics_api import reports, statistics
from heroku_sandbox.unprivileged import NotOurs
from heroku_sandbox.web import Listener
from heroku_sandbox.world import World

_OPEN = ("/streams/", "/logs/", "/sandbox")  # no API key: streams have none on Heroku either, the control has its token


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How to run a sandbox. All that a `temporary` one made is deleted at the end, also in a named PostgreSQL."""

    home: Path
    port: int
    options: Options
    postgres: str | None = None
    temporary: bool = False
    watch_stdin: bool = False
    """Whether it ends when stdin does, since whoever started the sandbox has then gone."""


def serve(setup: Setup, ready: Callable[[dict[str, Any]], None]) -> None:
    """Runs a sandbox in this process until SIGTERM, SIGINT or, with `watch_stdin`, the end of stdin.

    `ready` is called with the content of `control.json` (port, token, pid) once requests are answered.
    """
    try:
        home.close(setup.home)
    except home.NotOurs as error:
        raise SystemExit(str(error)) from None
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    certificate = certificates.issue(setup.home)
    with ExitStack() as stack:
        if setup.temporary:
            stack.callback(shutil.rmtree, setup.home, ignore_errors=True)
        _lock(setup.home, stack)
        stack.callback((setup.home / CONTROL_FILE).unlink, missing_ok=True)  # at the very end: `down` waits for it
        named = setup.postgres or ""
        foreign = "://" in named  # else it is a folder of programs, if anything
        server = server_at(named) if foreign else _embedded(setup, certificate, stack)
        world = World(setup.home, home.make_key(setup.home), server, setup.options)
        stack.callback(_leave, world, setup)
        review_apps.recover(world)
        token = secrets.token_hex(16)
        flask = _application(world)
        flask.register_blueprint(control(world, token))
        api = Listener(_port(setup), flask, gate=world.gate)
        store = Listener(0, downloads.application(world), gate=world.gate, tls=certificate.context())
        world.listen(f"http://127.0.0.1:{api.port}", f"https://127.0.0.1:{store.port}")
        world.addresses.rendezvous = world.rendezvous.listen(certificate.context())
        api.start()
        store.start()
        about = {"port": api.port, "token": token, "pid": os.getpid()}
        _write_control(setup.home, about)
        world.manager.fit_all()
        ready(about)
        if setup.watch_stdin:
            threading.Thread(target=_await_end_of_stdin, args=(ended,), daemon=True).start()
        ended.wait()


def _lock(folder: Path, stack: ExitStack) -> None:
    """Makes sure that no other sandbox works in this home. The kernel gives the lock back, whatever happens."""
    file = stack.enter_context((folder / home.LOCK).open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit(
            f"Another sandbox is up in {folder}. Stop it, or name another folder in RELEASE_SANDBOX_HOME."
        ) from None


def _port(setup: Setup) -> int:
    """Returns the port that was asked for; else last time's, if it is still free; else 0 for any."""
    remembered = setup.home / "port"
    if setup.port == 0 and remembered.exists():
        port = int(remembered.read_text())
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    return setup.port


def _await_end_of_stdin(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


def _embedded(setup: Setup, certificate: certificates.Certificate, stack: ExitStack) -> Server:
    try:
        embedded = Embedded(setup.home, certificate=certificate.chain, key=certificate.key, programs=setup.postgres)
    except (Unusable, NotOurs) as error:
        raise SystemExit(str(error)) from None
    if setup.temporary:
        stack.callback(embedded.remove)
    stack.callback(embedded.stop, hard=setup.temporary)
    return embedded.start()


def _leave(world: World, setup: Setup) -> None:
    """Closes the world, and removes what a temporary sandbox has put into a named PostgreSQL."""
    world.close()
    if setup.temporary and not world.server.own:
        for addon in world.store.state.addons.values():
            databases.drop(world.server, addon)
        with world.server.maintenance() as session:
            inventory.drop_admin(session)
    world.server.close()


def _write_control(folder: Path, about: dict[str, Any]) -> None:
    """Writes `control.json`, which only the owner can read, and the port for the next time."""
    file = folder / CONTROL_FILE
    (folder / "port").write_text(str(about["port"]))
    with suppress(FileNotFoundError):
        file.unlink()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(about, out)


def _application(world: World) -> Flask:  # noqa: C901 -- a list of handlers, not a branching function
    """Makes both APIs' Flask app with what they have in common: keys, the rate limit, errors, `Request-Id`."""
    flask = Flask(__name__)
    flask.json.sort_keys = False  # type: ignore[attr-defined]
    flask.json.compact = True  # type: ignore[attr-defined]
    flask.url_map.strict_slashes = False
    limit = access.RateLimit()

    @flask.before_request
    def authenticate() -> None:
        g.exchange = request.environ["release.exchange"]
        g.exchange.route = request.url_rule.rule if request.url_rule else ""
        if request.path.startswith(_OPEN):
            return
        g.exchange.late = world.options.answer_seconds
        headers = g.exchange.headers
        key = access.authenticated_key(world.store.state, headers, request.method, request.path)
        if not request.path.startswith(access.DATA_API):  # whose limits, and headers, are not known
            g.scopes = " ".join(world.store.state.keys[key])
            count = limit.remaining if request.path == "/account/rate-limits" else limit.take
            g.remaining = count(key, world.options.rate_limit)

    @flask.get("/account/rate-limits")
    def rate_limits() -> Any:
        return {"remaining": g.remaining}

    @flask.after_request
    def complete(response: Response) -> Response:
        response.headers["Request-Id"] = new_id()
        if "remaining" in g:
            response.headers.setdefault("RateLimit-Remaining", str(g.remaining))
            response.headers.setdefault("Oauth-Scope", g.scopes)
        return response

    @flask.errorhandler(ApiError)
    def refuse(error: ApiError) -> Any:
        if error.status == HTTPStatus.NOT_FOUND and request.path.startswith(access.DATA_API):
            return wire.not_found(error, world.options.variants)
        body = error.body()
        if request.path.startswith("/postgres/"):
            body = {"message": error.message}
        return body, error.status, error.headers

    @flask.errorhandler(msgspec.ValidationError)
    def mistyped(error: msgspec.ValidationError) -> Any:
        return {"id": "bad_request", "message": str(error)}, 400

    @flask.errorhandler(HTTPException)
    def unknown(error: HTTPException) -> Any:
        message = "The requested API endpoint was not found. Are you using the right HTTP verb (i.e. `GET` vs. "
        message += "`POST`), and did you specify your intended version with the `Accept` header?"
        if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            if sentence := absent.sentence(request.method, request.path):
                return refuse(lookup.invalid(sentence))
            if request.path.startswith(access.DATA_API):
                return refuse(lookup.invalid(f"This sandbox does not do {request.method} {request.path}."))
            return refuse(ApiError(HTTPStatus.NOT_FOUND, "not_found", message))
        return {"id": "server_error", "message": str(error)}, error.code or HTTPStatus.INTERNAL_SERVER_ERROR

    for blueprint in (
        apps(world),
        formations(world),
        dynos(world),
        restarts(world),
        logs(world),
        releases(world),
        addons(world),
        attachments(world),
        pipelines(world),
        couplings(world),
        promotions(world),
        repositories(world),
        review_app_routes(world),
        keys(world),
        access_routes(world),
        features(world),
        database_routes(world),
        schedule_routes(world),
        transfer_routes(world),
        credential_routes(world),
        configuration(world),
        pools(world),
        linked(world),
        statistics(world),
        reports(world),
        upgrades(world),
        maintenance(world),
    ):
        flask.register_blueprint(blueprint)
    return flask
