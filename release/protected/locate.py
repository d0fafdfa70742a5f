"""The search for the target, the add-on behind the database, through Heroku's APIs, with the refusals that follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from release.asked import Asked
from release.errors import Reason, Refused
from release.heroku.http import HerokuError, Session
from release.heroku.platform import AddOn, App, Attachment, Place, Platform
from release.heroku.transfers import DataAPI, Database, Source, database_host, database_name
from release.protected.site import Site, standing
from release.protected.store import Store
from release.protected.target import Attached, Target
from release.protected.transfers import quiet_transfers
from release.run import Run
from release.settings.model import Guard

LARGE = 20 * 1000**3
"""Bytes. Heroku documents its logical backups for databases up to 20 GB."""

WITHOUT_BACKUPS = ("advanced", "performance")
"""What the names of plans of the Advanced tier begin with, which has no endpoints for backups."""


class Reached(Struct, frozen=True, kw_only=True):
    """An app that Heroku shows to this key, with the way to it."""

    app: App
    platform: Platform
    session: Session


class _Way(Struct, frozen=True, kw_only=True):
    """The way to an app that has been asked for."""

    app: Asked[App]
    platform: Platform
    session: Session


def find_app(run: Run) -> Reached:
    """Finds the app. Raises Refused, or HerokuError when the API cannot be used."""
    way = _set_out(run)
    return Reached(app=_arrive(run, way), platform=way.platform, session=way.session)


def _set_out(run: Run) -> _Way:
    settings = run.settings
    assert settings.heroku_api_key and settings.app  # noqa: S101, PT018 -- settings/reading.py has checked it
    session = Session(settings.heroku_api_key.reveal(), clock=run.clock, signals=run.signals)
    platform = Platform(session, settings.api_url, settings.app)
    return _Way(app=run.asked("GET app", platform.app), platform=platform, session=session)


def _arrive(run: Run, way: _Way) -> App:
    with explained(run.settings.app or ""):
        return way.app.answer()


def find_addon(run: Run) -> Attached:
    """Finds the add-on behind the database's variable. Raises Refused, or HerokuError when the API cannot be used."""
    way = _set_out(run)
    attachments = run.asked("GET addon-attachments", way.platform.attachments)
    app = _arrive(run, way)
    with explained(app.name):
        addon = _addon(run, app, attachments.answer())
    store = Store(addon=addon, data=DataAPI(way.session, run.settings.data_url))
    return Attached(app=app, addon=addon, site=_site(way, app), store=store, session=way.session)


def _site(way: _Way, app: App) -> Site:
    return Site(platform=way.platform, private=app.space is not None)


def find_target(run: Run, likely: AddOn | None = None) -> Target:
    """Finds the add-on behind the database, and checks that it may be restored. Raises Refused or HerokuError.

    It asks in two rounds: what the app's name leads to, and what its add-on leads to. `likely` is which add-on that
    probably is. About that one it asks in the first round; the answers count if it is that one.
    """
    way = _set_out(run)
    attachments = run.asked("GET addon-attachments", way.platform.attachments)
    formation = run.asked("GET formation", lambda: standing(way.platform.formation()))
    known = _ask_about(run, way, likely) if likely else None
    app = _arrive(run, way)
    with explained(app.name):
        addon = _addon(run, app, attachments.answer())
        if known is None or not known.is_about(addon):
            known = _ask_about(run, way, addon)
        _refuse_sharing(run, app, known.places.answer())
        source = _database(run, addon, known.described.answer())
        stands = formation.answer()
    store = replace(known.store, addon=addon)
    target = Target(
        app=app,
        addon=addon,
        site=_site(way, app),
        store=store,
        session=way.session,
        source=source,
        formation=stands,
        transfers=quiet_transfers(run, store, source),
    )
    _refuse_large(run, target)
    _warn_of_rotation(run, target)
    return target


class _Known(Struct, frozen=True, kw_only=True):
    """What has been asked about an add-on."""

    places: Asked[tuple[Place, ...]]
    described: Asked[Database]
    store: Store

    def is_about(self, addon: AddOn) -> bool:
        """Whether it is of this add-on and its billing app."""
        mine = self.store.addon
        return (mine.id, mine.app.name) == (addon.id, addon.app.name)


def _ask_about(run: Run, way: _Way, addon: AddOn) -> _Known:
    store = Store(addon=addon, data=DataAPI(way.session, run.settings.data_url))
    store.ask(run)
    return _Known(
        places=run.asked("GET addon attachments", lambda: way.platform.places_of(addon)),
        described=run.asked("GET database", lambda: store.data.database(addon)),
        store=store,
    )


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


def _database(run: Run, addon: AddOn, described: Database) -> Source:
    """Checks that the add-on is the database that is connected, and no follower. Raises Refused."""
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
