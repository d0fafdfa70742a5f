"""The Platform API: formations, dynos, and the sessions in which an app's log is read."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from heroku_sandbox import lookup, shapes, terminal
from heroku_sandbox.dynos import Dyno
from heroku_sandbox.logplex import Line
from heroku_sandbox.platform_api import fields
from heroku_sandbox.state import App, Formation, now
from heroku_sandbox.terminal import Ends
from heroku_sandbox.world import World

_SIZES = (
    "Eco Basic Standard-1X Standard-2X Performance-M Performance-L Performance-L-RAM Performance-XL Performance-2XL"
    " Private-S Private-M Private-L Private-L-RAM Private-XL Private-2XL"
)
_SIZE = {name.lower(): name for name in _SIZES.split()}
_DAY = 86_400


def size(asked: Any) -> str:
    """Returns a dyno size as Heroku writes it. Raises ApiError (422) for one that Heroku does not have."""
    name = str(asked.get("name") if isinstance(asked, dict) else asked)
    if name.lower() not in _SIZE:
        raise lookup.invalid(f"There is no dyno size {name}. The sizes are {', '.join(_SIZE)}.")
    return _SIZE[name.lower()]


def formations(world: World) -> Blueprint:
    """Makes the routes of formations."""
    blueprint = Blueprint("formations", __name__)
    state = world.store.state

    def shape(app: App, type_: str) -> dict[str, Any]:
        return shapes.formation(app, type_, app.formation[type_], world.commands(app.id).get(type_, ""))

    def scale(app: App, type_: str, update: dict[str, Any]) -> dict[str, Any]:
        if type_ not in app.formation:
            raise lookup.not_found("formation", f"process type ({type_})")
        of: Formation = app.formation[type_]
        fresh = size(update.get("dyno_size") or update.get("size") or of.size)
        if "quantity" in update:
            asked = str(update["quantity"])  # Heroku's CLI sends "2" and "+1"
            try:
                number = int(asked)
            except ValueError:
                raise lookup.invalid("Invalid quantity.") from None
            of.quantity = max(0, of.quantity + number if asked[:1] in "+-" else number)
        of.size = fresh
        of.updated_at = now()
        return shape(app, type_)

    @blueprint.get("/apps/<app>/formation")
    def get_formation(app: str) -> Any:
        record = lookup.app(state, app)
        return [shape(record, type_) for type_ in sorted(record.formation)]

    @blueprint.get("/apps/<app>/formation/<type_>")
    def get_one(app: str, type_: str) -> Any:
        return scale(lookup.app(state, app), type_, {})

    @blueprint.patch("/apps/<app>/formation")
    def update_formation(app: str) -> Any:
        with world.store.change():
            record = lookup.app(state, app)
            rows = [scale(record, str(update.get("type")), update) for update in fields().get("updates", [])]
            world.manager.fit(record)
            return rows

    @blueprint.patch("/apps/<app>/formation/<type_>")
    def update_one(app: str, type_: str) -> Any:
        with world.store.change():
            row = scale(record := lookup.app(state, app), type_, fields())
            world.manager.fit(record)
            return row

    return blueprint


def _said(world: World, app: App) -> list[dict[str, Any]]:
    """Shows the dynos of the formation: as processes where they run as such, else as if they did."""
    rows = shapes.formation_dynos(app, world.commands(app.id))
    processes = [world.manager.of(app, row["name"]) for row in rows]
    return [shapes.dyno(app, dyno) if dyno else row for row, dyno in zip(rows, processes, strict=True)]


def dynos(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes that show dynos and start one-off ones."""
    blueprint = Blueprint("dynos", __name__)
    state = world.store.state

    @blueprint.get("/apps/<app>/dynos")
    def get_dynos(app: str) -> Any:
        record = lookup.app(state, app)
        return _said(world, record) + [
            shapes.dyno(record, dyno) for dyno in world.dynos.of(record.id) if not dyno.managed
        ]

    @blueprint.get("/apps/<app>/dynos/<name>")
    def get_dyno(app: str, name: str) -> Any:
        for dyno in get_dynos(app):
            if name in (dyno["id"], dyno["name"]):
                return dyno
        raise lookup.not_found("dyno")

    @blueprint.post("/apps/<app>/dynos")
    def create_dyno(app: str) -> Any:
        record, body = lookup.app(state, app), fields()
        if not isinstance(body.get("command"), str):
            raise lookup.invalid("Require params: command.")
        extra = {str(name): str(value) for name, value in (body.get("env") or {}).items()}
        dyno, start = world.releases.run(
            record,
            body["command"],
            type_=body.get("type") or "run",
            size=size(body.get("size") or "Standard-1X"),
            extra=extra,
            limit=float(body.get("time_to_live") or _DAY),
        )
        if not body.get("attach"):
            start(None)
            return shapes.dyno(record, dyno), HTTPStatus.CREATED

        def begin() -> Ends:
            ends = terminal.pipes() if body.get("force_no_tty") else terminal.terminal(extra)
            try:
                start(ends)
            except BaseException:
                ends.close()
                raise
            finally:
                ends.close_inner()
            return ends

        path = world.rendezvous.invite(dyno, begin)
        url = f"{world.addresses.rendezvous}/{path}"
        return shapes.dyno(record, dyno) | {"attach_url": url}, HTTPStatus.CREATED

    @blueprint.post("/apps/<app>/dynos/<name>")
    def run_inside(app: str, name: str) -> Any:
        get_dyno(app, name)
        raise lookup.invalid("The sandbox runs no command inside of a running dyno. Use a one-off dyno: heroku run.")

    return blueprint


