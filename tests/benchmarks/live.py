"""What failing releases cost a live site: failed requests and missing rows; zero and zero where nothing was committed.

    python -m tests.benchmarks.live [--writers N] [--releases N]

An app with so many writers (workers of the formation, job runners with sessions, clients that connect for each request)
gets one failing release after the other, each a migration of one transaction that a constraint ends. Beside it, the
same time without any release: what the writers do then is what they could do.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heroku_sandbox import App, Sandbox
from tests.benchmarks.figure import Figure, at_most, table
from tests.benchmarks.site import site
from tests.faults.live import People, fences, present
from tests.hook import Hook
from tests.judge import execute

FAILS = """BEGIN;
SELECT pg_sleep(0.2);
UPDATE learners SET points = points + 1;
ALTER TABLE learners ADD CONSTRAINT enough CHECK (points > 100);
COMMIT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """What came of some time on a live site. `slowest` is in seconds: of all requests the one that took longest."""

    seconds: float
    outcomes: dict[str, int]
    accepted: int
    failed: list[str]
    missing: int
    fences: int
    slowest: float


def figures(*, writers: int = 20, releases: int = 10) -> Iterator[Figure]:
    """What has to be none; beside it, what the writers did, and could do without any release."""
    with Sandbox(transfer_seconds=0) as sandbox, tempfile.TemporaryDirectory() as folder:
        hook = site(sandbox, Path(folder), FAILS)
        found = watched(sandbox, hook, writers, releases)
        quiet = watched(sandbox, hook, writers, 0, seconds=min(found.seconds, 15))
    assert found.outcomes == {"untouched": releases}, found.outcomes
    what = f"{releases} migrations rolled back under {writers} writers"
    rates = f"{found.accepted / found.seconds:.0f} rows a second, {quiet.accepted / quiet.seconds:.0f} without releases"
    slowest = f"the slowest took {found.slowest:.2f} s"
    yield at_most(f"{what}: rows missing", found.missing, 0, "rows", beside=rates)
    failed = "; ".join([slowest, *found.failed[:3]])
    yield at_most(f"{what}: requests that failed", len(found.failed), 0, "requests", beside=failed)
    yield at_most(f"{what}: changes of the site", found.fences, 0, "requests")


def watched(sandbox: Sandbox, hook: Hook, writers: int, releases: int, *, seconds: float = 0.0) -> Time:
    """So many releases in a row, or so many seconds without any, while people write."""
    app: App = hook.app
    kind = writers // 3
    execute(app.database_url, "DROP TABLE IF EXISTS jobs")
    sandbox.forget_requests()
    with People(app=app, workers=kind, runners=kind, clients=writers - 2 * kind) as people:
        before, began = len(people.accepted), time.monotonic()
        outcomes = Counter(str(hook.run().last["outcome"]) for _ in range(releases))
        time.sleep(seconds)
        took = time.monotonic() - began
        accepted = len(people.accepted) - before
    return Time(
        seconds=took,
        outcomes=dict(outcomes),
        accepted=accepted,
        failed=people.failed,
        missing=len(people.accepted - present(sandbox.superuser_url(app))),
        fences=len(fences(sandbox.requests())),
        slowest=people.slowest,
    )


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=20)
    parser.add_argument("--releases", type=int, default=10)
    print(table(list(figures(**vars(parser.parse_args())))))


if __name__ == "__main__":
    main()
