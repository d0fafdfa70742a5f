"""The check: all that can be known of a real app with its key, within seconds. It changes nothing and takes no lock.

What is looked at is what a release looks at, by the same code; but a release is refused by the first thing that is in
its way, and a check goes on and names them all. What the app says is pending is for `plan`, which starts the app.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import msgspec
from msgspec.structs import replace

from release.app import frameworks, procfile
from release.app.command import find_commands
from release.clock import Deadline
from release.commands.anywhere import Asked, asked_about
from release.commands.plan import FACTS, hear, look_for_others
from release.edge import Edge, opened
from release.errors import Misconfigured, Reason, Refused, ReleaseError
from release.heroku.http import HerokuError
from release.heroku.platform import App
from release.log.logger import Log, open_log
from release.log.redact import secrets_in
from release.log.shorten import plain
from release.output.check import Checked, Item, State
from release.output.plan import Plan
from release.output.words import count, seconds, size
from release.program import named
from release.protected import lock
from release.protected.locate import Reached, find_addon, find_app, find_target
from release.protected.target import Target
from release.run import Run
from release.settings.model import Backup, Guard, Secret, Settings
from release.settings.reading import read
from release.steps import prepare, recover

WITHIN = 10.0
"""Seconds in which Heroku and the database have to answer."""
NEEDING_A_BACKUP = frozenset({"RELEASE_FENCE", "RELEASE_REHEARSAL_DATABASE"})
LAB = "runtime-dyno-metadata"
SHOWN = 5
"""How many things of a kind are named one by one."""
FEW = 3
"""Connections that are free at least: the hook needs two, and the app's own command one."""

CONNECTIONS: Final[LiteralString] = (
    "SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user),"
    " (SELECT min(most) FROM (VALUES (r.rolconnlimit), (d.datconnlimit), (current_setting('max_connections')::int))"
    " AS limits (most) WHERE most > 0)"
    " FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d"
    " WHERE r.rolname = current_user AND d.datname = current_database()"
)
"""How many connections this role has, and how many it may have: by its own limit, the database's, or the server's."""

ABOUT = {
    Reason.SETTINGS_INVALID: "Settings",
    Reason.KEY_REJECTED: "Key",
    Reason.KEY_FORBIDDEN: "Key",
    Reason.APP_NOT_FOUND: "App",
    Reason.NOT_ATTACHED: "Add-on",
    Reason.UNSUPPORTED_TIER: "Add-on",
    Reason.UNFINISHED_RUN: "Earlier run",
}
"""What a refusal is about, whatever was looked at when it came."""


class Looking(msgspec.Struct, frozen=True, kw_only=True):
    """A check under way: what has been found, and what the checks of a release have said since it was looked at."""

    checked: Checked
    heard: Plan
    allowed: frozenset[Guard] = frozenset()

    def add(self, about: str, state: State, text: str, hint: str = "", reason: str | None = None) -> None:
        """Adds something that was looked at; what is looked at twice, once."""
        item = Item(about=about, state=state, text=text, hint=named(hint), reason=reason)
        if all(item.text != other.text for other in self.checked.items):
            self.checked.items.append(item)

    @contextmanager
    def at(self, about: str) -> Iterator[None]:
        """Looks at something. What would refuse a release is added instead of raised, and so is what is warned of."""
        try:
            yield
        except ReleaseError as error:
            self.refused(about, error)
        self._add_heard(about)

    def refused(self, about: str, error: ReleaseError) -> None:
        """Adds what a release would be refused with."""
        about = ABOUT.get(error.reason, about)
        errors = error.facts.get("errors")
        for text in errors if isinstance(errors, list) else [str(error)]:
            self.add(about, State.BAD, named(str(text)), error.reason.hint, error.reason.slug)

    def _add_heard(self, about: str) -> None:
        guards: dict[str, list[dict[str, Any]]] = {}
        for guard in self.heard.guards:
            guards.setdefault(guard["guard"], []).append(guard)
        for name, found in guards.items():
            self._add_guard(about, Guard(name), found)
        for warning in self.heard.warnings:
            self.add(about, State.WARNING, warning["detail"])
        self.heard.guards.clear()
        self.heard.warnings.clear()

    def _add_guard(self, about: str, guard: Guard, found: list[dict[str, Any]]) -> None:
        reason = next(reason for reason in Reason if reason.slug == found[0]["reason"])
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        text = f"{reason.text}: {'; '.join(each['detail'] for each in found[:SHOWN])}{more}"
        if guard in self.allowed:
            self.add(about, State.WARNING, f"{text} (overridden by RELEASE_ALLOW)")
        else:
            self.add(about, State.BAD, text, reason.hint, reason.slug)


class Hasty(Run, frozen=True, kw_only=True):
    """A run whose requests have to be answered soon. Its own deadline is a release's, by which transfers are judged."""

    soon: Deadline

    def retried(self, name: str, call: Any, *, deadline: Deadline | None = None) -> Any:
        """Makes a call again while there is time. Raises the last failure."""
        return Run.retried(self, name, call, deadline=deadline or self.soon)


