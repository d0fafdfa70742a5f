"""Environment → frozen Settings: every variable once, with type, default, meaning and an example.

msgspec reads the types, so that this class is the whole specification: the README's table and app.json are compared
with it by a test. (pydantic-settings was measured first: 330 ms and 20 MB to import, of the 500 ms and 60 MB there
are.)
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, Final, get_args
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from release.errors import Misconfigured, Reason

PREFIX: Final = "RELEASE_"
SET_BY_PLATFORM: Final = frozenset({"RELEASE_ID", "RELEASE_VERSION", "RELEASE_NAME", "RELEASE_SHA"})
"""RELEASE_ names that platforms and other tools are known to set; near ones are not taken for typos."""

HEROKU_DOMAINS: Final = ("heroku.com", "herokai.com", "herokuspace.com", "herokudev.com")
"""As in Heroku's own CLI (@heroku-cli/command, vars.ts)."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Secret:
    """A value that cannot be printed by accident; `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself: for the one call that needs it."""
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


OPERATORS: Final = frozenset(
    {
        "&&",
        "||",
        "|",
        "|&",
        ";",
        ";;",
        "&",
        ">",
        ">>",
        "<",
        "<<",
        "<<<",
        "2>",
        "2>>",
        "&>",
        "&>>",
        "2>&1",
        "1>&2",
        ">&2",
    }
)
"""Words that mean something to a shell, and to no program."""
_WORD: Final = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)
"""A word as it was typed, with its quotes, where shlex gives what it means."""
_EXPANDED: Final = re.compile(r'("?)\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})\1')
SHELL_EXAMPLE: Final = "sh -c 'first-command && second-command'"


class NeedsShell(ValueError):
    """A command holds what only a shell understands."""


class Words(tuple[str, ...]):
    """A command as shell-style words, to be run without a shell."""

    __slots__ = ()


class Backup(StrEnum):
    """Whether to back up."""

    CAPTURE = "capture"
    OFF = "off"


class Restore(StrEnum):
    """When to restore after a failure."""

    ALWAYS = "always"
    IF_CHANGED = "if-changed"
    NEVER = "never"


class FenceMode(StrEnum):
    """When the fence is up."""

    RESTORE = "restore"
    RELEASE = "release"
    OFF = "off"


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


class OnAhead(StrEnum):
    """What a database that is ahead of the code means."""

    WARN = "warn"
    REFUSE = "refuse"


class OnMissing(StrEnum):
    """What a missing migration means."""

    WARN = "warn"
    REFUSE = "refuse"
    OFF = "off"


class LogFormat(StrEnum):
    """How the log looks."""

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


def _a(meaning: str, example: str) -> Meta:
    return Meta(description=meaning, examples=[example])


