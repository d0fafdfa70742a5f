"""Finding records by whatever a client calls them, and Heroku's answers when there are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from heroku_sandbox.state import SERVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heroku_sandbox.state import Addon, App, Attachment, Release, State, Transfer


@dataclass(slots=True)
class ApiError(Exception):
    """An error answer: `{"id", "message", …}` with a status, as both of Heroku's APIs give."""

    status: int
    id: str
    message: str
    more: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {"id": self.id, "message": self.message, **self.more}


def not_found(resource: str, spoken: str | None = None) -> ApiError:
    """The 404 of a resource, with the texts of Heroku's CLI's own tests."""
    return ApiError(
        HTTPStatus.NOT_FOUND, "not_found", f"Couldn't find that {spoken or resource}.", {"resource": resource}
    )


def invalid(message: str) -> ApiError:
    """The 422 of a request that cannot be done as asked."""
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_params", message)


def app(state: State, identity: str) -> App:
    """By id or name."""
    for found in state.apps.values():
        if identity in (found.id, found.name):
            return found
    raise not_found("app")


def addon(state: State, identity: str, *, resource: str = "add_on", spoken: str = "add on") -> Addon:
    """By id or name."""
    for found in state.addons.values():
        if identity in (found.id, found.name):
            return found
    raise not_found(resource, spoken)


def database(state: State, identity: str) -> Addon:
    """By id or name, with the Data API's 404. Add-ons that are not ready are not found there either."""
    found = addon(state, identity, resource="database", spoken="database")
    if not found.provisioned:
        raise not_found("database")
    return found


def attachments(state: State, *, app_id: str | None = None, addon_id: str | None = None) -> list[Attachment]:
    """An app's attachments, or an add-on's, by name."""
    return sorted(
        (
            found
            for found in state.attachments.values()
            if app_id in (None, found.app_id) and addon_id in (None, found.addon_id)
        ),
        key=lambda found: found.name,
    )


def attachment(state: State, identity: str, app_id: str | None = None) -> Attachment:
    """By id, or within an app by name."""
    for found in state.attachments.values():
        if found.id == identity or (app_id == found.app_id and found.name == identity):
            return found
    raise not_found("add_on attachment", "add on attachment")


def resolve_attachments(state: State, text: str, within: str | None) -> list[Attachment]:
    """What `POST /actions/addon-attachments/resolve` means by a text, optionally `app::name`.

    An attachment's name, its config var, its id; or an add-on's name or id.
    """
    prefix, separator, name = text.rpartition("::")
    whose = prefix if separator else within
    owner = app(state, whose) if whose else None
    found = [
        each
        for each in attachments(state, app_id=owner.id if owner else None)
        if name in (each.id, state.addons[each.addon_id].id, state.addons[each.addon_id].name)
        or (owner and name.upper() in (each.name, each.variable))
    ]
    if not found:
        raise not_found("add_on attachment", "add on attachment")
    return found


def resolve_addons(state: State, text: str, within: str | None) -> list[Addon]:
    """What `POST /actions/addons/resolve` means by a text: an add-on, its service or plan, an attachment."""
    for each in state.addons.values():
        if text in (each.id, each.name):
            return [each]
    prefix, separator, name = text.rpartition("::")
    if not (separator or within):
        raise not_found("add_on", "add on")
    owner = app(state, prefix if separator else str(within))
    found = {
        each.addon_id: state.addons[each.addon_id]
        for each in attachments(state, app_id=owner.id)
        if name.upper() in (each.name, each.variable) or name in (SERVICE, state.addons[each.addon_id].plan)
    }
    if not found:
        raise not_found("add_on", "add on")
    return list(found.values())


def release(of: App, identity: str) -> Release:
    """By id or version, with or without the `v`."""
    for found in of.releases:
        if identity in (found.id, str(found.version), f"v{found.version}"):
            return found
    raise not_found("release")


def transfer(state: State, of: App, identity: str) -> Transfer:
    """By id or number, among those of the billing app."""
    for found in state.transfers.values():
        if found.app_id == of.id and identity in (found.id, str(found.num)):
            return found
    raise not_found("transfer")


def only(found: Sequence[Addon]) -> Addon:
    """The single match, or the 422 that Heroku gives for several."""
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "multiple_matches",
            f"Ambiguous identifier; multiple matching add-ons found: {names}.",
        )
    return found[0]
