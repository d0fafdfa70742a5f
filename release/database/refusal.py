"""Statements that the server may refuse: each is tried by itself, and what it was refused for becomes a sentence."""

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
"""How the server says no to one statement. Anything else ends the work: a lost connection, above all."""


def attempted(
    connection: Connection[Any], what: str, *statements: sql.Composed, secrets: Sequence[str] = ()
) -> Iterator[str]:
    """Runs statements that belong together; yields one sentence, beginning with `what`, if one is refused.

    Whatever the server answers is a refusal, time that ran out too. The statements stay out of the sentence, and so
    does the server's message where it quotes one of `secrets`. Raises psycopg.Error when the session is gone.
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
