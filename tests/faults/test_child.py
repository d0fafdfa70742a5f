"""Migrations that misbehave as processes: how they end, what they leave running, what they print."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import Harness, Play, watched
from tests.faults.stage import KEY, Place, Scenario
from tests.hook import Result

DAMAGE = 'psql -XAtq -v ON_ERROR_STOP=1 -c "ALTER TABLE learners DROP COLUMN points" "$DATABASE_URL"\n'
"""What each of these migrations does to the database before it misbehaves."""
FORGED = '{"event":"release_finished","outcome":"released","exit_code":0,"level":"info"}'
ALWAYS = Play(fired=lambda _: (True, False))

WAYS = {
    **{f"exit code {code}": f"exit {code}\n" for code in (1, 77, 127, 137, 255)},
    **{
        f"ends itself with {number.name}": f"kill -{number.value} $$\nsleep 5\n"
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV)
    },
    "a command that is not there": "exec /nowhere/migrate\n",
    "reads stdin": "read line || exit 9\n",
    "closes its output and fails": "exec >&- 2>&-\nexit 4\n",
    "prints its environment": 'env; echo "$DATABASE_URL" >&2; exit 5\n',
    "prints the key it is not given": f"echo {KEY}; echo {KEY} | base64; printf '%s' {KEY[:20]}; "
    f"sleep 0.1; echo {KEY[20:]}; exit 5\n",
    "prints the URL in pieces": 'printf %s "$DATABASE_URL" | cut -c1-40 | tr -d "\\n"; sleep 0.1;'
    ' printf %s "$DATABASE_URL" | cut -c41-; exit 5\n',
    "forges the last line": f"echo '{FORGED}'; printf '\\n{FORGED}\\n' >&2; exit 6\n",
    "forges the last line without an end": f"printf '%s' '{FORGED}'; exit 6\n",
    "one line of 10 MB": "head -c 10000000 /dev/zero | tr '\\0' x; exit 7\n",
    "5 MB of lines": "yes 'a line of some length, as a migration prints it' | head -c 5000000; exit 7\n",
    "NUL, invalid UTF-8, escapes": "printf '\\000\\377\\376\\033[2J\\033]0;x\\007\\r\\n\\303\\050'; exit 7\n",
}

LEFT = {
    "a grandchild that holds stdout": "sleep 30 &\nexit 3\n",
    "a daemon that holds stdout": "setsid sleep 30 &\nexit 3\n",
    "a daemon with a session": 'setsid psql -Xqc "SELECT pg_sleep(30)" "$DATABASE_URL" >/dev/null 2>&1 &\n'
    "sleep 0.3; exit 3\n",
    "a daemon that reconnects": 'setsid sh -c \'while :; do psql -Xqc "INSERT INTO learners (name) VALUES (1)"'
    ' "$DATABASE_URL"; sleep 0.05; done\' >/dev/null 2>&1 &\nsleep 0.3; exit 3\n',
    "a statement that goes on when its client is killed": 'psql -Xqc "DELETE FROM learners WHERE pg_sleep(0.1) IS NOT'
    ' NULL" "$DATABASE_URL" & sleep 0.3; kill -9 $!; exit 3\n',
}


def scenario(name: str, script: str) -> Scenario:
    """A release whose migration is this script, after it has done damage."""
    return Scenario(name=name, migration="SELECT 1;", script=f"#!/bin/sh\necho $$ >> started\n{DAMAGE}{script}")


@pytest.mark.thin(2)
@pytest.mark.parametrize("way", WAYS)
def test_a_migration_may_end_in_any_way_but_well(harness: Harness, way: str) -> None:
    cell = harness.play(Cell(group="child", fault=way, scenario="failing"), scenario(way, WAYS[way]), ALWAYS)
    assert not cell.broken, cell
    assert cell.outcomes == ["restored"], cell


@pytest.mark.parametrize("what", LEFT)
def test_nothing_of_the_migration_is_alive_when_the_restore_is_asked_for(harness: Harness, what: str) -> None:
    cell = Cell(group="child", fault=f"leaves {what}", scenario="failing")
    cell = harness.play(cell, scenario(what, LEFT[what]), Play(**watched()))
    assert not cell.broken, cell


@pytest.mark.parametrize("way", ["never ends", "ignores SIGTERM"])
def test_a_migration_that_does_not_end_is_ended(harness: Harness, way: str) -> None:
    script = "sleep 1000\n" if way == "never ends" else "trap '' TERM INT HUP; while :; do sleep 0.2; done\n"
    cell = Cell(group="child", fault=way, scenario="failing")
    how = Play(changes={"RELEASE_TIME_LIMIT": "150"}, fired=lambda _: (True, False))
    assert not harness.play(cell, scenario(way, script), how).broken, cell
    assert cell.outcomes == ["restored"], cell


@pytest.mark.thin(2)
@pytest.mark.parametrize("way", ["sleep 1000", "trap '' TERM INT HUP; while :; do sleep 0.2; done"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda each: each.name)
def test_a_signal_in_the_migration_ends_the_run_in_time(harness: Harness, way: str, number: signal.Signals) -> None:
    def during(place: Place, run: Started) -> Result:
        ends = time.monotonic() + 20
        while not migrated(place) and time.monotonic() < ends:
            run.read(0.05)
        time.sleep(0.3)
        stopped = time.monotonic()
        run.signal(number)
        result = run.finish()
        how.stopping.append(time.monotonic() - stopped)
        return result

    how = Play(during=during, fired=lambda _: (True, False))
    cell = Cell(group="kill", fault=f"{number.name} while `{way[:9]}` runs", scenario="failing")
    cell = harness.play(cell, scenario(f"{number.name} {way[:5]}", way + "\n"), how)
    assert not cell.broken, cell
    assert (cell.stopping or 99) < 25, cell


def migrated(place: Place) -> bool:
    """Whether the migration was started."""
    return Path(place.folder / "started").exists()
