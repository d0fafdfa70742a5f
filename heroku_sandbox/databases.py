"""A database as Heroku Postgres sets it up, in SQL.

The default credential owns the database and the schema public; it is no superuser, may not create databases,
and is in pg_signal_backend, pg_read_all_stats and pg_monitor. Extensions may live in `heroku_ext`, which is
Heroku's, is always there, and is in no dump; inventory.py says what else is Heroku's.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from typing import Any

import psycopg
from psycopg import errors, sql

from heroku_sandbox import inventory, plans
from heroku_sandbox.options import Reset
from heroku_sandbox.postgres import Server
from heroku_sandbox.state import Addon, Credential

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_TEMPLATE = f"release_sandbox_{inventory.VERSION}"
_cluster = threading.Lock()  # roles that are granted at the same time fail with "tuple concurrently updated"


def new_name(prefix: str) -> str:
    """Makes a name as Heroku's roles (`u…`) and databases (`d…`) have."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(13))


def new_password() -> str:
    """Makes a password as Heroku's: `p` and 64 hexadecimal digits."""
    return "p" + secrets.token_hex(32)


def create(server: Server, addon: Addon) -> None:
    """Creates the database of a new add-on with its default credential."""
    owner = addon.default
    with _cluster, server.maintenance() as session:
        inventory.create_admin(session)
        session.execute(
            sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
                sql.Identifier(owner.role), sql.Literal(owner.password)
            )
        )
        for role in ("pg_signal_backend", "pg_read_all_stats", "pg_monitor"):
            session.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(owner.role)))
        _limit(session, addon)
    _create_database(server, addon)


def limit(server: Server, addon: Addon) -> None:
    """Gives the credentials as many connections as the plan has: each of them that many, for they share a server."""
    with _cluster, server.maintenance() as session:
        _limit(session, addon)


def _limit(session: psycopg.Connection[Any], addon: Addon) -> None:
    most = sql.Literal(plans.of(addon.tier).connections)
    for credential in addon.credentials:
        session.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(sql.Identifier(credential.role), most))


def fork(server: Server, source: Addon, addon: Addon) -> None:
    """Creates the database of a new add-on as a copy; a follower's is read-only.

    It ends the source's sessions, which CREATE DATABASE requires. On Heroku they go on.
    """
    create(server, addon)
    with server.maintenance() as session:
        session.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(addon.database)))
        terminate(server, source)
        session.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(addon.database), sql.Identifier(source.database)
            )
        )
    _prepare(server, addon)
    with server.session(addon.database) as session:
        session.execute(
            sql.SQL("REASSIGN OWNED BY {} TO {}").format(
                sql.Identifier(source.default.role), sql.Identifier(addon.default.role)
            )
        )
        # REASSIGN also takes what belongs to the whole cluster: the source database itself.
        session.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                sql.Identifier(source.database), sql.Identifier(source.default.role)
            )
        )
    set_read_only(server, addon, read_only=addon.following is not None)


def set_read_only(server: Server, addon: Addon, *, read_only: bool) -> None:
    """Decides whether new sessions may write."""
    with server.maintenance() as session:
        session.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(
                sql.Identifier(addon.database), sql.Literal(read_only)
            )
        )


def _create_database(server: Server, addon: Addon) -> None:
    made = "CREATE DATABASE {} TEMPLATE template0"
    with server.maintenance() as session:
        if server.own:
            _make_template(server, session)
            made = f"CREATE DATABASE {{}} TEMPLATE {_TEMPLATE} STRATEGY file_copy"
        session.execute(sql.SQL(made).format(sql.Identifier(addon.database)))
    _prepare(server, addon)


def _make_template(server: Server, session: psycopg.Connection[Any]) -> None:
    """Makes the database that new ones are copied from, once a server: a copy costs a third of furnishing another one.

    It has its name when it is whole: a sandbox that is killed meanwhile leaves one that nobody uses.
    """
    half = sql.Identifier(f"{_TEMPLATE}_half")
    with _cluster:
        if session.execute("SELECT FROM pg_database WHERE datname = %s", [_TEMPLATE]).fetchone() is not None:
            return
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(half))
        session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(half))
        with server.session(f"{_TEMPLATE}_half") as inside, inside.transaction():
            inventory.install(inside)
        session.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(half, sql.Identifier(_TEMPLATE)))


