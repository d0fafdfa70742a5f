"""Trials: expressions are evaluated on existing rows under an empty search path, as a load would do it.

Nothing is guessed. What fails under the empty path but not under one that has every schema is a finding. What fails
under both, takes too long, or may not be read is unknown. Each trial is a read-only transaction that is rolled back,
with a short statement_timeout and lock_timeout, so that it can neither change nor hold up anything. A function that
would write fails there, and is unknown, too.

An empty table has no row to try on, and none that a load could fail at. There the expression is only parsed, as
CREATE TABLE parses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, LiteralString

import psycopg
from msgspec import Struct, field
from psycopg import Connection, errors

from release.clock import Deadline
from release.database.restorable.expressions import Expression, How, groups
from release.database.restorable.finding import Finding

TOGETHER: Final = 100
"""The number of expressions in one statement. If the statement fails, its halves are tried."""

LIMITS: Final[LiteralString] = """
SELECT set_config(name, given, true) FROM (VALUES
    ('search_path', %s), ('statement_timeout', %s), ('lock_timeout', '100ms'), ('jit', 'off'),
    ('max_parallel_workers_per_gather', '0'), ('check_function_bodies', 'off')
) AS limits (name, given)
"""

LONGEST: Final = 0.4
"""Seconds for one statement."""

EMPTY: Final = ""
"""The search path under which pg_restore loads."""

BROAD: Final[LiteralString] = """
SELECT concat_ws(', ', nullif(s.reset_val, ''), (
           SELECT string_agg(quote_ident(nspname), ', ' ORDER BY nspname <> 'public', nspname)
             FROM (SELECT nspname FROM pg_catalog.pg_namespace
                    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LIMIT 100) all_schemas))
  FROM pg_catalog.pg_settings s WHERE s.name = 'search_path'
"""
"""A search path that finds every name: the credential's own path, and then all schemas."""

SCANS: Final[LiteralString] = """
SELECT coalesce(i.indrelid, c.oid)::int8, sum(pg_stat_get_xact_numscans(c.oid))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_'
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
 WHERE c.relkind IN ('r', 'i') AND pg_stat_get_xact_numscans(c.oid) > 0 GROUP BY 1
"""
"""(table, the number of times that this transaction has read it, itself or by an index)."""

LATER: Final[LiteralString] = """
SELECT n.nspname, c.relname, c.oid::regclass::text FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%s::oid[]) AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) WHERE relid = %s)
"""
"""(schema, table, name as SQL) of some tables, without the partitions of one."""

UNKNOWN: Final = (
    errors.QueryCanceled,
    errors.LockNotAvailable,
    errors.InsufficientPrivilege,
    errors.ReadOnlySqlTransaction,
)
"""The errors that say nothing about a restore."""

NAME_IT: Final = "write names with their schema, or give the function a path: ALTER FUNCTION … SET search_path = …"
CORRECT: Final = "correct the rows with UPDATE, or drop the constraint and add one that they meet"
RESOLVE: Final = "compare by an operator that is written with its schema, as in a OPERATOR(public.=) b, or cast to text"
"""The ways out, where names have no schema, where rows violate a constraint, and where an operator is not printed."""


class Tried(Struct):
    """The findings so far, and the names of what could not be tried."""

    lost: list[Finding] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, expression: Expression, why: str, way_out: str = NAME_IT) -> None:
        """Takes note of a finding."""
        self.lost.append(Finding(kind=expression.kind, name=expression.name, why=why, way_out=way_out))


class Answer(Struct, frozen=True, kw_only=True):
    """The answer of a trial.

    `well` says that all expressions were true or had a value. `read` has the oids of the tables that were read besides
    those whose rows were tried. `error` is the server's, if there was one.
    """

    well: bool = False
    read: frozenset[int] = frozenset()
    error: psycopg.Error | None = None


