"""What Heroku puts into every database, as public structure dumps show it: `_heroku`, event triggers, an extension.

The functions belong to `heroku_admin`, and so do the four event triggers, which only a superuser may own. They do what
Heroku's do with the extensions that there are here: the database's owner may use what an extension brought, plpgsql
cannot be dropped, nothing can be put into `_heroku`, and the server's log says so.

A dump by the default credential holds all of them: pg_dump leaves out no event trigger, also not by `--exclude-schema`.
That credential cannot create them again, and pg_restore counts that as warnings.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql

SCHEMA = "_heroku"
_OBJECTS = Path(__file__).with_name("inventory.sql").read_bytes()
VERSION = hashlib.sha256(_OBJECTS).hexdigest()[:8]
"""Changes with what there is."""


def create_admin(session: psycopg.Connection[Any]) -> None:
    """Creates Heroku's role, once for the cluster."""
    if session.execute("SELECT 1 FROM pg_roles WHERE rolname = 'heroku_admin'").fetchone() is None:
        with contextlib.suppress(errors.DuplicateObject, errors.UniqueViolation):  # another sandbox has just done it
            session.execute("CREATE ROLE heroku_admin SUPERUSER NOLOGIN")


def drop_admin(session: psycopg.Connection[Any]) -> None:
    """Removes the role, unless another sandbox's databases need it."""
    with contextlib.suppress(errors.DependentObjectsStillExist):
        session.execute("DROP ROLE IF EXISTS heroku_admin")


def install(session: psycopg.Connection[Any]) -> None:
    """Puts into the session's database what it has not got yet. To be called inside a transaction."""
    if session.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone() == (None,):
        session.execute(_OBJECTS)
    session.execute("CREATE SCHEMA IF NOT EXISTS heroku_ext")
    if _has_statistics(session):
        return
    # A server that is not ours may lack the extension.
    if session.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements'").fetchone():
        session.execute("CREATE EXTENSION pg_stat_statements SCHEMA heroku_ext")


def give(session: psycopg.Connection[Any], owner: sql.Identifier) -> None:
    """Gives the session's database's owner the rights that Heroku gives. To be called inside a transaction."""
    for statement in (
        "ALTER SCHEMA public OWNER TO {owner}",
        "GRANT USAGE, CREATE ON SCHEMA heroku_ext TO {owner}",
        "GRANT USAGE ON SCHEMA heroku_ext TO PUBLIC",
    ):
        session.execute(sql.SQL(statement).format(owner=owner))
    if _has_statistics(session):  # create_ext() did that where the extension was made, which may be in the template
        session.execute(sql.SQL("GRANT EXECUTE ON FUNCTION heroku_ext.pg_stat_statements_reset TO {}").format(owner))


def _has_statistics(session: psycopg.Connection[Any]) -> bool:
    asked = (
        "SELECT FROM pg_extension WHERE extname = 'pg_stat_statements' AND extnamespace = 'heroku_ext'::regnamespace"
    )
    return session.execute(asked).fetchone() is not None
