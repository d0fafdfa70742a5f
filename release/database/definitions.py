"""Definitions: what a database is made of, as the server prints it, by kind and by name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from psycopg import Connection, sql

from release.database import catalog
from release.database.normal_form import normal_form

Definitions: TypeAlias = dict[str, dict[str, str]]
"""By kind, by name. Of a kind in BLOCKS the definition is a block: name, tab, definition, a line each."""

BLOCKS: Final = {
    "columns": "column",
    "constraints": "constraint",
    "indexes": "index",
    "invalid indexes": "invalid index",
    "triggers": "trigger",
    "rules": "rule",
    "policies": "policy",
    "comments": "comment",
    "grants": "grant",
    "published": "published",
    "operators": "operators",
}
"""What comes as one block for each table (grants: for each object), and what one line of it is."""

EXPRESSIONS: Final = frozenset(
    {
        "columns", "constraints", "indexes", "invalid indexes", "triggers", "rules", "policies", "table",
        "view", "materialized view", "type", "domain", "statistics", "function", "procedure", "published",
    }
)  # fmt: skip
"""Kinds whose definitions the server prints from trees; see normal_form.py."""

LONG: Final = 4000
"""Characters; of a longer definition the document keeps the first half of that, and a hash of all."""


def read(connection: Connection[Any], queries: Sequence[catalog.Query]) -> Definitions:
    """What some queries of catalog.py say, inside a transaction with catalog.LIMITS. Raises psycopg.Error."""
    found: Definitions = {}
    for query in _worth_asking(connection, queries):
        for kind, name, definition in connection.execute(query.text, prepare=True):
            found.setdefault(kind, {})[name] = _kept(kind, definition or "")
    return found


def _worth_asking(connection: Connection[Any], queries: Sequence[catalog.Query]) -> list[catalog.Query]:
    """Leaves out what this database has none of: planning a query takes longer than running it over nothing."""
    version = connection.info.server_version
    queries = [query for query in queries if query.since <= version < query.until]
    exists = sql.SQL(", ").join(sql.SQL("EXISTS (SELECT FROM {})").format(sql.SQL(query.only_if)) for query in queries)
    (answers,) = connection.execute(sql.SQL("SELECT {}").format(exists), prepare=True).fetchall()
    return [query for query, some in zip(queries, answers, strict=True) if some]


def _kept(kind: str, definition: str) -> str:
    """A definition as the document keeps it."""
    if kind in BLOCKS:
        if kind not in EXPRESSIONS or ("((" not in definition and "])::" not in definition):
            return definition
        return "\n".join(map(normal_form, definition.split("\n")))
    if kind in EXPRESSIONS:
        definition = normal_form(definition)
    if len(definition) <= LONG:
        return definition
    return f"{definition[: LONG // 2]} … sha256 {hashlib.sha256(definition.encode()).hexdigest()}"


def is_whole(definition: str) -> bool:
    """Whether a definition is kept as it was: neither cut because it is long nor hashed because it may be a secret."""
    return not _HASH.search(definition)


_HASH: Final = re.compile(r"(?:^| … )sha256 [0-9a-f]{64}\Z")


def parse_block(block: str) -> dict[str, str]:
    """The lines of a block by name."""
    return {name: definition for name, _, definition in (line.partition("\t") for line in block.split("\n") if line)}
