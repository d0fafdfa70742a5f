"""What can be turned on the sandbox: how long things take, and which of Heroku's unknown habits it shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from heroku_sandbox.names import Variant


class Reset(StrEnum):
    """How a restore empties its target before it loads. Heroku does not say which.

    What Heroku itself put there (inventory.py) is there after both.
    """

    DATABASE = "database"  # drop the database and create it again: nothing survives
    SCHEMAS = "schemas"  # drop the user's schemas: the database's own settings and publications survive


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The sandbox's options. All times are seconds; the defaults hurry, and Heroku's own figures stand beside them."""

    pending_seconds: float = 0.1
    """A transfer stays pending at least so long (Heroku: a few seconds)."""
    transfer_seconds: float = 0.2
    """A transfer runs at least so long, however small the database."""
    refresh_seconds: float = 0.1
    """`processed_bytes` and `updated_at` move so often (Heroku: about 5)."""
    release_limit: float = 3600
    """A release phase is stopped after so long (Heroku: one hour, not extendable)."""
    release_days: float = 30
    """A release expires when it is so old and beyond the newest `releases_kept`; its slug is gone then."""
    releases_kept: int = 20
    run_dynos: bool = False
    """The formation's processes run: `web` and `worker` of each app."""
    grace: float = 30
    """Between SIGTERM and SIGKILL."""
    attach_seconds: float = 60
    """An attached one-off dyno waits so long for its client."""
    url_seconds: float = 3600
    """A signed download URL is good for so long."""
    answer_seconds: float = 0
    """An answer of both APIs is held back so long (Heroku: about 0.2). What was asked for is done at once."""
    rate_limit: int = 4500
    """Requests an hour for each key, refilled evenly."""
    reset: Reset = Reset.DATABASE
    variants: tuple[Variant, ...] = ()
    """In what the Data API's answers differ from recorded traffic."""
    dyno_metadata: bool = True
    """The lab `runtime-dyno-metadata`: HEROKU_APP_NAME and its like in every dyno."""
