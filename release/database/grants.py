"""Owners and grants: what other roles own and may do, found before anything changes and put back after a restore.

A Heroku backup carries neither owners nor grants (`pg_dump --no-owner --no-privileges`): after a restore everything
belongs to the credential that restored, and nobody else may do anything. Grants are compared by role and privilege. The
roles that granted are left out, because the owner grants again what others had granted on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from psycopg import Connection, sql

from release.database import catalog
from release.database.definitions import parse_block, read
from release.database.fingerprint import Fingerprint
from release.database.kinds import KINDS, both_know
from release.database.refusal import REFUSALS

FROM_16: Final = 160_000
"""The server version from which on a member of a role may be unable to act as that role."""

NOTHING: Final = "nothing"
"""The fingerprint's word for the privileges of a role that has lost its usual ones."""

CHUNK: Final = 100
"""The number of objects in one GRANT."""

# How the fingerprint names what grants are on. A name is quoted as quote_ident() does it.
_NAME: Final = r'(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_]*)'
_COLUMN: Final = re.compile(rf"column (.+)\.({_NAME})", re.DOTALL)
_DEFAULT: Final = re.compile(
    rf"default for role ({_NAME})(?: in schema ({_NAME}))? on (tables|sequences|functions|types|schemas|large objects)",
    re.DOTALL,
)
# A privilege's name, which may have several words, as ALTER SYSTEM has.
_PRIVILEGE: Final = re.compile(r"[A-Z]+(?: [A-Z]+)*")
# The kinds whose columns have grants of their own.
_RELATIONS: Final = ("table", "view", "materialized view", "foreign table", "sequence")

_CLASSES: Final = {
    **dict.fromkeys(("table", "view", "materialized view", "foreign table"), ("TABLE", "r")),
    **dict.fromkeys(("function", "procedure", "aggregate"), ("ROUTINE", "f")),
    "sequence": ("SEQUENCE", "s"),
    "type": ("TYPE", "T"),
    "domain": ("DOMAIN", "T"),
    "schema": ("SCHEMA", "n"),
    "foreign server": ("FOREIGN SERVER", "S"),
    "foreign-data wrapper": ("FOREIGN DATA WRAPPER", "F"),
}
"""For each kind its name in GRANT, and its letter for acldefault()."""

_DEFAULT_CLASSES: Final = {
    "tables": "r", "sequences": "s", "functions": "f", "types": "T", "schemas": "n", "large objects": "L",
}  # fmt: skip
"""For each word of ALTER DEFAULT PRIVILEGES its letter for acldefault()."""

_KINDS: Final = "rsfTnSFdL"
"""The letters of all that has usual rights here; d is the database, L large objects."""

_LARGE: Final = "large object "
"""The beginning of the fingerprint's name of a large object."""

_ALTER: Final = {"function": "ROUTINE", "procedure": "ROUTINE", "aggregate": "ROUTINE", "foreign server": "SERVER"}
"""The names of kinds in ALTER … OWNER, where they are not the kind itself in capitals."""

_FORMS: Final = {
    ("grant", False): sql.SQL("{alter}GRANT {privileges} ON {on} TO {role}"),
    ("grant", True): sql.SQL("{alter}GRANT {privileges} ON {on} TO {role} WITH GRANT OPTION"),
    ("revoke", False): sql.SQL("{alter}REVOKE {privileges} ON {on} FROM {role}"),
    ("revoke", True): sql.SQL("{alter}REVOKE GRANT OPTION FOR {privileges} ON {on} FROM {role}"),
}

Rights: TypeAlias = dict[str, str]
"""Privileges by role, as the fingerprint has them: `INSERT, SELECT*`. The star says that it may be granted on."""


class _Place(NamedTuple):
    """One thing that rights are on.

    `usual` are the rights without any GRANT. `alter` is the beginning of the statement for default privileges, and
    empty otherwise; `column` is the name of a column, and empty otherwise.
    """

    kind: str
    name: str
    owner: str
    usual: Rights
    alter: str = ""
    column: str = ""


class Step(NamedTuple):
    """One GRANT or REVOKE of privileges or, with `option`, of the option to grant them on."""

    verb: str
    option: bool
    role: str
    privileges: tuple[str, ...]


def foreign_objects(connection: Connection[Any]) -> list[str]:
    """Lists what this credential could not give back to its owner after a restore, as it cannot act as the owner.

    Each is written as `table public.learners of reporting`. The schema public does not count, since the platform makes
    it. Raises psycopg.Error.
    """
    right = "SET" if connection.info.server_version >= FROM_16 else "MEMBER"
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        rows = connection.execute(catalog.OBJECTS_WITH_OWNERS, [right, right]).fetchall()
        large = connection.execute(catalog.FOREIGN_LARGE_OBJECTS, [right]).fetchall()
    objects = [
        f"{kind} {name} of {owner}"
        for kind, name, owner, able in rows
        if not able and (kind, name) != ("schema", "public")
    ]
    return sorted([*objects, *(f"{name} of {owner}" for name, owner in large)])