Seconds = Annotated[float, Meta(gt=0, le=86_400)]
PostgresDuration = Annotated[str, Meta(pattern=r"^[0-9]+ ?(us|ms|s|min|h|d)?$")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says. Field names are the variables' names in lower case, less `RELEASE_`."""

    heroku_api_key: Annotated[
        Secret | None, _a("Secret. The key for Heroku's APIs; needed unless RELEASE_BACKUP=off.", "HRKU-01234567-…")
    ] = None
    heroku_app_id: Annotated[str | None, _a("The app's id, from dyno metadata.", "01234567-89ab-…")] = None
    heroku_app_name: Annotated[str | None, _a("The app's name, from dyno metadata or set by hand.", "my-app")] = None
    heroku_host: Annotated[
        str | None, _a("Where the Platform API is; Heroku's domains or loopback only.", "https://api.heroku.com")
    ] = None
    heroku_data_host: Annotated[
        str | None, _a("Where the Data API is: a host name, as for Heroku's CLI.", "api.data.heroku.com")
    ] = None
    database: Annotated[str, _a("The config var that holds the URL of the database to protect.", "DATABASE_URL")] = (
        "DATABASE_URL"
    )
    backup: Annotated[
        Backup, _a("`capture`, or `off`: for disposable databases only, logged as a warning every time.", "capture")
    ] = Backup.CAPTURE
    migrate_command: Annotated[
        Words | None,
        _a(
            "The migration, as shell-style words, run without a shell. Detected when not set.",
            "python manage.py migrate --noinput",
        ),
    ] = None
    pending_command: Annotated[
        Words | None,
        _a(
            "Exit 0: nothing is pending; exit 1: something is; anything else: an error. Detected when not set.",
            "python manage.py migrate --check",
        ),
    ] = None
    probe_command: Annotated[
        Words | None, _a("A probe that must exit 0 on the migrated database.", "python manage.py check --deploy")
    ] = None
    probe_sql: Annotated[
        str | None,
        _a(
            "One query; every column of every row must be true, and there must be a row.",
            "SELECT count(*) > 0 FROM users",
        ),
    ] = None
    probe_path: Annotated[
        str | None,
        _a("Boots the Procfile's web process against the migrated database; GET must answer 2xx.", "/healthz"),
    ] = None
    probe_url: Annotated[
        str | None,
        _a("The live app, old code on the new schema, must answer 2xx.", "https://my-app.herokuapp.com/healthz"),
    ] = None
    probe_timeout: Annotated[Seconds, _a("Seconds for all probes, retried within it.", "60")] = 60
    restore: Annotated[
        Restore,
        _a(
            "When to restore after a failure: `always`; `if-changed` (schema or history differ); `never`.",
            "always",
        ),
    ] = Restore.ALWAYS
    fence: Annotated[
        FenceMode,
        _a(
            "Keeps other writers out: while restoring (`restore`), from before the backup on (`release`), `off`.",
            "restore",
        ),
    ] = FenceMode.RESTORE
    salvage: Annotated[Switch, _a("Back up the failed state before it is overwritten.", "on")] = Switch.ON
    time_limit: Annotated[Seconds, _a("Seconds the whole run may take; Heroku's own limit is 3600.", "3600")] = 3600
    lock_wait: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)], _a("Seconds to wait for another run on the same database.", "600")
    ] = 600
    lock_timeout: Annotated[PostgresDuration | None, _a("Postgres lock_timeout for the migration.", "5s")] = None
    statement_timeout: Annotated[
        PostgresDuration | None, _a("Postgres statement_timeout for the migration.", "15min")
    ] = None
    migrate_attempts: Annotated[
        Annotated[int, Meta(ge=1, le=20)],
        _a("More than 1 only helps with lock timeouts; retried while the database is proved unchanged.", "1"),
    ] = 1
    rehearsal_database: Annotated[
        str | None, _a("Config var of a second database: rehearse there first.", "HEROKU_POSTGRESQL_TEAL_URL")
    ] = None
    on_database_ahead: Annotated[
        OnAhead, _a("The database knows migrations that this code does not: `warn` or `refuse`.", "warn")
    ] = OnAhead.WARN
    on_missing_migrations: Annotated[
        OnMissing, _a("Models changed without a migration: `warn`, `refuse` or `off`.", "warn")
    ] = OnMissing.WARN
    allow: Annotated[
        frozenset[Guard], _a("Comma-separated guards to override; each use is logged.", "shared-database")
    ] = frozenset()
    webhook_url: Annotated[
        Secret | None,
        _a("The final record is POSTed there, with a Slack-compatible text.", "https://hooks.slack.com/…"),
    ] = None
    log: Annotated[LogFormat, _a("`json`, `console`, or `auto`: console on a terminal.", "auto")] = LogFormat.AUTO

    # Facts about this release that Heroku gives, all optional.
    heroku_release_version: Annotated[str | None, _a("The release's version, from dyno metadata.", "v42")] = None
    heroku_slug_commit: Annotated[str | None, _a("The commit, from dyno metadata.", "60883d9e8947")] = None
    heroku_slug_description: Annotated[
        str | None, _a("What made the release, from dyno metadata.", "Deploy 60883d9")
    ] = None
    dyno: Annotated[str | None, _a("The dyno's name, set by Heroku.", "release.1234")] = None

    database_url: Secret | None = None
    """The value of the variable that `database` names; not a variable of its own."""

    @property
    def app(self) -> str | None:
        """What the APIs are asked for: the id where known, else the name."""
        return self.heroku_app_id or self.heroku_app_name

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
    """The environment variable of a field: HEROKU_* and DYNO as they are, all others with the prefix."""
    name = field.upper()
    return name if name.startswith("HEROKU_") or name == "DYNO" else PREFIX + name


