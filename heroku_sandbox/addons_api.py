"""The Platform API: add-ons, attachments, and their resolution."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, request

from heroku_sandbox import lookup, plans, shapes
from heroku_sandbox.platform_api import fields, identity
from heroku_sandbox.programs import MAJOR
from heroku_sandbox.state import SERVICE, Addon, Attachment
from heroku_sandbox.world import World


def _sources(body: dict[str, Any]) -> tuple[str | None, str | None]:
    """Returns what a new add-on is to fork, and to follow. Raises ApiError (422) for what the sandbox cannot do."""
    config = body.get("config") or {}
    version = str(config.get("version") or MAJOR)
    if version.partition(".")[0] != str(MAJOR):
        raise lookup.invalid(f"This sandbox has PostgreSQL {MAJOR} only, not {version}.")
    if "rollback" in config:
        raise lookup.invalid("This sandbox cannot bring a database back to an earlier moment: it keeps no log of that.")
    if unknown := sorted(config.keys() - {"fork", "follow", "version"}):
        raise lookup.invalid(f"This sandbox does not know the option {', '.join(unknown)}.")
    fork, follow = (str(config[name]) if config.get(name) else None for name in ("fork", "follow"))
    return fork, follow


def addons(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes about add-ons and their service."""
    blueprint = Blueprint("addons", __name__)
    state = world.store.state

    def addon_shape(of: Addon) -> dict[str, Any]:
        return shapes.addon(state, of, expansion=request.headers.get("Accept-Expansion", ""))

    @blueprint.get("/apps/<app>/addons")
    def of_app(app: str) -> Any:
        record = lookup.app(state, app)
        attached = {attachment.addon_id for attachment in lookup.attachments(state, app_id=record.id)}
        rows = [addon for addon in state.addons.values() if addon.app_id == record.id or addon.id in attached]
        return [addon_shape(row) for row in rows]

    @blueprint.get("/addon-services")
    def services() -> Any:
        return [shapes.service()]

    @blueprint.get("/addon-services/<service>")
    def get_service(service: str) -> Any:
        known_service(service)
        return shapes.service()

    @blueprint.get("/addon-services/<service>/plans")
    def plans_of(service: str) -> Any:
        known_service(service)
        return [shapes.plan(plan.tier) for plan in plans.OFFERED]

    def known_service(service: str) -> None:
        if service not in (SERVICE, shapes.service()["id"]):
            raise lookup.not_found("addon_service", "add-on service")

    @blueprint.get("/addons")
    def everything() -> Any:
        return [addon_shape(addon) for addon in state.addons.values()]

    @blueprint.post("/apps/<app>/addons")
    def create(app: str) -> Any:
        record, body = lookup.app(state, app), fields()
        fork, follow = _sources(body)
        addon = world.addons.create(
            record,
            identity(body.get("plan")),
            name=body.get("name"),
            attachment=(body.get("attachment") or {}).get("name"),
            fork=fork,
            follow=follow,
        )
        return addon_shape(addon), HTTPStatus.CREATED

    @blueprint.get("/addons/<addon>")
    def get(addon: str) -> Any:
        return addon_shape(lookup.addon(state, addon))

    @blueprint.get("/apps/<app>/addons/<addon>")
    def get_of_app(app: str, addon: str) -> Any:
        return addon_shape(lookup.only(lookup.resolve_addons(state, addon, app)))

    @blueprint.patch("/apps/<app>/addons/<addon>")
    def change(app: str, addon: str) -> Any:
        lookup.app(state, app)
        record, body = lookup.addon(state, addon), fields()
        if body.get("plan"):
            world.addons.change_plan(record, identity(body["plan"]))
        if body.get("name"):
            world.addons.rename(record, str(body["name"]))
        return addon_shape(record)

    @blueprint.delete("/apps/<app>/addons/<addon>")
    def destroy(app: str, addon: str) -> Any:
        lookup.app(state, app)
        record = lookup.addon(state, addon)
        last = addon_shape(record) | {"state": "deprovisioned", "config_vars": []}
        world.addons.destroy(record)
        return last

    @blueprint.post("/actions/addons/resolve")
    def resolve() -> Any:
        body = fields()
        matches = lookup.resolve_addons(state, identity(body.get("addon")), body.get("app"))
        return [addon_shape(addon) for addon in matches]

    return blueprint


def attachments(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes about attachments."""
    blueprint = Blueprint("attachments", __name__)
    state = world.store.state

    def shape(of: Attachment) -> dict[str, Any]:
        return shapes.attachment(state, of, inclusion="Accept-Inclusion" in request.headers)

    @blueprint.get("/addons/<addon>/config")
    @blueprint.get("/addons/<addon>/config/<namespace>")
    def config(addon: str, namespace: str | None = None) -> Any:
        # Clients only ask whether a credential exists: an empty list says no.
        names = {f"credential:{credential.name}" for credential in lookup.addon(state, addon).credentials}
        return [{"name": "credential", "value": namespace}] if namespace in names else []

    @blueprint.get("/apps/<app>/addon-attachments")
    def attachments_of_app(app: str) -> Any:
        return [shape(attachment) for attachment in lookup.attachments(state, app_id=lookup.app(state, app).id)]

    @blueprint.get("/apps/<app>/addon-attachments/<attachment>")
    def attachment_of_app(app: str, attachment: str) -> Any:
        return shape(lookup.attachment(state, attachment, lookup.app(state, app).id))

    @blueprint.get("/addons/<addon>/addon-attachments")
    def attachments_of_addon(addon: str) -> Any:
        return [shape(attachment) for attachment in lookup.attachments(state, addon_id=lookup.addon(state, addon).id)]

    @blueprint.get("/addon-attachments")
    def all_attachments() -> Any:
        return [shape(attachment) for attachment in lookup.attachments(state)]

    @blueprint.get("/addon-attachments/<attachment>")
    def get_attachment(attachment: str) -> Any:
        return shape(lookup.attachment(state, attachment))

    @blueprint.post("/addon-attachments")
    def attach() -> Any:
        body = fields()
        with world.store.change():
            attachment = world.addons.attach(
                lookup.app(state, identity(body.get("app"))),
                lookup.addon(state, identity(body.get("addon"))),
                name=body.get("name"),
                namespace=body.get("namespace"),
                confirm=body.get("confirm"),
            )
            return shape(attachment), HTTPStatus.CREATED

    @blueprint.delete("/addon-attachments/<attachment>")
    def detach(attachment: str) -> Any:
        with world.store.change():
            record = lookup.attachment(state, attachment)
            last = shape(record)
            world.addons.detach(record)
            return last

    @blueprint.post("/actions/addon-attachments/resolve")
    def resolve_attachment() -> Any:
        body = fields()
        matches = lookup.resolve_attachments(state, str(body.get("addon_attachment")), body.get("app"))
        return [shape(attachment) for attachment in matches]

    return blueprint
