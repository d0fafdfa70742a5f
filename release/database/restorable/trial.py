"""Trials: expressions are evaluated on rows that are there, as a load would, under an empty search path.

Nothing is guessed: what fails under the empty path and does not under one that knows every schema is a finding; what
fails under both, takes too long, or may not be read is unknown. Each trial is a read-only transaction that is rolled
back, with a short statement_timeout and lock_timeout, so that it can neither change nor hold up anything; a function
that would write fails there, and is unknown, too.

An empty table has no row to try on, and none that a load could fail at: there the expression is only parsed, as
CREATE TABLE does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

import psycopg
from psycopg import Connection, errors

from release.clock import Deadline
from release.database.restorable.expressions import Expression, How, groups
from release.database.restorable.finding import Finding

TOGETHER: Final = 100
"""Expressions in one statement; if it fails, it is halved."""

LIMITS: Final[LiteralString] = """
SELECT set_config(name, given, true) FROM (VALUES
    ('search_path', %s), ('statement_timeout', %s), ('lock_timeout', '100ms'), ('jit', 'off'),
    ('max_parallel_workers_per_gather', '0'), ('check_function_bodies', 'off')
) AS limits (name, given)
"""

LONGEST: Final = 0.4
"""Seconds for one statement."""

EMPTY: Final = ""

BROAD: Final[LiteralString] = """
SELECT concat_ws(', ', nullif(s.reset_val, ''), (
           SELECT string_agg(quote_ident(nspname), ', ' ORDER BY nspname <> 'public', nspname)
             FROM (SELECT nspname FROM pg_catalog.pg_namespace
                    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LIMIT 100) all_schemas))
  FROM pg_catalog.pg_settings s WHERE s.name = 'search_path'
"""
"""A path that finds every name: the credential's own, and then all schemas."""

SCANS: Final[LiteralString] = """
SELECT coalesce(i.indrelid, c.oid)::int8, sum(pg_stat_get_xact_numscans(c.oid))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_'
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
 WHERE c.relkind IN ('r', 'i') AND pg_stat_get_xact_numscans(c.oid) > 0 GROUP BY 1
"""
"""(table, how often this transaction has read it, itself or by an index)."""

LATER: Final[LiteralString] = """
SELECT n.nspname, c.relname, c.oid::regclass::text FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%s::oid[]) AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) WHERE relid = %s)
"""

UNKNOWN: Final = (
    errors.QueryCanceled,
    errors.LockNotAvailable,
    errors.InsufficientPrivilege,
    errors.ReadOnlySqlTransaction,
)
"""Errors that say nothing about a restore."""

NAME_IT: Final = "write names with their schema, or give the function a path: ALTER FUNCTION … SET search_path = …"
RESOLVE: Final = "compare by an operator that is written with its schema, as in a OPERATOR(public.=) b, or cast to text"


