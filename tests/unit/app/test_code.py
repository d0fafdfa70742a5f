"""What stands for the app's code: every change of a file that counts makes another hash, and nothing else does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from release.app import code
from release.app.code import hash_of
from release.clock import Clock, Deadline, Signals


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A slug with migrations, what is installed, and what a dyno writes."""
    for name in ("db/001.sql", "bin/tool", "node_modules/knex/index.js", ".git/HEAD", "tmp/x", "log/x", "a/tmp/x"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
        os.utime(file, (1, 1))
    (tmp_path / "link").symlink_to("db/001.sql")
    return tmp_path


def hashed(folder: Path, seconds: float = 60) -> str | None:
    """The hash of a folder, within some seconds."""
    return hash_of(folder, Deadline(Clock(Signals()), seconds))


def _same_size_and_date(folder: Path) -> None:
    (folder / "db/001.sql").write_text("2")
    os.utime(folder / "db/001.sql", (1, 1))


def _link(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("db/002.sql")


@pytest.mark.parametrize(
    "change",
    [
        _same_size_and_date,
        _link,
        lambda folder: (folder / "db/001.sql").rename(folder / "db/002.sql"),
        lambda folder: (folder / "db/002.sql").touch(),
        lambda folder: (folder / "bin/tool").chmod(0o755),
        lambda folder: (folder / "a/tmp/x").write_text("2"),
        lambda folder: (folder / "node_modules/knex/index.js").write_text("two"),
        lambda folder: os.utime(folder / "node_modules/knex/index.js", (2, 2)),
    ],
)
def test_every_change_of_the_code_makes_another_hash(folder: Path, change: Callable[[Path], object]) -> None:
    before = hashed(folder)

    change(folder)

    assert before is not None
    assert hashed(folder) not in {before, None}


@pytest.mark.parametrize("name", [".git/HEAD", "tmp/x", "log/x", "db/__pycache__/x.pyc", ".ssh/key"])
def test_what_a_dyno_writes_is_no_part_of_the_code(folder: Path, name: str) -> None:
    before = hashed(folder)

    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("changed")
    os.utime(folder / "db/001.sql", (2, 2))

    assert before is not None
    assert hashed(folder) == before


def test_code_that_takes_too_long_to_be_read_is_not_known(folder: Path) -> None:
    assert hashed(folder, 0) is None


def test_code_that_cannot_be_read_is_not_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "LARGEST", 0)

    assert hashed(folder) is None