def check(edge: Edge, app: str | None) -> Checked:
    """Looks at an app: at the one that is named, through Heroku's API, or at that of the environment.

    Nothing in what is returned is secret. Raises Interrupted.
    """
    looking = Looking(checked=Checked(app=app or edge.environ.get("HEROKU_APP_NAME")), heard=Plan())
    asked, own_key = None, edge.environ.get("HEROKU_API_KEY", "").strip()
    with looking.at("App"):
        asked = asked_about(edge, app)
    environ = asked.environ if asked else {}
    log = open_log(
        fd=2,
        secrets=[*secrets_in(edge.environ), *secrets_in(environ)],
        clock=edge.clock,
        render=lambda _: "",
        observe=lambda event: hear(looking.heard, event),
    )
    if asked:
        _look_at_everything(looking, replace(edge, environ=environ), log, asked, own_key)
    return msgspec.convert(plain(msgspec.to_builtins(looking.checked), log.redactor.text), Checked)


def _look_at_everything(looking: Looking, edge: Edge, log: Log, asked: Asked, own_key: str) -> None:
    settings = _settings(looking, asked, own_key)
    if settings is None:
        return
    looking = replace(looking, allowed=settings.allow)
    connectable = settings.database_url is not None
    if not connectable:
        looking.refused("Database", Refused(Reason.NO_DATABASE, f"{settings.database} is not set"))
        # The add-on is looked for all the same: what is attached says which variable is meant.
        settings = replace(settings, database_url=Secret("postgres:///"))
    free = replace(settings, allow=frozenset(Guard), lock_wait=0)
    with opened(edge, free, log, os.urandom(6).hex()) as its_run:
        run = None
        if settings.backup is Backup.CAPTURE:
            run = _look_at_heroku(looking, _hurried(its_run), edge.environ, own_key)
        if connectable:
            _look_at_database(looking, _hurried(run or its_run), protected=run is not None)
        _look_at_folder(looking, its_run)


def _settings(looking: Looking, asked: Asked, own_key: str) -> Settings | None:
    """Reads the settings. Where they are wrong, the rest is looked at without those that only a backup needs."""
    environ = dict(asked.environ)
    if asked.name:  # with its own key and name even an app that has none yet can be looked at
        environ = {"HEROKU_API_KEY": own_key, "HEROKU_APP_NAME": asked.name, **environ}
    with looking.at("Settings"):
        settings = read(environ)
        looking.checked.backup = settings.backup is Backup.CAPTURE
        return settings
    rest = {name: value for name, value in environ.items() if name not in NEEDING_A_BACKUP}
    try:
        return read({**rest, "RELEASE_BACKUP": "off"})
    except ReleaseError:
        return None


def _hurried(run: Run) -> Hasty:
    """Returns the same run in a hurry that begins now."""
    soon = Deadline(run.clock, WITHIN)
    run.database.deadline = soon
    facts = {name: getattr(run, name) for name in Run.__struct_fields__}
    return Hasty(**facts, soon=soon)


# Heroku.


def _look_at_heroku(looking: Looking, run: Hasty, environ: Mapping[str, str], own_key: str) -> Hasty | None:
    """Looks at key, app, lab and add-on. Returns the run with a key that reaches the app; None where none does."""
    key = environ.get("HEROKU_API_KEY", "").strip()
    if not key:
        text = "HEROKU_API_KEY is not among the app's config vars"
        looking.add("Key", State.BAD, text, Reason.KEY_REJECTED.hint, Reason.SETTINGS_INVALID.slug)
    reached = None
    with looking.at("App"):
        reached = find_app(run)
        if key:
            _judge_scopes(looking, reached.session.scopes)
    if reached is None and own_key not in {"", key}:  # whoever asks has another key, which has shown the config vars
        run = replace(run, settings=replace(run.settings, heroku_api_key=Secret(own_key)))
        with looking.at("App"):
            reached = find_app(run)
    if reached is None:
        return None
    looking.checked.app = reached.app.name
    looking.add("App", *_about_app(reached.app))
    _look_at_lab(looking, reached, environ)
    with looking.at("Add-on"):
        addon = find_addon(run).addon
        plan = f" ({addon.plan.name})" if addon.plan else ""
        looking.add("Add-on", State.GOOD, f"{addon.name}{plan}, which has backups")
    return run


def _about_app(app: App) -> tuple[State, str]:
    where = f"{app.name}, in a Private Space" if app.space else app.name
    return (State.WARNING, f"{where}, is in maintenance mode") if app.maintenance else (State.GOOD, where)


