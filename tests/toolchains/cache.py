"""Real tools, installed once into the user's cache. A registry that does not answer leaves tests out, loudly."""

from __future__ import annotations

import fcntl
import functools
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from zlib import crc32

import pytest

WITHIN = 240.0
"""Seconds that an installation may take."""

COMPLETE = "complete"
"""The file that is written last: a folder without it is half of an installation."""


class NotInstalledError(Exception):
    """A tool cannot be had here. The text says why."""


Install = Callable[[Path, Mapping[str, str]], None]
"""Puts packages into a folder, with the environment for a registry's client. Raises NotInstalledError."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packages:
    """What a tool is installed from, and how it is used from there.

    `recipe` names the folder: another recipe is another installation. Folders in it, or patterns of them, are `path`,
    in front of PATH, and `environment`, by the variables that list them. `links` are names in it that the app has, too.
    """

    recipe: tuple[str, ...]
    install: Install
    path: tuple[str, ...] = ()
    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    links: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where they are, or will be."""
        return cache() / f"{self.recipe[0]}-{crc32(repr(self.recipe).encode()):08x}"

    def environ(self, path: str) -> dict[str, str]:
        """The variables that an app needs to use them."""
        lists = {"PATH": self.path, **self.environment}
        found = {
            name: [str(each) for pattern in patterns for each in sorted(self.folder.glob(pattern))]
            for name, patterns in lists.items()
        }
        found["PATH"].append(path)
        return {name: os.pathsep.join(folders) for name, folders in found.items()}


def cache() -> Path:
    """The tests' folder in the user's cache. HOME is not asked: in a test it is a temporary one."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return (folder if os.access(folder.parent, os.W_OK) else Path(os.environ.get("TMPDIR", "/tmp"))) / "release-tests"


def _home() -> Path:
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


@functools.cache
def problem(packages: Packages) -> str | None:
    """Sees to it that packages are there; what is in the way, if something is. Other workers wait for the first."""
    folder = packages.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / COMPLETE).exists():
            return None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            # Their surroundings as they are, since a proxy or an authority may be named there.
            packages.install(folder, {**os.environ, "HOME": str(_home())})
        except NotInstalledError as error:
            shutil.rmtree(folder)
            return str(error)
        (folder / COMPLETE).touch()
        return None


def needed(request: pytest.FixtureRequest, packages: Packages, *, what: str) -> Path:
    """Returns the folder of packages. Skips a test that cannot have them, and says so where nothing is captured."""
    if why := problem(packages):
        leave_out(request, f"{what} is left out: {why}")
    return packages.folder


def leave_out(request: pytest.FixtureRequest, why: str) -> NoReturn:
    """Skips a test, and says so in a line that no capturing holds back."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{why}", file=sys.__stderr__, flush=True)
    pytest.skip(why)


# The registries' clients.


def pip(*requirements: str) -> Packages:
    """Python packages, in a virtual environment of their own."""

    def install(folder: Path, environ: Mapping[str, str]) -> None:
        _run(environ, sys.executable, "-m", "venv", str(folder))
        _run(environ, str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *requirements)

    return Packages(recipe=("python{}.{}".format(*sys.version_info), *requirements), install=install, path=("bin",))


def npm(*packages: str) -> Packages:
    """Node packages. The app sees them as its `node_modules`."""

    def install(folder: Path, environ: Mapping[str, str]) -> None:
        quietly = ("--no-audit", "--no-fund", "--ignore-scripts")  # scripts would download from elsewhere
        _run(environ, "npm", "install", *quietly, "--prefix", str(folder), *packages)

    return Packages(recipe=("node", *packages), install=install, links=("node_modules",))


def debian(
    *packages: str, environment: Mapping[str, tuple[str, ...]], programs: Mapping[str, str] | None = None
) -> Packages:
    """Debian packages with all that they need and the machine does not have, unpacked and not installed.

    `programs`: the files, or patterns of them, that Debian would give a shorter name as it installs them.
    """

    def install(folder: Path, environ: Mapping[str, str]) -> None:
        work = folder / "work"
        for name in ("lists/partial", "cache/archives/partial", "downloads"):
            (work / name).mkdir(parents=True)
        # Lists of its own: the machine's may be old, or there may be none.
        user = pwd.getpwuid(os.getuid()).pw_name
        options = (f"Dir::State::Lists={work}/lists", f"Dir::Cache={work}/cache", f"APT::Sandbox::User={user}")
        apt = ("apt-get", *(word for option in options for word in ("-o", option)))
        _run(environ, *apt, "update")
        plan = _run(environ, *apt, "install", "--simulate", "--no-install-recommends", *packages)
        planned = [line.split() for line in plan.splitlines() if line.startswith("Inst ")]
        # An older version of a package in brackets: the machine has it already.
        new = [words[1] for words in planned if not words[2].startswith("[")]
        _run(environ, *apt, "download", *new, cwd=work / "downloads")
        for archive in sorted((work / "downloads").glob("*.deb")):
            _run(environ, "dpkg", "-x", str(archive), str(folder))
        shutil.rmtree(work)
        for name, pattern in (programs or {}).items():
            (folder / "usr" / "bin" / name).symlink_to(next(folder.glob(pattern)))

    return Packages(
        recipe=("debian", *packages), install=install, path=("usr/bin",), environment=environment
    )  # fmt: skip


def _run(environ: Mapping[str, str], *argv: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv, env=environ, cwd=cwd, timeout=WITHIN, check=False, capture_output=True, text=True
        )  # fmt: skip
    except FileNotFoundError:
        raise NotInstalledError(f"there is no {argv[0]}") from None
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"{argv[0]} did not answer within {WITHIN:g} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise NotInstalledError(f"{Path(argv[0]).name} ended with {done.returncode}: {said[:300]}")
    return done.stdout
