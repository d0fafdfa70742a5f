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
from dataclasses import dataclass
from pathlib import Path

from heroku_sandbox import App, Sandbox
from tests.faults.live import People, fences, present
from tests.hook import SCHEMA, SMALL_APP, Hook, small_app
from tests.judge import execute

FAILS = """BEGIN;
SELECT pg_sleep(0.2);
UPDATE learners SET points = points + 1;
ALTER TABLE learners ADD CONSTRAINT enough CHECK (points > 100);
COMMIT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of some time on a live site. `slowest` is in seconds: of all requests the one that took longest."""

    seconds: float
    outcomes: dict[str, int]
    accepted: int
    failed: list[str]
    reconnected: list[str]
    missing: int
    fences: int
    slowest: float

    def rows(self) -> list[tuple[str, str]]:
        """The lines of the table."""
        outcomes = ", ".join(f"{count} {name}" for name, count in self.outcomes.items())
        return [
            ("releases", outcomes or "none"),
            ("seconds", f"{self.seconds:.1f}"),
            ("rows accepted", f"{self.accepted:,}"),
            ("rows a second", f"{self.accepted / self.seconds:.0f}"),
            ("slowest write, s", f"{self.slowest:.2f}"),
            ("failed requests", str(len(self.failed))),
            ("sessions ended", str(len(self.reconnected))),
            ("rows missing", str(self.missing)),
            ("times fenced", str(self.fences)),
        ]


def main() -> int:
    """Prints one table; exits 1 when a request failed or a row is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=20)
    parser.add_argument("--releases", type=int, default=10)
    given = parser.parse_args()
    with Sandbox(transfer_seconds=0) as sandbox, tempfile.TemporaryDirectory() as folder:
        hook = site(sandbox, Path(folder))
        releasing = watched(sandbox, hook, given.writers, given.releases)
        quiet = watched(sandbox, hook, given.writers, 0, seconds=min(releasing.seconds, 15))
    print(f"{given.writers} writers         {'failing releases':>24}{'none':>12}")
    for (name, one), (_, other) in zip(releasing.rows(), quiet.rows(), strict=True):
        print(f"{name:<19}{one:>24}{other:>12}")
    for each in releasing.failed[:5]:
        print(each)
    return int(bool(releasing.failed or releasing.missing))


def site(sandbox: Sandbox, folder: Path) -> Hook:
    """An app with a web and two worker dynos, and a migration that fails."""
    app = sandbox.create_app("live", config={"HEROKU_API_KEY": sandbox.key})
    (folder / "first").mkdir()
    (folder / "first" / "Procfile").write_text("web: true\nworker: true\n")
    app.release(folder / "first")
    app.scale(web=1, worker=2)
    execute(app.database_url, *SCHEMA.strip().split("\n"))
    return Hook(app=app, folder=small_app(folder / "slug", {"001": FAILS}), environment=dict(SMALL_APP))


def watched(sandbox: Sandbox, hook: Hook, writers: int, releases: int, *, seconds: float = 0.0) -> Figures:
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
    return Figures(
        seconds=took,
        outcomes=dict(outcomes),
        accepted=accepted,
        failed=people.failed,
        reconnected=people.reconnected,
        missing=len(people.accepted - present(sandbox.superuser_url(app))),
        fences=len(fences(sandbox.requests())),
        slowest=people.slowest,
    )


if __name__ == "__main__":
    raise SystemExit(main())
