"""What `heroku pg:settings` shows and changes: settings of the server.

The databases of a sandbox share one server, so a change holds for all of them. A server that is somebody else's is not
changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from heroku_sandbox import lookup
from heroku_sandbox.pooling import SIZES
from heroku_sandbox.postgres import Server

_RELOAD_SECONDS = 5
_PLANS = "auto_explain"
_PLANS_AFTER = "auto_explain.log_min_duration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting: what it does, what Heroku has by default, and the values that it can have where they have names."""

    what: str
    default: bool | int | str
    values: dict[str, str] = field(default_factory=dict)


_LEVELS = {"error": "Statements that fail.", "log": "Messages of the server.", "fatal": "Ends of sessions."}
_KNOWN = {
    "log_lock_waits": Setting(what="Log a session that waits for a lock.", default=True),
    "log_connections": Setting(what="Log attempts to connect.", default=True),
    "log_min_duration_statement": Setting(what="Log statements that take so long (ms).", default=2000),
    "log_min_error_statement": Setting(
        what="Log the statement of a message from this level on.",
        default="error",
        values=_LEVELS | {"panic": "Ends of all sessions."},
    ),
    "log_statement": Setting(
        what="Log statements of this kind.",
        default="ddl",
        values={
            "none": "No SQL statements are logged.",
            "ddl": "All data definition statements, such as CREATE, ALTER and DROP, are logged.",
            "mod": "All that ddl logs, and statements that change data, such as INSERT, are logged.",
            "all": "All SQL statements are logged.",
        },
    ),
    "track_functions": Setting(
        what="Track calls of functions.",
        default="none",
        values={
            "none": "No functions are tracked.",
            "pl": "Only procedural-language functions are tracked.",
            "all": "All functions, also in SQL and C, are tracked.",
        },
    ),
    _PLANS: Setting(what="Log the plans of statements.", default=False),
    _PLANS_AFTER: Setting(what="Log the plans of statements that take so long (ms).", default=-1),
    "auto_explain.log_analyze": Setting(what="Log what EXPLAIN ANALYZE says.", default=False),
    "auto_explain.log_buffers": Setting(what="Log the use of buffers.", default=False),
    "auto_explain.log_format": Setting(
        what="Log plans in this format.",
        default="text",
        values={name: f"Plans are logged as {name}." for name in ("text", "json", "yaml", "xml")},
    ),
    "auto_explain.log_nested_statements": Setting(what="Log plans inside functions.", default=False),
    "auto_explain.log_triggers": Setting(what="Log triggers.", default=False),
    "auto_explain.log_verbose": Setting(what="Log what EXPLAIN VERBOSE says.", default=False),
}
_FIXED = {"data_connector_details_logs": Setting(what="Log details of data connectors.", default=False)} | {
    name: Setting(what="A size of the connection pool.", default=size) for name, size in SIZES.items()
}
"""Shown, but not to be changed: there are no data connectors, and all databases share one pool."""


def read(server: Server) -> dict[str, dict[str, Any]]:
    """Returns each setting with its value, description and default, as the Data API shows them."""
    with server.session() as session:
        rows = session.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(_KNOWN)])
        found: dict[str, str] = dict(rows.fetchall())
    found[_PLANS] = "off" if found.get(_PLANS_AFTER, "-1") == "-1" else "on"
    values = {name: _typed(setting, found.get(name)) for name, setting in _KNOWN.items()}
    values |= {name: setting.default for name, setting in _FIXED.items()}
    return {
        name: {"value": values[name], "desc": setting.what, "default": setting.default}
        | ({"values": setting.values} if setting.values else {})
        for name, setting in (_KNOWN | _FIXED).items()
    }


def _typed(setting: Setting, text: str | None) -> bool | int | str:
    if text is None:  # the server has not got this one
        return setting.default
    if isinstance(setting.default, bool):
        return text == "on"
    return int(text) if isinstance(setting.default, int) else text


def change(server: Server, changes: dict[str, Any]) -> None:
    """Changes settings of the server. Returns once new sessions have them; raises ApiError (422)."""
    if not server.own:
        raise lookup.invalid("This sandbox's PostgreSQL is somebody else's, whose settings it does not change.")
    for name, value in changes.items():
        _check(name, value)
    wanted = dict(changes)
    if (plans := wanted.pop(_PLANS, None)) is not None:
        wanted.setdefault(_PLANS_AFTER, 0 if plans else -1)
    with server.maintenance() as session:
        for name, value in wanted.items():
            session.execute(
                sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(*name.split(".")), sql.Literal(value))
            )
        session.execute("SELECT pg_reload_conf()")
    _await(server, wanted)


def _check(name: str, value: Any) -> None:
    if name in _FIXED:
        raise lookup.invalid(f"This sandbox does not change {name}.")
    setting = _KNOWN.get(name)
    if setting is None:
        raise lookup.invalid(f"There is no setting {name}.")
    if type(value) is not type(setting.default) or (setting.values and value not in setting.values):
        kind = f"one of {', '.join(setting.values)}" if setting.values else f"a {type(setting.default).__name__}"
        raise lookup.invalid(f"{name} has to be {kind}.")


def _await(server: Server, wanted: dict[str, Any]) -> None:
    """Waits until a new session has these values: the server reads its settings when it gets to it."""
    deadline = time.monotonic() + _RELOAD_SECONDS
    while time.monotonic() < deadline:
        present = read(server)
        if all(present[name]["value"] == value for name, value in wanted.items()):
            return
        time.sleep(0.02)
