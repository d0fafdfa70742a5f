"""Who runs what refuses to run as root, PostgreSQL and pgbouncer, and where such a user can reach files.

For root that is `nobody`, to whom the home is closed. Everybody else runs them as himself, with files in the home.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import socket
from pathlib import Path
from typing import Any

NAME = "release-sandbox"
ANYBODYS = Path("/var/tmp")  # noqa: S108 -- public_folder checks whose what is in it


class NotOurs(Exception):
    """A folder that everybody can reach is not what it has to be."""


def identity() -> dict[str, Any]:
    """Returns arguments for subprocess that drop root; empty for everybody else."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def give(path: Path) -> None:
    """Makes a file or folder that user's own."""
    if whose := identity():
        os.chown(path, whose["user"], whose["group"])


def write_secret(file: Path, content: bytes) -> None:
    """Writes a file anew that that user can read and nobody else."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
    give(file)


def place(home: Path) -> Path:
    """Returns where a home's files for that user are: the home itself, or for root a folder that `nobody` can reach.

    That is in a folder beside the home if `nobody` can come that far, else in /var/tmp.
    """
    if not identity():
        return home
    reachable = all(parent.stat().st_mode & 0o001 for parent in home.parents)
    public = public_folder(home.parent if reachable else ANYBODYS)
    for marker in public.glob("*/home"):
        if not Path(marker.read_text()).exists():  # its sandbox has been deleted
            shutil.rmtree(marker.parent, ignore_errors=True)
    own = public / hashlib.sha256(bytes(home)).hexdigest()[:16]
    own.mkdir(exist_ok=True, mode=0o711)
    (own / "home").write_text(str(home))
    return own


def public_folder(where: Path) -> Path:
    """Makes a folder that everybody can enter and only this user can change. Raises NotOurs if it is not that."""
    folder = where / f"{NAME}-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o711)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise NotOurs(
            f"{folder} is not a folder that only you can change. Remove it or have it removed: rm -r {folder}"
        )
    return folder


def free_port() -> int:
    """Returns a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
