"""The search for the target, the add-on behind the database, through Heroku's APIs, with the refusals that follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from release.errors import Reason, Refused
from release.heroku.http import HerokuError, Session
from release.heroku.platform import AddOn, App, Attachment, Place, Platform
from release.heroku.transfers import DataAPI, Source, database_host, database_name
from release.protected.site import Site
from release.protected.store import Store
from release.protected.target import Attached, Target
from release.protected.transfers import quiet_transfers
from release.run import Run
from release.settings.model import Guard

LARGE = 20 * 1000**3
"""Bytes. Heroku documents its logical backups for databases up to 20 GB."""

WITHOUT_BACKUPS = ("advanced", "performance")
"""What the names of plans of the Advanced tier begin with, which has no endpoints for backups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """An app that Heroku shows to this key, with the way to it."""

    app: App
    platform: Platform
    session: Session


def find_app(run: Run) -> Reached:
    """Finds the app. Raises Refused, or HerokuError when the API cannot be used."""
    settings = run.settings
    assert settings.heroku_api_key and settings.app  # noqa: S101, PT018 -- settings/reading.py has checked it
    session = Session(settings.heroku_api_key.reveal(), clock=run.clock, signals=run.signals)
    platform = Platform(session, settings.api_url, settings.app)
    with explained(settings.app):
        return Reached(app=run.retried("GET app", platform.app), platform=platform, session=session)


def find_addon(run: Run) -> Attached:
    """Finds the add-on behind the database's variable. Raises Refused, or HerokuError when the API cannot be used."""
    reached = find_app(run)
    app, platform, session = reached.app, reached.platform, reached.session
    with explained(app.name):
        addon = _addon(run, app, run.retried("GET addon-attachments", platform.attachments))
    store = Store(addon=addon, data=DataAPI(session, run.settings.data_url))
    site = Site(platform=platform, private=app.space is not None)
    return Attached(app=app, addon=addon, site=site, store=store, session=session)


def find_target(run: Run) -> Target:
    """Finds the add-on behind the database, and checks that it may be restored. Raises Refused or HerokuError."""
    attached = find_addon(run)
    app, addon, site, store = attached.app, attached.addon, attached.site, attached.store
    with explained(app.name):
        _refuse_sharing(run, app, run.retried("GET addon attachments", lambda: site.platform.places_of(addon)))
        source = _database(run, store)
        formation = site.formation(run)
    target = Target(
        app=app,
        addon=addon,
        site=site,
        store=store,
        session=attached.session,
        source=source,
        formation=formation,
        transfers=quiet_transfers(run, store, source),
    )
    _refuse_large(run, target)
    _warn_of_rotation(run, target)
    return target


@contextmanager
def explained(app: str) -> Iterator[None]:
    """Turns answers that will not change by themselves into refusals."""
    try:
        yield
    except HerokuError as error:
        raise _refusal(error, app) or error from error


def _refusal(error: HerokuError, app: str) -> Refused | None:
    """Returns the refusal for an answer that will not change by itself. A rejected key and a forbidden one differ."""
    match error.status:
        case 401 | 403:
            return Refused(error.reason, error.detail, status=error.status)
        case 404:
            return Refused(Reason.APP_NOT_FOUND, f"{app}: {error.detail}")
        case _:
            return None


