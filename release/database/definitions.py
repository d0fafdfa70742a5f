"""Definitions: the parts of a database as the server prints them, by kind and by name."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from psycopg import Connection, sql

from release.database import catalog
from release.database.normal_form import normal_form

Definitions: TypeAlias = dict[str, dict[str, str]]
"""The definitions by kind and then by name.

Of a kind in BLOCKS a definition is a block: one line for each part, with its name, a tab and its definition.
"""

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
"""The kinds that come as one block for each table (grants: for each object), and the kind of one line of the block."""

EXPRESSIONS: Final = frozenset(
    {
        "columns", "constraints", "indexes", "invalid indexes", "triggers", "rules", "policies", "table",
        "view", "materialized view", "type", "domain", "statistics", "function", "procedure", "published",
    }
)  # fmt: skip
"""The kinds whose definitions the server prints from trees; see normal_form.py."""

LONG: Final = 4000
"""Characters. Of a longer definition the document keeps half as many characters and a hash of the whole."""


def read(connection: Connection[Any], queries: Sequence[catalog.Query]) -> Definitions:
    """Reads what some queries of catalog/ say, inside a transaction with catalog.LIMITS. Raises psycopg.Error.

    Equal texts are kept once: a table's name is in many kinds, tenants have the same tables, and most of a later
    document is the same as in an earlier one.
    """
    definitions: Definitions = {}
    for query in _worth_asking(connection, queries):
        for kind, name, definition in connection.execute(query.text, prepare=True):
            definitions.setdefault(sys.intern(kind), {})[sys.intern(name)] = sys.intern(_kept(kind, definition or ""))
    return definitions


def _worth_asking(connection: Connection[Any], queries: Sequence[catalog.Query]) -> list[catalog.Query]:
    """Leaves out queries for what this database does not have, since planning one takes longer than an empty answer."""
    version = connection.info.server_version
    queries = [query for query in queries if query.since <= version < query.until]
    conditions = sql.SQL(", ").join(
        sql.SQL("EXISTS (SELECT FROM {})").format(sql.SQL(query.only_if)) for query in queries
    )
    (answers,) = connection.execute(sql.SQL("SELECT {}").format(conditions), prepare=True).fetchall()
    return [query for query, has_rows in zip(queries, answers, strict=True) if has_rows]


def _kept(kind: str, definition: str) -> str:
    """Writes a definition as the document keeps it."""
    if kind in BLOCKS:
        # The normal form leaves a block without these signs as it is, and most blocks have neither of them.
        if kind not in EXPRESSIONS or ("((" not in definition and "])::" not in definition):
            return definition
        return "\n".join(map(_line, definition.split("\n")))
    if kind in EXPRESSIONS:
        definition = normal_form(definition)
    if len(definition) <= LONG:
        return definition
    return f"{definition[: LONG // 2]} … sha256 {hashlib.sha256(definition.encode()).hexdigest()}"


def _line(line: str) -> str:
    """Writes one line of a block as the document keeps it. A name is never changed: see normal_form.py."""
    name, tab, definition = line.partition("\t")
    return f"{name}{tab}{_normal_form(definition)}"


_normal_form: Final = lru_cache(maxsize=1000)(normal_form)
"""The normal form, once for expressions that many tables share, as those of tenants do: it takes 50 µs each."""


def is_whole(definition: str) -> bool:
    """Says whether a definition is kept whole: neither cut for its length nor hashed because it may be a secret."""
    return not _HASH.search(definition)


# How links.hashed() writes a value, and _kept() the end of a long definition.
_HASH: Final = re.compile(r"(?:^| … )sha256 [0-9a-f]{64}\Z")


def parse_block(block: str) -> dict[str, str]:
    """Splits a block into its lines: definitions by name."""
    return {name: definition for name, _, definition in (line.partition("\t") for line in block.split("\n") if line)}
