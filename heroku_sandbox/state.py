"""Everything the sandbox remembers: plain records, and the one file they are kept in.

The records are changed only inside `Store.change()`, which holds the lock and saves at the end, so that
what a client was told is on disk and a reader never sees half a change.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec

SERVICE = "heroku-postgresql"


def now() -> datetime:
    """Returns the present, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """Makes an identifier as Heroku's: a random UUID."""
    return str(uuid.uuid4())


class ReleaseStatus(StrEnum):
    """`status` of a release in the Platform API (its schema also knows `expired`, which nothing here becomes)."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class TransferType(StrEnum):
    """Both ends of a transfer: a database (read, written), Heroku's own store, somebody's URL."""

    PG_DUMP = "pg_dump"
    PG_RESTORE = "pg_restore"
    GOF3R = "gof3r"
    HTCAT = "htcat"


@dataclass(slots=True, kw_only=True)
class Credential:
    """A login of an add-on's database: the default one or an additional one."""

    id: str = field(default_factory=new_id)
    name: str
    role: str
    password: str


@dataclass(slots=True, kw_only=True)
class Addon:
    """A database. `app_id` is the billing app; `plan` is `heroku-postgresql:<plan>`."""

    id: str = field(default_factory=new_id)
    name: str
    app_id: str
    plan: str
    database: str
    num_keep: int
    credentials: list[Credential]
    following: str | None = None
    forked_from: str | None = None
    provisioned: bool = True
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)

    @property
    def default(self) -> Credential:
        """The credential that owns the database."""
        return self.credentials[0]

    @property
    def tier(self) -> str:
        """The plan without the service: `standard-0`, `advanced`, …."""
        return self.plan.partition(":")[2]

    @property
    def advanced(self) -> bool:
        """Whether Heroku's clients treat it as the tier without logical backups (`^(advanced|performance)`)."""
        return self.tier.startswith(("advanced", "performance"))


@dataclass(slots=True, kw_only=True)
class Attachment:
    """An add-on's place in an app: config var `<name>_URL`. `namespace` is `credential:NAME` or nothing."""

    id: str = field(default_factory=new_id)
    name: str
    app_id: str
    addon_id: str
    namespace: str | None = None
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)

    @property
    def variable(self) -> str:
        """The config var that holds the database's URL."""
        return f"{self.name}_URL"


@dataclass(slots=True, kw_only=True)
class Slug:
    """A copy of an app's folder. `path` is the PATH its dynos get, from whoever pushed it."""

    id: str = field(default_factory=new_id)
    commit: str
    description: str
    path: str
    process_types: dict[str, str]
    created_at: datetime = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class Release:
    """One version of an app: code and config.

    What it changes is kept as a difference and applied when the release starts, because releases that
    wait (`config` is still None) may find another predecessor than they had when they were asked for.
    """

    id: str = field(default_factory=new_id)
    version: int
    description: str
    status: ReleaseStatus = ReleaseStatus.PENDING
    new_slug_id: str | None = None
    new_config: dict[str, str | None] = field(default_factory=dict)
    slug_id: str | None = None
    config: dict[str, str] | None = None
    has_output: bool = False
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class Formation:
    """How many dynos of a process type, and of which size."""

    id: str = field(default_factory=new_id)
    quantity: int
    size: str = "Standard-1X"
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class App:
    """An app with its history. `last_transfer` is the counter of its backups, restores and copies.

    `space` is the name of its Private Space, if it is in one. `stack` is `cnb` for an app of the Fir generation.
    """

    id: str = field(default_factory=new_id)
    name: str
    maintenance: bool = False
    space: str | None = None
    stack: str = "heroku-24"
    formation: dict[str, Formation] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    last_transfer: int = 0
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)

    @property
    def current(self) -> Release | None:
        """The release whose code runs: the newest that succeeded, not the newest."""
        return max(
            (release for release in self.releases if release.status is ReleaseStatus.SUCCEEDED),
            key=lambda release: release.version,
            default=None,
        )

    @property
    def config(self) -> dict[str, str]:
        """The config vars of the current release."""
        current = self.current
        return dict(current.config or {}) if current else {}


@dataclass(slots=True, kw_only=True)
class Transfer:
    """A movement of data: backup, restore or copy. `app_id` is the billing app, `num` counts there."""

    id: str = field(default_factory=new_id)
    num: int
    app_id: str
    addon_id: str
    from_type: TransferType
    from_name: str
    from_url: str
    to_type: TransferType
    to_name: str
    to_url: str
    num_keep: int
    schedule_id: str | None = None
    source_bytes: int | None = None
    processed_bytes: int = 0
    succeeded: bool | None = None
    warnings: int = 0
    created_at: datetime = field(default_factory=now)
    updated_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    canceled_at: datetime | None = None

    def as_asked_for(self) -> Transfer:
        """Returns the transfer as it was when it was asked for, however far it is by now."""
        unknown = dict.fromkeys(("source_bytes", "succeeded", "updated_at", "started_at", "finished_at", "canceled_at"))
        return replace(self, processed_bytes=0, warnings=0, **unknown)  # type: ignore[arg-type]


@dataclass(slots=True, kw_only=True)
class Schedule:
    """A daily backup. The sandbox keeps it and shows it; nothing here runs by the clock."""

    id: str = field(default_factory=new_id)
    addon_id: str
    name: str
    hour: int
    timezone: str


@dataclass(slots=True, kw_only=True)
class Coupling:
    """An app's place in a pipeline."""

    id: str = field(default_factory=new_id)
    app_id: str
    pipeline_id: str
    stage: str
    created_at: datetime = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class State:
    """All records, by id. `keys` maps an API key to its scopes."""

    account_id: str = field(default_factory=new_id)
    keys: dict[str, list[str]] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    addons: dict[str, Addon] = field(default_factory=dict)
    attachments: dict[str, Attachment] = field(default_factory=dict)
    slugs: dict[str, Slug] = field(default_factory=dict)
    transfers: dict[str, Transfer] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    couplings: dict[str, Coupling] = field(default_factory=dict)


class Store:
    """The state and its file, `state.json` in the sandbox's home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for folder in ("slugs", "output", "dumps", "logs"):
            (home / folder).mkdir(mode=0o700, exist_ok=True)
        self.lock = threading.RLock()
        self._file = home / "state.json"
        saved = self._file.read_bytes() if self._file.exists() else None
        self.state = msgspec.json.decode(saved, type=State) if saved else State()

    @contextlib.contextmanager
    def change(self) -> Iterator[State]:
        """Holds the lock while records are changed, and saves at the end."""
        with self.lock:
            yield self.state
            self._save()

    def _save(self) -> None:
        """Writes the file anew. It takes its name when it is whole, so that a crash leaves the old one."""
        fresh = self._file.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self.state))
        fresh.replace(self._file)
