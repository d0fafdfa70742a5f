"""Shapes of databases: whatever a database holds, a failed release leaves it as it was, or is refused.

Each shape (`corpus.py`) is played with both ways in which Heroku may reset a database before it loads, and fails in
three ways. Judged by `judge.whole_picture`, which sees more than a dump.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.faults import corpus, verdict
from tests.faults.corpus import Shape, shapes
from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import Harness, Play, await_quiet
from tests.faults.stage import Place, Scenario, Stage
from tests.hook import Result
from tests.judge import Picture, differing, execute, query, whole_picture

RESETS = ("database", "schemas")
FAILS = {
    "broken": "{changes}SELECT 1 / 0;\n",
    "atomic": "BEGIN;\n{changes}SELECT 1 / 0;\nCOMMIT;\n",
    "probe": "{changes}",
}
"""Ways to fail: with some statements committed; as one transaction that is rolled back; by a probe, in the end."""

SCRIPT = """#!/bin/sh
echo $$ >> started
exec psql -Xq -v ON_ERROR_STOP=1 -f migrations/001.sql "$DATABASE_URL"
"""
CASES = [(fails, reset, name) for fails in FAILS for reset in RESETS for name in shapes()]


@dataclass(kw_only=True)
class Looked:
    """What a cell on a shape has been seen to be: before, and after; `other`: the role of the other credential."""

    shape: Shape
    place: Place
    before: Picture
    other: str
    results: list[Result] = field(default_factory=list)

    def during(self, place: Place, run: Started) -> Result:
        """Keeps the result of the run that is judged."""
        self.results.append(run.finish())
        if any(not each["finished_at"] for each in place.app.transfers()):
            forget_prepared(place)  # a reset waits for its locks, and whoever looks would wait behind it
            await_quiet(place)
        return self.results[0]

    def judged(self, place: Place) -> list[str]:
        """What was broken, beyond what `verdict` says of every run."""
        result, now = self.results[0], self.look()
        last, changed = result.last, differing(self.before, now)
        outcome, reason = last["outcome"], str(last["reason"])
        log = result.stdout.decode().partition("\n")[2]
        if outcome == "restored" or (outcome == "untouched" and place.migrations_started()):
            return [*self._unexcused(changed, outcome, log)]
        blocked = outcome == "untouched" and "any" in self.shape.refused
        if outcome == "refused" or blocked:
            return self._refused(reason, changed, log)
        state = f"over a database that differs in {changed[:6]}" if changed else "over a database that is as before"
        return [f"shape: {outcome}, {reason}, {state}: {str(last.get('error'))[:300]}"]

    def look(self) -> Picture:
        """The database now, with names that do not depend on the app."""
        return seen(self.place, self.other)

    def _unexcused(self, changed: list[str], outcome: str, log: str) -> Iterator[str]:
        now = self.look()
        for name in changed:
            word = self.shape.word(name, "other") if outcome == "restored" else None
            if word is None:
                how = verdict.difference(self.before.get(name, ""), now.get(name, ""))
                yield f"S1: {outcome}, and {name} is not as before: {how[:400]}"
            elif not named(log, self.other if word == "other" else word):
                yield f"S10: {outcome}, and no warning says that {name} could not be given back"

    def _refused(self, reason: str, changed: list[str], log: str) -> list[str]:
        broken = [f"S1: refused, and {name} is not as before" for name in changed]
        if reason.replace("_", "-") not in self.shape.refused and "any" not in self.shape.refused:
            broken.append(f"shape: refused, {reason}, what a restore could have given back")
        broken += [f"shape: refused, and the log does not name {word}" for word in self.shape.names if word not in log]
        return broken


def named(log: str, word: str) -> bool:
    """Whether a warning of the hook holds a word."""
    return any(word in line for line in log.splitlines() if '"level":"warning"' in line)


def seen(place: Place, other: str) -> Picture:
    """The whole picture of an app's database; its roles and its own name are replaced."""
    database = urlsplit(place.environment["DATABASE_URL"]).path.lstrip("/")

    def neutral(text: str) -> str:
        found = text.replace(place.owner, "owner").replace(database, "database")
        return found.replace(other, "other") if other else found

    return {neutral(name): neutral(text) for name, text in whole_picture(place.superuser).items()}


def scenario(shape: Shape, fails: str) -> Scenario:
    """A release of a shape that fails in one of the ways."""
    settings = {"RELEASE_PENDING_COMMAND": "test -e started", **shape.settings}
    if fails == "probe":
        settings |= {"RELEASE_PROBE_SQL": "SELECT false", "RELEASE_PROBE_TIMEOUT": "1"}
    migration = FAILS[fails].format(changes=shape.changes)
    return Scenario(name=f"{shape.name}, {fails}", migration=migration, script=SCRIPT, settings=settings)


def place_for(stage: Stage, shape: Shape, fails: str) -> Looked:
    """An app whose database has a shape."""
    place = stage.fresh(scenario(shape, fails))
    url = place.environment["DATABASE_URL"]
    execute(url, "DROP TABLE learners, alembic_version")
    role = ""
    theirs = url
    if shape.needs_another:
        credential = place.app.add_credential("other")
        role = credential["user"]
        theirs = url.replace(url.split("//")[1].split("@")[0], f"{role}:{credential['password']}")
    variables = {"owner": place.owner, "other": role, "database": urlsplit(url).path.lstrip("/")}
    corpus.build(shape, owner=url, superuser=place.superuser, other=theirs, variables=variables)
    looked = Looked(shape=shape, place=place, before=seen(place, role), other=role)
    place.only_here = True
    place.see = lambda _: as_text(looked.shape, looked.look())
    place.before = place.picture()
    return looked


def as_text(shape: Shape, picture: Picture) -> str:
    """What `verdict` compares: all that a restore has to give back, a line each."""
    return "\n".join(f"{name}: {text!r}" for name, text in sorted(picture.items()) if shape.word(name, "other") is None)


@contextmanager
def resetting(stage: Stage, how: str) -> Iterator[None]:
    """Restores empty the database first, in this way."""
    stage.sandbox.set_options(reset=how)
    try:
        yield
    finally:
        stage.sandbox.set_options(reset="database")


@pytest.mark.thin(5)
@pytest.mark.parametrize(("fails", "reset", "name"), CASES, ids=[" ".join(case) for case in CASES])
def test_a_database_of_any_shape_is_as_it_was(harness: Harness, fails: str, reset: str, name: str) -> None:
    looked = place_for(harness.stage, shapes()[name], fails)
    cell = Cell(group="shape", fault=f"{name}, {reset} reset", scenario=fails)
    how = Play(during=looked.during, also=looked.judged, excused=("S1",), fired=lambda _: (True, False))
    try:
        with resetting(harness.stage, reset):
            harness.play(cell, looked.place.scenario, how, looked.place)
    finally:
        forget_prepared(looked.place)
    assert not cell.broken, cell


def forget_prepared(place: Place) -> None:
    """There are only so many prepared transactions in a server."""
    for (gid,) in query(place.superuser, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
        execute(place.superuser, f"ROLLBACK PREPARED '{gid}'")
