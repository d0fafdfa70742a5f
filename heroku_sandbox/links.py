"""`heroku pg:links`: the data of another database as foreign tables, in a schema of the link's name."""

from __future__ import annotations

import re

import psycopg
from psycopg import sql

from heroku_sandbox import lookup
from heroku_sandbox.postgres import Server
from heroku_sandbox.state import Addon, Link


def find(addon: Addon, identity: str) -> Link:
    """Finds a database's link by its id or name. Raises ApiError (404)."""
    for link in addon.links:
        if identity in (link.id, link.name):
            return link
    raise lookup.not_found("link")


def create(server: Server, addon: Addon, remote: Addon, name: str | None) -> Link:
    """Links another add-on's schema `public` into a database. Raises ApiError (422)."""
    name = name or remote.name.replace("-", "_")
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise lookup.invalid(f"{name} is no name for a schema: small letters, digits and underscores.")
    link, owner = sql.Identifier(name), sql.Identifier(addon.default.role)
    try:
        with server.session(addon.database) as session, session.transaction():
            for statement in (
                "CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA heroku_ext",
                "CREATE SCHEMA {link} AUTHORIZATION {owner}",
                "CREATE SERVER {link} FOREIGN DATA WRAPPER postgres_fdw"
                " OPTIONS (host {host}, port {port}, dbname {base})",
                "CREATE USER MAPPING FOR {owner} SERVER {link} OPTIONS (user {role}, password {password})",
                "GRANT USAGE ON FOREIGN SERVER {link} TO {owner}",
                "SET LOCAL ROLE {owner}",
                "IMPORT FOREIGN SCHEMA public FROM SERVER {link} INTO {link}",
            ):
                session.execute(
                    sql.SQL(statement).format(
                        link=link,
                        owner=owner,
                        host=sql.Literal(server.host),
                        port=sql.Literal(str(server.port)),
                        base=sql.Literal(remote.database),
                        role=sql.Literal(remote.default.role),
                        password=sql.Literal(remote.default.password),
                    )
                )
    except psycopg.Error as error:
        raise lookup.invalid(f"{remote.name} cannot be linked as {name}: {error.diag.message_primary}.") from error
    return Link(name=name, remote_id=remote.id)


def drop(server: Server, addon: Addon, link: Link) -> None:
    """Removes a link with its tables, and what depends on them."""
    with server.session(addon.database) as session, session.transaction():
        for statement in ("DROP SERVER IF EXISTS {} CASCADE", "DROP SCHEMA IF EXISTS {} CASCADE"):
            session.execute(sql.SQL(statement).format(sql.Identifier(link.name)))
