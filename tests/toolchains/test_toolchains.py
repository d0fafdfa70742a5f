"""Each framework's real tool: what it answers, and releases that land, have nothing to do, and are undone.

A toolchain is an entry in one of the tables beside this file.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import psycopg
import pytest

from heroku_sandbox import Sandbox
from release.database.history import applied, recorded
from tests.hook import Result, finish
from tests.judge import execute, picture, query
from tests.toolchains import debian, node, python
from tests.toolchains.toolchain import NOWHERE, Bench, Files, Situation, Toolchain, bench

pytestmark = pytest.mark.timeout(600)
"""Seconds: a tool may have to be installed first, by this worker or by another one for which it waits."""

TOOLCHAINS = (*python.TOOLCHAINS, *debian.TOOLCHAINS, *node.TOOLCHAINS)

UNASKED = {"RELEASE_ON_MISSING_MIGRATIONS": "off"}
"""Missing migrations are not what this is about: each question starts the app once more."""

COURSES = "INSERT INTO courses (id, title) SELECT n, 'course ' || n FROM generate_series(1, 300) AS n"
_numbers = itertools.count(1)


@pytest.fixture
def tried(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path, toolchain: Toolchain) -> Bench:
    """The toolchain with an app of its own."""
    app = sandbox.create_app(f"toolchain-{next(_numbers)}", config={"HEROKU_API_KEY": sandbox.key})
    return bench(request, toolchain, app=app, folder=tmp_path)


@pytest.mark.thin(1)
@pytest.mark.parametrize("toolchain", [each for each in TOOLCHAINS if each.answers], ids=str)
def test_a_real_tool_answers_as_was_measured(tried: Bench, sandbox: Sandbox, toolchain: Toolchain) -> None:
    first, good = toolchain.first, toolchain.good
    answers = {Situation.UNREACHABLE: tried.ask(first, url=NOWHERE), Situation.FRESH: tried.ask(first)}
    tried.migrate(first)
    execute(tried.app.database_url, COURSES)
    before = picture(sandbox.superuser_url(tried.app))
    answers[Situation.NOTHING] = tried.ask(first)
    answers[Situation.UNLOADABLE] = tried.ask(first, toolchain.unloadable)
    answers[Situation.PENDING] = tried.ask(first, good)
    assert picture(sandbox.superuser_url(tried.app)) == before, "a question has changed the database"
    tried.migrate(first, good)
    answers[Situation.AHEAD] = tried.ask(first)

    measured = {situation: answer for situation, (answer, _) in answers.items()}
    assert measured == dict(toolchain.answers), {str(each): lines for each, (_, lines) in answers.items()}


@pytest.mark.thin(1)
@pytest.mark.parametrize("toolchain", TOOLCHAINS, ids=str)
def test_a_release_with_a_real_tool_lands_or_is_undone(tried: Bench, sandbox: Sandbox, toolchain: Toolchain) -> None:
    first, good, broken = toolchain.first, toolchain.good, toolchain.broken
    landed = _release(tried, first)
    assert landed.ended == (0, "released", None), landed.stdout.decode()
    assert [each["framework"] for each in landed.named("framework_detected")] == _detected(toolchain)
    recorded_first = _history(tried)
    execute(tried.app.database_url, COURSES)

    assert _release(tried, first, good).ended == (0, "released", None)
    assert _history(tried).keys() == recorded_first.keys()
    assert not toolchain.framework or _history(tried) != recorded_first
    assert query(tried.app.database_url, "SELECT count(*), count(price) FROM courses") == [(300, 0)]

    sandbox.forget_requests()
    again = _release(tried, first, good)
    assert again.ended == (0, "released", None)
    assert [each["path"] for each in sandbox.requests() if not each["path"].startswith("/_")] == []
    assert again.named("transfer_started") == []

    if toolchain.framework and (toolchain.row.pending or toolchain.row.index):
        said = [each["warning"] for result in (landed, again) for each in result.named("warning_raised")]
        assert "pending_unknown" not in said

    before = picture(sandbox.superuser_url(tried.app))
    undone = _release(tried, first, good, broken)
    assert undone.ended == (1, "restored", "migration_failed"), undone.stdout.decode()
    assert picture(sandbox.superuser_url(tried.app)) == before

    row = toolchain.row if toolchain.framework else None
    if row and (row.known or row.unknown or row.index or row.file):
        older = _release(tried, first)
        assert older.ended == (0, "released", None), older.stdout.decode()
        assert [each["warning"] for each in older.named("warning_raised")] == ["database_ahead"]
        assert picture(sandbox.superuser_url(tried.app)) == before


def _release(tried: Bench, *versions: Files) -> Result:
    return finish(tried.hook(*versions).start(**UNASKED), within=180)


def _history(tried: Bench) -> dict[str, list[str]]:
    """What the hook reads of the tool's own record, from each of its tables: it has to be there, as the row says."""
    if not tried.toolchain.framework:
        return {}
    histories = tried.toolchain.row.histories
    with psycopg.connect(tried.app.database_url) as connection:
        found = recorded(connection, histories)
        assert len(found) == len(histories)
        assert applied(connection, histories[0])
        return found


def _detected(toolchain: Toolchain) -> list[str]:
    return [toolchain.framework] if toolchain.framework else []