VARIABLES: Final[dict[str, msgspec.structs.FieldInfo]] = {
    variable(field.name): field for field in msgspec.structs.fields(Settings) if field.name != "database_url"
}


def example(field: msgspec.structs.FieldInfo) -> str:
    """The example in a field's specification."""
    return str(_metas(field.type)[0].examples[0])


def description(field: msgspec.structs.FieldInfo) -> str:
    """The meaning in a field's specification."""
    return str(_metas(field.type)[0].description)


def _metas(kind: Any) -> list[Any]:
    return [meta for meta in get_args(kind)[1:] if isinstance(meta, Meta) and meta.examples]


def read(environ: Mapping[str, str]) -> Settings:
    """Reads all settings.

    Raises Misconfigured with every problem at once: `facts["errors"]` is a list of sentences.
    """
    errors = _typos(environ)
    values: dict[str, Any] = {}
    for name, field in VARIABLES.items():
        text = environ.get(name, "").strip()
        if not text:
            continue
        try:
            values[field.name] = msgspec.convert(_split(field, text), field.type, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError) as error:
            given = SHELL_EXAMPLE if isinstance(error.__cause__, NeedsShell) else example(field)
            errors.append(f"{name}: {_what_is_wrong(field, error)}; for example {name}={given}")
    settings = Settings(**values)
    url = environ.get(settings.database, "").strip()
    if url:
        settings = msgspec.structs.replace(settings, database_url=Secret(url))
        if not is_postgres(url):
            errors.append(
                f"{settings.database}: must be a Postgres URL; for example postgres://user:password@host/name"
            )
    errors += _cross_checks(settings)
    if errors:
        raise Misconfigured(Reason.SETTINGS_INVALID, "; ".join(errors), errors=errors)
    return settings


def _typos(environ: Mapping[str, str]) -> list[str]:
    """RELEASE_ names one typo away from a known one; other unknown names are the platform's or the app's own."""
    known = [name for name in VARIABLES if name.startswith(PREFIX)]
    errors = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in VARIABLES or name in SET_BY_PLATFORM:
            continue
        near = get_close_matches(name, known, n=1, cutoff=0.85)
        if near:
            errors.append(f"{name} is not a setting; did you mean {near[0]}?")
    return errors


def _split(field: msgspec.structs.FieldInfo, text: str) -> Any:
    """The text as msgspec wants it: a list where the type is a set."""
    if field.name == "allow":
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret:
        return Secret(value)
    if kind is Words:
        words = shlex.split(value)
        if not words:
            raise ValueError("the command is empty")
        if found := _for_a_shell(value):
            raise NeedsShell(f"{found} needs a shell, and commands are run without one")
        return Words(words)
    raise NotImplementedError  # as msgspec asks of a hook that does not know the type


def _for_a_shell(command: str) -> str | None:
    """A word of the command that only a shell understands, if there is one; in quotes it is an argument like others."""
    for word in _WORD.findall(command):
        if word in OPERATORS:
            return f"`{word}`"
        if _EXPANDED.fullmatch(word):
            return "a `$VARIABLE`"
    return None


def _what_is_wrong(field: msgspec.structs.FieldInfo, error: Exception) -> str:
    """Never the value itself: it may be a secret that was typed into the wrong place."""
    choices = get_args(field.type)[0]
    if field.name == "allow":
        choices = Guard
    if isinstance(choices, type) and issubclass(choices, StrEnum):
        return f"expected one of {', '.join(choices)}"
    text = str(error).split(" - at `$", maxsplit=1)[0]
    if "matching regex" in text:
        return "expected a number with one of the units us, ms, s, min, h, d"
    for name, word in (("`float`", "a number"), ("`int`", "a whole number")):
        text = text.replace(name, word)
    return text.replace("Expected", "expected").removesuffix(", got `str`")


