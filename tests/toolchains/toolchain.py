"""A toolchain: a framework's real tool and a small app for it, as one entry of a table."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePath

import pytest

from heroku_sandbox import App
from release.app.answers import Answer
from release.app.command import Commands
from release.app.frameworks import FRAMEWORKS, Framework
from tests.hook import PATH, Hook
from tests.toolchains.cache import Packages, needed

Files = Mapping[str, str]
"""Texts by their paths in the app's folder. One that begins with `#!` is a program."""

NOWHERE = "postgres://nobody:secret@127.0.0.1:1/nothing"
"""A database that does not answer."""


class Situation(StrEnum):
    """What a tool may find when it is asked whether something is pending."""

    UNREACHABLE = "the database does not answer"
    FRESH = "nothing was ever migrated"
    NOTHING = "nothing is pending"
    PENDING = "a migration is pending"
    AHEAD = "the database has a migration that the code does not have"
    UNLOADABLE = "the app does not load"


class Meaning(StrEnum):
    """What the row of the table reads from an answer."""

    NOTHING = "nothing is pending"
    PENDING = "something is pending"
    STOPPED = "the app does not load, or the database cannot be reached"
    UNKNOWN = "it does not tell"


Measured = tuple[int, Meaning]
"""The tool's exit code, and what its answer means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """An entry. The story ships `app` with `first`, then `good` with it, then `broken` with both.

    `framework` is the row of the table. `first` makes the table `courses`, whose rows the tests fill in; `good` adds a
    column `price`; `broken` has a migration that deletes all courses, and is committed, before one that fails.
    `unloadable` is laid over the app and keeps it from loading. `answers` were measured with the real tool. `settings`
    are the app's config vars. A tool without a row is set as commands there, and has no answers.
    """

    name: str
    framework: str | None
    packages: Packages | None = None
    app: Files
    first: Files
    good: Files
    broken: Files
    unloadable: Files = field(default_factory=dict)
    answers: Mapping[Situation, Measured] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Its name, for the tests' own."""
        return self.name

    @property
    def row(self) -> Framework:
        """Its row of the table, for the file by which it is recognised."""
        row = next(framework for framework in FRAMEWORKS if framework.name == self.framework)
        marks = [name for name in self.app for marker in row.markers if PurePath(name).match(marker)]
        return row.at(marks[0]) if marks else row


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A toolchain that is installed, with a folder to work in and an app of the sandbox."""

    toolchain: Toolchain
    packages: Path | None
    folder: Path
    app: App

    def slug(self, *versions: Files) -> Path:
        """Assembles the app with some versions laid over it; each time in a folder of its own."""
        folder = self.folder / f"slug-{sum(1 for _ in self.folder.iterdir())}"
        for files in (self.toolchain.app, *versions):
            for name, text in files.items():
                _write(folder / name, text)
        for link in self.toolchain.packages.links if self.toolchain.packages else ():
            assert self.packages
            (folder / link).symlink_to(self.packages / link)
        return folder

    def hook(self, *versions: Files) -> Hook:
        """The hook in the app."""
        return Hook(app=self.app, folder=self.slug(*versions), environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """What the tool needs, and the app's config vars."""
        packages = self.toolchain.packages
        return {**(packages.environ(PATH) if packages else {}), **self.toolchain.settings}

    def run(self, folder: Path, *argv: str, url: str | None = None) -> Answer:
        """Runs one of the app's own commands on its database, or on another."""
        environ = {
            "PATH": PATH,
            "HOME": str(folder),
            "PGSSLMODE": "disable",
            **self.environment,
            "DATABASE_URL": url or self.app.database_url,
        }
        # `env` looks a program up in the PATH that it is given; without it that would be the tests' own.
        done = subprocess.run(
            ["/usr/bin/env", *argv], cwd=folder, env=environ, check=False, capture_output=True, text=True, timeout=120
        )
        answer = Answer(exit_code=done.returncode)
        answer.hear("stdout", done.stdout.splitlines())
        answer.hear("stderr", done.stderr.splitlines())
        return answer

    def migrate(self, *versions: Files) -> None:
        """Migrates without the hook."""
        answer = self.run(self.slug(*versions), *self.toolchain.row.migrate_command)
        assert answer.exit_code == 0, answer.lines

    def ask(self, *versions: Files, url: str | None = None) -> tuple[Measured, list[str]]:
        """Asks whether something is pending; the lines of the answer are for who reads a failure."""
        row = self.toolchain.row
        assert row.pending
        assert row.pending_command
        answer = self.run(self.slug(*versions), *row.pending_command, url=url)
        assert answer.exit_code is not None
        return (answer.exit_code, _meaning(row, answer)), answer.lines


def _meaning(row: Framework, answer: Answer) -> Meaning:
    """What the hook makes of an answer."""
    commands = Commands(migrate=row.migrate_command, pending=row.pending_command, framework=row, asked=row)
    pending = commands.is_pending(answer)
    if pending is not False and commands.crash(answer):
        return Meaning.STOPPED
    return {True: Meaning.PENDING, False: Meaning.NOTHING, None: Meaning.UNKNOWN}[pending]


def bench(request: pytest.FixtureRequest, toolchain: Toolchain, *, app: App, folder: Path) -> Bench:
    """Sets a toolchain up. Skips, loudly, where its tool cannot be had."""
    packages = needed(request, toolchain.packages, what=toolchain.name) if toolchain.packages else None
    return Bench(toolchain=toolchain, packages=packages, folder=folder, app=app)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if text.startswith("#!"):
        path.chmod(0o755)
