"""The Platform API: account, apps, config vars, releases and their output."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from heroku_sandbox import lookup, pages, removal, shapes
from heroku_sandbox.releases import new_app
from heroku_sandbox.state import App, Release, ReleaseStatus, now
from heroku_sandbox.world import World

_FOLLOW_SECONDS = 0.05
_STACK = "heroku-24"
_FIXED: dict[str, str | None] = {"region": "us", "stack": _STACK}


def fields() -> dict[str, Any]:
    """Returns the JSON object of the request's body; an empty body is an empty object. Raises ApiError (400)."""
    try:
        body = json.loads(request.get_data() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise lookup.ApiError(HTTPStatus.BAD_REQUEST, "bad_request", "Unable to parse the JSON in the request body.")
    return body


def identity(value: Any) -> str:
    """Returns the id or name by which a request names an app, add-on or plan, also as an object that holds it."""
    if isinstance(value, dict):
        value = value.get("id") or value.get("name")
    return str(value)


def _only(body: dict[str, Any], known: dict[str, str | None]) -> None:
    """Raises ApiError (422) for a field that is not known here, or has another value than the one there is."""
    for name, value in body.items():
        if value is None or value is False:
            continue
        if name not in known:
            raise lookup.invalid(f"This sandbox cannot give an app {name}.")
        if known[name] is not None and identity(value) != known[name]:
            raise lookup.invalid(f"This sandbox has the {name} {known[name]} only, not {identity(value)}.")


def apps(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of the account, apps and config vars."""
    blueprint = Blueprint("apps", __name__)
    state = world.store.state

    @blueprint.get("/account")
    def account() -> Any:
        return shapes.account(state)

    @blueprint.get("/teams")
    def teams() -> Any:
        return []

    @blueprint.get("/apps")
    def list_apps() -> Any:
        return [shapes.app(state, record) for record in state.apps.values()]

    @blueprint.post("/apps")
    def create_app() -> Any:
        body = fields()
        _only(body, {"name": None, **_FIXED})
        with world.store.change():
            name = body.get("name") or f"app-{secrets.token_hex(5)}"
            return shapes.app(state, new_app(state, name)), HTTPStatus.CREATED

    @blueprint.get("/apps/<app>")
    def get_app(app: str) -> Any:
        return shapes.app(state, lookup.app(state, app))

    @blueprint.patch("/apps/<app>")
    def update_app(app: str) -> Any:
        with world.store.change():
            record, body = lookup.app(state, app), fields()
            _only(body, {"name": None, "maintenance": None, "build_stack": _STACK})
            if "maintenance" in body:
                record.maintenance = bool(body["maintenance"])  # heroku3 sends 0 for false
            name = body.get("name") or record.name
            if any(other.name == name for other in state.apps.values() if other is not record):
                raise lookup.invalid(f"Name {name} is already taken")
            record.name = name
            record.updated_at = now()
            return shapes.app(state, record)

    @blueprint.delete("/apps/<app>")
    def destroy_app(app: str) -> Any:
        record = lookup.app(state, app)
        last = shapes.app(state, record)
        removal.destroy(world, record)
        return last

    @blueprint.get("/apps/<app>/config-vars")
    def get_config(app: str) -> Any:
        return lookup.app(state, app).config

    @blueprint.patch("/apps/<app>/config-vars")
    def update_config(app: str) -> Any:
        record = lookup.app(state, app)
        return change_config(world, record, fields())

    return blueprint


def change_config(world: World, app: App, changes: dict[str, Any]) -> dict[str, str]:
    """Changes config vars. Returns the map with the change, also where its release still has to pass."""
    attached = {attachment.variable for attachment in lookup.attachments(world.store.state, app_id=app.id)}
    if taken := sorted(attached & changes.keys()):
        raise lookup.invalid(f"Cannot overwrite attachment values {', '.join(taken)}.")
    present = app.config
    config = {name: None if value is None else str(value) for name, value in changes.items()}
    config = {name: value for name, value in config.items() if present.get(name) != value}
    if config:
        verb = "Remove" if all(value is None for value in config.values()) else "Set"
        world.releases.configure(app, config, f"{verb} {', '.join(config)} config vars")
    merged = {**present, **config}
    return {name: value for name, value in merged.items() if value is not None}


def releases(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of releases, slugs and output streams."""
    blueprint = Blueprint("releases", __name__)
    state = world.store.state

    def shape(app: App, of: Release) -> dict[str, Any]:
        return shapes.release(state, app, of, world.addresses.api)

    @blueprint.get("/apps/<app>/releases")
    def list_releases(app: str) -> Any:
        record = lookup.app(state, app)
        rows = [shape(record, release) for release in record.releases]
        chosen, headers, status = pages.page(rows, request.headers.get("Range"), default="version")
        return chosen, status, headers

    @blueprint.get("/apps/<app>/releases/<release>")
    def get_release(app: str, release: str) -> Any:
        record = lookup.app(state, app)
        return shape(record, lookup.release(record, release))

    @blueprint.get("/apps/<app>/releases/<release>/config-vars")
    def get_release_config(app: str, release: str) -> Any:
        record = lookup.release(lookup.app(state, app), release)
        return record.config or {}

    @blueprint.post("/apps/<app>/releases")
    def create_release(app: str) -> Any:
        with world.store.change():
            record, body = lookup.app(state, app), fields()
            if "release" in body:
                release = world.releases.rollback(record, lookup.release(record, str(body["release"])))
            elif body.get("slug") in state.slugs:
                slug = state.slugs[body["slug"]]
                description = body.get("description") or f"Deploy {slug.commit[:8]}"
                release = world.releases.release_slug(record, slug, description)
            else:
                raise lookup.not_found("slug")
            return shape(record, release), HTTPStatus.CREATED

    @blueprint.get("/apps/<app>/slugs/<slug>")
    def get_slug(app: str, slug: str) -> Any:
        lookup.app(state, app)
        if slug not in state.slugs:
            raise lookup.not_found("slug")
        return shapes.slug(state.slugs[slug])

    @blueprint.get("/streams/<release>")
    def stream(release: str) -> Any:
        shown = next((record for app in state.apps.values() for record in app.releases if record.id == release), None)
        file = world.releases.output(shown) if shown else None
        if shown is None or file is None or not file.exists():
            return Response("Channel is not registered.\n", HTTPStatus.NOT_FOUND, mimetype="text/plain")
        offset = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0] or 0)
        if request.headers.get("Accept") == "text/event-stream":
            offset = int(request.headers.get("Last-Event-Id", 0))
            return Response(_events(_follow(shown, file, offset), offset), mimetype="text/event-stream")
        status = HTTPStatus.PARTIAL_CONTENT if offset else HTTPStatus.OK
        return Response(_follow(shown, file, offset), status, mimetype="text/plain")

    return blueprint


def _follow(release: Release, path: Any, offset: int) -> Iterator[bytes]:
    """Yields what a release phase has printed from an offset on, and what it prints until it ends."""
    with path.open("rb") as file:
        file.seek(offset)
        while True:
            ended = release.status is not ReleaseStatus.PENDING
            while piece := file.read(65_536):
                yield piece
            if ended:
                return
            time.sleep(_FOLLOW_SECONDS)


def _events(pieces: Iterator[bytes], offset: int) -> Iterator[bytes]:
    """Yields the same as server-sent events whose ids are offsets."""
    for piece in pieces:
        offset += len(piece)
        lines = piece.decode(errors="replace").splitlines()
        yield ("".join(f"data: {line}\n" for line in lines) + f"id: {offset}\n\n").encode()
