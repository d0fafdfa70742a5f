"""The report on whether a database can be restored, made within a time limit."""

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
    """Reports what a restore could not bring back. It changes nothing, whatever the tried functions would do.

    The catalogs are read in any case. Then expressions are tried until the deadline, and those that were not tried are
    unknown. So is what cannot be read: a definition cannot be printed while somebody keeps a table of it locked.
    Raises psycopg.Error when the session is lost.
    """
    report = Report()
    for what, part in PARTS.items():
        try:
            partial = part(connection, deadline)
        except psycopg.Error as error:
            if connection.closed:
                raise
            partial = Report(unknown=(f"{what} ({error.diag.message_primary})",))
        report += partial
    return report


def _by_catalogs(connection: Connection[Any], _deadline: Deadline) -> Report:
    lost, weaker = uncreatable(connection)
    return Report(lost=tuple(lost), weaker=tuple(weaker))


def _by_trial(connection: Connection[Any], deadline: Deadline) -> Report:
    tried = try_all(connection, collect(connection), deadline)
    return Report(lost=tuple(tried.lost), unknown=tuple(tried.unknown))


PARTS = {"what only some roles may create": _by_catalogs, "what depends on functions and operators": _by_trial}
"""The parts of the report. The key says what is not known when the part fails."""
