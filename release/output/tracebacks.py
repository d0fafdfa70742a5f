"""What people read of a traceback: the error in its own words. Its frames are folded away, and counted.

Nothing is held back, so that what a command prints is seen when it is printed. Frames are known by their form, in the
languages whose migrations Heroku's buildpacks run. A cause that says what the error says as well is folded, too.
"""

from __future__ import annotations

import re
from collections import deque

_OPENING = re.compile(r"[\s|+]*(?:Exception Group )?Traceback \(most recent call last\):")
_FRAME = re.compile(
    r"""
      \s+at\ .*(?:\)|:(?:line\ )?\d+)(?:\ \{)?                          # JavaScript, Java, C#
    | \s+\.{3}\ \d+\ (?:more|lines\ matching).*                         # what Java and Node leave out themselves
    | \s*(?:(?:\d+:\ )?from\ )?\S+:\d+:in\ [`'].*'                      # Ruby
    | \#\d+\ (?:\S+\(\d+\):\ .*|\[internal\ function\].*|\{main\})      # PHP
    | \s+(?:\(\S+\ [\d.]+\S*\)\ )?\S+\.exs?:\d+:\ .*                    # Elixir
    | [\s|]*\+[-+]{4,}(?:\ \d+\ -+)?                                    # between the members of an ExceptionGroup
    """,
    re.VERBOSE,
)
_CAUSE = re.compile(
    r"The above exception was the direct cause of the following exception:"
    r"|During handling of the above exception, another exception occurred:"
    r"|Caused by:"
)
_CAUSE_BEFORE = re.compile(r"\s*(?:Caused by: |\[cause\]: )")
_KIND = re.compile(r"\s*(?:[\w.$:]+: +)*")
"""What stands before an error's own words: its class, and the class of what it wraps."""
LAST = 20
"""Lines that are remembered, to know a cause that says the same."""


class Fold:
    """The output of one stream of a command, read line by line. `folded` counts the lines that are not shown."""

    def __init__(self) -> None:
        self.folded = 0
        self._indent: int | None = None  # of the Python traceback that is open
        self._in_cause = False
        self._told = deque[str](maxlen=LAST)

    def shows(self, line: str) -> bool:
        """Tells whether people are to read this line, the next one."""
        shown = not self._belongs_to_a_traceback(line) and not self._was_told(line)
        if shown:
            self._told.append(_own_words(line))
        else:
            self.folded += 1
        return shown

    def _belongs_to_a_traceback(self, line: str) -> bool:
        if _OPENING.fullmatch(line):
            self._indent = _indent(line)
            return True
        if self._indent is not None:
            if not line.strip(" |") or _indent(line) > self._indent:
                return True
            self._indent = None
            return False
        if _CAUSE.fullmatch(line.strip(" |")):
            self._in_cause = True
            return True
        return bool(_FRAME.fullmatch(line)) or (self.folded > 0 and not line.strip(" |"))

    def _was_told(self, line: str) -> bool:
        """Tells whether a cause repeats what has been read: what one driver says, each layer above it says again."""
        if self._in_cause or _CAUSE_BEFORE.match(line):
            self._in_cause = _own_words(line) in self._told
        return self._in_cause


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t|+"))


def _own_words(line: str) -> str:
    return _KIND.sub("", _CAUSE_BEFORE.sub("", line), count=1).strip()
