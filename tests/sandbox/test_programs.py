"""The copy of PostgreSQL's programs that a sandbox of root's makes, where the server's user can reach them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from heroku_sandbox.programs import copied

SANDBOXES = 6


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    """Programs in a package: one that runs, and so many files that copying them takes a while."""
    package = tmp_path / "package"
    for part in ("bin", "lib", "share"):
        (package / part).mkdir(parents=True)
    (package / "bin" / "postgres").write_text("#!/bin/sh\necho postgres\n")
    (package / "bin" / "postgres").chmod(0o755)
    for number in range(300):
        (package / "share" / f"{number}.bki").write_text("x")
    return package / "bin"


@pytest.mark.parametrize("old", ["no copy", "a copy that does not run"])
def test_sandboxes_that_start_at_once_share_one_whole_copy(tmp_path: Path, binaries: Path, old: str) -> None:
    folder = tmp_path / "public"
    folder.mkdir()
    if old == "a copy that does not run":
        (copied(binaries, folder, {}) / "postgres").write_text("#!/bin/sh\nexit 1\n")
    together = threading.Barrier(SANDBOXES)

    def start() -> tuple[Path, int]:
        together.wait()
        programs = copied(binaries, folder, {})
        return programs, (programs / "postgres").stat().st_ino

    with ThreadPoolExecutor(SANDBOXES) as pool:
        started = [future.result() for future in [pool.submit(start) for _ in range(SANDBOXES)]]

    [(programs, inode)] = set(started)
    assert (programs / "postgres").stat().st_ino == inode  # nobody has put another in the place of the first
    assert len(list((programs.parent / "share").iterdir())) == 300
    assert sorted(path.name for path in folder.iterdir()) == [programs.parent.name, f"{programs.parent.name}.lock"]
