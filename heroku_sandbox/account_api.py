"""The Platform API: who has access, with which keys, under which domains, and the features of the labs."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

from flask import Blueprint

from heroku_sandbox import lookup, shapes
from heroku_sandbox.platform_api import fields
from heroku_sandbox.shapes import iso
from heroku_sandbox.state import EMAIL, App, Authorization, now
from heroku_sandbox.world import World

METADATA = "runtime-dyno-metadata"
_REPOSITORIES = "dashboard-repositories-api"
_OTHERS = (
    "preboot",
    "http-session-affinity",
    "log-runtime-metrics",
    "http-end-to-end-keepalive",
    "spaces-dns-discovery",
)
_SCOPES = ("global", "identity", "read", "write", "read-protected", "write-protected")


def keys(world: World) -> Blueprint:
    """Makes the routes of API keys: `heroku authorizations:create` and its kin."""
    blueprint = Blueprint("keys", __name__)
    state = world.store.state

    def shape(of: Authorization) -> dict[str, Any]:
        return {
            "id": of.id,
            "description": of.description,
            "scope": state.keys.get(of.key, []),
            "access_token": {"id": of.id, "token": of.key, "expires_in": None},
            "client": None,
            "grant": None,
            "refresh_token": None,
            "session": None,
            "created_at": iso(of.created_at),
            "updated_at": iso(of.created_at),
            "user": {"id": state.account_id, "email": EMAIL, "full_name": "Sandbox"},
        }

    def one(text: str) -> Authorization:
        if text not in state.authorizations:
            raise lookup.not_found("oauth_authorization", "authorization")
        return state.authorizations[text]

    @blueprint.get("/oauth/authorizations")
    def everything() -> Any:
        return [shape(record) for record in state.authorizations.values()]

    @blueprint.post("/oauth/authorizations")
    def create() -> Any:
        body = fields()
        scopes = body.get("scope") or ["global"]
        if not isinstance(scopes, list) or not set(scopes) <= set(_SCOPES):
            raise lookup.invalid(f"The scopes are {', '.join(_SCOPES)}.")
        if body.get("expires_in") is not None:
            raise lookup.invalid("The sandbox's keys do not expire. Leave out --expires-in.")
        record = Authorization(key=f"HRKU-AA{secrets.token_urlsafe(44)[:58]}", description=str(body.get("description")))
        with world.store.change():
            state.keys[record.key] = scopes
            state.authorizations[record.id] = record
        return shape(record), HTTPStatus.CREATED

    @blueprint.get("/oauth/authorizations/<which>")
    def get(which: str) -> Any:
        return shape(one(which))

    @blueprint.delete("/oauth/authorizations/<which>")
    def revoke(which: str) -> Any:
        with world.store.change():
            record = one(which)
            last = shape(record)
            del state.authorizations[record.id]
            state.keys.pop(record.key, None)
        return last

    return blueprint


def access(world: World) -> Blueprint:
    """Makes the routes that show who has access to an app and under which domain it would be."""
    blueprint = Blueprint("access", __name__)
    state = world.store.state

    @blueprint.get("/users/~")
    def user() -> Any:
        return shapes.account(state)

    @blueprint.get("/users/~/apps")
    def apps() -> Any:
        return [shapes.app(state, record) for record in state.apps.values()]

    @blueprint.get("/apps/<app>/collaborators")
    def collaborators(app: str) -> Any:
        record = lookup.app(state, app)
        return [
            {
                "id": shapes.stable_id(record.id, "collaborator"),
                "app": {"id": record.id, "name": record.name},
                "permissions": [{"name": name, "description": ""} for name in ("deploy", "manage", "operate", "view")],
                "role": "owner",
                "user": {"id": state.account_id, "email": EMAIL, "federated": False},
                "created_at": iso(record.created_at),
                "updated_at": iso(record.created_at),
            }
        ]

    @blueprint.get("/apps/<app>/domains")
    def domains(app: str) -> Any:
        return [_domain(lookup.app(state, app))]

    @blueprint.get("/apps/<app>/domains/<name>")
    def domain(app: str, name: str) -> Any:
        shown = _domain(lookup.app(state, app))
        if name not in (shown["id"], shown["hostname"]):
            raise lookup.not_found("domain")
        return shown

    return blueprint


def _domain(of: App) -> dict[str, Any]:
    return {
        "id": shapes.stable_id(of.id, "domain"),
        "app": {"id": of.id, "name": of.name},
        "hostname": of.domain,
        "kind": "heroku",
        "cname": None,
        "status": "succeeded",
        "acm_status": None,
        "acm_status_reason": None,
        "sni_endpoint": None,
        "created_at": iso(of.created_at),
        "updated_at": iso(of.created_at),
    }


def _feature(name: str, words: str, of: App | None = None, *, enabled: bool) -> dict[str, Any]:
    return {
        "id": shapes.stable_id("feature", name),
        "name": name,
        "description": words,
        "doc_url": "https://devcenter.heroku.com/articles/dyno-metadata",
        "display_name": name.replace("-", " ").capitalize(),
        "feedback_email": EMAIL,
        "enabled": enabled,
        "state": "general",
        "created_at": iso(of.created_at if of else now()),
        "updated_at": iso(of.updated_at if of else now()),
    }


def features(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of features. The sandbox has one that does something, the dynos' metadata."""
    blueprint = Blueprint("features", __name__)
    state = world.store.state

    def shape(app: App) -> dict[str, Any]:
        enabled = world.releases.has_metadata(app)
        words = "Provides the metadata of its app, release and code to each dyno, as environment variables"
        return _feature(METADATA, words, app, enabled=enabled) | {"state": "public"}

    def only(name: str) -> None:
        if name in _OTHERS:
            raise lookup.invalid(f"The sandbox does not do {name}. Of Heroku's app features it has {METADATA}.")
        if name not in (METADATA, shapes.stable_id("feature", METADATA)):
            raise lookup.not_found("feature")

    @blueprint.get("/account/features")
    def of_account() -> Any:
        return []

    @blueprint.get(f"/account/features/{_REPOSITORIES}")
    def repositories() -> Any:
        # Else Heroku's CLI would ask another server, which is not here, for a pipeline's repository.
        return _feature(_REPOSITORIES, "Pipelines' repositories", enabled=True)

    @blueprint.get("/account/features/<name>")
    @blueprint.patch("/account/features/<name>")
    def one_of_account(**_: str) -> Any:
        raise lookup.not_found("feature")

    @blueprint.get("/apps/<app>/features")
    def of_app(app: str) -> Any:
        return [shape(lookup.app(state, app))]

    @blueprint.get("/apps/<app>/features/<name>")
    def get(app: str, name: str) -> Any:
        record = lookup.app(state, app)
        only(name)
        return shape(record)

    @blueprint.patch("/apps/<app>/features/<name>")
    def switch(app: str, name: str) -> Any:
        record, enabled = lookup.app(state, app), fields().get("enabled")
        only(name)
        if not isinstance(enabled, bool):
            raise lookup.invalid("Require params: enabled.")
        with world.store.change():
            if enabled is not world.releases.has_metadata(record):
                record.labs[METADATA] = enabled
                record.updated_at = now()
                world.releases.configure(record, {}, f"{'Enable' if enabled else 'Disable'} {METADATA} feature")
        return shape(record)

    return blueprint
