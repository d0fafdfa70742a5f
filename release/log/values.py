"""The values of rows, which a database quotes when a constraint fails: `Key (email)=(a@example.com) already exists`.

They are no secrets, but they are somebody's. In the log of a command they stand as it printed them. What goes further,
to the webhook and into the journal, has the columns and not the values.
"""

from __future__ import annotations

import re

_KEY = re.compile(r"(Key \([^\n]*?\)=\()[^\n]*")
_TAIL = re.compile(
    r"\)( (?:already exists|is duplicated|is not present in table \"[^\"\n]*\"|is still referenced from table"
    r" \"[^\"\n]*\")\.?)$"
)
"""What PostgreSQL says behind the values, without a value in it (ri_triggers.c, nbtinsert.c, tuplesort)."""
_ROW = re.compile(r"(Failing row contains )\(.*?(?:\)\.|\Z)", re.DOTALL)


def without_values(text: str) -> str:
    """Returns the text with `(…)` in place of the values that PostgreSQL quotes of a row.

    What stands behind them goes, too, unless it is known to hold no value.
    """
    return _ROW.sub(r"\1(…).", _KEY.sub(_hidden, text))


def _hidden(match: re.Match[str]) -> str:
    tail = _TAIL.search(match[0])
    return f"{match[1]}…){tail[1] if tail else ''}"
