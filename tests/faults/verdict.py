"""The verdict on a run: what is seen from outside, held against the invariants of FAULTS.md.

Nothing here believes the hook. Its claims (exit code, outcome) are compared with a dump of the database, the
migration's own note that it was started, the sandbox's list of transfers and its count of the requests it accepted.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.faults.stage import Place
from tests.hook import Result
from tests.judge import query

FINAL = {"released", "untouched", "restored", "refused", None}
"""Outcomes after which nothing is left to be done; None: settings were wrong."""

EXIT_CODES = {
    "released": 0,
    "untouched": 1,
    "restored": 1,
    None: 2,
    "refused": 3,
    "kept": 4,
    "handed_over": 4,
    "restore_failed": 4,
}
"""As documented; `crashed` is missing on purpose: no fault may lead there."""

FORMATION = {"web": 1, "worker": 2}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What can be seen from outside when a run has ended.

    `killed`: the harness has ended it with SIGKILL, so that it could not say its last line; `mute`: the harness has
    taken its stdout away; `twins`: somebody else has started the same transfers; `transfers` and `requests` are those
    of this run, `older` the addresses of earlier backups; `database`: its name, which is that of no other;
    `migrations`: how often it was started.
    """

    result: Result
    killed: bool
    mute: bool
    twins: bool
    picture: str
    before: str
    landed: str
    maintenance: bool
    formation: dict[str, int]
    requests: list[dict[str, Any]]
    transfers: list[dict[str, Any]]
    older: set[str]
    database: str
    migrations: int
    secrets: set[bytes]
    journal: dict[str, str | None]

    @property
    def outcome(self) -> str | None:
        """What the hook claims."""
        found: str | None = self.last.get("outcome")
        return found

    @property
    def last(self) -> dict[str, Any]:
        """The last line, when it is a whole `release_finished`."""
        lines = self.result.stdout.splitlines()
        try:
            last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        except ValueError:
            last = {}
        return last if last.get("event") == "release_finished" else {}

    @property
    def put_back(self) -> bool:
        """Whether maintenance mode and formation are as before the run."""
        return not self.maintenance and {kind: self.formation[kind] for kind in FORMATION} == FORMATION

    def made(self, kind: str) -> list[dict[str, Any]]:
        """This run's transfers of a kind: `backup` or `restore`."""
        wanted = {"backup": ("pg_dump", False), "restore": ("gof3r", True)}[kind]
        return [each for each in self.transfers if (each["from_type"], each["to_type"] == "pg_restore") == wanted]

    def of_this_database(self, backup: dict[str, Any]) -> bool:
        """Whether it was taken of the app's database: recorded traffic tells that by the name in the URL alone."""
        url: str = backup["from_url"]
        return urlsplit(url).path == f"/{self.database}"

    def accepted(self, kind: str) -> int:
        """How many POSTs of a kind (`backups`, `restores`) the sandbox accepted, answered or not."""
        return sum(
            each["method"] == "POST" and each["path"].endswith(f"/{kind}") and each["effects"] > 0
            for each in self.requests
        )


def look(
    place: Place,
    result: Result,
    *,
    older: list[dict[str, Any]],
    migrations: int,
    killed: bool = False,
    mute: bool = False,
    twins: bool = False,
) -> Seen:
    """Looks at a place after a run. `older`: the transfers, `migrations`: the starts, that were there before it."""
    requests = place.sandbox.requests()
    # After other ends a restore may be under way: then there is nothing to take a picture of, and nothing is claimed.
    known = {each["uuid"] for each in older}
    claims = not killed and result.exit_code in {0, 1, 2, 3}
    return Seen(
        result=result,
        killed=killed,
        mute=mute,
        twins=twins,
        picture=place.picture() if claims else "",
        before=place.before,
        landed=place.landed,
        maintenance=place.app.maintenance(),
        formation=place.app.formation(),
        requests=requests,
        transfers=[each for each in place.app.transfers() if each["uuid"] not in known],
        older={stored(each["to_url"]) for each in older},
        database=place.database,
        migrations=place.migrations_started() - migrations,
        secrets=place.secrets(),
        journal=journal(place),
    )


