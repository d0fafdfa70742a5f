"""Look: everything there is to know about whether a database can be restored, within a time."""

from __future__ import annotations

from typing import Any

from psycopg import Connection, errors

from release.clock import Deadline
from release.database.restorable.creation import find
from release.database.restorable.expressions import collect
from release.database.restorable.finding import Report
from release.database.restorable.trial import Tried, try_all


def look(connection: Connection[Any], deadline: Deadline) -> Report:
    """What a restore could not bring back. Changes nothing, whatever the functions that are tried would do.

    The catalogs are read in any case, then expressions are tried until the deadline; those that were not are unknown.
    Raises psycopg.Error when the catalogs cannot be read.
    """
    lost, weaker = find(connection)
    try:
        tried = try_all(connection, collect(connection), deadline)
    except (errors.LockNotAvailable, errors.QueryCanceled) as error:
        # Definitions cannot be printed while somebody holds a table that they name.
        tried = Tried(unknown=[f"what depends on functions and operators ({error.diag.message_primary})"])
    return Report(lost=(*lost, *tried.lost), weaker=tuple(weaker), unknown=tuple(tried.unknown))
