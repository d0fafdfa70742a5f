"""What the sandbox and its users agree on, free of anything that takes long to import."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class Action(StrEnum):
    """What happens to a request. "The effect" is what it would do in the sandbox; `effect=false` leaves it out."""

    RESET = "reset"  # RST instead of an answer
    HANG = "hang"  # no answer ever; the effect comes after `seconds`
    DELAY = "delay"  # the effect at once, the answer after `seconds`; with effect=false both after `seconds`
    DRIP = "drip"  # the real answer, a byte every `seconds`
    ANSWER = "answer"  # `status`, `headers`, `body` instead of the real answer
    TRUNCATE = "truncate"  # half of the real body, as if it were all
    CUT = "cut"  # half of the real body, then the connection ends
    HUGE = "huge"  # `size` bytes of JSON that never ends well
    PATCH = "patch"  # the real answer with `set` and `delete` applied
    REVERSE = "reverse"  # the real list, the other way round
    PAGE = "page"  # `size` items of the real list; with more to come 206, and Next-Range says how to ask for it
    TWICE = "twice"  # the effect twice, as of a foreign request in the same second; the first's answer


class TransferAction(StrEnum):
    """What happens to a backup or a restore."""

    STUCK_PENDING = "stuck-pending"
    STUCK_RUNNING = "stuck-running"  # its work is done, but it never says so
    FAIL = "fail"  # before its work: a restore has reset the database by then
    CANCEL = "cancel"  # by someone, in the middle
    VANISH = "vanish"  # in the middle; afterwards 404
    BACKWARDS = "backwards"  # processed_bytes falls in between
    LATE_BYTES = "late-bytes"  # processed_bytes stays 0 until some time after it has succeeded
    SLOW = "slow"  # takes `seconds`
    WARN = "warn"  # succeeds, and says `warnings`
    EMPTY = "empty"  # a backup of 0 bytes that succeeded
    KEEP_OBJECTS = "keep-objects"  # a restore that drops what the dump knows, and leaves new objects behind
    HALF = "half"  # a restore that stops half way, and fails; with `succeeds` it says it is fine
    WIPE = "wipe"  # a restore that empties the database and fails
    HESITATE = "hesitate"  # a restore that leaves the database empty for `seconds` before it loads it
    EVICT = "evict"  # the backup is deleted in the moment in which its restore is asked for


class Variant(StrEnum):
    """A way in which the Data API's answers differ from recorded traffic. Each comment says where it was seen."""

    UUIDS = "uuids"  # transfers name the add-on in `from_uuid` and `to_uuid` (Heroku's specs)
    TEXT_NUMBERS = "text-numbers"  # `num` is "3" (Heroku's specs, one test of its CLI)
    ISO_TIMES = "iso-times"  # `2020-12-13T16:22:40Z`, as the Platform API has them
    EARLY_FIGURES = "early-figures"  # nothing that a transfer will know is null (the CLI's types)
    OLDEST_FIRST = "oldest-first"  # the list in the order of the numbers (the CLI's tests)
    UNSORTED = "unsorted"  # the list in no order at all: the CLI sorts it itself
    PLAIN_PLAN = "plain-plan"  # a database's `plan` is a text (Heroku's specs)
    JSON_ERRORS = "json-errors"  # a 404 is `{"id", "message"}` (the CLI's tests)
    SHORT_ANSWERS = "short-answers"  # a POST is answered with uuid and types only (Heroku's specs)
    SIGNED = "signed"  # a backup's address carries a signature, another one each time


def path_of_caller(environment: Mapping[str, str]) -> str:
    """Returns the PATH for dynos of a push from this shell.

    The sandbox's own Python comes first in it, and last where a virtual environment is active. A checkout of the hook,
    which no dyno has installed, comes at its end, so that `release: release-phase` works there, too.
    """
    path, own = environment.get("PATH", SYSTEM_PATH), Path(sys.executable).parent
    path = f"{path}:{own}" if "VIRTUAL_ENV" in environment else f"{own}:{path}"
    checkout = Path(__file__).parents[1] / "bin"
    return f"{path}:{checkout}" if (checkout / "release-phase").is_file() else path
