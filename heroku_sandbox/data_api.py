"""The Data API of Heroku Postgres' classic tiers: databases, transfers, schedules, credentials.

The Advanced tier has no backups, restores or resets here: its databases are not found (404), which is a guess
about what Heroku answers.
"""

from __future__ import annotations

import zoneinfo
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, request

from heroku_sandbox import databases, descriptions, lookup, shapes, wire
from heroku_sandbox.downloads import sign
from heroku_sandbox.platform_api import fields
from heroku_sandbox.state import Addon, Credential, Schedule, Transfer, TransferType, now
from heroku_sandbox.world import World


def _extensions() -> list[str]:
    return [str(name) for name in fields().get("extensions") or []]


def database_routes(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of `/client/v11/databases/:db…`."""
    blueprint = Blueprint("databases", __name__, url_prefix="/client/v11/databases/<db>")
    state = world.store.state

    def classic(db: str) -> Addon:
        return lookup.classic(state, db)

    def transfer(of: Transfer) -> Any:
        return wire.accepted(world.shape(of.as_asked_for()), world.options.variants), HTTPStatus.CREATED

    def description(of: Addon, figures: tuple[int, int, int, str]) -> dict[str, Any]:
        return wire.database(descriptions.database(state, of, world.addons, figures), world.options.variants)

    @blueprint.get("")
    def get(db: str) -> Any:
        record = classic(db)
        return description(record, databases.figures(world.server, record))

    @blueprint.get("/wait_status")
    def wait_status(db: str) -> Any:
        classic(db)
        return {"message": "available", "waiting?": False}

    @blueprint.post("/backups")
    def capture(db: str) -> Any:
        return transfer(world.transfers.capture(classic(db)))

    @blueprint.post("/restores")
    def restore(db: str) -> Any:
        record = classic(db)
        url = fields().get("backup_url")
        if not isinstance(url, str):
            raise lookup.invalid("backup_url is required")
        if record.following:
            raise lookup.invalid("Cannot restore to a follower.")
        return transfer(world.transfers.restore(record, url, extensions=_extensions()))

    @blueprint.post("/transfers")
    def copy(db: str) -> Any:
        record, body = classic(db), fields()
        names = {key: str(body.get(key) or "") for key in ("from_name", "from_url", "to_name", "to_url")}
        return transfer(world.transfers.copy(record, **names))

    @blueprint.put("/reset")
    def reset(db: str) -> Any:
        databases.reset(world.server, classic(db), world.options.reset, _extensions())
        return {"message": "Reset successful."}

    @blueprint.put("/unfollow")
    def unfollow(db: str) -> Any:
        with world.store.change():
            record = classic(db)
            record.following = None
        databases.set_read_only(world.server, record, read_only=False)
        return {"message": "Unfollowed."}

    @blueprint.post("/connection_reset")
    def connection_reset(db: str) -> Any:
        databases.terminate(world.server, classic(db))
        return {"message": "Connections terminated."}

    @blueprint.get("/followers")
    def followers(db: str) -> Any:
        record = classic(db)
        return [description(addon, (0, 0, 0, "")) for addon in state.addons.values() if addon.following == record.id]

    return blueprint


def schedule_routes(world: World) -> Blueprint:
    """Makes the routes of `/client/v11/databases/:db/transfer-schedules…`."""
    blueprint = Blueprint("schedules", __name__, url_prefix="/client/v11/databases/<db>")
    state = world.store.state

    @blueprint.get("/transfer-schedules")
    def schedules(db: str) -> Any:
        record = lookup.classic(state, db)
        return [shapes.schedule(schedule) for schedule in state.schedules.values() if schedule.addon_id == record.id]

    @blueprint.post("/transfer-schedules")
    def schedule(db: str) -> Any:
        record, body = lookup.classic(state, db), fields()
        timezone, hour = str(body.get("timezone") or "UTC"), str(body.get("hour", ""))
        if timezone not in zoneinfo.available_timezones() | {"UTC"} or not hour.isdigit() or int(hour) > 23:  # noqa: PLR2004 -- hours of a day
            raise lookup.ApiError(HTTPStatus.BAD_REQUEST, "bad_request", "Bad request.")
        fresh = Schedule(
            addon_id=record.id, name=str(body.get("schedule_name") or "DATABASE_URL"), hour=int(hour), timezone=timezone
        )
        with world.store.change():
            for former in [former for former in state.schedules.values() if former.addon_id == record.id]:
                if former.name == fresh.name:
                    del state.schedules[former.id]
            state.schedules[fresh.id] = fresh
        return shapes.schedule(fresh), HTTPStatus.CREATED

    @blueprint.delete("/transfer-schedules/<identity>")
    def unschedule(db: str, identity: str) -> Any:
        lookup.classic(state, db)
        with world.store.change():
            for record in state.schedules.values():
                if identity in (record.id, record.name):
                    return shapes.schedule(state.schedules.pop(record.id))
        raise lookup.not_found("transfer-schedule", "schedule")

    return blueprint


def transfer_routes(world: World) -> Blueprint:
    """Makes the routes of `/client/v11/apps/:app/transfers…`: transfers of the databases that an app is billed for."""
    blueprint = Blueprint("transfers", __name__, url_prefix="/client/v11/apps/<app>/transfers")
    state = world.store.state

    def find_transfer(app: str, identity: str) -> Transfer:
        return lookup.transfer(state, lookup.app(state, app), identity)

    def shape(of: Transfer, *, verbose: bool = False) -> dict[str, Any]:
        return world.shape(of, verbose=verbose)

    @blueprint.get("")
    def everything(app: str) -> Any:
        record = lookup.app(state, app)
        rows = [shape(transfer) for transfer in list(state.transfers.values()) if transfer.app_id == record.id]
        return wire.listed(rows, world.options.variants)

    @blueprint.get("/<identity>")
    def get(app: str, identity: str) -> Any:
        return shape(find_transfer(app, identity), verbose=request.args.get("verbose") == "true")

    @blueprint.delete("/<identity>")
    def delete(app: str, identity: str) -> Any:
        record = find_transfer(app, identity)
        world.transfers.delete(record)
        return shape(record)

    @blueprint.post("/<identity>/actions/cancel")
    def cancel(app: str, identity: str) -> Any:
        record = find_transfer(app, identity)
        world.transfers.cancel(record)
        return shape(record)

    @blueprint.post("/<identity>/actions/public-url")
    def public_url(app: str, identity: str) -> Any:
        record = find_transfer(app, identity)
        if record.to_type is not TransferType.GOF3R or not record.succeeded:
            raise lookup.invalid("Backup has not finished successfully.")
        seconds = world.options.url_seconds
        path = urlsplit(shape(record)["to_url"]).path
        expires = now() + timedelta(seconds=seconds)
        return {"expires_at": shapes.ruby(expires), "url": world.addresses.downloads + sign(world.store, path, expires)}

    return blueprint


def credential_routes(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of `/postgres/v0/databases/:db/credentials…`; its errors are `{"message"}` only."""
    blueprint = Blueprint("credentials", __name__, url_prefix="/postgres/v0/databases/<db>")
    state = world.store.state

    def shape(of: Addon, credential: Credential) -> dict[str, Any]:
        return {
            "uuid": credential.id,
            "name": credential.name,
            "state": "active",
            "database": of.database,
            "host": world.server.host,
            "port": world.server.port,
            "credentials": [{"user": credential.role, "password": credential.password, "state": "active"}],
        }

    def find_credential(of: Addon, name: str) -> Credential:
        for credential in of.credentials:
            if credential.name == name:
                return credential
        raise lookup.ApiError(HTTPStatus.BAD_REQUEST, "bad_request", f"Credential {name} does not exist.")

    @blueprint.get("/credentials")
    def everything(db: str) -> Any:
        record = lookup.database(state, db)
        return [shape(record, credential) for credential in record.credentials]

    @blueprint.post("/credentials")
    def create(db: str) -> Any:
        record, name = lookup.database(state, db), str(fields().get("name") or "")
        if not name.replace("_", "").replace("-", "").isalnum():
            raise lookup.ApiError(HTTPStatus.BAD_REQUEST, "bad_request", "Invalid credential name.")
        world.addons.new_credential(record, name)
        return {"message": "Credential created."}

    @blueprint.get("/credentials/<name>")
    def get(db: str, name: str) -> Any:
        record = lookup.database(state, db)
        return shape(record, find_credential(record, name))

    @blueprint.delete("/credentials/<name>")
    def destroy(db: str, name: str) -> Any:
        record = lookup.database(state, db)
        credential = find_credential(record, name)
        if credential is record.default:
            raise lookup.ApiError(HTTPStatus.FORBIDDEN, "forbidden", "Default credential cannot be destroyed.")
        databases.drop_credential(world.server, record, credential)
        with world.store.change():
            record.credentials.remove(credential)
        return {"message": "Credential destroyed."}

    @blueprint.post("/credentials/<name>/credentials_rotation")
    def rotate(db: str, name: str) -> Any:
        record = lookup.database(state, db)
        world.addons.rotate(record, find_credential(record, name))
        return {"message": "Credential rotated."}

    @blueprint.post("/repair-default")
    def repair_default(db: str) -> Any:
        databases.repair_default(world.server, lookup.database(state, db))
        return {"message": "Default credential repaired."}

    @blueprint.post("/credentials_rotation")
    def rotate_all(db: str) -> Any:
        record = lookup.database(state, db)
        for credential in record.credentials:
            world.addons.rotate(record, credential)
        return {"message": "Credentials rotated."}

    return blueprint