@dataclass(slots=True)
class Tried:
    """What was found so far, and the names of what could not be tried."""

    lost: list[Finding] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, each: Expression, why: str, way_out: str = NAME_IT) -> None:
        """Takes note of a finding."""
        self.lost.append(Finding(kind=each.kind, name=each.name, why=why, way_out=way_out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a trial said: whether all was well, and which tables were read other than for the trial; or the error."""

    well: bool = False
    read: frozenset[int] = frozenset()
    error: psycopg.Error | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trials:
    connection: Connection[Any]
    broad: str
    deadline: Deadline
    tried: Tried

    def run(self, group: Sequence[Expression]) -> None:
        """Tries a group, halving it until every one that is not well stands alone."""
        if self.deadline.expired:
            self.tried.unknown += [each.title for each in group]
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

    def judge(self, each: Expression, answer: Answer) -> None:
        """What an answer about one expression means."""
        if answer.well:
            self.judge_order(each, answer.read)
            return
        if isinstance(answer.error, UNKNOWN):
            self.tried.unknown.append(each.title)
            return
        other = self.evaluate([each], self.broad)
        if answer.error is None or isinstance(answer.error, errors.CheckViolation):
            if other.well:
                self.tried.add(each, "rows that are there fail it under the empty search path of a restore")
            else:
                self.tried.add(each, "rows that are there violate it, so that they do not load", "mend the rows, or it")
        elif other.well:
            message = answer.error.diag.message_primary
            self.tried.add(each, f"it fails under the empty search path of a restore: {message}", _way_out(each))
        else:
            self.tried.unknown.append(each.title)

    def judge_order(self, each: Expression, read: frozenset[int]) -> None:
        """Data are loaded by schema and name of the table (pg_dump_sort.c), so what is read may not be there yet."""
        for schema, name, shown in self.connection.execute(LATER, [list(read), each.relation]).fetchall():
            if each.place and (schema.encode(), name.encode()) > tuple(part.encode() for part in each.place):
                why = f"it reads {shown}, which a restore fills after the table itself"
                self.tried.add(each, why, "a foreign key or a trigger instead")

    def evaluate(self, group: Sequence[Expression], path: str) -> Answer:
        """Tries a group under a search path. Raises psycopg.Error when the session is lost."""
        try:
            return self.asked(group, path)
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            return Answer(error=error)

    def asked(self, group: Sequence[Expression], path: str) -> Answer:
        connection, parsed = self.connection, group[0].how is How.PARSED
        limit = str(max(1, int(self.deadline.clamp(LONGEST) * 1000)))
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(LIMITS, [path, limit])
            if parsed:
                self.prepare(group)
                return Answer(well=True)
            looks = any(each.place for each in group)
            before = dict(connection.execute(SCANS).fetchall()) if looks else {}
            queries = ", ".join(f"({each.query})" for each in group)
            row = self.execute(f"SELECT {queries}").fetchall()[0]
            after = dict(connection.execute(SCANS).fetchall()) if looks else {}
        own = Counter(each.relation for each in group)
        read = {table for table, scans in after.items() if scans - before.get(table, 0) > own[table]}
        return Answer(well=all(value is not False for value in row), read=frozenset(read))

    def prepare(self, group: Sequence[Expression]) -> None:
        """Has the server parse queries, and plan and run none."""
        queries = ", ".join(f"EXISTS ({each.query})" for each in group)
        self.execute(f"PREPARE release_trial AS SELECT {queries}")
        self.connection.execute("DEALLOCATE release_trial")

    def execute(self, query: str) -> psycopg.Cursor[Any]:
        """Runs a single statement: the extended protocol takes no second one."""
        return self.connection.cursor(binary=True).execute(query.encode())


def _way_out(each: Expression) -> str:
    return RESOLVE if each.how is How.PARSED or each.resolved_anew else NAME_IT


def try_all(connection: Connection[Any], expressions: Sequence[Expression], deadline: Deadline) -> Tried:
    """Tries all expressions, as far as the time goes. Raises psycopg.Error when the session is lost."""
    tried = Tried()
    if not expressions:
        return tried
    (broad,) = connection.execute(BROAD).fetchall()[0]
    trials = _Trials(connection=connection, broad=broad, deadline=deadline, tried=tried)
    for group in groups(expressions, TOGETHER):
        trials.run(group)
    _count(tried, expressions)
    return tried


def _count(tried: Tried, expressions: Sequence[Expression]) -> None:
    """Adds those whose operators would be others, without any error; that is known, even of what was not tried."""
    failed = {f"{each.kind} {each.name}" for each in tried.lost}
    anew = {
        expression.title: expression
        for expression in expressions
        if expression.resolved_anew and expression.title not in failed
    }
    for each in anew.values():
        tried.add(each, "operators that it does not name are looked up anew, and others are found", RESOLVE)
    tried.unknown = [title for title in tried.unknown if title not in anew]