def _addon(run: Run, app: App, attachments: tuple[Attachment, ...]) -> AddOn:
    """Returns the add-on whose attachment sets the config var of the database. Raises Refused."""
    variable = run.settings.database
    # One add-on may have several attachments, so add-ons are counted by id.
    addons = {attachment.addon.id: attachment.addon for attachment in attachments if variable in attachment.config_vars}
    if len(addons) != 1:
        names = sorted({name for attachment in attachments for name in attachment.config_vars if name.endswith("_URL")})
        raise Refused(
            Reason.NOT_ATTACHED,
            f"no attachment of {app.name} sets {variable}" + (f"; attached: {', '.join(names)}" if names else ""),
        )
    (addon,) = addons.values()
    service, _, plan = (addon.plan.name if addon.plan else "").partition(":")
    if service and service != "heroku-postgresql":
        raise Refused(
            Reason.NOT_ATTACHED, f"{variable} is set by {addon.name}, which is not Heroku Postgres ({service})"
        )
    if plan.startswith(WITHOUT_BACKUPS):
        raise Refused(Reason.UNSUPPORTED_TIER, f"{addon.name} is on the plan {addon.plan.name if addon.plan else plan}")
    if addon.app.id != app.id:
        run.guard(Guard.OTHER_APP, Refused(Reason.OTHER_APP, f"{addon.name} belongs to {addon.app.name}"))
    return addon


def _refuse_sharing(run: Run, app: App, places: tuple[Place, ...]) -> None:
    """Refuses an add-on that other apps use, whose writes a restore would undo, too."""
    others = sorted({place.app.name for place in places if place.app.id != app.id})
    if others:
        run.guard(
            Guard.SHARED_DATABASE,
            Refused(Reason.SHARED_DATABASE, f"also attached to {', '.join(others)}", apps=others),
        )


def _database(run: Run, store: Store) -> Source:
    """Checks that the add-on is the database that is connected, and no follower. Raises Refused or HerokuError."""
    addon = store.addon
    described = run.retried("GET database", lambda: store.data.database(addon))
    if described.following:
        raise Refused(Reason.FOLLOWER, f"{addon.name} follows another database")
    connected = run.database.name
    if described.addon_id not in {None, addon.id} or described.database_name != connected:
        raise Refused(
            Reason.DATABASE_MISMATCH,
            f"{run.settings.database} leads to the database {connected}, {addon.name} is {described.database_name}",
        )
    if (described.num_bytes or 0) > LARGE:
        run.warn(
            "large_database",
            f"{described.num_bytes} bytes; Heroku documents logical backups for databases up to {LARGE} bytes",
            bytes=described.num_bytes,
        )
    return source_of(run, addon)


def source_of(run: Run, addon: AddOn) -> Source:
    """Returns what identifies the connected database in transfers.

    Followers and forks that are attached to the app, too, are known by their config vars: they have the same name on
    another host.
    """
    assert run.settings.database_url  # noqa: S101 -- edge.py has checked it
    here = database_host(run.settings.database_url.reveal())
    name = run.database.name
    hosts = {database_host(value) for value in run.environ.values() if database_name(value) == name}
    elsewhere = frozenset(host for host in hosts if host and host != here)
    return Source(addon_id=addon.id, database_name=name, elsewhere=elsewhere)


def _refuse_large(run: Run, target: Target) -> None:
    """Refuses when earlier transfers say that backup, salvage and restore do not fit into the time limit."""
    backup = target.expected(restores=False)
    if backup is None:
        return
    restore = target.expected(restores=True) or backup * 1.5
    needed = 2 * backup + restore  # the salvage is one more backup
    if needed > run.deadline.left():
        run.guard(
            Guard.LARGE_DATABASE,
            Refused(
                Reason.LARGE_DATABASE,
                f"earlier transfers took {backup:.0f} s (backup) and {restore:.0f} s (restore); backup, salvage and"
                f" restore need about {needed:.0f} s, {run.deadline.left():.0f} s are left",
            ),
        )


def _warn_of_rotation(run: Run, target: Target) -> None:
    """Warns of the backups that Heroku will drop after the capture to stay within `num_keep`."""
    backups = target.own_backups()
    keep = next((backup.num_keep for backup in backups if backup.num_keep), None)
    if keep and len(backups) >= keep:
        # The capture is one of the `keep`, so only `keep` - 1 of the present ones stay.
        dropped = [backup.name for backup in backups[keep - 1 :]]
        run.warn(
            "backup_rotated",
            f"Heroku keeps {keep} manual backups; {', '.join(dropped)} will be dropped",
            backups=dropped,
        )
