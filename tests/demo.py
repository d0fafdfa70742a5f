"""The demo: real releases of the sample app on this machine, good and bad, and the database before and after each.

Nothing here is staged: Heroku's APIs, the release phase and PostgreSQL are the sandbox's, the app is Django, and
"before" and "after" are dumps that this script makes itself.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from release.reading.console import follow
from release.reading.lines import parse, whole_lines
from release.sandbox import App, Release, Sandbox
from tests.apps.ship import VERSIONS, assemble
from tests.hook import PATH, ROOT, Hook
from tests.judge import picture, query

console = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table at the end."""

    title: str
    outcome: str
    seconds: float
    steps: dict[str, float]
    before: str
    after: str
    expected: str

    @property
    def proved(self) -> str:
        """What the two dumps say together."""
        if self.before == self.after:
            return "[green]exactly as before" if self.expected == "same" else "[red]unchanged?!"
        return "[green]changed, as it should" if self.expected == "changed" else "[red]DIFFERENT"


@dataclass
class Demo:
    """A sandbox with the sample app in it, and what has happened so far."""

    sandbox: Sandbox
    app: App
    folder: Path
    rows: list[Row]

    def ship(self, version: str) -> Path:
        """A version of the sample app, its Procfile pointing at this checkout's hook."""
        slug = assemble(version, self.folder / f"{len(list(self.folder.iterdir()))}-{version}")
        procfile = slug / "Procfile"
        procfile.write_text(procfile.read_text().replace("release-phase", str(ROOT / "bin" / "release")))
        return slug

    def act(self, title: str, about: str, make: Callable[[], Release], *, expected: str) -> Release:
        """Makes a release, shows it as it runs, and compares the database with what it was."""
        console.rule(f"[bold]{title}")
        console.print(f"[dim]{about}\n")
        before, began = self.digest(), time.monotonic()
        release = self.watch(make())
        self.note(title, list(events(release.output.splitlines())), before, time.monotonic() - began, expected)
        return release

    def note(self, title: str, seen: list[dict[str, Any]], before: str, seconds: float, expected: str) -> None:
        """Remembers a run for the table."""
        killed: dict[str, Any] = {"outcome": "killed", "steps": {}}
        last = seen[-1] if seen and seen[-1]["event"] == "release_finished" else killed
        outcome = last["outcome"] + (f" ({last['reason']})" if last.get("reason") else "")
        self.rows.append(
            Row(
                title=title,
                outcome=outcome,
                seconds=seconds,
                steps=last["steps"],
                before=before,
                after=self.digest(),
                expected=expected,
            )
        )

    def watch(self, release: Release, stop: Callable[[str], bool] = lambda _: False) -> Release:
        """Follows a release's output until it has ended, or until a line satisfies `stop`."""
        stopped = []

        def until_stopped() -> Iterator[str]:
            for line in whole_lines(self.app.output(release)):
                yield line
                if stop(line):
                    stopped.append(line)
                    return

        show(until_stopped())
        if stopped:
            return release
        ended = self.app.wait(release.version)
        console.print(f"  Heroku's verdict on v{ended.version}: [bold]{ended.status}\n")
        return ended

    def digest(self) -> str:
        """The whole database in a few characters: a dump made from outside, hashed.

        Without sequences' positions: the sample app's probe writes and rolls back, and no rollback takes those back.
        """
        lines = picture(self.sandbox.superuser_url(self.app)).splitlines()
        kept = "\n".join(line for line in lines if not line.startswith("SELECT pg_catalog.setval"))
        return hashlib.sha256(kept.encode()).hexdigest()[:12]

    def rows_in(self, table: str) -> int:
        """How many rows a table has."""
        return int(str(query(self.app.database_url, f"SELECT count(*) FROM {table}")[0][0]))


