"""Heroku's Data API: a database's description, and its transfers (backups and restores).

Not documented by Heroku; the shapes are those of recorded traffic (2020, 2021) and of Heroku's own CLI, and this is the
only module that knows them. Recorded traffic names no add-on in a transfer: a database is told by its name in a URL.
Unknown fields are let through, numbers may come as strings, timestamps as `2020-12-13 16:22:40 +0000` or ISO 8601.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from release.heroku.http import HerokuError, Session, ShapeUnknown, decode, pages
from release.heroku.platform import AddOn, client
from release.heroku.shape import INFORMS, Unknown

T = TypeVar("T")

Number = Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}\Z")]
"""A transfer's number; any other text is a wrong answer and fails the decoding."""

Count = Annotated[int, msgspec.Meta(ge=0)] | None

LOOKED_AT: Final = ("succeeded", "finished_at")
"""Fields that a transfer's answer has to hold, if only as null. Without them one that has ended seems to go on."""

PROVED_BY: Final = ("warnings", "processed_bytes")
"""Fields that the answer has to hold of a backup that succeeded. Without them nothing proves that it is whole."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What identifies a database in transfers: the add-on's id, and the database's name, which Heroku makes unique.

    Not the host: transfers may use an inner address. But followers and forks are copies of the whole server and keep
    the name; `elsewhere` are the hosts where such ones are known to be.
    """

    addon_id: str
    database_name: str
    elsewhere: frozenset[str] = frozenset()

    def matches(self, uuid: str | None, url: str | None) -> bool | None:
        """Returns True when one of the two is ours, False when it is another's, None when neither is given."""
        name = database_name(url)
        if uuid == self.addon_id:
            return True
        if name == self.database_name:
            return database_host(url) not in self.elsewhere
        return False if uuid or name else None


class Database(msgspec.Struct, frozen=True):
    """A Heroku Postgres database. `num_bytes`: its size; `following`: the leader of a follower, in whatever form."""

    database_name: str
    addon_id: str | None = None
    following: object = None
    num_bytes: Annotated[Count, INFORMS] = None


class Transfer(msgspec.Struct, frozen=True):
    """A movement of data by Heroku Postgres. `from_url` and `to_url` carry passwords and signatures: never log one.

    `succeeded` is true, false or null; the strings "true" and "false" are wrong answers and fail the decoding. Of
    `deleted_at` and `schedule` it only matters that they are given, in whatever form.
    """

    uuid: Annotated[str, msgspec.Meta(min_length=1)]
    from_type: str
    to_type: str
    num: Number
    from_name: Annotated[str | None, INFORMS] = None
    from_uuid: Annotated[str | None, INFORMS] = None
    to_uuid: Annotated[str | None, INFORMS] = None
    from_url: str | None = None
    to_url: str | None = None
    processed_bytes: Annotated[Count, INFORMS] = None
    succeeded: bool | None = None
    warnings: Annotated[Count, INFORMS] = None
    created_at: Annotated[str | None, INFORMS] = None
    started_at: Annotated[str | None, INFORMS] = None
    finished_at: str | None = None
    canceled_at: str | None = None
    deleted_at: object = None
    num_keep: Annotated[Count, INFORMS] = None
    schedule: object = None

    def __repr__(self) -> str:
        return f"<Transfer {self.name}>"

    __str__ = __repr__

    @property
    def name(self) -> str:
        """Its name as in Heroku's CLI: b012 (backup), a007 (scheduled backup), r013 (restore), c001 (copy)."""
        if self.from_type == "pg_dump":
            letter = "c" if self.to_type == "pg_restore" else "a" if self.schedule else "b"
        else:
            letter = "r" if self.to_type == "pg_restore" else "b"
        return f"{letter}{self.number:03d}"

    @property
    def number(self) -> int:
        """The number in its name; it only ever grows, whatever the clocks say."""
        return int(self.num)

    @property
    def is_backup(self) -> bool:
        """Whether it is a dump into Heroku's store."""
        return self.from_type == "pg_dump" and self.to_type != "pg_restore"

    @property
    def is_restore(self) -> bool:
        """Whether it loads into a database, from a backup or from another database (a copy)."""
        return self.to_type == "pg_restore"

    @property
    def finished(self) -> bool:
        """Whether it has come to an end. A cancelled dump may still set `finished_at`."""
        return self.finished_at is not None or self.canceled_at is not None

    @property
    def size(self) -> int:
        """Bytes moved so far."""
        return self.processed_bytes or 0

    def reads(self, source: Source) -> bool | None:
        """Tells whether it dumps this database; None when the answer does not say."""
        return source.matches(self.from_uuid, self.from_url) if self.from_type == "pg_dump" else False

    def writes(self, target: Source) -> bool | None:
        """Tells whether it loads into this database; None when the answer does not say."""
        return target.matches(self.to_uuid, self.to_url) if self.is_restore else False

    def loads(self, backup: Transfer) -> bool | None:
        """Tells whether it loads this backup; None when the answers do not say."""
        if not self.is_restore:
            return False
        return stored(self.from_url) == stored(backup.to_url) if self.from_url and backup.to_url else None

    @property
    def seconds(self) -> float | None:
        """Seconds that it took; None until it has finished."""
        started, finished = moment(self.started_at or self.created_at), moment(self.finished_at)
        return (finished - started).total_seconds() if started and finished else None