def restarts(world: World) -> Blueprint:
    """Makes the routes that restart or stop dynos."""
    blueprint = Blueprint("restarts", __name__)
    state = world.store.state

    def named(app: App, name: str) -> list[str]:
        """Names the formation's dynos that are meant by a dyno's name or id or by a process type."""
        return [dyno["name"] for dyno in _said(world, app) if name in (dyno["name"], dyno["id"], dyno["type"])]

    def running(app: App, name: str) -> list[Dyno]:
        one_offs = [dyno for dyno in world.dynos.of(app.id) if not dyno.managed]
        return [dyno for dyno in one_offs if name in (dyno.name, dyno.id, dyno.type)]

    def restart(app: App, names: list[str]) -> None:
        with world.store.change():
            for name in names:
                app.restarts[name] = now()
                world.logs.write(app.id, "heroku", name, "Restarting")
            world.manager.restart(app, names)

    # Heroku's dyno manager starts those of the formation again also when they were only to be stopped.
    @blueprint.delete("/apps/<app>/dynos/<name>")
    @blueprint.post("/apps/<app>/dynos/<name>/actions/stop")
    @blueprint.delete("/apps/<app>/formations/<name>")
    @blueprint.post("/apps/<app>/formations/<name>/actions/stop")
    def stop(app: str, name: str) -> Any:
        record = lookup.app(state, app)
        names, processes = named(record, name), running(record, name)
        if not names and not processes and name not in record.formation:
            raise lookup.not_found("dyno")
        restart(record, names)
        for dyno in processes:
            world.dynos.stop(dyno)
        return {}, HTTPStatus.ACCEPTED

    @blueprint.delete("/apps/<app>/dynos")
    def restart_all(app: str) -> Any:
        record = lookup.app(state, app)
        restart(record, [dyno["name"] for dyno in _said(world, record)])
        return {}, HTTPStatus.ACCEPTED

    return blueprint


def logs(world: World) -> Blueprint:
    """Makes the routes of log sessions and of what they stream, which needs no key but its own address."""
    blueprint = Blueprint("logs", __name__)

    @blueprint.post("/apps/<app>/log-sessions")
    def create(app: str) -> Any:
        record, body = lookup.app(world.store.state, app), fields()
        session = world.logs.open(
            record.id,
            lines=int(body.get("lines") or 100),
            dyno=body.get("dyno") or body.get("type"),
            source=body.get("source"),
            tail=bool(body.get("tail")),
        )
        moment = shapes.iso(now())
        url = f"{world.addresses.api}/logs/{session.id}"
        return {
            "id": session.id,
            "logplex_url": url,
            "created_at": moment,
            "updated_at": moment,
        }, HTTPStatus.CREATED

    @blueprint.get("/logs/<session>")
    def stream(session: str) -> Any:
        record = world.logs.session(session)
        if record is None:
            return Response("The log session has ended.\n", HTTPStatus.NOT_FOUND, mimetype="text/plain")
        if request.headers.get("Accept") == "text/event-stream":
            after = request.headers.get("Last-Event-Id", "")
            pieces = world.logs.read(record, int(after) if after.isdecimal() else 0)
            return Response(_events(pieces), mimetype="text/event-stream")
        return Response(_plain(world.logs.read(record)), mimetype="text/plain")

    return blueprint


def _plain(pieces: Iterator[list[Line]]) -> Iterator[bytes]:
    for lines in pieces:
        yield "".join(f"{line}\n" for line in lines).encode()


def _events(pieces: Iterator[list[Line]]) -> Iterator[bytes]:
    """Yields server-sent events, and a comment where there is nothing to say: it finds out who has gone."""
    for lines in pieces:
        yield "".join(f"id: {line.number}\ndata: {line}\n\n" for line in lines).encode() or b": \n\n"
