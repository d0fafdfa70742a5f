"""The app's code, as something that can be known again: by its commit, else by a hash of its files.

A commit is only believed beside a release's version, which Heroku tells in the same breath: a variable that somebody
has once set by hand stays as it is, whatever is released. Two builds of one commit count as the same code.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Final

from release.clock import Deadline
from release.run import Run

COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""A whole hash of git's. Whoever deploys through Heroku's API may give any word for a commit, `latest` for one."""

PASSED_OVER: Final = frozenset({".git", ".ssh", ".cache", ".npm", "__pycache__"})
"""Folders that are no part of the code, or that a dyno may write before the hook runs."""

PASSED_OVER_ON_TOP: Final = frozenset({"tmp", "log"})
"""Such folders in the app's own folder only."""

DEPENDENCIES: Final = frozenset({"node_modules", ".heroku", ".venv", "bundle"})
"""Folders of what is installed (Ruby's is `vendor/bundle`). Of their files the name, the size and the date count.

They are most of a slug: 37,000 files of 450 MB take 0.2 s this way, and 2 to 4 s to be read. The app's own files are
read, since an image of Cloud Native Buildpacks gives all files one date, and two versions of a migration may have one
size.
"""

WITHIN: Final = 10.0
"""Seconds in which the files are hashed, else the code is not known. They are read at about 1 GB in 3 s."""


LARGEST: Final = 1 << 30
"""The bytes of a file that is read."""


def code_of(run: Run) -> str | None:
    """Returns what stands for the code in the run's folder. None where nothing does: it takes too long to be read."""
    commit = run.settings.commit
    if commit and run.settings.heroku_release_version and COMMIT.fullmatch(commit):
        return f"commit {commit}"
    files = hash_of(run.folder, run.deadline.within(WITHIN))
    run.signals.check()
    return f"files {files}" if files else None


def hash_of(folder: Path, deadline: Deadline) -> str | None:
    """Computes a hash of all files in a folder. None when the deadline comes first, or one of them cannot be read."""
    whole = blake2b(digest_size=20)
    try:
        for part in _described(os.fspath(folder), "", read=True):
            if deadline.expired:
                return None
            whole.update(part)
    except OSError:
        return None
    return whole.hexdigest()


def _described(folder: str, within: str, *, read: bool) -> Iterator[bytes]:
    """Yields what counts of each file, in the order of their names. Raises OSError."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{within}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in PASSED_OVER and name not in PASSED_OVER_ON_TOP:
                yield from _described(entry.path, f"{name}/", read=read and entry.name not in DEPENDENCIES)
        elif entry.is_symlink() or entry.is_file():
            yield os.fsencode(f"{name}\0{_content(entry, read=read)}\n")


def _content(entry: os.DirEntry[str], *, read: bool) -> str:
    """Describes a file's content: where a link leads, or a hash and whether it is run, or size and date in seconds."""
    path = Path(entry.path)
    if entry.is_symlink():
        return str(path.readlink())
    facts = entry.stat(follow_symlinks=False)
    if not read:
        return f"{facts.st_size} {int(facts.st_mtime)}"
    if facts.st_size > LARGEST:
        raise OSError(errno.EFBIG, "too large to be read", entry.path)
    with path.open("rb") as file:
        return f"{file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()} {facts.st_mode & 0o100}"
