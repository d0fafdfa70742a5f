"""The Data API: what a database does and how it is (`pg:diagnose`, `pg:kill`, `pg:stats-reset`).

Heroku's reports come from a host of their own, which its CLI takes from PGDIAGNOSE_URL.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint

from heroku_sandbox import databases, diagnosis, lookup, plans
from heroku_sandbox.platform_api import fields
from heroku_sandbox.shapes import iso, ruby
from heroku_sandbox.state import Addon, new_id, now
from heroku_sandbox.world import World

_REPORTS = 100


def statistics(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of `/client/v11/databases/:db…` that look at a database."""
    blueprint = Blueprint("statistics", __name__, url_prefix="/client/v11/databases/<db>")

    def classic(db: str) -> Addon:
        return lookup.classic(world.store.state, db)

    @blueprint.get("/metrics")
    def metrics(db: str) -> Any:
        classic(db)
        return []  # nothing here measures the machine

    @blueprint.get("/burst_status")
    def burst_status(db: str) -> Any:
        record = classic(db)
        full = {"volumebalance": {"latest_value": 100.0, "slope": 0.0}}  # no disk is slowed down here
        return {"addon_id": record.id, "addon_name": record.name, "at": ruby(now()), "burst_status": full}

    @blueprint.get("/user_connections")
    def user_connections(db: str) -> Any:
        return {"connections": databases.connections(world.server, classic(db))}

    @blueprint.get("/expensive-queries")
    def expensive_queries(db: str) -> Any:
        classic(db)
        return {"queries": []}  # Heroku takes samples each hour; `pg:outliers` asks the database itself

    @blueprint.put("/stats_reset")
    def stats_reset(db: str) -> Any:
        record = classic(db)
        if plans.of(record.tier).essential:
            raise lookup.invalid("You can't perform this operation on Essential-tier databases.")
        databases.reset_statistics(world.server, record)
        return {"message": "Statistics reset."}

    @blueprint.post("/terminate_process")
    def terminate_process(db: str) -> Any:
        record, pid = classic(db), str(fields().get("pid", ""))
        if not pid.isdigit() or not databases.terminate_one(world.server, record, int(pid)):
            raise lookup.invalid(f"There is no session with the pid {pid} on {record.name}.")
        return {"message": f"Process {pid} terminated."}

    @blueprint.post("/diagnose")
    def diagnose(db: str) -> Any:
        record = classic(db)
        return {
            "app": world.store.state.apps[record.app_id].name,
            "database": record.name,
            "created_at": ruby(now()),
            "checks": diagnosis.checks(world.server, record),
        }

    return blueprint


def reports(world: World) -> Blueprint:
    """Makes the routes of `/reports…`, as Heroku's pgdiagnose has them."""
    blueprint = Blueprint("reports", __name__, url_prefix="/reports")
    kept: dict[str, dict[str, Any]] = {}

    @blueprint.post("")
    def report() -> Any:
        body = fields()
        url = str(body.get("url") or "")
        addon = world.addons.behind(url)
        if addon is None:
            raise lookup.invalid("url is not that of a database in this sandbox.")
        identity = new_id()
        made: dict[str, Any] = {
            "id": identity,
            "app": str(body.get("app") or world.store.state.apps[addon.app_id].name),
            "database": str(body.get("database") or addon.name),
            "created_at": iso(now()),
            "checks": list(diagnosis.checks(world.server, addon).values()),
        }
        kept[identity] = made
        for oldest in list(kept)[:-_REPORTS]:
            del kept[oldest]
        return made, HTTPStatus.CREATED

    @blueprint.get("/<report>")
    def get(report: str) -> Any:
        if report not in kept:
            raise lookup.not_found("report")
        return kept[report]

    return blueprint
