"""Expressions whose meaning depends on the search path: a restore parses them again, or evaluates them for every row.

pg_dump prints every name with its schema, but the body of a function is text, and some constructs name no operator at
all (IS DISTINCT FROM, NULLIF, CASE x WHEN, JOIN USING). So only what depends on a function or an operator that was made
after initdb can go wrong. pg_depend says which expressions those are, and no other is tried. Besides these, a CHECK
constraint on the present time may be violated by rows that it once let in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from psycopg import Connection

from release.database.catalog import LIMITS
from release.database.restorable.stored import EXPRESSIONS, OPERATORS

ROWS: Final = 100
"""The number of rows of a table that an expression is tried on."""


class How(StrEnum):
    """The way in which an expression is tried."""

    CHECK = "check"
    """It must be true or null for every row."""
    VALUE = "value"
    """It must have a value for every row."""
    QUERY = "query"
    """A materialized view's query: it must return its first rows."""
    PARSED = "parsed"
    """A load does not evaluate it, so that it only has to be understood."""
    COUNTED = "counted"
    """It cannot be tried without being created, so that only the operators in it are counted."""


class Expression(NamedTuple):
    """One expression. `query` tries it, and returns one row with one truth value; for PARSED it may be any query.

    `place` is the schema and name of the table whose rows are loaded through it. It is None where a load evaluates the
    expression after all rows are there, or never. `resolved_anew` says that the printed form does not name all its
    operators.
    """

    kind: str
    name: str
    how: How
    query: str
    relation: int
    place: tuple[str, str] | None
    resolved_anew: bool

    @property
    def title(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"


# The oids of operators in a tree, as nodeToString() writes them (outfuncs.c).
_OPERATOR: Final = re.compile(r":opno (\d+)")
# The condition in what pg_get_triggerdef() prints.
_WHEN: Final = re.compile(r" WHEN \((.*)\) EXECUTE (?:FUNCTION|PROCEDURE) ", re.DOTALL)


def collect(connection: Connection[Any]) -> list[Expression]:
    """Collects all that may depend on the search path. Raises psycopg.Error.

    Materialized views come last, since they cost most.
    """
    with connection.transaction():
        connection.execute(LIMITS)
        connection.execute("SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '4s'")
        rows = connection.execute(EXPRESSIONS).fetchall()
        operators = {oid for (oid,) in connection.execute(OPERATORS)} if rows else set()
    expressions = [_expression(row, operators) for row in rows]
    return sorted(expressions, key=lambda expression: (expression.how is How.QUERY, expression.kind, expression.name))


def _expression(row: Sequence[Any], operators: set[str]) -> Expression:
    kind, name, how, tree, printed, condition, relation, table, whole, schema, plain = row
    rows = (table if whole else f"ONLY {table}") if table else None
    return Expression(
        kind=kind,
        name=name,
        how=How.PARSED if how in {"trigger", "domain", "view"} else How(how),
        query=_query(how, printed, condition, rows),
        relation=relation,
        place=(schema, plain) if schema and how != "parsed" else None,
        resolved_anew=_unnamed(tree or "", f"{printed} {condition}", operators) > 0,
    )


def _unnamed(tree: str, printed: str, operators: set[str]) -> int:
    """Counts the expression's operators, without the server's own, that its printed form does not name.

    The server prints an operator that the search path does not find as `OPERATOR(schema.name)`.
    """
    return sum(oid in operators for oid in _OPERATOR.findall(tree)) - printed.count("OPERATOR(")


def _query(how: str, printed: str | None, condition: str | None, rows: str | None) -> str:  # noqa: PLR0911 -- a table
    """Writes the query that tries an expression. `printed` is the server's own text of what it has stored."""
    match how:
        case "check":
            return f"SELECT bool_and(c) FROM (SELECT ({printed}) IS NOT FALSE FROM {rows} LIMIT {ROWS}) AS tried (c)"  # noqa: S608 -- the server's own text
        case "value":
            value = _value(printed, condition)
            return f"SELECT count(c) >= 0 FROM (SELECT {value} FROM {rows} LIMIT {ROWS}) AS tried (c)"  # noqa: S608 -- the server's own text
        case "query":
            rows = f"SELECT * FROM ({_bare(printed)}) AS defined LIMIT {ROWS}"  # noqa: S608 -- the server's own text
            return f"SELECT count(tried) >= 0 FROM ({rows}) AS tried"  # noqa: S608 -- the server's own text
        case "view":
            return _bare(printed)
        case "domain":
            return f"SELECT {printed} FROM (SELECT NULL::{condition} AS value) AS domain"  # noqa: S608 -- the server's own text
        case "trigger":
            when = _WHEN.search(printed or "")
            return f"SELECT {when[1] if when else 'NULL'} FROM {rows} AS old, {rows} AS new"  # noqa: S608 -- the server's own text
        case _:
            return f"SELECT {printed}" + (f" FROM {rows}" if rows else "")  # noqa: S608 -- the server's own text


def _value(printed: str | None, condition: str | None) -> str:
    """Makes one value of a list of expressions, such as an index has, evaluated only where the condition holds."""
    value = f"num_nonnulls({printed})" if printed else "true"
    return f"CASE WHEN {condition} THEN {value} END" if condition else value


def _bare(query: str | None) -> str:
    """Takes away the semicolon with which the server prints a view's query."""
    return (query or "").strip().removesuffix(";")


def groups(expressions: Sequence[Expression], size: int) -> Iterator[list[Expression]]:
    """Groups expressions that can be tried together, at most `size` each. A materialized view is tried alone."""
    for hows in ((How.PARSED,), (How.CHECK, How.VALUE)):
        alike = [expression for expression in expressions if expression.how in hows]
        yield from (alike[start : start + size] for start in range(0, len(alike), size))
    yield from ([expression] for expression in expressions if expression.how is How.QUERY)
