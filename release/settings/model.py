"""Environment → frozen Settings: every variable once, with type, default, meaning and an example.

msgspec reads the types, so that this class is the whole specification: the table in docs/settings.md and app.json
are compared with it by a test. (pydantic-settings was measured first: 330 ms and 20 MB to import, of the 500 ms and
60 MB there are.)
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from release.settings.urls import LOOPBACK, is_heroku

PREFIX: Final = "RELEASE_"


class Secret:
    """A value that cannot be printed by accident; `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the value itself, for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "[redacted]"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


SHELL_EXAMPLE: Final = "sh -c 'first-command && second-command'"
"""The example for a command that needs a shell."""


class Words(tuple[str, ...]):
    """A command as shell-style words, to be run without a shell."""

    __slots__ = ()


class Backup(StrEnum):
    """The values of RELEASE_BACKUP: whether to back up."""

    CAPTURE = "capture"
    OFF = "off"


class Restore(StrEnum):
    """The values of RELEASE_RESTORE: when to restore after a failure."""

    ALWAYS = "always"
    IF_CHANGED = "if-changed"
    NEVER = "never"


class FenceMode(StrEnum):
    """The values of RELEASE_FENCE: when the fence is up."""

    RESTORE = "restore"
    RELEASE = "release"
    OFF = "off"


class Switch(StrEnum):
    """The values of a setting that is on or off."""

    ON = "on"
    OFF = "off"


class Pending(StrEnum):
    """The values of RELEASE_PENDING: how it is found out whether something is pending.

    ASK: the app is asked, and where it cannot be, the journal may know this code. SAME_CODE: the journal comes first.
    """

    ASK = "ask"
    SAME_CODE = "same-code"
    ALWAYS = "always"


class OnAhead(StrEnum):
    """The values of RELEASE_ON_DATABASE_AHEAD: what happens when the database is ahead of the code."""

    WARN = "warn"
    REFUSE = "refuse"


class OnMissing(StrEnum):
    """The values of RELEASE_ON_MISSING_MIGRATIONS: what happens when a migration is missing."""

    WARN = "warn"
    REFUSE = "refuse"
    OFF = "off"


class OnSwallowed(StrEnum):
    """The values of RELEASE_ON_SWALLOWED_ERRORS: what happens when a command ends well despite errors of the server."""

    WARN = "warn"
    REFUSE = "refuse"


class LogFormat(StrEnum):
    """The values of RELEASE_LOG: how the log looks."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class Guard(StrEnum):
    """Refusals that an operator may override with RELEASE_ALLOW."""

    SHARED_DATABASE = "shared-database"
    LARGE_DATABASE = "large-database"
    OTHER_CREDENTIALS = "other-credentials"
    NOT_RESTORABLE = "not-restorable"
    OTHER_APP = "other-app"
    UNFINISHED_RESTORE = "unfinished-restore"
    DATABASE_AHEAD = "database-ahead"
    OCCUPIED_REHEARSAL = "occupied-rehearsal"
    EMPTIED_TABLES = "emptied-tables"


def _spec(meaning: str, example: str) -> Meta:
    return Meta(description=meaning, examples=[example])


Seconds = Annotated[float, Meta(gt=0, le=86_400)]
"""A duration in seconds: more than 0, a day at most."""
PostgresDuration = Annotated[str, Meta(pattern=r"^[0-9]+ ?(us|ms|s|min|h|d)?$")]
"""A duration as PostgreSQL writes it: a number, in milliseconds where no unit is given."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says. Field names are the variables' names in lower case, less `RELEASE_`."""

    heroku_api_key: Annotated[
        Secret | None, _spec("Secret. The key for Heroku's APIs; needed unless RELEASE_BACKUP=off.", "HRKU-01234567-…")
    ] = None
    heroku_app_id: Annotated[str | None, _spec("The app's id, from dyno metadata.", "01234567-89ab-…")] = None
    heroku_app_name: Annotated[str | None, _spec("The app's name, from dyno metadata or set by hand.", "my-app")] = None
    heroku_host: Annotated[
        str | None, _spec("Where the Platform API is; Heroku's domains or loopback only.", "https://api.heroku.com")
    ] = None
    heroku_data_host: Annotated[
        str | None, _spec("Where the Data API is: a host name, as for Heroku's CLI.", "api.data.heroku.com")
    ] = None
    database: Annotated[str, _spec("The config var that holds the URL of the database to protect.", "DATABASE_URL")] = (
        "DATABASE_URL"
    )
    backup: Annotated[
        Backup, _spec("`capture`, or `off`: for disposable databases only, logged as a warning every time.", "capture")
    ] = Backup.CAPTURE
    migrate_command: Annotated[
        Words | None,
        _spec(
            "The migration, as shell-style words, run without a shell. Detected when not set.",
            "python manage.py migrate --noinput",
        ),
    ] = None
    pending_command: Annotated[
        Words | None,
        _spec(
            "Exit 0: nothing is pending; exit 1: something is; anything else: an error. Detected when not set.",
            "python manage.py migrate --check",
        ),
    ] = None
    pending: Annotated[
        Pending,
        _spec(
            "What says whether something is pending: `ask` the app, and where it cannot say, whether this code landed"
            " last; `same-code`: that first; `always` migrate.",
            "ask",
        ),
    ] = Pending.ASK
    probe_command: Annotated[
        Words | None, _spec("A probe that must exit 0 on the migrated database.", "python manage.py check --deploy")
    ] = None
    probe_sql: Annotated[
        str | None,
        _spec(
            "One query; every column of every row must be true, and there must be a row.",
            "SELECT count(*) > 0 FROM users",
        ),
    ] = None
    probe_path: Annotated[
        str | None,
        _spec("Boots the Procfile's web process against the migrated database; GET must answer 2xx.", "/healthz"),
    ] = None
    probe_url: Annotated[
        str | None,
        _spec("The live app, old code on the new schema, must answer 2xx.", "https://my-app.herokuapp.com/healthz"),
    ] = None
    probe_timeout: Annotated[Seconds, _spec("Seconds for all probes, retried within it.", "60")] = 60
    restore: Annotated[
        Restore,
        _spec(
            "When to restore after a failure: `always`; `if-changed` (schema or history differ); `never`.",
            "always",
        ),
    ] = Restore.ALWAYS
    fence: Annotated[
        FenceMode,
        _spec(
            "Keeps other writers out: while restoring (`restore`), from before the backup on (`release`), `off`.",
            "restore",
        ),
    ] = FenceMode.RESTORE
    salvage: Annotated[Switch, _spec("Back up the failed state before it is overwritten.", "on")] = Switch.ON
    time_limit: Annotated[Seconds, _spec("Seconds the whole run may take; Heroku's own limit is 3600.", "3600")] = 3600
    lock_wait: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)], _spec("Seconds to wait for another run on the same database.", "600")
    ] = 600
    lock_timeout: Annotated[PostgresDuration | None, _spec("Postgres lock_timeout for the migration.", "5s")] = None
    statement_timeout: Annotated[
        PostgresDuration | None, _spec("Postgres statement_timeout for the migration.", "15min")
    ] = None
    migrate_attempts: Annotated[
        Annotated[int, Meta(ge=1, le=20)],
        _spec("More than 1 only helps with lock timeouts; retried only while nothing was committed.", "1"),
    ] = 1
    witness: Annotated[
        Switch, _spec("The app's commands reach the database through the witness, which sees what they commit.", "on")
    ] = Switch.ON
    rehearsal_database: Annotated[
        str | None, _spec("Config var of a second database: rehearse there first.", "HEROKU_POSTGRESQL_TEAL_URL")
    ] = None
    on_database_ahead: Annotated[
        OnAhead, _spec("The database knows migrations that this code does not: `warn` or `refuse`.", "warn")
    ] = OnAhead.WARN
    on_missing_migrations: Annotated[
        OnMissing, _spec("Models changed without a migration: `warn`, `refuse` or `off`.", "warn")
    ] = OnMissing.WARN
    on_swallowed_errors: Annotated[
        OnSwallowed,
        _spec("The migration ended well although the server had answered with errors: `warn` or `refuse`.", "warn"),
    ] = OnSwallowed.WARN
    allow: Annotated[
        frozenset[Guard], _spec("Comma-separated guards to override; each use is logged.", "shared-database")
    ] = frozenset()
    webhook_url: Annotated[
        Secret | None,
        _spec("The final record is POSTed there, with a Slack-compatible text.", "https://hooks.slack.com/…"),
    ] = None
    log: Annotated[LogFormat, _spec("`json`, `console`, or `auto`: console on a terminal.", "auto")] = LogFormat.AUTO

    # Facts about this release that Heroku gives, all optional.
    heroku_release_version: Annotated[str | None, _spec("The release's version, from dyno metadata.", "v42")] = None
    heroku_build_commit: Annotated[str | None, _spec("The commit, from dyno metadata.", "60883d9e8947")] = None
    heroku_build_description: Annotated[
        str | None, _spec("What made the release, from dyno metadata.", "Deploy 60883d9")
    ] = None
    heroku_slug_commit: Annotated[
        str | None, _spec("The older name of HEROKU_BUILD_COMMIT, which wins.", "60883d9e8947")
    ] = None
    heroku_slug_description: Annotated[
        str | None, _spec("The older name of HEROKU_BUILD_DESCRIPTION, which wins.", "Deploy 60883d9")
    ] = None
    dyno: Annotated[str | None, _spec("The dyno's name, set by Heroku.", "release.1234")] = None

    database_url: Secret | None = None
    """The value of the variable that `database` names; not a variable of its own."""

    @property
    def app(self) -> str | None:
        """What the APIs are asked for: the id where known, else the name."""
        return self.heroku_app_id or self.heroku_app_name

    @property
    def commit(self) -> str | None:
        """The commit, by the newer name where both are there (https://devcenter.heroku.com/articles/dyno-metadata)."""
        return self.heroku_build_commit or self.heroku_slug_commit

    @property
    def description(self) -> str | None:
        """What made the release, by the newer name where both are there."""
        return self.heroku_build_description or self.heroku_slug_description

    @property
    def api_url(self) -> str:
        """Base of the Platform API. A host without a scheme `x` means `https://api.x`, as for Heroku's CLI."""
        host = self.heroku_host or "heroku.com"
        return host if "://" in host else f"https://api.{host}"

    @property
    def data_url(self) -> str:
        """Base of the Data API. A bare host gets scheme and port of the Platform API's URL when that is loopback."""
        host = self.heroku_data_host or "api.data.heroku.com"
        if "://" in host:
            return host
        if host in LOOPBACK and is_heroku(self.api_url) and (api := urlsplit(self.api_url)).hostname in LOOPBACK:
            return f"{api.scheme}://{host}:{api.port}" if api.port else f"{api.scheme}://{host}"
        return f"https://{host}"

    def public(self) -> dict[str, Any]:
        """Settings in effect that differ from their defaults, fit for the log."""
        return {
            variable(field.name): " ".join(value) if isinstance(value, Words) else value
            for field in msgspec.structs.fields(self)
            if field.name != "database_url" and (value := getattr(self, field.name)) != field.default
        }


def variable(field: str) -> str:
    """Returns the environment variable of a field: HEROKU_* and DYNO as they are, all others with the prefix."""
    name = field.upper()
    return name if name.startswith("HEROKU_") or name == "DYNO" else PREFIX + name


VARIABLES: Final[dict[str, msgspec.structs.FieldInfo]] = {
    variable(field.name): field for field in msgspec.structs.fields(Settings) if field.name != "database_url"
}


def example(field: msgspec.structs.FieldInfo) -> str:
    """Returns the example in a field's specification."""
    return str(_metas(field.type)[0].examples[0])


def description(field: msgspec.structs.FieldInfo) -> str:
    """Returns the meaning in a field's specification."""
    return str(_metas(field.type)[0].description)


def _metas(kind: Any) -> list[Any]:
    return [meta for meta in get_args(kind)[1:] if isinstance(meta, Meta) and meta.examples]