def journal(place: Place) -> dict[str, str | None]:
    """Outcomes by run, as the journal in the database has them; none while a restore has it away."""
    try:
        rows = query(place.superuser, "SELECT run_id, outcome FROM release_phase.runs")
    except psycopg.Error:
        return {}
    return {str(run): None if outcome is None else str(outcome) for run, outcome in rows}


def violations(seen: Seen) -> list[str]:
    """The invariants that a run broke, each as a sentence."""
    checks = (output, ending, database, journal_agrees, backup_first, once_only, own_restore, hands_off, silence)
    return [broken for check in checks for broken in check(seen)]


def output(seen: Seen) -> Iterator[str]:
    """X3: each line one JSON object below 10,000 bytes, and the last one `release_finished`."""
    lines = seen.result.stdout.split(b"\n")
    if seen.killed and lines[-1]:
        lines.pop()  # cut off in the middle of a line
    for line in lines:
        if len(line) >= 10_000:
            yield f"X3: a line of {len(line)} bytes"
        try:
            if line and not isinstance(json.loads(line), dict):
                yield f"X3: no JSON object: {line[:200]!r}"
        except ValueError:
            yield f"X3: no JSON: {line[:200]!r}"
    if not seen.last and not seen.killed and not seen.mute:
        yield f"X3: release_finished is not the last line: {lines[-2:]!r}"
    if b"Traceback" in seen.result.stderr:
        yield f"X3: a traceback on stderr: {seen.result.stderr[-1500:]!r}"


def ending(seen: Seen) -> Iterator[str]:
    """Exit code and outcome belong together, and nothing crashes."""
    code = seen.result.exit_code
    if seen.killed or (seen.mute and not seen.last):
        return
    if seen.outcome not in EXIT_CODES:
        yield f"the outcome is {seen.outcome}: {seen.last.get('error')}"
    elif code != EXIT_CODES[seen.outcome] and not (seen.outcome in FINAL | {"kept"} and seen.last.get("recovered")):
        yield f"S2: exit {code} with the outcome {seen.outcome}"
    if seen.last and seen.last.get("exit_code") != code:
        yield f"S2: exit {code}, and the last line says {seen.last.get('exit_code')}"


def database(seen: Seen) -> Iterator[str]:
    """S1 and S2: the claim and the dump agree."""
    code = seen.result.exit_code
    if seen.killed:
        return
    if code == 0 and seen.picture != seen.landed:
        yield f"S2: exit 0, and the database is not the migrated one: {difference(seen.landed, seen.picture)}"
    if code in {1, 2, 3} and seen.picture != seen.before and not (code == 1 and only_numbers_taken(seen)):
        yield f"S1: {seen.outcome}, and the database is not as before: {difference(seen.before, seen.picture)}"
    if code in {0, 1, 2, 3} and not seen.put_back and not warned(seen, "fence_not_lowered", "journal_not_closed"):
        yield f"the fence is up after {seen.outcome}: {seen.maintenance}, {seen.formation}"


def only_numbers_taken(seen: Seen) -> bool:
    """Whether all that differs are a few numbers that rows have taken which were rolled back: no ROLLBACK returns them.

    Only of a run that restored nothing; and only forward, so that no number is given twice.
    """
    lines = [(one, other) for one, other in zip_lines(seen.before, seen.picture) if one != other]
    found = [(_SETVAL.fullmatch(one), _SETVAL.fullmatch(other)) for one, other in lines]
    return seen.outcome == "untouched" and all(
        was and now and was[1] == now[1] and 0 <= int(now[2]) - int(was[2]) <= MOST_NUMBERS for was, now in found
    )


def zip_lines(one: str, other: str) -> Iterator[tuple[str, str]]:
    """The lines of two texts side by side; a line that one lacks is empty."""
    return itertools.zip_longest(one.splitlines(), other.splitlines(), fillvalue="")


