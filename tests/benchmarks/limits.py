"""The hook's own time, memory and requests in a release, beside the same steps done with Heroku's CLI.

    python -m tests.benchmarks.limits [--latency SECONDS] [--heroku COMMAND] [--runs N]

`--latency`: for how long the sandbox holds back each answer of Heroku's APIs; Heroku itself takes about 0.2 s.
`--heroku`: how to start Heroku's CLI here, for the comparison (`--heroku heroku`); it is pointed at the sandbox by its
environment. What the server's transfers and the app's own commands take is measured in the same run and taken off.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from heroku_sandbox import App, Sandbox
from tests.benchmarks.figure import Figure, at_least, at_most, peak, table
from tests.benchmarks.site import BROKEN, assert_undone, requests, site
from tests.hook import SCHEMA, Hook, Result, small_app
from tests.judge import execute, query

T = TypeVar("T")

LANDING, FAILING = {0.0: 0.6, 0.2: 1.2}, {0.0: 1.0, 0.2: 2.4}
"""Seconds at most, by what an answer takes."""

TRANSFER = 1.0
"""Seconds that a transfer takes at least. On Heroku it takes some; one that takes none is over before the answer."""

QUIET = {"HEROKU_SKIP_NEW_VERSION_CHECK": "1", "HEROKU_DISABLE_AUTOUPDATE": "1", "DISABLE_TELEMETRY": "1"}
"""Keeps Heroku's CLI from asking anybody but the sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a release cost beyond the server's transfers and the app's commands: seconds, downtime, and requests."""

    took: float
    own: float
    down: float
    requests: int


@dataclass(eq=False, kw_only=True)
class Bench:
    """An app in a sandbox, and a twin of its database, at which the server's own time is measured beforehand."""

    sandbox: Sandbox
    hook: Hook
    twin: App
    runs: int
    heroku: Sequence[str]
    number: int = 1

    def nothing_pending(self) -> Iterator[Figure]:
        """Time beyond the app's own pending check; the migrations are in."""
        self.next_migration()
        self.release("released")
        check = statistics.median(self.command("./pending") for _ in range(self.runs))
        costs = [self.release("released") for _ in range(self.runs)]
        took = statistics.median(cost.took for cost in costs)
        yield at_most("nothing pending, beyond the app's own check", took - check, 0.3)
        yield at_most("nothing pending, requests to Heroku", max(cost.requests for cost in costs), 0, "requests")

    def landing(self, answers: float) -> Iterator[Figure]:
        """Time beyond the capture on the server and the app's own commands."""
        costs = []
        for _ in range(self.runs):
            self.next_migration()
            costs.append(self.release("released"))
            assert f"a{self.number}" in self.columns()
        yield from self.compared("landing", answers, costs, LANDING, self.by_hand_landing, 2.5)

    def failing(self, answers: float) -> Iterator[Figure]:
        """Time beyond capture, salvage and restore on the server and the app's own commands; and the downtime."""
        self.next_migration(BROKEN)
        costs = []
        for _ in range(self.runs):
            costs.append(self.release("restored"))
            assert_undone(self.hook)
        yield from self.compared("failing, undone", answers, costs, FAILING, self.by_hand_failing, 5)
        down = statistics.median(cost.down for cost in costs)
        yield at_most(f"in maintenance mode beyond salvage and restore, {said(answers)}", down, 1)
        (self.hook.folder / "migrations" / f"{self.number:03}.sql").unlink()

    def compared(
        self,
        what: str,
        answers: float,
        costs: list[Cost],
        limits: dict[float, float],
        by_hand: Callable[[], float],
        times: float,
    ) -> Iterator[Figure]:
        """The median of some releases, and how many times as long the same takes by hand."""
        own = statistics.median(cost.own for cost in costs)
        limit = limits[0.0 if answers == 0 else 0.2]
        asked = f"{costs[-1].requests} requests"
        yield at_most(f"{what}, {said(answers)}", own, limit, beside=asked)
        if self.heroku:
            other = statistics.median(by_hand() for _ in range(self.runs))
            name = f"{what}, {said(answers)}: Heroku's CLI"
            yield at_least(name, other / own, times, "times as long", beside=f"{other:.2f} s")

    def memory(self) -> Iterator[Figure]:
        """Peak memory of the hook's own process in a run that restores, with the witness and its TLS in use."""
        self.next_migration(BROKEN)
        most, log = 0.0, self.hook.folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self.hook.program, cwd=self.hook.folder, env=self.hook.environ(), stdout=file, stdin=subprocess.DEVNULL
            )
            while process.poll() is None:
                most = max(most, peak(process.pid))
                time.sleep(0.005)
        result = Result(exit_code=process.returncode, stdout=log.read_bytes(), stderr=b"")
        assert result.last["outcome"] == "restored", result.last
        assert [each["verdict"] for each in result.named("migration_witnessed")] == ["committed"]
        yield at_most("peak memory, restoring, with the witness and TLS", most, 55, "MB")

    def release(self, outcome: str) -> Cost:
        """One release with the outcome that it has to have, and what it cost."""
        self.sandbox.forget_requests()
        took, result = timed(self.hook.run)
        assert result.last["outcome"] == outcome, result.last
        asked = requests(self.sandbox)
        own = took - self.on_server(result) - commands(result)
        return Cost(took=took, own=own, down=self.down(asked), requests=len(asked))

    def down(self, asked: list[dict[str, Any]]) -> float:
        """Seconds between maintenance mode on and off, as the sandbox saw it, beyond salvage and restore."""
        switched = [each["at"] for each in asked if (each["method"], each["route"]) == ("PATCH", "/apps/<app>")]
        if not switched:
            return 0.0
        on, off = switched
        return float(off - on) - self.transfer_seconds("backup") - self.transfer_seconds("restore")

    def next_migration(self, text: str | None = None) -> None:
        """One more migration to apply."""
        self.number += 1
        text = text or f"ALTER TABLE learners ADD COLUMN a{self.number} int;\n"
        small_app(self.hook.folder, {f"{self.number:03}": text})

    def columns(self) -> set[object]:
        """The columns of the app's table."""
        found = query(
            self.hook.app.database_url, "SELECT attname FROM pg_attribute WHERE attrelid = 'learners'::regclass"
        )
        return {name for (name,) in found}

    def command(self, *words: str) -> float:
        """Runs the app's own command, as the hook does; returns the seconds."""
        environ = self.hook.environ()
        run = functools.partial(subprocess.run, words, cwd=self.hook.folder, env=environ, capture_output=True)
        return timed(run)[0]

    def on_server(self, result: Result) -> float:
        """Seconds that the run's transfers take on the server when nobody else waits for them."""
        kinds = [event["kind"] for event in result.named("transfer_finished")]
        return sum(self.transfer_seconds("restore" if kind == "restore" else "backup") for kind in kinds)

    @functools.cache  # noqa: B019 -- one bench, a few figures
    def transfer_seconds(self, kind: str) -> float:
        """The median seconds of a backup or a restore, asked for and watched closely from here."""
        return statistics.median(timed(lambda: self.transfer(kind))[0] for _ in range(self.runs))

    def transfer(self, kind: str) -> None:
        """One transfer from its POST to its end."""
        ask, app = self.twin.connection.request, self.twin
        body = {"backup_url": app.transfers()[0]["to_url"]} if kind == "restore" else None
        made = ask("POST", f"/client/v11/databases/{app.addon_id}/{kind}s", body)
        while not (shown := ask("GET", f"/client/v11/apps/{app.name}/transfers/{made['uuid']}"))["finished_at"]:
            time.sleep(0.005)
        assert shown["succeeded"]

    def cli(self, *words: str) -> None:
        """Heroku's CLI, pointed at the sandbox."""
        environ = {**os.environ, **QUIET, **self.hook.app.environment()}
        subprocess.run(
            [*self.heroku, *words, "--app", self.hook.app.name], env=environ, check=True, capture_output=True
        )

    def by_hand_landing(self) -> float:
        """The page of notes, scripted: capture, migrate, look. Seconds beyond the server's and the app's own."""
        self.next_migration()
        took, _ = timed(lambda: self.cli("pg:backups:capture"))
        self.command("./migrate")
        assert f"a{self.number}" in self.columns()
        return took - self.transfer_seconds("backup")

    def by_hand_failing(self) -> float:
        """Capture, migrate (fails), maintenance, workers down, salvage, restore, and all back. Seconds as above."""
        took, _ = timed(lambda: self.cli("pg:backups:capture"))
        self.command("./migrate")
        newest = max(int(each["num"]) for each in self.hook.app.transfers())
        restore = ("pg:backups:restore", f"b{newest:03}", "DATABASE_URL", "--confirm", self.hook.app.name)
        for words in (
            ("maintenance:on",),
            ("ps:scale", "worker=0"),
            ("pg:backups:capture",),
            restore,
            ("ps:scale", "worker=2"),
            ("maintenance:off",),
        ):
            took += timed(functools.partial(self.cli, *words))[0]
        assert_undone(self.hook)
        return took - 2 * self.transfer_seconds("backup") - self.transfer_seconds("restore")


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """How many seconds a call takes, and what it returns."""
    began = time.perf_counter()
    answer = call()
    return time.perf_counter() - began, answer