def _prepare(server: Server, addon: Addon) -> None:
    """Gives a fresh database, or a copy of another, the add-on's owner and settings."""
    database, owner = sql.Identifier(addon.database), sql.Identifier(addon.default.role)
    with server.session(addon.database) as session, session.transaction():
        for statement in (
            "ALTER DATABASE {database} OWNER TO {owner}",
            'ALTER DATABASE {database} SET search_path = "$user", public, heroku_ext',
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        ):
            session.execute(sql.SQL(statement).format(database=database, owner=owner))
        for credential in addon.credentials[1:]:
            session.execute(
                sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
                    database, sql.Identifier(credential.role)
                )
            )
        inventory.install(session)
        inventory.give(session, owner)


def drop(server: Server, addon: Addon) -> None:
    """Removes the database and all its credentials."""
    with _cluster, server.maintenance() as session:
        _let_go(server, session, addon)
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(addon.database)))
        for credential in addon.credentials:
            # A role that was granted something in another database cannot go; it harms nobody.
            with contextlib.suppress(errors.DependentObjectsStillExist):
                session.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(credential.role)))


def _let_go(server: Server, session: psycopg.Connection[Any], addon: Addon) -> None:
    """Ends what keeps PostgreSQL from dropping a database, and Heroku from nothing: it has a server for each."""
    kept = (
        "SELECT 'SUBSCRIPTION', subname::text FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
        " WHERE datname = %(name)s"
        " UNION ALL SELECT 'PREPARED', gid FROM pg_prepared_xacts WHERE database = %(name)s"
    )
    for kind, name in session.execute(kept, {"name": addon.database}).fetchall():
        with server.session(addon.database) as inside:
            if kind == "PREPARED":
                inside.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(name)))
                continue
            for statement in ("ALTER {} DISABLE", "ALTER {} SET (slot_name = NONE)", "DROP {}"):
                subscription = sql.SQL("SUBSCRIPTION {}").format(sql.Identifier(name))
                inside.execute(sql.SQL(statement).format(subscription))


def reset(server: Server, addon: Addon, how: Reset, extensions: list[str]) -> None:
    """Ends the sessions, removes the user's objects and grants, and creates `extensions`.

    `Reset.SCHEMAS` leaves what belongs to the database as such: its settings, event triggers, publications.
    """
    if how is Reset.DATABASE:
        with server.maintenance() as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(addon.database)))
        _create_database(server, addon)
    else:
        _drop_schemas(server, addon)
    if not extensions:
        return
    with server.session(addon.database) as session:
        for extension in extensions:
            session.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(sql.Identifier(extension)))


def allow_extensions(server: Server, addon: Addon, extensions: list[tuple[str, str]]) -> None:
    """Creates those extensions of a dump that only a superuser may create, as Heroku does (extension allow-list).

    Each is a name and a schema as a dump writes them. One that cannot be created is left to the load to complain of.
    """
    owner = sql.Identifier(addon.default.role)
    with server.session(addon.database) as session:
        closed = {
            name
            for (name,) in session.execute(
                "SELECT DISTINCT quote_ident(name) FROM pg_available_extension_versions WHERE superuser AND NOT trusted"
            )
        }
        for name, schema in extensions:
            if name not in closed or schema in {"heroku_ext", "pg_catalog"}:
                continue
            with contextlib.suppress(psycopg.Error), session.transaction():
                made = sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}")
                session.execute(made.format(sql.SQL(schema), owner))
                session.execute(sql.SQL("CREATE EXTENSION {} SCHEMA {}").format(sql.SQL(name), sql.SQL(schema)))
        brought = (
            "SELECT w.fdwname FROM pg_foreign_data_wrapper w JOIN pg_depend d ON d.objid = w.oid AND d.deptype = 'e'"
            " AND d.classid = 'pg_foreign_data_wrapper'::regclass"
        )
        for (wrapper,) in session.execute(brought).fetchall():
            session.execute(
                sql.SQL("GRANT USAGE ON FOREIGN DATA WRAPPER {} TO {}").format(sql.Identifier(wrapper), owner)
            )