class Link(msgspec.Struct, frozen=True):
    """A signed address of a backup, good for about an hour for whoever has it: never log it."""

    url: str

    def __repr__(self) -> str:
        return "<Link>"


class _Line(msgspec.Struct, frozen=True):
    message: str


class _Verbose(msgspec.Struct, frozen=True):
    logs: tuple[_Line, ...]


def database_name(url: str | None) -> str | None:
    """Returns the database's name in a Postgres URL; None for any other text."""
    if not url or not url.startswith(("postgres://", "postgresql://")):
        return None
    return unquote(urlsplit(url).path.lstrip("/")) or None


def database_host(url: str | None) -> str | None:
    """Returns the host in a Postgres URL; None for any other text."""
    return urlsplit(url).hostname if url and database_name(url) else None


def stored(address: str | None) -> str | None:
    """Returns where a backup is: its address without the signature, which may be another one each time."""
    return address and urlsplit(address)._replace(query="", fragment="").geturl()


def moment(text: str | None) -> datetime | None:
    """Reads a timestamp in either of the two styles; None when it is absent or unreadable."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" +0000", "+00:00").replace(" UTC", "+00:00"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class DataAPI:
    """The Data API. Every method makes one request (one a page) and raises HerokuError."""

    def __init__(self, session: Session, base: str) -> None:
        self._call = client(session, base)

    def _get(self, kind: type[T], *parts: str, verbose: bool = False, required: tuple[str, ...] = ()) -> T:
        params = {"verbose": "true"} if verbose else None
        answer = self._call("GET", ("client", "v11", *parts), params=params)
        return decode(f"GET /{'/'.join(parts)}", answer, kind, required=required)

    def database(self, addon: AddOn) -> Database:
        """Reads a database's description. It carries the password, which is not kept."""
        return self._get(Database, "databases", addon.id)

    def transfers(self, addon: AddOn) -> tuple[Transfer, ...]:
        """Lists all transfers of the add-on's billing app, unsorted: backups, restores, copies of all its databases."""
        path = ("client", "v11", "apps", addon.app.name, "transfers")
        return pages("GET transfers", lambda span: self._call("GET", path, span=span), Transfer, required=LOOKED_AT)

    def transfer(self, addon: AddOn, uuid: str) -> Transfer:
        """Reads one transfer.

        An answer about another transfer is an error, and so is a good backup whose answer does not prove that it is
        whole.
        """
        transfer = self._get(Transfer, "apps", addon.app.name, "transfers", uuid, required=LOOKED_AT)
        if transfer.uuid != uuid:
            raise HerokuError(f"GET transfer {uuid}: the answer is about another transfer", status=200)
        if transfer.is_backup and transfer.finished and transfer.succeeded:
            for name in PROVED_BY:
                if getattr(transfer, name) is None:
                    raise ShapeUnknown(f"GET transfer {transfer.name}", Unknown(name, "it is no number"))
        return transfer

    def logs(self, addon: AddOn, uuid: str) -> tuple[str, ...]:
        """Reads a transfer's log lines, which only this request carries."""
        return tuple(
            line.message for line in self._get(_Verbose, "apps", addon.app.name, "transfers", uuid, verbose=True).logs
        )

    def link(self, addon: AddOn, backup: Transfer) -> Link:
        """Asks for an address to download a backup from; asking again makes another."""
        parts = ("client", "v11", "apps", addon.app.name, "transfers", str(backup.num), "actions", "public-url")
        return decode("POST public-url", self._call("POST", parts), Link)

    def capture(self, addon: AddOn) -> Transfer:
        """Asks for a backup. Not to be repeated when it fails: see exactly_once.py."""
        parts = ("client", "v11", "databases", addon.id, "backups")
        return decode("POST backups", self._call("POST", parts), Transfer)

    def restore(self, addon: AddOn, backup: Transfer) -> Transfer:
        """Asks for a restore of a backup onto the add-on. Not to be repeated when it fails: see exactly_once.py."""
        parts = ("client", "v11", "databases", addon.id, "restores")
        return decode("POST restores", self._call("POST", parts, {"backup_url": backup.to_url}), Transfer)
