"""The sandbox's home: a folder that is closed to everybody else on the machine, and the API key in it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

LOCK = "lock"
_KEY = "key"
_OTHERS = 0o077


class NotOurs(Exception):
    """The folder cannot be a sandbox's home."""


def default() -> Path:
    """Returns RELEASE_SANDBOX_HOME, or else a folder in the user's cache."""
    if named := os.environ.get("RELEASE_SANDBOX_HOME"):
        return Path(named).expanduser().resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().resolve() / "release-sandbox"


def close(home: Path) -> None:
    """Makes the folder, for its owner alone. Raises NotOurs for one that holds something else."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not home.stat().st_mode & _OTHERS:
        return
    if any(home.iterdir()) and not (home / LOCK).exists():
        raise NotOurs(
            f"{home} is open to others and holds something else. Name a folder for the sandbox alone in"
            " RELEASE_SANDBOX_HOME, which is made if it does not exist."
        )
    home.chmod(0o700)


def key(home: Path) -> str:
    """Returns the API key of its sandbox, or an empty text where none has been up yet."""
    try:
        return (home / _KEY).read_text()
    except FileNotFoundError:
        return ""


def make_key(home: Path) -> str:
    """Returns the key, and makes it the first time. Only the sandbox that holds the home's lock may call this."""
    secret = key(home)
    if not secret:
        # As those of Heroku's authorizations: 65 characters that begin with HRKU-AA.
        secret = "HRKU-AA" + secrets.token_urlsafe(44)[:58]
        fresh = home / f"{_KEY}.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret)
        fresh.replace(home / _KEY)
    (home / _KEY).chmod(0o600)
    return secret