def put_back_grants(connection: Connection[Any], before: Fingerprint, *, common: bool = False) -> list[str]:
    """Gives owners and grants back as they were, as far as this credential can; returns what it could not do.

    Rights that came in between are revoked. Nothing is done where another version of this code wrote them down. All is
    done in one transaction, in which a statement that is refused is left out. With `common`, rights on what did not
    exist before, or does not exist now, stay as they are. Raises psycopg.Error for anything but a refusal.
    """
    if not {"grants", "owner"} <= both_know(before.kinds, KINDS):
        return [
            "owners and grants: another version of this code wrote them down, and they were not put back:"
            r" check with \dp in psql whether they are right"
        ]
    with connection.transaction():
        return [*_put_back_owners(connection, before), *_put_back_rights(connection, before, common=common)]


def changes(was: Rights, present: Rights) -> list[Step]:
    """Lists the steps that lead from the present rights back to those that were."""
    steps: list[Step] = []
    for role in sorted(was.keys() | present.keys()):
        old, new = _privileges(was.get(role)), _privileges(present.get(role))
        wanted = {
            ("revoke", False): [privilege for privilege in new if privilege not in old],
            ("revoke", True): [
                privilege for privilege, option in new.items() if option and old.get(privilege) is False
            ],
            ("grant", False): [privilege for privilege, option in old.items() if not option and privilege not in new],
            ("grant", True): [privilege for privilege, option in old.items() if option and not new.get(privilege)],
        }
        steps += [Step(*form, role, tuple(privileges)) for form, privileges in wanted.items() if privileges]
    return steps


def _privileges(text: str | None) -> dict[str, bool]:
    """Parses privileges, each with whether it may be granted on.

    Raises ValueError for words that are none: they would become part of a statement.
    """
    words = [word for word in (text or NOTHING).split(", ") if word != NOTHING]
    privileges = {word.removesuffix("*"): word.endswith("*") for word in words}
    if odd := [privilege for privilege in privileges if not _PRIVILEGE.fullmatch(privilege)]:
        raise ValueError(f"no privileges: {odd}")
    return privileges


# Owners.


def _put_back_owners(connection: Connection[Any], before: Fingerprint) -> Iterator[str]:
    wanted = before.schema.get("owner", {})
    _, database_owner = connection.execute(catalog.DATABASE).fetchall()[0]
    # A sequence that belongs to a column follows its table and may not change its owner by itself. So sequences come
    # last, and only those that still have another owner.
    for sequences in (False, True):
        for kind, name, owner in _objects(connection):
            role = wanted.get(f"{kind} {name}", database_owner)
            if (kind == "sequence") is sequences and role != owner and (kind, name) != ("schema", "public"):
                statement = sql.SQL("ALTER {} {} OWNER TO {}").format(
                    sql.SQL(_ALTER.get(kind, kind.replace("-", " ").upper())), sql.SQL(name), sql.Identifier(role)
                )
                yield from _try(connection, statement)
    yield from _put_back_large_objects(connection, before, database_owner)


def _put_back_large_objects(connection: Connection[Any], before: Fingerprint, usual: str) -> Iterator[str]:
    """Gives large objects back. There may be very many, so only those of unusual owners, now or before, are read."""
    wanted = before.surroundings.get("owner", {})
    names = [*wanted, *read(connection, [catalog.LARGE_OBJECTS]).get("owner", {})]
    for name, place in _large_objects(connection, names).items():
        role = wanted.get(name, usual)
        if role != place.owner:
            statement = sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}").format(sql.SQL(place.name), sql.Identifier(role))
            yield from _try(connection, statement)


def _large_objects(connection: Connection[Any], names: list[str]) -> dict[str, _Place]:
    """Reads those large objects, of some that are named as in a fingerprint, that exist; without their usual rights."""
    oids = [name.removeprefix(_LARGE) for name in names if name.startswith(_LARGE)]
    rows = connection.execute(catalog.LARGE_OBJECT_OWNERS, [oids]).fetchall() if oids else []
    return {name: _Place("LARGE OBJECT", oid, owner, {}) for name, oid, owner in rows}


def _objects(connection: Connection[Any]) -> list[tuple[str, str, str]]:
    """Reads (kind, name, owner) of what exists now, with names as the server quotes them."""
    connection.execute(catalog.LIMITS)
    rows = connection.execute(catalog.OBJECTS_WITH_OWNERS, ["MEMBER", "MEMBER"]).fetchall()
    return [(kind, name, owner) for kind, name, owner, _ in rows if kind != "default privileges"]


# Grants.