MOST_NUMBERS = 10
"""Rows that a migration of these tests inserts before it rolls back."""

_SETVAL = re.compile(r"SELECT pg_catalog\.setval\('([^']+)', (\d+), true\);")


def journal_agrees(seen: Seen) -> Iterator[str]:
    """S2: exit 0 if and only if the journal says `released`."""
    run = seen.last.get("run_id")
    released = seen.journal.get(run) == "released" if run else False
    if run and not seen.killed and (released != (seen.result.exit_code == 0)) and seen.migrations:
        yield f"S2: exit {seen.result.exit_code}, and the journal says {seen.journal.get(run)}"


def backup_first(seen: Seen) -> Iterator[str]:
    """S3: the migration was started only with a good backup of this database by this run."""
    if not seen.migrations:
        return
    good = [
        each
        for each in seen.made("backup")
        if each["succeeded"] is True
        and not each["canceled_at"]
        and each["warnings"] == 0
        and seen.of_this_database(each)
    ]
    if not good:
        yield "S3: the migration was started without a good backup of this run"
    if seen.migrations > 1:
        yield f"the migration was started {seen.migrations} times"


def once_only(seen: Seen) -> Iterator[str]:
    """S4 and S7: one accepted capture for each purpose, one restore for each attempt, none where none is due."""
    changed = seen.migrations and seen.outcome not in {"released", "untouched", "refused"}
    backups, restores = seen.accepted("backups"), seen.accepted("restores")
    if backups > (2 if changed else 1):
        yield f"S4: {backups} captures were accepted"
    if restores > (2 if changed else 0):
        yield f"S4/S7: {restores} restores were accepted, outcome {seen.outcome}"
    if seen.twins:
        return
    made = sorted(seen.made("restore"), key=lambda each: int(each["num"]))
    for first, second in itertools.pairwise(made):
        if not first["finished_at"] or second["created_at"] < first["finished_at"]:
            yield "S4: two restores at the same time"


def own_restore(seen: Seen) -> Iterator[str]:
    """S5: a restore's source is the backup that this run took first (or one that is no longer listed)."""
    backups = sorted(seen.made("backup"), key=lambda each: int(each["num"]))
    first = next((stored(each["to_url"]) for each in backups if seen.of_this_database(each)), None)
    others = seen.older | {stored(each["to_url"]) for each in backups} - {first}
    for each in seen.made("restore"):
        if stored(each["from_url"]) in others:
            yield f"S5: {each['num']} is a restore from another backup than this run's"


def stored(address: str) -> str:
    """Where a backup is: its address without the signature, which may be another one each time."""
    return address.partition("?")[0]


def hands_off(seen: Seen) -> Iterator[str]:
    """S11: no transfer is cancelled, no backup deleted; X2: no request leads elsewhere."""
    for each in seen.requests:
        if each["method"] == "DELETE" or "/actions/" in each["path"]:
            yield f"S11: {each['method']} {each['path']}"
        if "elsewhere" in each["path"]:
            yield f"X2: a redirect was followed to {each['path']}"


def silence(seen: Seen) -> Iterator[str]:
    """X1: no secret in any output."""
    for stream in (seen.result.stdout, seen.result.stderr):
        if leaked := leaks(stream, seen.secrets):
            yield f"X1: {leaked} secrets in the output"


def leaks(data: bytes, secrets: set[bytes]) -> int:
    """How many of the secrets stand in it."""
    return sum(each in data for each in secrets)


def warned(seen: Seen, *names: str) -> bool:
    """Whether the hook said loudly what it could not do."""
    return any(f'"warning":"{name}"'.encode() in seen.result.stdout for name in names)


def difference(wanted: str, found: str) -> str:
    """The lines that two pictures do not share, shortened."""
    one, two = wanted.splitlines(), found.splitlines()
    missing, more = set(one) - set(two), set(two) - set(one)
    return f"-{sorted(missing)[:6]} +{sorted(more)[:6]}"[:1200]