def _drop_schemas(server: Server, addon: Addon) -> None:
    """Drops every schema of the user, and large objects, which are in no schema."""
    terminate(server, addon)
    with server.session(addon.database) as session, session.transaction():
        schemas = session.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> ALL(%s)",
            [["information_schema", inventory.SCHEMA]],
        ).fetchall()
        for (schema,) in schemas:
            session.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        session.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
        session.execute("CREATE SCHEMA public")  # without initdb's grant to everybody; its comment is in no dump
        session.execute("COMMENT ON SCHEMA public IS 'standard public schema'")
        inventory.install(session)
        inventory.give(session, sql.Identifier(addon.default.role))


def terminate(server: Server, addon: Addon) -> None:
    """Ends every session on the database."""
    with server.maintenance() as session:
        session.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [addon.database]
        )


def terminate_one(server: Server, addon: Addon, pid: int) -> bool:
    """Ends one session on the database. Returns whether there was one."""
    with server.maintenance() as session:
        asked = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND datname = %s"
        return session.execute(asked, [pid, addon.database]).fetchone() is not None


def connections(server: Server, addon: Addon) -> dict[str, int]:
    """Returns how many sessions each login has on the database."""
    with server.maintenance() as session:
        asked = (
            "SELECT usename::text, count(*) FROM pg_stat_activity WHERE datname = %s AND usename IS NOT NULL GROUP BY 1"
        )
        return dict(session.execute(asked, [addon.database]).fetchall())


def reset_statistics(server: Server, addon: Addon) -> None:
    """Forgets what the server has counted about the database."""
    with server.session(addon.database) as session:
        session.execute("SELECT pg_stat_reset()")


def repair_default(server: Server, addon: Addon) -> None:
    """Gives the default credential what others have created, and all rights on it (`pg:credentials:repair-default`)."""
    owner = sql.Identifier(addon.default.role)
    with _cluster, server.session(addon.database) as session, session.transaction():
        for credential in addon.credentials[1:]:
            session.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(credential.role), owner))
        session.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(owner))
        session.execute(sql.SQL("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {}").format(owner))


def size(server: Server, addon: Addon) -> int:
    """Returns the bytes on disk, as `pg_database_size` counts them."""
    with server.maintenance() as session:
        row = session.execute("SELECT pg_database_size(%s)", [addon.database]).fetchone()
        return int(row[0]) if row else 0


def figures(server: Server, addon: Addon) -> tuple[int, int, int, str]:
    """Returns the bytes on disk, the number of the user's tables, that of connections, and the server's version."""
    with server.session(addon.database) as session:
        row = session.execute(
            """
            SELECT pg_database_size(current_database()),
                   (SELECT count(*) FROM pg_stat_user_tables),
                   (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) - 1,
                   split_part(current_setting('server_version'), ' ', 1)
            """
        ).fetchone()
        return (int(row[0]), int(row[1]), int(row[2]), str(row[3])) if row else (0, 0, 0, "")


def add_credential(server: Server, addon: Addon, credential: Credential) -> None:
    """Creates a login that may connect and, like Heroku's, nothing more; the owner grants it the rest."""
    with _cluster, server.maintenance() as session:
        session.execute(
            sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT {} PASSWORD {}").format(
                sql.Identifier(credential.role),
                sql.Literal(plans.of(addon.tier).connections),
                sql.Literal(credential.password),
            )
        )
        session.execute(
            sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
                sql.Identifier(addon.database), sql.Identifier(credential.role)
            )
        )


def role_exists(server: Server, role: str) -> bool:
    """Tells whether the cluster has a role. Add-ons share a cluster here, but not on Heroku."""
    with server.maintenance() as session:
        return session.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def drop_credential(server: Server, addon: Addon, credential: Credential) -> None:
    """Removes a login; what it owned goes to the default credential."""
    role = sql.Identifier(credential.role)
    with _cluster, server.session(addon.database) as session:
        session.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(role, sql.Identifier(addon.default.role)))
        session.execute(sql.SQL("DROP OWNED BY {}").format(role))
        session.execute(sql.SQL("DROP ROLE {}").format(role))


def set_password(server: Server, credential: Credential) -> None:
    """Gives a login its new password and ends its sessions, as a rotation does."""
    with _cluster, server.maintenance() as session:
        session.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(credential.role), sql.Literal(credential.password)
            )
        )
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [credential.role])
