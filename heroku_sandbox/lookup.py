"""Finding records by whatever a client calls them, and Heroku's answers when there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from heroku_sandbox.state import SERVICE, Addon, App, Attachment, Release, State, Transfer

Record = TypeVar("Record")


@dataclass(slots=True)
class ApiError(Exception):
    """An error answer: `{"id", "message", …}` with a status, as both of Heroku's APIs give."""

    status: int
    id: str
    message: str
    more: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Returns the JSON body."""
        return {"id": self.id, "message": self.message, **self.more}


def not_found(resource: str, spoken: str | None = None) -> ApiError:
    """Makes the 404 of a resource, with the texts of Heroku's CLI's own tests."""
    return ApiError(
        HTTPStatus.NOT_FOUND, "not_found", f"Couldn't find that {spoken or resource}.", {"resource": resource}
    )


def invalid(message: str) -> ApiError:
    """Makes the 422 of a request that cannot be done as asked."""
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_params", message)


def one(records: Mapping[str, Record], identity: str, resource: str) -> Record:
    """Finds a record by its id, or by what else it is kept under here. Raises ApiError (404)."""
    if identity not in records:
        raise not_found(resource, resource.replace("-", " ").replace("_", " "))
    return records[identity]


def app(state: State, identity: str) -> App:
    """Finds an app by id or name. Like all that find one record here, it raises ApiError (404) when there is none."""
    for record in state.apps.values():
        if identity in (record.id, record.name):
            return record
    raise not_found("app")


def addon(state: State, identity: str, *, resource: str = "add_on", spoken: str = "add on") -> Addon:
    """Finds an add-on by id or name."""
    for record in state.addons.values():
        if identity in (record.id, record.name):
            return record
    raise not_found(resource, spoken)


def database(state: State, identity: str) -> Addon:
    """Finds an add-on by id or name, with the Data API's 404. One that is not ready is not found there either."""
    record = addon(state, identity, resource="database", spoken="database")
    if not record.provisioned:
        raise not_found("database")
    return record


def classic(state: State, identity: str) -> Addon:
    """Finds a database that is not of the Advanced tier, which has no such routes: not found, which is a guess."""
    record = database(state, identity)
    if record.advanced:
        raise not_found("database")
    return record


def attachments(state: State, *, app_id: str | None = None, addon_id: str | None = None) -> list[Attachment]:
    """Returns an app's attachments, or an add-on's, sorted by name."""
    return sorted(
        (
            record
            for record in state.attachments.values()
            if app_id in (None, record.app_id) and addon_id in (None, record.addon_id)
        ),
        key=lambda record: record.name,
    )


def attachment(state: State, identity: str, app_id: str | None = None) -> Attachment:
    """Finds an attachment by id, or within an app by name."""
    for record in state.attachments.values():
        if record.id == identity or (app_id == record.app_id and record.name == identity):
            return record
    raise not_found("add_on attachment", "add on attachment")


def resolve_attachments(state: State, text: str, within: str | None) -> list[Attachment]:
    """Finds what `POST /actions/addon-attachments/resolve` means by a text, optionally `app::name`.

    The text is an attachment's name, its config var or its id, or an add-on's name or id.
    """
    prefix, separator, name = text.rpartition("::")
    whose = prefix if separator else within
    owner = app(state, whose) if whose else None
    matches = [
        record
        for record in attachments(state, app_id=owner.id if owner else None)
        if name in (record.id, state.addons[record.addon_id].id, state.addons[record.addon_id].name)
        or (owner and name.upper() in (record.name, record.variable))
    ]
    if not matches:
        raise not_found("add_on attachment", "add on attachment")
    return matches


def resolve_addons(state: State, text: str, within: str | None) -> list[Addon]:
    """Finds what `POST /actions/addons/resolve` means by a text: an add-on, its service or plan, or an attachment."""
    for record in state.addons.values():
        if text in (record.id, record.name):
            return [record]
    prefix, separator, name = text.rpartition("::")
    if not (separator or within):
        raise not_found("add_on", "add on")
    owner = app(state, prefix if separator else str(within))
    matches = {
        place.addon_id: state.addons[place.addon_id]
        for place in attachments(state, app_id=owner.id)
        if name.upper() in (place.name, place.variable) or name in (SERVICE, state.addons[place.addon_id].plan)
    }
    if not matches:
        raise not_found("add_on", "add on")
    return list(matches.values())


def release(of: App, identity: str) -> Release:
    """Finds a release by id or version, with or without the `v`."""
    for record in of.releases:
        if identity in (record.id, str(record.version), f"v{record.version}"):
            return record
    raise not_found("release")


def transfer(state: State, of: App, identity: str) -> Transfer:
    """Finds a transfer by id or number among those of the billing app."""
    for record in state.transfers.values():
        if record.app_id == of.id and identity in (record.id, str(record.num)):
            return record
    raise not_found("transfer")


def only(matches: Sequence[Addon]) -> Addon:
    """Returns the single match. Raises the 422 that Heroku gives for several."""
    if len(matches) > 1:
        names = ", ".join(record.name for record in matches)
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "multiple_matches",
            f"Ambiguous identifier; multiple matching add-ons found: {names}.",
        )
    return matches[0]
