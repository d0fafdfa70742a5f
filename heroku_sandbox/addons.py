"""Add-ons and attachments: which app uses which database under which name."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from heroku_sandbox import databases, lookup, plans
from heroku_sandbox.lookup import ApiError
from heroku_sandbox.pooling import POOLED, Pooler
from heroku_sandbox.postgres import Server
from heroku_sandbox.releases import Releases
from heroku_sandbox.state import SERVICE, Addon, App, Attachment, Credential, State, Store

_TAKEN = "Name is already taken"
_COLORS = "AMBER AQUA BLACK BLUE BRONZE BROWN CHARCOAL COBALT COPPER CRIMSON CYAN GOLD GRAY GREEN IVORY JADE MAROON \
MAUVE NAVY OLIVE ONYX ORANGE PINK PUCE PURPLE RED ROSE SILVER TEAL VIOLET WHITE YELLOW"
_NAMES = ("flat", "clear", "cubic", "rugged", "deep", "fluffy", "graceful", "horizontal", "sinuous", "round")


def _free_name_outside(taken: Collection[str]) -> str:
    """Returns a name as Heroku makes them up. Of a thousand drawn at random, two are the same as often as not."""
    while (name := f"postgresql-{secrets.choice(_NAMES)}-{10_000 + secrets.randbelow(90_000)}") in taken:
        pass
    return name


def plan_of(asked: str) -> str:
    """Returns the plan that `heroku-postgresql:standard-0` names, without the service. Raises ApiError (422)."""
    service, _, tier = asked.partition(":") if ":" in asked or asked == SERVICE else (SERVICE, "", asked)
    if service != SERVICE:
        raise lookup.invalid(f"This sandbox has no {service}: {SERVICE} is the only add-on service in it.")
    if not plans.known(tier or plans.DEFAULT):
        raise lookup.invalid(f'Couldn\'t find either the add-on service or the add-on plan of "{asked}".')
    return tier or plans.DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Addons:
    """The add-ons and attachments, and what can be done to them. Each attach and each detach makes a release."""

    store: Store
    server: Server
    releases: Releases
    pooler: Pooler

    def create(
        self,
        app: App,
        plan: str,
        *,
        name: str | None = None,
        attachment: str | None = None,
        fork: str | None = None,
        follow: str | None = None,
        num_keep: int | None = None,
    ) -> Addon:
        """Provisions a database and attaches it. The first of an app is DATABASE, the next ones get a colour."""
        allowed = plans.of(plan_of(plan))
        with self.store.lock:
            source = self._source(app, fork or follow)
            taken = {other.name for other in self.store.state.addons.values()}
            if name in taken:
                raise lookup.invalid(_TAKEN)
            name = name or _free_name_outside(taken)
        addon = Addon(
            name=name,
            app_id=app.id,
            plan=allowed.full_name,
            database=databases.new_name("d"),
            num_keep=num_keep or allowed.num_keep,
            credentials=[Credential(name="default", role=databases.new_name("u"), password=databases.new_password())],
            forked_from=source.id if source and fork else None,
            following=source.id if source and follow else None,
        )
        if source:
            databases.fork(self.server, source, addon)
        else:
            databases.create(self.server, addon)
        with self.store.change() as state:
            state.addons[addon.id] = addon
            self.attach(app, addon, name=attachment or self._free_name(state, app))
        return addon

    def _source(self, app: App, text: str | None) -> Addon | None:
        """Returns the database to fork or follow, or None. Raises ApiError (422) for a tier that cannot be."""
        if text is None:
            return None
        source = lookup.only(lookup.resolve_addons(self.store.state, text, app.name))
        if plans.of(source.tier).essential:
            raise lookup.invalid("Fork and follow are not supported on Essential-tier databases.")
        return source

    def change_plan(self, addon: Addon, asked: str) -> None:
        """Gives an Essential database another Essential plan. Raises ApiError (422) for all others, as Heroku does."""
        present, wanted = plans.of(addon.tier), plans.of(plan_of(asked))
        if not (present.essential and wanted.essential):
            raise lookup.invalid(
                "You can't change a Heroku Postgres plan like this. Create a database of the new plan, copy the data "
                "with `heroku pg:copy`, and promote it."
            )
        with self.store.change():
            addon.plan, addon.num_keep = wanted.full_name, wanted.num_keep
        databases.limit(self.server, addon)

    def rename(self, addon: Addon, name: str) -> None:
        """Gives an add-on another name. Raises ApiError (422) for one that is taken."""
        with self.store.change() as state:
            if any(other.name == name for other in state.addons.values() if other is not addon):
                raise lookup.invalid(_TAKEN)
            addon.name = name

    def destroy(self, addon: Addon) -> None:
        """Removes an add-on with its attachments and its data. Its transfers stay with the billing app."""
        with self.store.change() as state:
            for attachment in lookup.attachments(state, addon_id=addon.id):
                self.detach(attachment)
            del state.addons[addon.id]
        databases.drop(self.server, addon)

    def attach(
        self,
        app: App,
        addon: Addon,
        *,
        name: str | None = None,
        namespace: str | None = None,
        confirm: str | None = None,
    ) -> Attachment:
        """Gives an app a database under a name. A name in use has to be confirmed, and moves (`pg:promote`).

        Moving makes two releases, in the first of which the config var is missing.
        """
        with self.store.change() as state:
            name = (name or self._free_name(state, app, second=True)).upper()
            present = next((place for place in lookup.attachments(state, app_id=app.id) if place.name == name), None)
            if present and present.addon_id == addon.id and present.namespace == namespace:
                raise lookup.invalid(f"{addon.name} is already attached to {app.name} as {name}")
            if present and confirm != app.name:
                raise ApiError(
                    HTTPStatus.BAD_REQUEST,
                    "confirmation_required",
                    f"{name} is already attached to {app.name}. This would replace it.",
                    headers={"X-Confirmation-Required": app.name},
                )
            if namespace == POOLED:
                self._prepare_pool(addon)
            url = self.url(addon, namespace)
            if present:
                self.detach(present)
            attachment = Attachment(name=name, app_id=app.id, addon_id=addon.id, namespace=namespace)
            state.attachments[attachment.id] = attachment
            self.releases.configure(app, {attachment.variable: url}, f"Attach {name} (@ref:{addon.name})")
            return attachment

    def detach(self, attachment: Attachment) -> None:
        """Takes a database from an app."""
        with self.store.change() as state:
            app, addon = state.apps[attachment.app_id], state.addons[attachment.addon_id]
            del state.attachments[attachment.id]
            self.releases.configure(app, {attachment.variable: None}, f"Detach {attachment.name} (@ref:{addon.name})")

    def _free_name(self, state: State, app: App, *, second: bool = False) -> str:
        taken = {attachment.name for attachment in lookup.attachments(state, app_id=app.id)}
        if "DATABASE" not in taken and not second:
            return "DATABASE"
        return next(name for color in _COLORS.split() if (name := f"HEROKU_POSTGRESQL_{color}") not in taken)

    def url(self, addon: Addon, namespace: str | None = None) -> str:
        """Returns an add-on's connection URL, with its default credential or with the one that a namespace names."""
        if namespace == POOLED:
            return self.pooler.url(addon)
        wanted = namespace.removeprefix("credential:") if namespace else "default"
        for credential in addon.credentials:
            if credential.name == wanted:
                return self.server.url(addon.database, credential.role, credential.password)
        raise lookup.not_found("credential")

    def pool(self, *more: Addon) -> None:
        """Lets the pool serve `more` and the databases that have a pooled attachment, with today's passwords."""
        if not self.pooler.installed:
            return
        state = self.store.state
        pooled = {place.addon_id for place in state.attachments.values() if place.namespace == POOLED}
        pooled |= {addon.id for addon in more}
        self.pooler.serve([state.addons[addon_id] for addon_id in pooled])

    def pooled_name(self, app: App, addon: Addon) -> str:
        """Returns the name that a pooled attachment gets: after the one that it stands beside."""
        places = lookup.attachments(self.store.state, app_id=app.id, addon_id=addon.id)
        first = min((place.name for place in places), key=lambda name: (name != "DATABASE", name), default="DATABASE")
        return f"{first}_CONNECTION_POOL"

    def _prepare_pool(self, addon: Addon) -> None:
        """Lets the pool serve a database. Raises ApiError (422) for an Essential one or without pgbouncer."""
        if plans.of(addon.tier).essential:
            raise lookup.invalid("You can't perform this operation on Essential-tier databases.")
        self.pooler.require()
        self.pool(addon)

    def behind(self, url: str) -> Addon | None:
        """Returns the database that a URL leads to, whosever login it names, or None."""
        parts = urlsplit(url)
        logins = {self.server.port, self.pooler.port}
        for addon in self.store.state.addons.values():
            if parts.path.lstrip("/") == addon.database and parts.port in logins:
                return addon
        return None

    def new_credential(self, addon: Addon, name: str) -> Credential:
        """Creates another login for a database. Its role has its name, unless the cluster has such a role already."""
        if any(credential.name == name for credential in addon.credentials):
            raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", f"Credential {name} already exists.")
        role = name if not databases.role_exists(self.server, name) else databases.new_name(f"{name}_")
        credential = Credential(name=name, role=role, password=databases.new_password())
        databases.add_credential(self.server, addon, credential)
        with self.store.change():
            addon.credentials.append(credential)
        return credential

    def rotate(self, addon: Addon, credential: Credential) -> None:
        """Gives a credential a new password, which the add-on itself puts into the config vars.

        That makes a release without release phase in each app.
        """
        with self.store.change() as state:
            credential.password = databases.new_password()
            databases.set_password(self.server, credential)
            by_app: dict[str, dict[str, str | None]] = {}
            for attachment in lookup.attachments(state, addon_id=addon.id):
                name = (attachment.namespace or "default").rpartition(":")[2]
                if name == credential.name:
                    url = self.url(addon, attachment.namespace)
                    by_app.setdefault(attachment.app_id, {})[attachment.variable] = url
            for app_id, config in by_app.items():
                self.releases.update_silently(state.apps[app_id], config, f"Update by {SERVICE}")
        self.pool()