def events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events among the lines."""
    return (dict(event) for line in lines if (event := parse(line)))


def show(lines: Iterable[str]) -> None:
    """A run's log as the hook's own console shows it."""
    follow(lines, sys.stdout.fileno(), os.environ)


def main() -> int:
    """Runs the demo; exit code 0 when every database was as it had to be."""
    began = time.monotonic()
    console.print("Starting the sandbox: both of Heroku's APIs and a PostgreSQL, on this machine only …")
    with Sandbox() as sandbox, tempfile.TemporaryDirectory(prefix="demo-") as folder:
        app = sandbox.create_app("learning-timeline", config={"HEROKU_API_KEY": sandbox.key})
        demo = Demo(sandbox=sandbox, app=app, folder=Path(folder), rows=[])
        play(demo)
        console.print(summary(demo.rows))
    wrong = [row.title for row in demo.rows if "[red]" in row.proved]
    console.print(f"Done in {time.monotonic() - began:.0f} s. Every line above came from bin/release; see README.md.")
    return 1 if wrong else 0


def play(demo: Demo) -> None:
    """The releases, one after the other."""
    about = {name: version.about for name, version in VERSIONS["learning_timeline"].items()}
    app = demo.app
    demo.act("The first release", about["base"], lambda: push(demo, "base"), expected="changed")
    seed(demo)
    demo.act("A good release", about["good"], lambda: push(demo, "good"), expected="changed")
    app.set_config({"RELEASE_PROBE_COMMAND": "python manage.py probe"})
    demo.act("A broken migration", about["broken"], lambda: push(demo, "broken"), expected="same")
    demo.act("A failing probe", about["failing_probe"], lambda: push(demo, "failing_probe"), expected="same")
    demo.act(
        "A config change",
        "heroku config:set GREETING=hello: a release, too, with nothing pending",
        lambda: app.set_config({"GREETING": "hello"}, wait=False),
        expected="same",
    )
    rehearse(demo)
    pull_the_plug(demo)


def push(demo: Demo, version: str) -> Release:
    """A `git push` of a version of the sample app."""
    return demo.app.release(demo.ship(version), description=f"Deploy {version}", path=PATH, wait=False)


def rehearse(demo: Demo) -> None:
    """A release that is tried on a copy first, where its web process turns out not to work."""
    about = VERSIONS["learning_timeline"]["failing_health"].about
    demo.app.add_database(plan="standard-0", attachment="REHEARSAL")
    probe = {"RELEASE_PROBE_PATH": "/healthz", "RELEASE_PROBE_TIMEOUT": "8"}
    demo.app.set_config({"RELEASE_REHEARSAL_DATABASE": "REHEARSAL_URL", **probe})
    demo.act("A rehearsal, on a copy of the data", about, lambda: push(demo, "failing_health"), expected="same")
    demo.app.set_config(dict.fromkeys(("RELEASE_REHEARSAL_DATABASE", *probe)))


def seed(demo: Demo) -> None:
    """Fills the database with something to lose."""
    hook = Hook(app=demo.app, folder=demo.ship("base"))
    subprocess.run([sys.executable, "manage.py", "seed"], cwd=hook.folder, env=hook.environ(), check=True)
    console.print(
        f"  seeded: {demo.rows_in('learning_learner')} learners, {demo.rows_in('learning_milestone')} milestones\n"
    )


def pull_the_plug(demo: Demo) -> None:
    """SIGKILL in the middle of a migration, and what the next starts make of it."""
    before, began = demo.digest(), time.monotonic()
    console.rule("[bold]The plug pulled in the middle of a migration")
    console.print("[dim]SIGKILL to every process of the dyno while the migration runs\n")
    release = demo.watch(push(demo, "slow"), stop=lambda line: "Applying learning.0014" in line)
    time.sleep(1.5)
    demo.app.signal("release", signal.SIGKILL)
    killed = demo.app.wait(release.version)
    console.print(f"  [red]killed[/]; Heroku's verdict on v{killed.version}: [bold]{killed.status}\n")
    demo.act(
        "The next release says what it found, and touches nothing",
        "the same good version again: it refuses to build on a database that nobody has decided about",
        lambda: push(demo, "unchanged"),
        expected="same",
    )
    console.rule("[bold]bin/release recover --restore")
    result = Hook(app=demo.app, folder=demo.ship("unchanged")).run("recover", "--restore", DYNO="run.1")
    show(result.stdout.decode().splitlines())
    console.print()
    demo.note("The plug pulled, then recovered", result.events, before, time.monotonic() - began, "same")


def summary(rows: list[Row]) -> Table:
    """The table at the end."""
    table = Table(title="What happened, and the database before and after (hashes of dumps made from outside)")
    for heading in ("release", "outcome", "seconds", "steps", "before", "after", "the database"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        steps = " ".join(f"{name} {seconds:.1f}" for name, seconds in row.steps.items())
        table.add_row(row.title, row.outcome, f"{row.seconds:.1f}", steps, row.before, row.after, row.proved)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
