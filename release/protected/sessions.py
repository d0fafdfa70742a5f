"""The sessions of a migration on the database, of which none may live on when it is over.

They are known by their name (PGAPPNAME), or by the port of a process that the migration started. Those that were seen
are in the journal, so that a later run knows them, too. A driver that reads no PGAPPNAME, and whose process dies before
it was seen, leaves a session that looks like the app's own. So nothing is called proved until every transaction of the
app's role that began during the migration has ended, whoever's it is.
"""

from __future__ import annotations

from release.clock import Deadline
from release.database.entry import Migration
from release.database.evidence import Evidence
from release.database.others import Other, moment, wait_until_gone
from release.database.session import Failed
from release.errors import Reason
from release.protected.lock import reconnect
from release.run import HOOKS, Run, migration_name

SESSIONS_END_WITHIN = 5.0
"""Seconds after the command's end within which the server has to have noticed that its sessions are gone."""

GHOSTS_GONE_WITHIN = 30.0
"""Seconds that sessions of the migration get to end. Their statements are cancelled first."""

TRANSACTIONS_END_WITHIN = 5.0
"""Seconds that other transactions which began during the migration get to end by themselves."""


def end_ghosts(run: Run, run_id: str) -> str | None:
    """Ends what is left of a migration. The statement of a killed client goes on in the server and could still commit.

    Returns, in words, why something of it may still go on, or None if surely nothing does. Raises Failed
    (sessions_left) or Lost.
    """
    reconnect(run)
    migration = run.journal.migration(run_id)
    end_migration(run, run_id, migration)
    return None if migration.since is None else _await_transactions(run, migration)


def end_migration(run: Run, run_id: str, migration: Migration | None = None) -> None:
    """Ends the sessions that are surely the migration's, and waits. Raises Failed (sessions_left) or Lost."""
    migration = migration or run.journal.migration(run_id)
    name = migration_name(run_id)
    gone, left = wait_until_gone(
        run.database,
        lambda session: is_migration(session, name, migration),
        clock=run.clock,
        deadline=run.deadline.within(GHOSTS_GONE_WITHIN),
        ending=True,
    )
    if left:
        raise Failed(Reason.SESSIONS_LEFT, f"still there: {', '.join(map(str, left))}")
    if gone:
        run.warn("sessions_ended", f"sessions of the migration ({name}) were ended: {', '.join(map(str, gone))}")


def is_migration(session: Other, name: str, migration: Migration) -> bool:
    """Whether a session is surely the migration's."""
    return session.name == name or session.key in migration.sessions


def may_be_migration(session: Other, migration: Migration, until: int) -> bool:
    """Whether a session is in a transaction that may be the migration's: it is of its role, and began while it ran."""
    return (
        session.ours
        and session.transaction is not None
        and (migration.since or 0) <= session.transaction <= until
        and not session.heroku
        and not session.name.startswith(HOOKS)
    )


def _await_transactions(run: Run, migration: Migration) -> str | None:
    """Waits for transactions that began during the migration, and ends those in sessions that did so as well.

    A transaction in an older session (a pooler's) is not ended, since it is more likely somebody else's. Then nothing
    is proved, and the reason is returned in words.
    """
    until = moment(run.database)

    def began_meanwhile(session: Other) -> bool:
        return may_be_migration(session, migration, until)

    def is_recent(session: Other) -> bool:
        return began_meanwhile(session) and session.since >= (migration.since or 0)

    patience = run.deadline.within(TRANSACTIONS_END_WITHIN)
    _, left = wait_until_gone(run.database, began_meanwhile, clock=run.clock, deadline=patience)
    if any(map(is_recent, left)):
        ended, _ = wait_until_gone(
            run.database, is_recent, clock=run.clock, deadline=run.deadline.within(TRANSACTIONS_END_WITHIN), ending=True
        )
        run.warn(
            "sessions_ended",
            "sessions that began during the migration and were still in a transaction were ended, since they may be"
            f" its own: {', '.join(map(str, ended))}",
        )
        _, left = wait_until_gone(run.database, began_meanwhile, clock=run.clock, deadline=run.deadline.within(0))
    if not left:
        return None
    return f"a transaction that began during the migration has not ended: {', '.join(map(str, left))}"


def end_prepared(run: Run, before: Evidence) -> None:
    """Rolls back what was prepared since, which holds locks against a restore and could still be committed.

    This is only called once a restore is decided, which would undo them anyway: one may be another writer's.
    """
    for gid in sorted(set(run.database.prepared_transactions()) - set(before.prepared)):
        try:
            run.database.roll_back_prepared(gid)
        except Failed as error:
            run.warn("transaction_left", f"the prepared transaction {gid}: {error}")
        else:
            run.warn("transaction_rolled_back", f"the prepared transaction {gid} was left behind")


def sessions_left(run: Run, within: float = SESSIONS_END_WITHIN) -> list[Other]:
    """Waits until no session of the app's commands is left. Returns those that still are. Raises Lost or Failed."""
    migration = run.journal.migration(run.id)
    _, left = wait_until_gone(
        run.database,
        lambda session: is_migration(session, run.migration_name, migration),
        clock=run.clock,
        deadline=Deadline(run.clock, within),
    )
    return left
