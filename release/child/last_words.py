"""A command's last words: the one line, among the last that it printed, by which people know its error.

Made for what the tools that migrate print: a Python traceback's last line, `PG::UniqueViolation: ERROR: …` of Rails,
`psql:file.sql:2: ERROR: …`, Java's innermost `Caused by:`. It is a help for readers: nothing is decided by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from release.log.values import without_values

LONGEST = 500
"""Characters of the line that are kept."""

_BEFORE = re.compile(r"^[\s|+]*(?:Caused by: |\[cause\]: )?")
_NAMES_AN_ERROR = re.compile(
    r"(?:\S+: )?(?:[\w.:$]*(?:Error|Exception|Violation|Exit|Interrupt|Failure|Invalid\w+|Undefined\w+)(?:: | \(|$)"
    r"|(?:error|fatal|panic|ERROR|FATAL|PANIC)(?:\[\w+\])?: |SQLSTATE\[\w+\]: |[\w.$]+::[\w:]+: )"
)
_SAYS_NOTHING = re.compile(
    r"[\W_]*$|(?:DETAIL|HINT|CONTEXT|QUERY|LINE \d+|STATEMENT|LOCATION):|\[SQL: |\[parameters: |\(Background on this"
    r"|Tasks: TOP|\(See full trace|Node\.js v|npm (?:ERR!|error)|File \"|at |from |#\d+ |\S+:\d+:in |\.{3} \d+ "
)


def last_words(lines: Iterable[str]) -> str:
    """Returns the last line that names an error, else the last that says anything, without the values of rows.

    It is "" where no line does.
    """
    bare = [_BEFORE.sub("", line) for line in _without_causes(list(lines))]
    named = next((line for line in reversed(bare) if _NAMES_AN_ERROR.match(line)), None)
    words = named or next((line for line in reversed(bare) if line and not _SAYS_NOTHING.match(line)), "")
    words = without_values(" ".join(words.split()))
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def _without_causes(lines: list[str]) -> list[str]:
    """Cuts off what Ruby prints below an error: its causes, among them any that was rescued long before."""
    below = next((at for at, line in enumerate(lines) if line.strip() == "Caused by:"), len(lines))
    return lines[:below] or lines


def names_an_error(words: str) -> bool:
    """Tells whether a line names an error; another one may say anything."""
    return _NAMES_AN_ERROR.match(words) is not None
