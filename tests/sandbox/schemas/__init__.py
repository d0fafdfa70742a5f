"""Heroku's published schemas of both APIs, and what holds an answer against them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema

_HERE = Path(__file__).parent
_PLATFORM = json.loads((_HERE / "platform.json").read_text())
_DATA = json.loads((_HERE / "data.json").read_text())
_FORMATS = jsonschema.FormatChecker(["uuid", "email"])

_SENTENCE = {"type": "string", "pattern": r"\S"}
MESSAGE = {"type": "object", "properties": {"message": _SENTENCE}, "required": ["message"]}
ERROR = {
    "type": "object",
    "properties": {"id": {"type": "string", "pattern": "^[a-z_]+$"}, "message": _SENTENCE, "resource": _SENTENCE},
    "required": ["id", "message"],
}
_NOT_DUE = dict.fromkeys(("method", "reason", "required_by", "scheduled_for", "server_created_at"), ("maint", "null"))
_KNOWN_BETTER = {"num": ("transfers", "integer"), "plan": ("v11/databases/{}", "object"), **_NOT_DUE}
"""Names in answers of some paths, and what else than a text they may be."""
PAGE = "<h1>Not Found</h1>"
"""What the Data API answers for what it does not find, in recorded traffic, as JSON by its own account."""


@_FORMATS.checks("date-time", ValueError)
def _is_moment(text: object) -> bool:
    return not isinstance(text, str) or bool(text.endswith("Z") and datetime.fromisoformat(text))


@_FORMATS.checks("uri", ValueError)
def _is_address(text: object) -> bool:
    # A domain's `hostname` is said to be one, too.
    return not isinstance(text, str) or bool(urlsplit(text).scheme) or "." in text


def complaints(request: str, status: int, body: bytes, also: dict[str, Any]) -> list[str]:
    """What is wrong with the answer to `METHOD /path/<name>`; `also` has schemas for what Heroku publishes none of."""
    path = request.split()[1]
    if status == 404 and path.startswith(("/client/", "/data/", "/postgres/")):
        return [] if body.decode() == PAGE else [f"{request}: not the page of a 404"]
    try:
        found = json.loads(body)
    except ValueError:
        return [f"{request}: {status}, but no JSON: {body[:80]!r}"]
    schema = _error(path) if status >= 400 else published(request, status) or also.get(request)
    if schema is None:
        return [f"{request}: {status}, for which there is no schema"]
    checker = jsonschema.Draft4Validator(schema | {"definitions": _PLATFORM["definitions"]}, format_checker=_FORMATS)
    return [f"{request}: {status} {error.json_path}: {error.message[:200]}" for error in checker.iter_errors(found)]


def _error(path: str) -> dict[str, Any]:
    return MESSAGE if path.startswith("/postgres/") else ERROR


def published(request: str, status: int) -> dict[str, Any] | None:
    """The schema that Heroku publishes for a request's answer, or None."""
    key = re.sub("<[^>]+>|~", "{}", request)
    if key in _DATA:
        answers: dict[str, Any] = _loosened(_DATA[key], path=key)
        answer: dict[str, Any] | None = answers.get(str(status))
        return answer
    resource = _PLATFORM["links"].get(key)
    if isinstance(resource, list):
        return {"type": "array", "items": {"$ref": f"#/definitions/{resource[0]}"}}
    return {"$ref": f"#/definitions/{resource}"} if isinstance(resource, str) else resource


def _loosened(schema: Any, path: str) -> Any:
    """The same, but for what recorded traffic and the CLI know better than the values of Heroku's tests.

    What was null there may be known here. A transfer's `num` is a number, a larger plan an object. A maintenance that
    is not due has no reason and no date, as in the list of an app's.
    """
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "null":
        return {}
    loose = {name: _loosened(value, path) for name, value in schema.items()}
    if "u12345" in loose.get("properties", {}):  # a login of that test's
        return {"type": "object", "additionalProperties": {"type": "integer"}}
    for name, more in _KNOWN_BETTER.items():
        if name in loose.get("properties", {}) and more[0] in path:
            loose["properties"][name] = {"type": ["string", more[1]]}
    return loose
