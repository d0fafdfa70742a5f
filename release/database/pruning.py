"""Pruning: the journal keeps only what somebody may still need, since it is in the database and in every dump of it.

What only a run under way needs goes first: the fingerprints of runs that are settled, and the counters of old backups.
"""

from __future__ import annotations

from typing import Final

from psycopg import sql

from release.database.session import Database, translated

RUNS: Final = 200
"""The number of runs that are kept. The last run of each outcome stays in any case."""

DAYS: Final = 90
"""The number of days for which a run is kept, if it is not beyond RUNS before."""

BACKUPS: Final = 25
"""The number of backups whose counters are kept. `release-phase restore` needs them to say what was written since."""

LIMITS: Final = "SELECT set_config('statement_timeout', '3s', true), set_config('lock_timeout', '1s', true)"
"""Short limits: pruning can as well be done by the next run, and nobody is to wait for it."""

# A run from elsewhere (see Entry.elsewhere) is nobody's to finish, whatever state it came in.
PRUNE: Final = sql.SQL("""
WITH ranked AS (
    SELECT run_id, backup, outcome, fingerprint IS NOT NULL OR record ? 'evidence' AS heavy,
           row_number() OVER (ORDER BY started_at DESC) > {runs}
               OR started_at < clock_timestamp() - make_interval(days => {days}) AS old,
           row_number() OVER (PARTITION BY outcome ORDER BY started_at DESC) = 1 AS latest,
           count(backup) OVER (ORDER BY started_at DESC, run_id) > {backups} OR backup IS NULL AS uncounted,
           (state <> 'finished' OR fence IS NOT NULL)
               AND (system_id <> (SELECT system_identifier::text FROM pg_catalog.pg_control_system())
                    OR database <> current_database()) IS NOT TRUE AS unfinished
      FROM release_phase.runs
), gone AS (
    SELECT run_id FROM ranked WHERE old AND NOT unfinished AND (NOT latest OR outcome IS NULL)
), pruned AS (
    DELETE FROM release_phase.runs USING gone WHERE runs.run_id = gone.run_id
), lighter AS (
    UPDATE release_phase.runs SET fingerprint = NULL,
           record = CASE WHEN ranked.uncounted THEN record - 'evidence' ELSE record END
      FROM ranked
     WHERE runs.run_id = ranked.run_id AND ranked.heavy AND NOT ranked.unfinished
       AND (runs.fingerprint IS NOT NULL OR ranked.uncounted)
       AND NOT EXISTS (SELECT FROM gone WHERE gone.run_id = runs.run_id)
)
SELECT count(*) FROM gone
""").format(runs=RUNS, days=DAYS, backups=BACKUPS)


def prune(database: Database) -> int:
    """Prunes the journal, which must exist, in one statement; returns how many runs went. Raises Failed or Lost."""
    with translated(), database.connection.transaction():
        database.connection.execute(LIMITS)
        (gone,) = database.connection.execute(PRUNE).fetchall()[0]
    return int(gone)