class _Trials(Struct, frozen=True, kw_only=True):
    connection: Connection[Any]
    broad: str
    deadline: Deadline
    tried: Tried

    def run(self, group: Sequence[Expression]) -> None:
        """Tries a group, and halves it until every expression that is not well stands alone."""
        if self.deadline.expired:
            self.tried.unknown += [expression.title for expression in group]
            return
        answer = self.evaluate(group, EMPTY)
        if answer.well and not answer.read:
            return
        if len(group) > 1:
            half = len(group) // 2
            self.run(group[:half])
            self.run(group[half:])
        else:
            self.judge(group[0], answer)

    def judge(self, expression: Expression, answer: Answer) -> None:
        """Decides what the answer about one expression means."""
        if answer.well:
            self.judge_order(expression, answer.read)
            return
        if isinstance(answer.error, UNKNOWN):
            self.tried.unknown.append(expression.title)
            return
        broad = self.evaluate([expression], self.broad)
        if answer.error is None or isinstance(answer.error, errors.CheckViolation):
            if broad.well:
                self.tried.add(expression, "rows that are there fail it under the empty search path of a restore")
            else:
                self.tried.add(expression, "rows that are there violate it, so that they do not load", CORRECT)
        elif broad.well:
            message = answer.error.diag.message_primary
            why = f"it fails under the empty search path of a restore: {message}"
            self.tried.add(expression, why, _way_out(expression))
        else:
            self.tried.unknown.append(expression.title)

    def judge_order(self, expression: Expression, read: frozenset[int]) -> None:
        """Finds tables that the expression reads, and that a load fills only after the expression's own.

        Data are loaded in the order of schema and name, compared as bytes (pg_dump_sort.c).
        """
        for schema, name, shown in self.connection.execute(LATER, [list(read), expression.relation]).fetchall():
            place = tuple(part.encode() for part in expression.place or ())
            if place and (schema.encode(), name.encode()) > place:
                why = f"it reads {shown}, which a restore fills after the table itself"
                self.tried.add(expression, why, "use a foreign key or a trigger instead")

    def evaluate(self, group: Sequence[Expression], path: str) -> Answer:
        """Tries a group under a search path. Raises psycopg.Error when the session is lost."""
        try:
            return self.ask_server(group, path)
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            return Answer(error=error)

    def ask_server(self, group: Sequence[Expression], path: str) -> Answer:
        """Runs the queries of a group in one transaction, which is rolled back. Raises psycopg.Error."""
        connection, parsed = self.connection, group[0].how is How.PARSED
        limit = str(max(1, int(self.deadline.clamp(LONGEST) * 1000)))
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(LIMITS, [path, limit])
            if parsed:
                self.prepare(group)
                return Answer(well=True)
            # What is read matters only where rows are loaded through the expression; the counters cost a query.
            ordered = any(expression.place for expression in group)
            before = dict(connection.execute(SCANS).fetchall()) if ordered else {}
            queries = ", ".join(f"({expression.query})" for expression in group)
            row = self.execute(f"SELECT {queries}").fetchall()[0]
            after = dict(connection.execute(SCANS).fetchall()) if ordered else {}
        # Each expression reads its own table once, for the rows that it is tried on.
        own = Counter(expression.relation for expression in group)
        read = {table for table, scans in after.items() if scans - before.get(table, 0) > own[table]}
        return Answer(well=all(value is not False for value in row), read=frozenset(read))

    def prepare(self, group: Sequence[Expression]) -> None:
        """Makes the server parse queries without planning or running any."""
        queries = ", ".join(f"EXISTS ({expression.query})" for expression in group)
        self.execute(f"PREPARE release_trial AS SELECT {queries}")
        self.connection.execute("DEALLOCATE release_trial")

    def execute(self, query: str) -> psycopg.Cursor[Any]:
        """Runs a single statement. For binary results psycopg uses the extended protocol, which takes one only."""
        return self.connection.cursor(binary=True).execute(query.encode())


def _way_out(expression: Expression) -> str:
    return RESOLVE if expression.how is How.PARSED or expression.resolved_anew else NAME_IT


def try_all(connection: Connection[Any], expressions: Sequence[Expression], deadline: Deadline) -> Tried:
    """Tries all expressions until the deadline. Raises psycopg.Error when the session is lost."""
    tried = Tried()
    if not expressions:
        return tried
    (broad,) = connection.execute(BROAD).fetchall()[0]
    trials = _Trials(connection=connection, broad=broad, deadline=deadline, tried=tried)
    for group in groups(expressions, TOGETHER):
        trials.run(group)
    _add_resolved_anew(tried, expressions)
    return tried


def _add_resolved_anew(tried: Tried, expressions: Sequence[Expression]) -> None:
    """Adds expressions that would get other operators without any error. That is known even of what was not tried."""
    failed = {f"{finding.kind} {finding.name}" for finding in tried.lost}
    anew = {
        expression.title: expression
        for expression in expressions
        if expression.resolved_anew and expression.title not in failed
    }
    for expression in anew.values():
        tried.add(expression, "operators that it does not name are looked up anew, and others are found", RESOLVE)
    tried.unknown = [title for title in tried.unknown if title not in anew]
