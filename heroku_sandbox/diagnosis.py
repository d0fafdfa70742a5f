"""What `heroku pg:diagnose` looks at: a question to the database for each check, and when its answer is no good."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from heroku_sandbox import plans
from heroku_sandbox.postgres import Server
from heroku_sandbox.state import Addon

_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check: a question for the rows that are to be shown, and the colour that it has when there are any."""

    name: str
    ask: LiteralString
    colour: str = "yellow"


_MINE: LiteralString = (
    " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)
_CHECKS = {
    "connection_count": Check(
        name="Connection Count",
        ask="SELECT count(*)" + _MINE + " HAVING count(*) > %(connections)s * 0.75",
        colour="red",
    ),
    "long_queries": Check(
        name="Long Queries",
        ask="SELECT pid, date_trunc('second', now() - query_start)::text AS duration, left(query, 100) AS query"
        + _MINE
        + " AND state = 'active' AND now() - query_start > interval '1 minute'",
        colour="red",
    ),
    "long_transactions": Check(
        name="Long Transactions",
        ask="SELECT pid, date_trunc('second', now() - xact_start)::text AS duration, left(query, 100) AS query"
        + _MINE
        + " AND now() - xact_start > interval '1 hour'",
    ),
    "idle_queries": Check(
        name="Idle in Transaction",
        ask="SELECT pid, date_trunc('second', now() - state_change)::text AS duration, left(query, 100) AS query"
        + _MINE
        + " AND state LIKE 'idle in transaction%%' AND now() - state_change > interval '1 minute'",
        colour="red",
    ),
    "unused_indexes": Check(
        name="Indexes",
        ask="SELECT 'Never Used Indexes' AS reason, s.indexrelid::regclass::text AS index,"
        " pg_size_pretty(pg_relation_size(s.indexrelid)) AS size"
        " FROM pg_stat_user_indexes s JOIN pg_index i USING (indexrelid)"
        " WHERE s.idx_scan = 0 AND NOT i.indisunique AND pg_relation_size(s.indexrelid) > 1024 * 1024"
        " ORDER BY pg_relation_size(s.indexrelid) DESC LIMIT 20",
    ),
    "bloat": Check(
        name="Bloat",
        ask="SELECT relid::regclass::text AS object, n_dead_tup AS dead, n_live_tup AS live"
        " FROM pg_stat_user_tables WHERE n_dead_tup > 10000 AND n_dead_tup > n_live_tup"
        " ORDER BY n_dead_tup DESC LIMIT 20",
        colour="red",
    ),
    "hit_rate": Check(
        name="Hit Rate",
        ask="SELECT 'overall cache hit rate' AS name,"
        " round(sum(heap_blks_hit) / sum(heap_blks_hit + heap_blks_read), 3) AS ratio"
        " FROM pg_statio_user_tables HAVING sum(heap_blks_hit + heap_blks_read) > 10000"
        " AND sum(heap_blks_hit) / sum(heap_blks_hit + heap_blks_read) < 0.99",
        colour="red",
    ),
    "blocking": Check(
        name="Blocking Queries",
        ask="SELECT a.pid AS blocked_pid, b.pid AS blocking_pid, left(a.query, 100) AS blocked_statement,"
        " date_trunc('second', now() - a.query_start)::text AS blocked_duration"
        " FROM pg_stat_activity a CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS b (pid)"
        " WHERE a.datname = current_database()",
        colour="red",
    ),
    "sequences": Check(
        name="Sequences",
        ask="SELECT format('%%I.%%I', schemaname, sequencename) AS sequence, round(100.0 * last_value / max_value)::int"
        ' AS "percent used" FROM pg_sequences WHERE last_value > max_value * 0.75',
        colour="red",
    ),
    "table_wraparound": Check(
        name="Table Transaction ID Wraparound",
        ask="SELECT oid::regclass::text AS table, age(relfrozenxid) AS age FROM pg_class"
        " WHERE relkind IN ('r', 'm', 't') AND age(relfrozenxid) > 1500000000",
        colour="red",
    ),
    "database_wraparound": Check(
        name="Database Transaction ID Wraparound",
        ask="SELECT datname::text AS database, age(datfrozenxid) AS age FROM pg_database"
        " WHERE datname = current_database() AND age(datfrozenxid) > 1500000000",
        colour="red",
    ),
    "schema": Check(
        name="Schema Count",
        ask="SELECT count(*) FROM pg_namespace WHERE nspname !~ '^pg_' HAVING count(*) > 50",
    ),
    "unlogged_tables": Check(
        name="Unlogged Tables",
        ask="SELECT oid::regclass::text AS table FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'",
    ),
}


def checks(server: Server, addon: Addon) -> dict[str, dict[str, Any]]:
    """Makes all checks of a database. Each has a `name`, a `status` (green, yellow, red, skipped) and `results`."""
    facts = {"connections": plans.of(addon.tier).connections}
    with server.session(addon.database) as session, session.cursor(row_factory=dict_row) as cursor:
        cursor.execute(f"SET statement_timeout = '{_SECONDS}s'")
        return {key: _made(cursor, check, facts) for key, check in _CHECKS.items()}


def _made(cursor: psycopg.Cursor[dict[str, Any]], check: Check, facts: dict[str, int]) -> dict[str, Any]:
    try:
        rows = cursor.execute(check.ask, facts).fetchall()
    except psycopg.Error as error:
        return {"name": check.name, "status": "skipped", "results": [{"error": error.diag.message_primary}]}
    shown = [{name: float(v) if isinstance(v, Decimal) else v for name, v in row.items()} for row in rows]
    return {"name": check.name, "status": check.colour if rows else "green", "results": shown}
