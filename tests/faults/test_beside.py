"""Migrations that go past the witness: what they commit there is never called untouched.

People write meanwhile, to the very table that the migration writes to, so that nothing but the witness can tell whose a
row is. All of them stay connected for longer than the time between two looks (`LOOK_EVERY` in
`release/app/witnessed.py`): who connects, commits and leaves in between is not always seen.
"""

from __future__ import annotations

import shlex
import sys

import pytest

from tests.faults.figures import Cell
from tests.faults.harness import Harness, Play
from tests.faults.live import People, present
from tests.faults.stage import Place, Scenario
from tests.faults.test_writers import CAPTURED_AGAIN, others_apart
from tests.judge import execute

SNEAK = """#!/bin/sh
# Commits at the address given, and stays connected for so many seconds.
exec psql -Xq "$1" -c "INSERT INTO jobs VALUES ('sneaked')" -c "SELECT pg_sleep($2)"
"""
LIBRARY = """import asyncio, asyncpg, sys
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    await connection.execute("INSERT INTO jobs VALUES ('sneaked'); SELECT pg_sleep(0.3)")
asyncio.run(main())
"""
ROLLS_BACK = """
psql -Xq "$DATABASE_URL" -v ON_ERROR_STOP=1 -c "BEGIN; UPDATE learners SET points = 0; SELECT 1 / 0"
"""
WAYS = {
    "a hard-coded URL": "./sneak {url} 0.3",
    "another name of the host": "./sneak {localhost} 0.3",
    "another credential": "./sneak {other} 0.3",
    "a driver without libpq": "{python} sneak.py {url}",
    "a child in a session of its own": "setsid ./sneak {url} 0.3 &\nsleep 0.2",
    "a grandchild that outlives it": "(setsid sh -c 'sleep 1; ./sneak {url} 0.3' >/dev/null 2>&1 &)",
}
"""What the migration does before it fails in a transaction; `url` leads past the witness, `other` as another role."""
LATER = 1.5
"""Seconds in which what outlives the run would have committed."""


def write_script(place: Place, way: str) -> None:
    """Writes the migration's program."""
    url = place.environment["DATABASE_URL"]
    login = place.app.add_credential("other")
    execute(url, f"GRANT INSERT ON jobs TO {login['user']}")
    urls = {
        "url": url,
        "localhost": url.replace("127.0.0.1", "localhost"),
        "other": url.replace(url.split("//")[1].split("@")[0], f"{login['user']}:{login['password']}"),
    }
    text = WAYS[way].format(python=sys.executable, **{name: shlex.quote(each) for name, each in urls.items()})
    (place.folder / "sneak.py").write_text(LIBRARY)
    for name, program in (("sneak", SNEAK), ("migrate", f"#!/bin/sh\necho $$ >> started\n{text}{ROLLS_BACK}")):
        (place.folder / name).write_text(program)
        (place.folder / name).chmod(0o755)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_committed_beside_the_witness_is_never_untouched(harness: Harness, way: str) -> None:
    scenario = Scenario(name=way, migration="")
    place = harness.stage.fresh(scenario)
    with People(app=place.app) as people:
        write_script(place, way)
        others_apart(place)
        cell = Cell(group="live", fault="a migration goes past the witness", scenario=way)

        def judged(_: Place) -> list[str]:
            people.stop(after=LATER)
            there = "sneaked" in present(place.superuser)
            return [f"S14: it ends {cell.outcomes}, and what it committed is in the database"] if there else []

        how = Play(at_last=judged, excused=CAPTURED_AGAIN, fired=lambda _: (True, False))
        harness.play(cell, scenario, how, place)
    assert not cell.broken, cell
