"""The control endpoint, `/sandbox/…`: what the command line and the tests do that Heroku's APIs cannot.

Every request carries the token from `control.json` in a header of its own, so that neither a dyno nor a web
page in somebody's browser can push code here.
"""

from __future__ import annotations

import dataclasses
import hmac
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, current_app, request

from heroku_sandbox import access, lookup, plans, shapes
from heroku_sandbox.dynos import signal_all
from heroku_sandbox.faults import Rule, TransferFault
from heroku_sandbox.options import Options
from heroku_sandbox.pipelines_api import pipeline
from heroku_sandbox.platform_api import fields
from heroku_sandbox.releases import new_app
from heroku_sandbox.state import Addon, App
from heroku_sandbox.world import World

HEADER = "Sandbox-Token"
_Facts = TypeVar("_Facts", Rule | TransferFault, Options)


def _facts(kind: type[_Facts], body: dict[str, Any]) -> _Facts:
    """Makes a dataclass from JSON. Raises ApiError (422) for a name that it does not have."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(body.keys() - known):
        raise lookup.invalid(f"Unknown names: {', '.join(unknown)}. Known names: {', '.join(sorted(known))}.")
    return msgspec.convert(body, kind)


def control(  # noqa: C901, PLR0915 -- a list of routes, not a branching function
    world: World, token: str
) -> Blueprint:
    """Makes all control routes."""
    blueprint = Blueprint("control", __name__, url_prefix="/sandbox")
    state = world.store.state

    @blueprint.before_request
    def authenticate() -> None:
        if not hmac.compare_digest(request.headers.get(HEADER, ""), token):
            raise lookup.ApiError(HTTPStatus.UNAUTHORIZED, "unauthorized", "Wrong control token.")

    def addon_shape(of: Addon) -> dict[str, Any]:
        names = [attachment.name for attachment in lookup.attachments(state, addon_id=of.id)]
        return {"id": of.id, "name": of.name, "url": world.addons.url(of), "plan": of.plan, "attached_as": names}

    def app_shape(of: App) -> dict[str, Any]:
        addons = [addon_shape(addon) for addon in state.addons.values() if addon.app_id == of.id]
        return {"id": of.id, "name": of.name, "config": of.config, "addons": addons}

    def provision(app: App, body: dict[str, Any]) -> Addon:
        keys = ("name", "attachment", "fork", "follow", "num_keep")
        return world.addons.create(app, body.get("plan") or plans.DEFAULT, **{key: body.get(key) for key in keys})

    @blueprint.get("")
    def status() -> Any:
        return {
            "api": world.addresses.api,
            "downloads": world.addresses.downloads,
            "home": str(world.home),
            "superuser_url": world.server.superuser_url,
            "apps": [app.name for app in state.apps.values()],
        }

    @blueprint.get("/routes")
    def routes() -> Any:
        """Which requests the APIs know: `METHOD /path/<name>`."""
        rules = [rule for rule in current_app.url_map.iter_rules() if not rule.rule.startswith(("/sandbox", "/static"))]
        return sorted(
            f"{method} {rule.rule}" for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        )

    @blueprint.post("/apps")
    def create_app() -> Any:
        body = fields()
        with world.store.change():
            app = new_app(state, body["name"])
            app.space = body.get("space")
            app.stack = body.get("stack") or app.stack
        if body.get("plan") != "none":
            provision(app, {key: body.get(key) for key in ("plan", "num_keep")})
        if body.get("config"):
            world.releases.configure(app, body["config"], f"Set {', '.join(body['config'])} config vars")
        return app_shape(app), HTTPStatus.CREATED

    @blueprint.get("/apps/<app>")
    def get_app(app: str) -> Any:
        return app_shape(lookup.app(state, app))

    @blueprint.get("/apps/<app>/environment")
    def environment(app: str) -> Any:
        return world.environment(app)

    @blueprint.post("/apps/<app>/addons")
    def create_addon(app: str) -> Any:
        return addon_shape(provision(lookup.app(state, app), fields())), HTTPStatus.CREATED

    @blueprint.post("/apps/<app>/deploys")
    def deploy(app: str) -> Any:
        record, body = lookup.app(state, app), fields()
        folder = Path(body["folder"])
        if not folder.is_dir():
            raise lookup.invalid(f"{folder} is not a folder.")
        slug = world.releases.slug(
            folder, commit=body["commit"], description=body.get("description", ""), path=body.get("path")
        )
        release = world.releases.deploy(record, slug)
        return shapes.release(state, record, release, world.addresses.api), HTTPStatus.CREATED

    @blueprint.put("/pipelines/<name>/repository")
    def connect(name: str) -> Any:
        folder = Path(fields()["folder"])
        if not folder.is_dir():
            raise lookup.invalid(f"{folder} is not a folder.")
        with world.store.change():
            record = pipeline(state, name)
            record.folder, record.path = str(folder), fields().get("path")
        return {}

    @blueprint.get("/apps/<app>/dynos")
    def dynos(app: str) -> Any:
        record = lookup.app(state, app)
        return [
            shapes.dyno(record, dyno)
            | {"pid": dyno.pid, "code": dyno.code, "output": dyno.output.read_text(errors="replace")}
            for dyno in world.dynos.all_of(record.id)
        ]

    @blueprint.post("/apps/<app>/dynos/<name>/signal")
    def signal_dyno(app: str, name: str) -> Any:
        for dyno in world.dynos.of(lookup.app(state, app).id):
            if name in (dyno.id, dyno.name, dyno.type):
                signal_all(dyno, int(fields()["signal"]))
                return {}
        raise lookup.not_found("dyno")

    @blueprint.post("/addons/<addon>/scheduled-backup")
    def scheduled_backup(addon: str) -> Any:
        record = lookup.addon(state, addon)
        mine = (schedule.id for schedule in state.schedules.values() if schedule.addon_id == record.id)
        transfer = world.transfers.capture(record, schedule_id=next(mine, shapes.stable_id(record.id, "schedule")))
        return world.shape(transfer), HTTPStatus.CREATED

    @blueprint.get("/requests")
    def requests() -> Any:
        return [
            {name: getattr(exchange, name) for name in ("method", "path", "route", "status", "effects", "at")}
            | {"keyed": bool(access.token(exchange.headers))}
            for exchange in list(world.requests)
        ]

    @blueprint.delete("/requests")
    def forget() -> Any:
        world.requests.clear()
        return {}

    @blueprint.get("/faults")
    def faults() -> Any:
        return {"armed": world.faults.armed(), "log": world.faults.log}

    @blueprint.post("/faults")
    def add_fault() -> Any:
        body = fields()
        kind: type[Rule | TransferFault] = TransferFault if "kind" in body else Rule
        return {"id": world.faults.add(_facts(kind, body))}, HTTPStatus.CREATED

    @blueprint.delete("/faults")
    def clear_faults() -> Any:
        world.faults.clear()
        return {}

    @blueprint.patch("/options")
    def options() -> Any:
        before = world.options
        world.options = _facts(Options, dataclasses.asdict(before) | fields())
        if world.options.run_dynos != before.run_dynos:
            world.manager.fit_all()
        return dataclasses.asdict(world.options)

    @blueprint.put("/keys/<key>")
    def key(key: str) -> Any:
        scopes = fields().get("scopes")
        with world.store.change():
            if scopes is None:
                state.keys.pop(key, None)
            else:
                state.keys[key] = list(scopes)
        return state.keys

    return blueprint