def commands(result: Result) -> float:
    """Seconds in which a command of the app's own ran, one or several at once."""
    ends = [
        (datetime.fromisoformat(e["timestamp"]).timestamp(), e["duration"]) for e in result.named("command_finished")
    ]
    busy, until = 0.0, 0.0
    for begin, end in sorted((end - duration, end) for end, duration in ends):
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return busy


def said(answers: float) -> str:
    """How long an answer takes, in words."""
    return f"answers of {answers:g} s" if answers else "answers at once"


def figures(*, latency: float, heroku: Sequence[str], runs: int) -> Iterator[Figure]:
    """All of it, with answers at once and after so many seconds."""
    with Sandbox(transfer_seconds=TRANSFER, pending_seconds=0) as sandbox, tempfile.TemporaryDirectory() as folder:
        hook = site(sandbox, Path(folder), "ALTER TABLE learners ADD COLUMN nickname text;\n")
        twin = sandbox.create_app("twin")
        execute(twin.database_url, *SCHEMA.strip().split("\n"))
        bench = Bench(sandbox=sandbox, hook=hook, twin=twin, runs=runs, heroku=heroku)
        for kind in ("backup", "restore"):
            bench.transfer_seconds(kind)  # while answers come at once: it is the server's own time
        yield from bench.nothing_pending()
        for answers in sorted({0, latency}):
            sandbox.set_options(answer_seconds=answers)
            yield from bench.landing(answers)
            yield from bench.failing(answers)
        yield from bench.memory()


def main() -> None:
    """Runs all and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0)
    parser.add_argument("--heroku", type=shlex.split, default=[])
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    print(table(list(figures(latency=given.latency, heroku=given.heroku, runs=given.runs))))


if __name__ == "__main__":
    main()
