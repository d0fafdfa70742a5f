"""The hook's own time, memory and requests, beside the same steps done with Heroku's CLI.

    .venv/bin/python -m tests.benchmarks.limits [--latency SECONDS] [--heroku COMMAND] [--runs N]

`--latency`: for how long the sandbox holds back each answer of Heroku's APIs; Heroku itself takes about 0.2 s.

`--heroku`: how to start Heroku's CLI here, for the comparison (`--heroku heroku`); it is pointed at the sandbox by its
environment. What the server and the app's own commands take is measured in the same run and taken off.
"""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from heroku_sandbox import App, Sandbox
from tests.hook import SCHEMA, SMALL_APP, Hook, Result, small_app
from tests.judge import execute

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nSELECT 1 / 0;\n"


@dataclass(eq=False)
class Bench:
    """An app in a sandbox, a twin of its database for measuring the server alone, and the figures so far."""

    sandbox: Sandbox
    app: App
    twin: App
    hook: Hook
    runs: int
    heroku: list[str] | None
    figures: dict[str, str] = field(default_factory=dict)
    number: int = 1

    def median(self, call: Callable[[], object]) -> float:
        """The median seconds of a call."""
        return statistics.median(seconds(call) for _ in range(self.runs))

    def nothing_pending(self) -> None:
        """Time beyond the app's own pending check."""
        check = self.median(lambda: self.command("./pending"))
        whole = self.median(self.hook.run)
        self.figures["nothing pending, beyond the app's own check"] = f"{whole - check:.2f} s (limit 0.5)"
        self.figures["nothing pending, requests to Heroku"] = str(self.requests())

    def landing(self) -> None:
        """Time beyond the capture on the server and the app's own commands."""
        own: list[float] = []
        whole: list[float] = []
        for _ in range(self.runs):
            self.next_migration()
            self.sandbox.forget_requests()
            began = time.perf_counter()
            result = self.hook.run()
            whole.append(time.perf_counter() - began)
            assert result.exit_code == 0, result.last
            own.append(whole[-1] - self.on_server(result) - commands(result))
        self.figures["landing, beyond capture and the app's own commands"] = (
            f"{statistics.median(own):.2f} s (limit 0.6)"
        )
        self.figures["landing, the whole run"] = f"{statistics.median(whole):.2f} s"
        self.figures["landing, requests to Heroku"] = str(self.requests())
        if self.heroku:
            self.figures["landing, the same with Heroku's CLI"] = f"{seconds(self.by_hand_landing):.2f} s"

    def failing(self) -> None:
        """Time beyond capture and restore on the server and the app's own commands."""
        own: list[float] = []
        whole: list[float] = []
        self.next_migration(BROKEN)
        for _ in range(self.runs):
            self.sandbox.forget_requests()
            began = time.perf_counter()
            result = self.hook.run()
            whole.append(time.perf_counter() - began)
            assert result.last["outcome"] == "restored", result.last
            own.append(whole[-1] - self.on_server(result) - commands(result))
        self.figures["failing, beyond capture, salvage, restore and the app's own commands"] = (
            f"{statistics.median(own):.2f} s (limit 1)"
        )
        self.figures["failing, the whole run"] = f"{statistics.median(whole):.2f} s"
        self.figures["failing, requests to Heroku"] = str(self.requests())
        if self.heroku:
            self.figures["failing, the same with Heroku's CLI"] = f"{seconds(self.by_hand_failing):.2f} s"

    def memory(self) -> None:
        """Peak memory of the hook's own process, in a run that restores."""
        process = self.hook.start()
        assert process.stdout is not None
        process.stdout.read()
        _, _, used = os.wait4(process.pid, 0)
        self.figures["peak memory of a restoring run"] = f"{used.ru_maxrss / 1024:.0f} MB (limit 60)"

    def next_migration(self, text: str | None = None) -> None:
        """One more migration to apply."""
        self.number += 1
        small_app(
            self.hook.folder, {f"{self.number:03}": text or f"ALTER TABLE learners ADD COLUMN a{self.number} int;\n"}
        )

    def command(self, *words: str) -> None:
        """The app's own command, as the hook runs it."""
        subprocess.run(words, cwd=self.hook.folder, env=self.hook.environ(), check=False, capture_output=True)

    def on_server(self, result: Result) -> float:
        """Seconds that the run's transfers take on the server when nobody else waits for them."""
        kinds = [event["kind"] for event in result.named("transfer_finished")]
        return sum(self.transfer_seconds("restore" if kind == "restore" else "backup") for kind in kinds)

    @functools.cache  # noqa: B019 -- one bench, a few figures
    def transfer_seconds(self, kind: str) -> float:
        """The median seconds of a backup or a restore, asked for and watched closely from here."""
        return self.median(lambda: self.transfer(kind))

    def transfer(self, kind: str) -> None:
        """One transfer from its POST to its end."""
        ask, app = self.twin.connection.request, self.twin
        body = {"backup_url": app.transfers()[0]["to_url"]} if kind == "restore" else None
        made = ask("POST", f"/client/v11/databases/{app.addon_id}/{kind}s", body)
        while not ask("GET", f"/client/v11/apps/{app.name}/transfers/{made['uuid']}")["finished_at"]:
            time.sleep(0.005)

    def requests(self) -> int:
        """Requests to both APIs since the last run began."""
        return sum(each["path"].startswith(("/apps", "/addons", "/client")) for each in self.sandbox.requests())

    def cli(self, *words: str) -> None:
        """Heroku's CLI, pointed at the sandbox."""
        assert self.heroku is not None
        environ = {**os.environ, **self.app.environment()}
        subprocess.run([*self.heroku, *words], env=environ, check=True, capture_output=True)

    def by_hand_landing(self) -> None:
        """The page of notes, scripted: capture, migrate, look."""
        self.next_migration()
        self.cli("pg:backups:capture", "--app", self.app.name)
        self.command("./migrate")
        self.command("./pending")

    def by_hand_failing(self) -> None:
        """Capture, migrate (fails), maintenance, workers down, restore the newest backup, workers up."""
        name = self.app.name
        self.cli("pg:backups:capture", "--app", name)
        self.command("./migrate")
        self.cli("maintenance:on", "--app", name)
        self.cli("ps:scale", "worker=0", "--app", name)
        newest = max(int(each["num"]) for each in self.app.transfers())
        self.cli("pg:backups:capture", "--app", name)
        self.cli("pg:backups:restore", f"b{newest:03}", "DATABASE_URL", "--app", name, "--confirm", name)
        self.cli("ps:scale", "worker=2", "--app", name)
        self.cli("maintenance:off", "--app", name)


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def commands(result: Result) -> float:
    """What the app's own commands took, as the hook measured it."""
    return float(sum(event["duration"] for event in result.named("command_finished")))


