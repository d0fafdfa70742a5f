"""Deliberate mistakes, one at a time: hooks that the harness has to see through.

Each is a change to one thing in a run that is otherwise the real hook. `TWISTS` names them; `fast.py` applies them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace


def _put(owner: object, name: str, other: object) -> None:
    """Puts another thing in its place. One that is there no more has moved, and the mistake with it."""
    assert hasattr(owner, name), f"{owner} has no {name}"
    setattr(owner, name, other)


def blind_retry() -> None:
    """A POST whose answer is lost is simply sent again."""
    from release.heroku import exactly_once  # noqa: PLC0415

    _put(exactly_once, "_settle", lambda *_, **__: None)


def truthy() -> None:
    """`if succeeded:`, so that the text "false" will do."""
    from release.heroku import http, transfers  # noqa: PLC0415

    strict = http.decode

    def lenient(what: str, response: Any, kind: Any, **rest: Any) -> Any:
        document = msgspec.json.decode(response.content)
        if isinstance(document, dict) and "succeeded" in document:
            document["succeeded"] = bool(document["succeeded"]) if document["finished_at"] else None
            response._content = msgspec.json.encode(document)
        return strict(what, response, kind, **rest)

    _put(transfers, "decode", lenient)


def latest_backup() -> None:
    """The app's latest backup is restored, whoever took it."""
    from release.steps import restore  # noqa: PLC0415

    def latest(_run: Any, target: Any, _uuid: str) -> Any:
        backups = [each for each in target.store.listed() if each.is_backup and each.succeeded]
        return max(backups, key=lambda each: int(each.num))

    _put(restore, "find_backup", latest)


def anybodys() -> None:
    """Nobody looks which database a transfer is of: what is new in the list is taken for one's own."""
    from release.heroku.transfers import Transfer  # noqa: PLC0415

    _put(Transfer, "reads", lambda *_: True)


def ghosts_ignored() -> None:
    """Nobody looks whether a session of the migration is still at work."""
    from release.protected import fence, sessions  # noqa: PLC0415

    for module in (fence, sessions):
        _put(module, "wait_until_gone", lambda *_, **__: ([], []))


def success_on_a_log_error() -> None:
    """Whatever the run came to: when its last line cannot be written, it ends with 0."""
    from release import cli  # noqa: PLC0415

    settle: Callable[[], None] = vars(cli)["settle_standard_streams"]

    def careless() -> None:
        try:
            os.write(1, b"\n")
        except OSError:
            os._exit(0)
        settle()

    _put(cli, "settle_standard_streams", careless)


def redirects_followed() -> None:
    """Redirects are followed, as requests does by itself."""
    import requests  # noqa: PLC0415

    request = requests.Session.request

    def followed(self: Any, method: Any, url: Any, **kwargs: Any) -> Any:
        return request(self, method, url, **(kwargs | {"allow_redirects": True}))

    _put(requests.Session, "request", followed)


def polling_ends_well() -> None:
    """A wait that comes to nothing ends as if what was waited for had come, as in Heroku's own CLI."""
    from release.errors import ReleaseError  # noqa: PLC0415
    from release.protected import transfers  # noqa: PLC0415
    from release.retry import TimedOut  # noqa: PLC0415

    follow = transfers.follow

    def patient(run: Any, target: Any, transfer: Any, **rest: Any) -> Any:
        try:
            return follow(run, target, transfer, **rest)
        except (TimedOut, ReleaseError):
            finished = {"succeeded": True, "finished_at": "2026-01-01 00:00:00 +0000", "processed_bytes": 1}
            return replace(transfer, **finished)

    _put(transfers, "follow", patient)


def settled_ignored() -> None:
    """Nobody looks whether another run has settled this one in the meantime."""
    from release.protected import proof  # noqa: PLC0415
    from release.steps import restore  # noqa: PLC0415

    for module in (restore, proof):
        _put(module, "own_row", lambda run: run.journal.entry(run.id))
    _put(restore, "announce", lambda *_: None)


def warnings_accepted() -> None:
    """A restore with warnings is as good as one without, whatever its log says: a failed COPY, too."""
    from release.protected import judgement, proof  # noqa: PLC0415

    _put(judgement, "_judge", lambda *_, **__: True)
    _put(proof, "check_rows", lambda *_, **__: None)


def counters_trusted() -> None:
    """What the server has counted decides alone whether anything was changed."""
    from release.database import evidence  # noqa: PLC0415

    compare = evidence.compare

    def counted(before: Any, after: Any) -> Any:
        return replace(compare(before, after), moved=[], strayed=[], catalogs=[], around=[])

    _put(evidence, "compare", counted)


def unknown_dropped() -> None:
    """After a restore everything goes that was not there before the migration, whoever made it."""
    from release.database import repair  # noqa: PLC0415

    narrow = repair.remove_added

    def everything(connection: Any, before: Any, _: Any) -> Any:
        return narrow(connection, before, repair._unknown(before.schema, repair._read(connection, before)))

    _put(repair, "remove_added", everything)


TWISTS = {
    "warnings accepted": warnings_accepted,
    "counters trusted": counters_trusted,
    "unknown dropped": unknown_dropped,
    "blind retry": blind_retry,
    "truthy": truthy,
    "latest backup": latest_backup,
    "anybody's transfer": anybodys,
    "ghosts ignored": ghosts_ignored,
    "success on a log error": success_on_a_log_error,
    "redirects followed": redirects_followed,
    "polling ends well": polling_ends_well,
    "settled ignored": settled_ignored,
}
