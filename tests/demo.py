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
from rich.padding import Padding
from rich.table import Table

from heroku_sandbox import App, Release, Sandbox
from release.output.lines import parse, whole_lines
from release.output.live import WIDE, follow
from tests.apps.ship import VERSIONS, assemble
from tests.hook import PATH, ROOT, Hook
from tests.judge import picture, query

console = Console(highlight=False)
console.width = min(WIDE, console.width)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table at the end. `means`: what the two dumps have to say, in words."""

    title: str
    outcome: str
    seconds: float
    steps: dict[str, float]
    before: str
    after: str
    expected: str
    means: str

    @property
    def well(self) -> bool:
        """Whether the database is what it had to be."""
        return (self.before == self.after) == (self.expected == "same")

    @property
    def proved(self) -> str:
        """What the two dumps say together."""
        if not self.well:
            return "[red]✗ NOT CHANGED" if self.before == self.after else "[red]✗ DIFFERENT"
        return f"[yellow]! {self.means}" if self.outcome == "killed" else f"[green]✓ {self.means}"


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

    def act(self, title: str, about: str, make: Callable[[], Release], *, expected: str, means: str) -> None:
        """Makes a release, shows it as it runs, and compares the database with what it was."""
        headline(title, about)
        before, began = self.digest(), time.monotonic()
        release = self.watch(make())
        seen = list(events(release.output.splitlines()))
        self.note(title, seen, before, time.monotonic() - began, expected=expected, means=means)

    def note(
        self, title: str, seen: list[dict[str, Any]], before: str, seconds: float, *, expected: str, means: str
    ) -> None:
        """Remembers a run for the table, and says what became of the database."""
        killed: dict[str, Any] = {"outcome": "killed"}
        last = seen[-1] if seen and seen[-1]["event"] == "release_finished" else killed
        ended = [each for each in seen if each["event"] in {"step_finished", "step_failed"}]
        row = Row(
            title=title,
            outcome=": ".join(filter(None, (last["outcome"], last.get("reason")))),
            seconds=seconds,
            steps=last.get("steps") or {each["step"]: each["duration"] for each in ended},
            before=before,
            after=self.digest(),
            expected=expected,
            means=means,
        )
        self.rows.append(row)
        console.print(f"  Database before {row.before} and after {row.after}: {row.proved}\n")

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
        console.print(f"\n  Heroku's verdict on v{ended.version}: [bold]{ended.status}")
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


def headline(title: str, about: str) -> None:
    """What comes now."""
    console.rule(f"[bold]{title}")
    console.print(f"[dim]{about}\n")


def show(lines: Iterable[str]) -> None:
    """A run's log as the hook's own console shows it."""
    follow(lines, sys.stdout.fileno(), os.environ)


def main() -> int:
    """Runs the demo; exit code 0 when every database was as it had to be."""
    began = time.monotonic()
    console.print(
        "Nine runs of bin/release on this machine, good and bad, and a table at the end. Starting the sandbox, which"
        " has both of Heroku's APIs and a PostgreSQL …\n"
    )
    with Sandbox() as sandbox, tempfile.TemporaryDirectory(prefix="demo-") as folder:
        app = sandbox.create_app("learning-timeline", config={"HEROKU_API_KEY": sandbox.key})
        demo = Demo(sandbox=sandbox, app=app, folder=Path(folder), rows=[])
        play(demo)
        summarise(demo.rows)
    console.print(
        f"Done in {time.monotonic() - began:.0f} s. The database's word is that of dumps made from outside, before and"
        " after each run. README.md says how to put this into your app."
    )
    return 0 if all(row.well for row in demo.rows) else 1


def play(demo: Demo) -> None:
    """The releases, one after the other."""
    about = {name: version.about for name, version in VERSIONS["learning_timeline"].items()}
    app = demo.app

    def act(title: str, version: str, expected: str, means: str) -> None:
        demo.act(title, about[version], lambda: push(demo, version), expected=expected, means=means)

    act("The first release", "base", "changed", "migrated")
    seed(demo)
    act("A good release", "good", "changed", "migrated")
    app.set_config({"RELEASE_PROBE_COMMAND": "python manage.py probe"})
    act("A broken migration", "broken", "same", "exactly as before")
    act("A failing probe", "failing_probe", "same", "exactly as before")
    demo.act(
        "A config change",
        "heroku config:set GREETING=hello is a release, too, with nothing pending",
        lambda: app.set_config({"GREETING": "hello"}, wait=False),
        expected="same",
        means="exactly as before",
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
    demo.act(
        "A rehearsal",
        about,
        lambda: push(demo, "failing_health"),
        expected="same",
        means="exactly as before",
    )
    demo.app.set_config(dict.fromkeys(("RELEASE_REHEARSAL_DATABASE", *probe)))


def seed(demo: Demo) -> None:
    """Fills the database with something to lose."""
    hook = Hook(app=demo.app, folder=demo.ship("base"))
    subprocess.run(
        [sys.executable, "manage.py", "seed"],
        cwd=hook.folder,
        env=hook.environ(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    console.print(
        f"Something to lose is put into the database: {demo.rows_in('learning_learner')} learners,"
        f" {demo.rows_in('learning_milestone')} milestones.\n"
    )


def pull_the_plug(demo: Demo) -> None:
    """SIGKILL in the middle of a migration, and what the next starts make of it."""
    whole, began = demo.digest(), time.monotonic()
    headline("The plug is pulled", "SIGKILL to every process of the dyno in the middle of a migration")
    release = demo.watch(push(demo, "slow"), stop=lambda line: "Applying learning.0014" in line)
    time.sleep(1.5)
    demo.app.signal("release", signal.SIGKILL)
    killed = demo.app.wait(release.version)
    console.print(f"\n  [red]killed[/]; Heroku's verdict on v{killed.version}: [bold]{killed.status}")
    seen = list(events(killed.output.splitlines()))
    demo.note("The plug is pulled", seen, whole, time.monotonic() - began, expected="changed", means="half migrated")
    demo.act(
        "The next release",
        "The good version again. It refuses to build on a database that nobody has decided about.",
        lambda: push(demo, "unchanged"),
        expected="same",
        means="left as found",
    )
    recover(demo, whole)


def recover(demo: Demo, whole: str) -> None:
    """Somebody decides: back to what the database was before the plug was pulled."""
    headline("bin/release recover", "Somebody decides, with --restore: back to the backup of the run that was cut off")
    began = time.monotonic()
    result = Hook(app=demo.app, folder=demo.ship("unchanged")).run(
        "recover", "--restore", DYNO="run.1", HEROKU_RELEASE_VERSION=None
    )
    show(result.stdout.decode().splitlines())
    console.print()
    demo.note(
        "The recovery",
        result.events,
        whole,
        time.monotonic() - began,
        expected="same",
        means="as before the plug",
    )


def summarise(rows: list[Row]) -> None:
    """The table at the end, a line a release, and the times of the steps under it."""
    console.rule("[bold]What happened")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("release", "outcome", "seconds", "the database"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left", no_wrap=True)
    times = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(row.title, row.outcome, f"{row.seconds:.1f}", row.proved)
        times.add_row(row.title, steps(row))
    console.print(Padding(table, (1, 0)))
    console.print("[bold]Seconds of each step")
    console.print(Padding(times, (0, 0, 1, 0)))


def steps(row: Row) -> str:
    """The steps that took any time at all, with their seconds."""
    return "  ".join(f"{name} {seconds:.1f}" for name, seconds in row.steps.items() if seconds >= 0.05)


if __name__ == "__main__":
    raise SystemExit(main())
