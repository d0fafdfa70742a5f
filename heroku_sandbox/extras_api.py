"""The Data API: what can be added to a database (a connection pool, links), and its server's settings."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint

from heroku_sandbox import links, lookup, plans, settings, shapes
from heroku_sandbox.platform_api import fields
from heroku_sandbox.pooling import POOLED
from heroku_sandbox.state import Addon, Link
from heroku_sandbox.world import World

_NOT_ON_ESSENTIAL = "You can't perform this operation on Essential-tier databases."


def _larger(world: World, db: str) -> Addon:
    """Finds a database that is not of the Essential tier. Raises ApiError (404, 422)."""
    record = lookup.classic(world.store.state, db)
    if plans.of(record.tier).essential:
        raise lookup.invalid(_NOT_ON_ESSENTIAL)
    return record


def pools(world: World) -> Blueprint:
    """Makes the routes of `/client/v11/databases/:db/connection-pooling`."""
    blueprint = Blueprint("pools", __name__, url_prefix="/client/v11/databases/<db>")
    state = world.store.state

    @blueprint.get("/connection-pooling")
    def get(db: str) -> Any:
        record = lookup.classic(state, db)
        on = any(place.namespace == POOLED for place in lookup.attachments(state, addon_id=record.id))
        status = "enabled" if on else "disabled"
        return {"status": status, "message": f"Connection pooling is {status}."}

    @blueprint.post("/connection-pooling")
    def attach(db: str) -> Any:
        record, body = _larger(world, db), fields()
        if (body.get("credential") or "default") != "default":
            raise lookup.invalid("Only the default credential can be pooled.")
        app = lookup.app(state, str(body.get("app") or record.app_id))
        name = body.get("name") or world.addons.pooled_name(app, record)
        place = world.addons.attach(app, record, name=name, namespace=POOLED)
        return shapes.attachment(state, place, inclusion=True), HTTPStatus.CREATED

    return blueprint


def linked(world: World) -> Blueprint:
    """Makes the routes of `/client/v11/databases/:db/links…`."""
    blueprint = Blueprint("links", __name__, url_prefix="/client/v11/databases/<db>/links")
    state = world.store.state

    def shape(of: Link) -> dict[str, Any]:
        remote = state.addons.get(of.remote_id)
        places = lookup.attachments(state, addon_id=of.remote_id)
        return {
            "id": of.id,
            "name": of.name,
            "created_at": shapes.ruby(of.created_at),
            "remote_name": remote.name if remote else "",
            "remote": {
                "name": remote.name if remote else "",
                "attachment_name": places[0].name if places else "",
            },
        }

    @blueprint.get("")
    def everything(db: str) -> Any:
        return [shape(link) for link in lookup.classic(state, db).links]

    @blueprint.post("")
    def create(db: str) -> Any:
        record, body = _larger(world, db), fields()
        remote = lookup.classic(state, str(body.get("target")))
        link = links.create(world.server, record, remote, body.get("as"))
        with world.store.change():
            record.links.append(link)
        return shape(link)

    @blueprint.get("/<link>")
    def get(db: str, link: str) -> Any:
        return shape(links.find(lookup.classic(state, db), link))

    @blueprint.delete("/<link>")
    def destroy(db: str, link: str) -> Any:
        record = lookup.classic(state, db)
        found = links.find(record, link)
        links.drop(world.server, record, found)
        with world.store.change():
            record.links.remove(found)
        return shape(found)

    return blueprint


def configuration(world: World) -> Blueprint:
    """Makes the routes of `/postgres/v0/databases/:db/config`."""
    blueprint = Blueprint("configuration", __name__, url_prefix="/postgres/v0/databases/<db>")

    @blueprint.get("/config")
    def get(db: str) -> Any:
        _larger(world, db)
        return settings.read(world.server)

    @blueprint.patch("/config")
    def change(db: str) -> Any:
        _larger(world, db)
        settings.change(world.server, fields())
        return settings.read(world.server)

    return blueprint
