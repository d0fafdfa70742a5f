"""Requests whose answers are held against the schemas."""

from __future__ import annotations

import json
import re
from typing import Any

from heroku_sandbox import App
from tests.sandbox.schemas import MESSAGE, complaints

_CHECK = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "status": {"enum": ["green", "yellow", "red", "skipped"]},
        "results": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["name", "status", "results"],
}
_REPORT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "created_at": {"type": "string", "format": "date-time"},
        "app": {"type": "string"},
        "database": {"type": "string"},
        "checks": {"type": "array", "items": _CHECK},
    },
    "required": ["id", "created_at", "app", "database", "checks"],
}
_KEY = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "description": {"type": "string"},
        "scope": {"type": "array", "items": {"type": "string"}},
        "access_token": {"type": "object", "required": ["id", "token"]},
    },
    "required": ["id", "description", "scope", "access_token", "created_at", "updated_at"],
}
_APPS = {"type": "array", "items": {"$ref": "#/definitions/app"}}
_FEATURE = {"$ref": "#/definitions/app-feature"}
_VARIABLES = {"$ref": "#/definitions/config-var"}
UNPUBLISHED: dict[str, dict[str, Any]] = {
    "GET /addons/<addon>/config/<namespace>": {"type": "array", "items": {"$ref": "#/definitions/add-on-config"}},
    "GET /client/v11/databases/<db>/upgrade/wait_status": MESSAGE,
    "POST /postgres/v0/databases/<db>/repair-default": MESSAGE,
    "POST /reports": _REPORT,
    "GET /account/features": {"type": "array", "items": _FEATURE},
    "GET /account/features/dashboard-repositories-api": _FEATURE,
    "GET /oauth/authorizations": {"type": "array", "items": _KEY},
    "POST /oauth/authorizations": _KEY,
    "GET /oauth/authorizations/<which>": _KEY,
    "DELETE /oauth/authorizations/<which>": _KEY,
    "GET /pipelines/<name>/repo": {"type": "object", "required": ["id", "full_name"]},
    "GET /pipelines/<name>/repo/branches/<path:branch>": {"type": "object", "required": ["name"]},
    "GET /pipelines/<name>/stage/<which>/config-vars": _VARIABLES,
    "PATCH /pipelines/<name>/stage/<which>/config-vars": _VARIABLES,
    "GET /users/~": {"$ref": "#/definitions/account"},
    "GET /users/~/apps": _APPS,
    "POST /filters/apps": _APPS,
    "GET /reports/<report>": _REPORT,
}
"""Schemas of answers for which Heroku publishes none, from what its own CLI reads in them."""


class Talk:
    """Sends requests and notes what is wrong with the answers."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.sent: set[str] = set()
        self.complaints: list[str] = []
        self.places = {"app": app.name, "db": app.addon_id, "addon": app.addon_name}

    def __call__(
        self, request: str, body: Any = None, *, status: int = 200, headers: dict[str, str] | None = None, **places: Any
    ) -> Any:
        """Sends `METHOD /path/<name>`, expects a status, and returns the answer's JSON."""
        content = self.text(request, body, status=status, headers=headers, **places)
        self.complaints += complaints(request, status, content, UNPUBLISHED)
        return json.loads(content)

    def text(
        self, request: str, body: Any = None, *, status: int = 200, headers: dict[str, str] | None = None, **places: Any
    ) -> bytes:
        """The same for an answer of any kind: its bytes."""
        method, rule = request.split()
        path = re.sub("<(.+?)>", lambda found: str((self.places | places)[found[1]]), rule)
        got, _, content = self.app.connection.exchange(method, path, body, headers)
        self.sent.add(request)
        assert got == status, f"{request}: {got} instead of {status}: {content[:200]!r}"
        return content
