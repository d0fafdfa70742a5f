"""The protected database: a session with limits, its fingerprint, its grants, and the journal kept in it."""

from typing import NoReturn

from release.lean import standing_in


class _NotFound(Exception):
    """The error that psycopg expects where its own version is not to be found. It does without."""


def _version(_: str) -> NoReturn:
    raise _NotFound


# psycopg reads its version from its package's files, with `email`, `zipfile` and `csv`, and nobody asks it for that.
with standing_in("importlib.metadata", version=_version, PackageNotFoundError=_NotFound):
    import psycopg  # noqa: F401 -- from here on it is loaded