def _judge_scopes(looking: Looking, scopes: frozenset[str] | None) -> None:
    if scopes is None:
        looking.add("Key", State.UNKNOWN, "it is valid; Heroku did not say its scopes")
    elif scopes & {"global", "write-protected"}:
        looking.add("Key", State.GOOD, f"it is valid; scopes: {', '.join(sorted(scopes))}")
    else:
        error = Refused(Reason.KEY_FORBIDDEN, f"its scopes are {', '.join(sorted(scopes))}")
        looking.refused("Key", error)


def _look_at_lab(looking: Looking, reached: Reached, environ: Mapping[str, str]) -> None:
    """The lab says to the hook which app it is, and which release."""
    on = _lab(reached, environ)
    enable = f"Switch it on with `heroku labs:enable {LAB} --app {reached.app.name}`."
    knows = environ.get("HEROKU_APP_NAME") or environ.get("HEROKU_APP_ID")
    if on:
        looking.add("Lab", State.GOOD, f"{LAB} is on")
    elif on is None:
        looking.add("Lab", State.UNKNOWN, f"Heroku did not say whether {LAB} is on", "" if knows else enable)
    elif knows:
        text = f"{LAB} is off: the log lacks release and commit; the app's name is set by hand"
        looking.add("Lab", State.WARNING, text, enable)
    else:
        text = f"{LAB} is off, and HEROKU_APP_NAME is not set: the hook would not know the app's name"
        looking.add("Lab", State.BAD, text, enable, Reason.SETTINGS_INVALID.slug)


def _lab(reached: Reached, environ: Mapping[str, str]) -> bool | None:
    if environ.get("HEROKU_RELEASE_VERSION"):  # this is a dyno, and it has what the lab gives
        return True
    try:
        return reached.platform.feature(LAB).enabled
    except HerokuError:
        return None


# The database.


def _look_at_database(looking: Looking, run: Hasty, *, protected: bool) -> None:
    """Looks at the database, and at how it is protected where Heroku can be asked."""
    target = None
    with looking.at("Database"):
        lock.examine(run)
        (bytes_held, version), (used, most) = run.database.one(FACTS), run.database.one(CONNECTIONS)
        text = f"{run.settings.database}: {size(bytes_held)}, PostgreSQL {version}; {used} of {most} connections in use"
        looking.add("Database", State.WARNING if most - used < FEW else State.GOOD, text)
    if not run.database.connected:
        return
    if protected and looking.checked.backup:
        with looking.at("Backups"):
            target = find_target(run)
            looking.add("Backups", State.GOOD, _about_backups(target))
    if looking.checked.backup:
        _look_at_restorable(looking, run)
    with looking.at("Earlier run"):
        look_for_others(run)
        if target and (half := recover.half_restored(run, target)):
            raise Refused(Reason.UNFINISHED_RESTORE, f"{half.name} did not succeed")


def _about_backups(target: Target) -> str:
    backups, took = target.own_backups(), target.expected(restores=False)
    return count(len(backups), "manual backup") + (f"; the latest took {seconds(took)}" if took is not None else "")


def _look_at_restorable(looking: Looking, run: Hasty) -> None:
    before = len(looking.checked.items)
    with looking.at("Restore"):
        prepare.refuse_unrestorable(run)
    if len(looking.checked.items) == before:
        looking.add("Restore", State.GOOD, "it would bring back everything that is in the database")


# The app's folder.


def _look_at_folder(looking: Looking, run: Run) -> None:
    line, there = procfile.command(run.folder, "release"), (run.folder / "Procfile").is_file()
    if not there and not frameworks.marked(run.folder) and not run.settings.migrate_command:
        text = "there is no app in this folder; Procfile and framework are looked at where the app is"
        looking.add("Procfile", State.UNKNOWN, text)
        return
    if line and procfile.starts_hook(line):
        looking.add("Procfile", State.GOOD, f"`release: {line}`")
    else:
        text = f"The Procfile's release line is `{line}`" if line else "The Procfile has no release line"
        looking.add(
            "Procfile", State.BAD, text, "It needs the line `release: release-phase`; `release-phase init` shows it."
        )
    _look_at_commands(looking, run)


def _look_at_commands(looking: Looking, run: Run) -> None:
    """Looks at what would migrate. On somebody's own machine the app's tools may be missing, which says nothing."""
    try:
        commands = find_commands(run)
    except Misconfigured as error:
        if error.reason is Reason.COMMAND_NOT_FOUND and not run.settings.dyno:
            looking.add("Migration", State.UNKNOWN, f"{error.detail}; the dyno may have it")
        else:
            looking.refused("Migration", error)
        return
    question = "nothing can be asked what is pending; code that landed last has nothing (RELEASE_PENDING)"
    if commands.pending:
        asked = (commands.framework and commands.framework.question) or " ".join(commands.pending)
        question = f"`{asked}` says what is pending"
    by = f"{commands.asked.name}: " if commands.asked else ""
    looking.add("Migration", State.GOOD, f"{by}`{' '.join(commands.migrate)}`; {question}")