def main() -> None:
    """Runs all and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0)
    parser.add_argument("--heroku", type=shlex.split)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with Sandbox(transfer_seconds=0, pending_seconds=0) as sandbox, tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first"
        first.mkdir()
        (first / "Procfile").write_text("web: true\nworker: true\n")
        app = sandbox.create_app("bench", config={"HEROKU_API_KEY": sandbox.key})
        app.release(first)
        app.scale(web=1, worker=2)
        twin = sandbox.create_app("twin")
        for each in (app, twin):
            execute(each.database_url, *SCHEMA.strip().split("\n"))
        slug = small_app(Path(folder) / "slug", {"001": "ALTER TABLE learners ADD COLUMN nickname text;\n"})
        hook = Hook(app=app, folder=slug, environment=dict(SMALL_APP))
        hook.run()
        bench = Bench(sandbox=sandbox, app=app, twin=twin, hook=hook, runs=given.runs, heroku=given.heroku)
        for kind in ("backup", "restore"):
            bench.transfer_seconds(kind)  # while answers come at once: it is the server's own time
        sandbox.forget_requests()
        sandbox.set_options(answer_seconds=given.latency)
        for measure in (bench.nothing_pending, bench.landing, bench.failing, bench.memory):
            measure()
    for name, figure in bench.figures.items():
        print(f"{name:75} {figure}")


if __name__ == "__main__":
    main()
