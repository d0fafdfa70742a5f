"""Refusals: statements that the server may refuse are tried by themselves, and the reason becomes a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg import Connection, errors, sql

REFUSALS: Final = (
    errors.ProgrammingError,  # no such role, permission denied
    errors.InternalError,  # invalid grantor, other privileges depend on it
    errors.NotSupportedError,
    errors.LockNotAvailable,
)
"""The errors by which the server refuses one statement. Any other ends the work, above all a lost connection."""


def attempted(
    connection: Connection[Any], what: str, *statements: sql.Composed, secrets: Sequence[str] = ()
) -> Iterator[str]:
    """Runs statements that belong together; yields one sentence, beginning with `what`, if one is refused.

    Every error of the server counts as a refusal, also that the time is over. The sentence does not quote the
    statements, nor the server's message where that quotes one of `secrets`. Raises psycopg.Error when the session is
    gone.
    """
    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement)
    except psycopg.DatabaseError as error:
        if connection.closed:
            raise
        yield f"{what}: {_message(error, secrets)}"


def _message(error: psycopg.Error, secrets: Sequence[str]) -> str:
    message = error.diag.message_primary
    if not message or any(secret and secret in message for secret in secrets):
        return f"refused with SQLSTATE {error.sqlstate}"
    return message
