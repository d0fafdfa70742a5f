"""The Data API: maintenance windows, upgrades of PostgreSQL.

In the sandbox nothing is ever due: whoever asks for a run or for another version of PostgreSQL is refused (422).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from flask import Blueprint

from heroku_sandbox import lookup, plans
from heroku_sandbox.platform_api import fields
from heroku_sandbox.programs import MAJOR
from heroku_sandbox.state import Addon
from heroku_sandbox.world import World

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"^\s*(\d{1,2}):([0-5]\d)\s*([ap]m)?\s*$", re.IGNORECASE)
_HOURS = 4
"""A window's length."""
_NOON = 12


def _hour(hour: int, half: str) -> int:
    """Returns the hour of the day; `half` is `am`, `pm` or nothing."""
    return hour % _NOON + (_NOON if half.lower() == "pm" else 0) if half else hour


def window_of(day: str, time: str) -> str:
    """Writes a window as Heroku does: `Sundays 14:30 to 18:30 UTC`. Raises ApiError (422)."""
    found = _TIME.match(time)
    if day.lower().rstrip("s") not in _DAYS or not found or int(found[1]) > 23 or found[2] not in ("00", "30"):  # noqa: PLR2004 -- hours of a day
        raise lookup.invalid("Name a day of the week and a time in UTC, on the hour or half past: sunday 14:30")
    start = _hour(int(found[1]), found[3] or "")
    return f"{day.lower().rstrip('s').title()}s {start:02}:{found[2]} to {(start + _HOURS) % 24:02}:{found[2]} UTC"


def nothing_due() -> lookup.ApiError:
    """Makes the 422 of a maintenance that there is not."""
    return lookup.ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY, "unprocessable_entity", "No maintenance is due: none ever is in this sandbox."
    )


def maintenance(world: World) -> Blueprint:
    """Makes the routes of `/data/maintenances/v1/…`."""
    blueprint = Blueprint("maintenance", __name__, url_prefix="/data/maintenances/v1")
    state = world.store.state

    def shape(of: Addon) -> dict[str, Any]:
        app = state.apps[of.app_id]
        names = [place.name for place in lookup.attachments(state, addon_id=of.id)]
        addon = {"attachments": names, "kind": "heroku-postgresql", "name": of.name, "plan": of.tier, "uuid": of.id}
        unknown = ("completed_at", "duration_seconds", "method", "reason", "required_by", "scheduled_for")
        return {
            "addon": addon | {"window": of.window},
            "addon_description": f"{names[0] if names else of.name} on {app.name}",
            "app": {"name": app.name, "uuid": app.id},
            **dict.fromkeys((*unknown, "server_created_at", "started_at")),
            "status": "none",
            "window": of.window,
        }

    @blueprint.get("/<addon>")
    def get(addon: str) -> Any:
        return shape(lookup.database(state, addon))

    @blueprint.get("/<addon>/history")
    def history(addon: str) -> Any:
        lookup.database(state, addon)
        return {"maintenances": []}

    @blueprint.get("/apps/<app>")
    def of_app(app: str) -> Any:
        record = lookup.app(state, app)
        return {"maintenances": [shape(addon) for addon in state.addons.values() if addon.app_id == record.id]}

    @blueprint.post("/<addon>/run")
    @blueprint.post("/<addon>/schedule")
    def run(addon: str) -> Any:
        lookup.database(state, addon)
        raise nothing_due()

    @blueprint.get("/<addon>/window")
    def window(addon: str) -> Any:
        record = lookup.database(state, addon)
        none = dict.fromkeys(("previous_window", "previously_scheduled_for", "scheduled_for"))
        return none | {"window": record.window}

    @blueprint.post("/<addon>/window")
    def change_window(addon: str) -> Any:
        record, body = lookup.database(state, addon), fields()
        fresh = window_of(str(body.get("day_of_week") or ""), str(body.get("time_of_day") or ""))
        with world.store.change():
            before, record.window = record.window, fresh
        none = dict.fromkeys(("previously_scheduled_for", "scheduled_for"))
        return none | {"window": fresh, "previous_window": before}

    return blueprint


def upgrades(world: World) -> Blueprint:
    """Makes the routes of `/client/v11/databases/:db/upgrade…`, and the older ones of maintenance beside them."""
    blueprint = Blueprint("upgrades", __name__, url_prefix="/client/v11/databases/<db>")
    state = world.store.state

    @blueprint.post("/upgrade")
    @blueprint.post("/upgrade/prepare")
    @blueprint.post("/upgrade/run")
    @blueprint.post("/upgrade/dry_run")
    def upgrade(db: str) -> Any:
        record = lookup.classic(state, db)
        wanted = fields().get("version") or "a newer one"
        raise lookup.ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "unprocessable_entity",
            f"{record.name} stays on PostgreSQL {MAJOR} and cannot be upgraded to {wanted}: this sandbox has no other.",
        )

    @blueprint.post("/upgrade/cancel")
    def cancel(db: str) -> Any:
        record = lookup.classic(state, db)
        message = f"You haven't scheduled an upgrade on {record.name}."
        raise lookup.ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "unprocessable_entity", message)

    @blueprint.get("/upgrade/wait_status")
    def wait_status(db: str) -> Any:
        lookup.classic(state, db)
        return {"message": "available", "waiting?": False}

    @blueprint.get("/maintenance")
    def maintenance_state(db: str) -> Any:
        lookup.classic(state, db)
        return {"message": "No maintenance required."}

    @blueprint.post("/maintenance")
    def run_maintenance(db: str) -> Any:
        lookup.classic(state, db)
        raise nothing_due()

    @blueprint.put("/maintenance_window")
    def change_window(db: str) -> Any:
        record = lookup.classic(state, db)
        if plans.of(record.tier).essential:
            raise lookup.invalid("You can't perform this operation on Essential-tier databases.")
        day, _, time = str(fields().get("description") or "").partition(" ")
        fresh = window_of(day, time)
        with world.store.change():
            record.window = fresh
        return {"window": fresh}

    return blueprint
