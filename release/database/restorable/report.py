"""Look: everything there is to know about whether a database can be restored, within a time."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection

from release.clock import Deadline
from release.database.restorable.creation import uncreatable
from release.database.restorable.expressions import collect
from release.database.restorable.finding import Report
from release.database.restorable.trial import try_all


def report_on(connection: Connection[Any], deadline: Deadline) -> Report:
    """What a restore could not bring back. Changes nothing, whatever the functions that are tried would do.

    The catalogs are read in any case, then expressions are tried until the deadline; those that were not are unknown.
    So is what cannot be read: a definition cannot be printed while somebody holds a table that it names. Raises
    psycopg.Error when the session is lost.
    """
    report = Report()
    for what, part in PARTS.items():
        try:
            found = part(connection, deadline)
        except psycopg.Error as error:
            if connection.closed:
                raise
            found = Report(unknown=(f"{what} ({error.diag.message_primary})",))
        report += found
    return report


def _by_catalogs(connection: Connection[Any], _deadline: Deadline) -> Report:
    lost, weaker = uncreatable(connection)
    return Report(lost=tuple(lost), weaker=tuple(weaker))


def _by_trial(connection: Connection[Any], deadline: Deadline) -> Report:
    tried = try_all(connection, collect(connection), deadline)
    return Report(lost=tuple(tried.lost), unknown=tuple(tried.unknown))


PARTS = {"what only some roles may create": _by_catalogs, "what depends on functions and operators": _by_trial}
"""By what is not known when a part fails."""