def _put_back_rights(connection: Connection[Any], before: Fingerprint, *, common: bool) -> Iterator[str]:
    present = read(connection, [*catalog.GRANTS, catalog.DATABASE_GRANTS, catalog.LARGE_OBJECTS]).get("grants", {})
    was = before.schema.get("grants", {}) | before.surroundings.get("grants", {})
    differing = sorted(name for name in was.keys() | present.keys() if was.get(name) != present.get(name))
    if not differing:
        return
    places = _places(connection)
    usual = places["default on large objects"].usual
    places |= {name: place._replace(usual=usual) for name, place in _large_objects(connection, differing).items()}
    if common:
        differing = [name for name in differing if _place(name, places) and (name in was or _was_there(name, before))]
    alike: dict[tuple[Step, str, str, str], list[_Place]] = {}
    for name in differing:
        if (place := _place(name, places)) is None:
            yield f"grants on {name} were not put back: it does not exist"
            continue
        old, new = (place.usual | parse_block(rights.get(name, "")) for rights in (was, present))
        for step in changes(old, new):
            role = place.owner if step.role == "pg_owner" else step.role
            key = (step._replace(role=role), place.kind, place.alter, place.column)
            alike.setdefault(key, []).append(place)
    for (step, kind, alter, column), granted_on in alike.items():
        for start in range(0, len(granted_on), CHUNK):
            names = [place.name for place in granted_on[start : start + CHUNK]]
            yield from _carry_out(connection, step, kind, names, alter, column)


def _was_there(name: str, before: Fingerprint) -> bool:
    """Says whether the thing that these rights are on existed. The database did, and so count future things."""
    if match := _COLUMN.fullmatch(name):
        return any(match[1] in before.schema.get(kind, {}) for kind in _RELATIONS)
    kind = next((kind for kind in _CLASSES if name.startswith(f"{kind} ")), None)
    return kind is None or name.removeprefix(f"{kind} ") in before.schema.get(kind, {})


def _places(connection: Connection[Any]) -> dict[str, _Place]:
    """Reads all that something can be granted on now, by the name that the fingerprint gives it."""
    usual: dict[str, Rights] = {kind: {} for kind in _KINDS}
    for kind, role, privileges in connection.execute(catalog.USUAL_GRANTS, [list(_KINDS)]):
        usual[kind][role] = privileges
    places = {f"default on {what}": _Place(what, "", "", usual[kind]) for what, kind in _DEFAULT_CLASSES.items()}
    for kind, name, owner in _objects(connection):
        if kind in _CLASSES:
            word, default = _CLASSES[kind]
            places[f"{kind} {name}"] = _Place(word, name, owner, usual[default])
    database, owner = connection.execute(catalog.DATABASE).fetchall()[0]
    places["database"] = _Place("DATABASE", database, owner, usual["d"])
    return places


def _place(name: str, places: dict[str, _Place]) -> _Place | None:
    """Finds the thing that a name of the fingerprint means; None where it does not exist."""
    if match := _COLUMN.fullmatch(name):
        table, column = match.groups()
        relations = (places.get(f"{kind} {table}") for kind in _RELATIONS)
        return next((place._replace(usual={}, column=column) for place in relations if place), None)
    if match := _DEFAULT.fullmatch(name):
        role, schema, what = match.groups()
        alter = f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} " + (f"IN SCHEMA {schema} " if schema else "")
        place = places[f"default on {what}"]
        owner = role.strip('"').replace('""', '"')
        return place._replace(alter=alter, owner=owner, usual={} if schema else place.usual)
    return places.get(name)


def _carry_out(
    connection: Connection[Any], step: Step, kind: str, names: list[str], alter: str, column: str
) -> Iterator[str]:
    """Runs one statement for many things, and if it is refused, one for each of them."""
    statement = _FORMS[step.verb, step.option].format(
        alter=sql.SQL(alter),
        privileges=sql.SQL(
            ", ".join(f"{privilege} ({column})" if column else privilege for privilege in step.privileges)
        ),
        on=sql.SQL(f"{kind.upper()} {', '.join(names)}".rstrip()),
        role=sql.SQL("PUBLIC") if step.role == "public" else sql.Identifier(unescaped(step.role)),
    )
    problems = list(_try(connection, statement))
    if problems and len(names) > 1:
        for name in names:
            yield from _carry_out(connection, step, kind, [name], alter, column)
    else:
        yield from problems


def unescaped(line: str) -> str:
    """Returns a name as it was before it became part of a line of a block (see catalog/)."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], line)


def _try(connection: Connection[Any], statement: sql.Composed) -> Iterator[str]:
    """Runs a statement. Yields why it was refused, if it was."""
    try:
        with connection.transaction():
            connection.execute(statement)
    except REFUSALS as error:
        yield f"{statement.as_string(connection)}: {error.diag.message_primary}"