def _access_checks(settings: Settings) -> list[str]:
    errors = []
    if settings.backup is Backup.CAPTURE:
        if not settings.heroku_api_key:
            errors.append(
                "HEROKU_API_KEY is not set; make one with `heroku authorizations:create -s "
                "read-protected,write-protected` and `heroku config:set HEROKU_API_KEY=…` "
                "(or RELEASE_BACKUP=off for a disposable database)"
            )
        elif not re.fullmatch(r"[!-~]+", settings.heroku_api_key.reveal()):
            errors.append("HEROKU_API_KEY: holds spaces or letters that no key has; for example HRKU-01234567-89ab")
        if not settings.app:
            errors.append(
                "HEROKU_APP_NAME is not set; switch on dyno metadata with `heroku labs:enable runtime-dyno-metadata` "
                "or `heroku config:set HEROKU_APP_NAME=my-app`"
            )
    return errors


def _cross_checks(settings: Settings) -> list[str]:
    errors = _access_checks(settings)
    if settings.fence is FenceMode.RELEASE and settings.backup is Backup.OFF:
        errors.append("RELEASE_FENCE=release needs a backup to protect; for example RELEASE_FENCE=restore")
    for name, url in (("HEROKU_HOST", settings.api_url), ("HEROKU_DATA_HOST", settings.data_url)):
        if not is_heroku(url):
            errors.append(
                f"{name}: only Heroku's domains (https) and loopback are accepted; for example {name}=heroku.com"
            )
    errors += _probe_checks(settings)
    if settings.rehearsal_database and settings.backup is Backup.OFF:
        errors.append("RELEASE_REHEARSAL_DATABASE: a rehearsal needs a backup, and RELEASE_BACKUP is off")
    if settings.webhook_url and not is_webhook(settings.webhook_url.reveal()):
        errors.append("RELEASE_WEBHOOK_URL: must be an https URL; for example https://hooks.slack.com/…")
    if settings.rehearsal_database == settings.database:
        errors.append("RELEASE_REHEARSAL_DATABASE: must not be the protected database itself")
    return errors


def _probe_checks(settings: Settings) -> list[str]:
    errors = []
    if settings.probe_path and not settings.probe_path.startswith("/"):
        errors.append("RELEASE_PROBE_PATH: must begin with a slash; for example RELEASE_PROBE_PATH=/healthz")
    if settings.probe_url and not is_web(settings.probe_url):
        errors.append("RELEASE_PROBE_URL: must be a URL; for example RELEASE_PROBE_URL=https://my-app.herokuapp.com/")
    if settings.probe_url and settings.fence is FenceMode.RELEASE:
        errors.append(
            "RELEASE_PROBE_URL: with RELEASE_FENCE=release the live app answers with its maintenance page (503); "
            "for example RELEASE_PROBE_PATH=/healthz instead"
        )
    return errors


def _parts(url: str) -> SplitResult | None:
    """The parts of a URL; None for a text that is none, or that another parser may read differently."""
    # A backslash ends the host for urllib3, which connects, but not for urlsplit: evil.com\.heroku.com
    if re.search(r"[\s\\]", url):
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- raises ValueError
    except ValueError:
        return None
    return parts


def is_postgres(url: str) -> bool:
    """Whether it is the URL of a Postgres database, reachable or not."""
    parts = _parts(url)
    return parts is not None and parts.scheme in {"postgres", "postgresql"}


def is_web(url: str) -> bool:
    """Whether it is a URL to be asked with GET."""
    parts = _parts(url)
    return parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname)


def is_heroku(url: str) -> bool:
    """Whether the key may be sent there: Heroku's domains over https, or this machine. Plain host names only."""
    parts = _parts(url)
    host = (parts.hostname or "") if parts else ""
    if parts is None or not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*|::1", host):
        return False
    if parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment:
        return False
    if host in LOOPBACK:
        return parts.scheme in {"http", "https"}
    return parts.scheme == "https" and any(host == domain or host.endswith("." + domain) for domain in HEROKU_DOMAINS)


def is_webhook(url: str) -> bool:
    """Whether a URL may be told how a release ended: https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
