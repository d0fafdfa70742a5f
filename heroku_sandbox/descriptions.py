"""A database's description in the Data API: what `pg:info` shows, as recorded traffic has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heroku_sandbox import plans
from heroku_sandbox.addons import Addons
from heroku_sandbox.pooling import POOLED
from heroku_sandbox.shapes import ruby, stable_id
from heroku_sandbox.state import Addon, State

Figures = tuple[int, int, int, str]
"""Those of databases.figures()."""


def database(state: State, of: Addon, addons: Addons, figures: Figures) -> dict[str, Any]:
    """Shows a database as `GET /client/v11/databases/:db` does."""
    size, tables, connections, version = figures
    plan = {"id": stable_id("plan", of.tier), "name": of.tier}
    return {
        "addon_id": of.id,
        "name": of.name,
        "heroku_resource_id": of.id,
        "created_at": ruby(of.created_at),
        "formation": {"id": stable_id(of.id, "formation"), "primary": of.name},
        "metaas_source": "sandbox",
        "plan": of.tier if plans.of(of.tier).essential else plan,
        "port": addons.server.port,
        "database_name": of.database,
        "database_user": of.default.role,
        "database_password": of.default.password,
        "resource_url": addons.url(of),
        "leader": None,
        "following": _url(state, addons, of.following),
        "waiting?": False,
        "available_for_ingress": True,
        "credentials": len(of.credentials),
        "num_bytes": size,
        "num_tables": tables,
        "num_connections": connections,
        "num_connections_waiting": 0,
        "postgres_version": version,
        "target_transaction": None,
        "info": list(_lines(state, of, addons, figures)),
    } | ({"forked_from": url} if (url := _url(state, addons, of.forked_from)) else {})


def _url(state: State, addons: Addons, addon_id: str | None) -> str | None:
    return addons.url(state.addons[addon_id]) if addon_id in state.addons else None


def _lines(state: State, of: Addon, addons: Addons, figures: Figures) -> Iterator[dict[str, Any]]:
    """Yields the lines of `pg:info`: a name and its values."""
    size, tables, connections, version = figures
    plan = plans.of(of.tier)
    values: dict[str, list[str | int]] = {
        "Plan": [of.tier.replace("-", " ").title()],
        "Status": ["Available"],
        "Data Size": [f"{size / 1024**2:.2f} MB"],
        "Tables": [tables],
        "PG Version": [version],
        "Connections": [f"{connections}/{plan.connections}"],
        "Connection Pooling": [_pooling(state, of, addons)],
        "Credentials": [len(of.credentials)],
        "Fork/Follow": ["Unsupported" if plan.essential else "Available"],
        "Rollback": ["Unsupported"],
        "Created": [of.created_at.strftime("%Y-%m-%d %H:%M")],
        "Region": ["us"],
        "Data Encryption": ["In Use"],
        "Continuous Protection": ["Off" if plan.essential else "On"],
        "Enhanced Certificates": ["Off"],
    }
    for name, shown in values.items():
        yield {"name": name, "values": shown}
    for name, source in (("Following", of.following), ("Forked From", of.forked_from)):
        if url := _url(state, addons, source):
            yield {"name": name, "values": [url], "resolve_db_name": True}


def _pooling(state: State, of: Addon, addons: Addons) -> str:
    if any(place.addon_id == of.id and place.namespace == POOLED for place in state.attachments.values()):
        return "On"
    return "Available" if addons.pooler.installed and not plans.of(of.tier).essential else "Unavailable"
