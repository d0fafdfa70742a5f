"""How an app says that it does not start: it crashes as it is asked, often with the exit code that is an answer.

A crash that is not seen costs a backup, before a migration that crashes as well. One that is seen falsely stops a good
release. So nothing counts but what a program prints when it ends by an error that nobody has caught: a traceback that
was only logged, and after which the program went on, begins at another place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from release.app.answers import Answer

Reader = Callable[[Answer], str | None]
"""Returns the line of a crash's output that says what was wrong; None where the answer is none of a crash."""

_TRACEBACK: Final = "Traceback (most recent call last):"
_ERROR: Final = re.compile(r"[A-Za-z_][\w.]*(?::|$)")
"""The line that ends a traceback. Those of its frames begin with blanks."""

_NODE: Final = re.compile(r"Node\.js v\d+\.\d+\.\d+")
"""The last line of Node, from version 17 on, when it ends by an error (node_errors.cc, TriggerUncaughtException)."""

_NODE_ERROR: Final = re.compile(r"(?:\[?Uncaught )?[A-Z]\w*(?:Error|Exception)\b.*")

LOADING: Final = ("SyntaxError", "IndentationError", "TabError", "ImportError", "ModuleNotFoundError")
"""Errors of a program that was not even loaded. No command raises them to answer a question."""


def python(answer: Answer, words: Sequence[str]) -> str | None:
    """Reads an error that has ended the Python program that one of the words names.

    The traceback of such an error begins in the program's own file. That of one that was caught and logged begins where
    it was caught.
    """
    if answer.exit_code != 1:
        return None
    names = "|".join(re.escape(word.rpartition("/")[2]) for word in words if word)
    lines = list(answer.errors)
    first = re.compile(rf'  File "(?:.*/)?(?:{names})", line \d+(?P<frame>, in <module>)?$')
    for place in range(len(lines) - 1, -1, -1):
        frame = first.match(lines[place])
        begins = place > 0 and lines[place - 1] == _TRACEBACK
        if frame and bool(frame["frame"]) == begins:  # an error in the program's own syntax has no traceback
            return next((line for line in lines[place:] if _ERROR.match(line)), None)
        if begins:
            return None
    return None


def node(answer: Answer) -> str | None:
    """Reads an error that has ended a Node program."""
    lines = [line for line in answer.errors if line.strip()]
    if answer.exit_code == 0 or not lines or not _NODE.fullmatch(lines[-1]):
        return None
    return next((line for line in lines if _NODE_ERROR.fullmatch(line)), lines[0])


def says(crashed: str, error: str, *, unless: str | None = None) -> Reader:
    """Makes a reader of a tool that says in words of its own, on stderr, that the app did not load.

    `crashed` is the pattern of the line that says so, and `error` that of the line that says what was wrong. It is
    looked for behind that line, and then before it. A line that matches `unless` makes it an answer nevertheless.
    """
    said, wrong = re.compile(crashed), re.compile(error)
    answers = re.compile(unless) if unless else None

    def answered(answer: Answer) -> str | None:
        lines = list(answer.errors)
        place = next((place for place, line in enumerate(lines) if said.search(line)), None)
        if place is None or answer.exit_code == 0 or (answers and any(map(answers.search, answer.lines))):
            return None
        return next((line for line in lines[place + 1 :] + lines[:place] if wrong.search(line)), lines[place])

    return answered


def loading(answer: Answer, words: Sequence[str]) -> str | None:
    """Reads an error of a command that somebody has configured, and that was not even loaded."""
    error = python(answer, words)
    return error if error and error.startswith(LOADING) else None


_USAGE: Final = re.compile(
    r"(?i)^usage: |(unknown|unrecognized|invalid|no such|undefined) (command|argument|option|flag)"
)
_WRONG: Final = re.compile(r"(?i)error|exception|sqlstate|refused|cannot|could not|failed")


def not_found(answer: Answer) -> str | None:
    """Reads that a script's own program is not there, or cannot be run: 127 and 126 of a shell and of `env` (POSIX)."""
    lines = [line.strip() for line in answer.errors if line.strip()]
    return lines[-1] if lines and answer.exit_code in {126, 127} else None


def wordless(answer: Answer) -> str | None:
    """Reads a failure of a tool that answers in words, where it has said none of them.

    It is no crash when the tool does not know the question, as another version may not.
    """
    lines = [line.strip() for line in answer.errors or answer.lines if line.strip()]
    if answer.exit_code in {0, None} or not lines or any(map(_USAGE.search, lines)):
        return None
    return next((line for line in lines if _WRONG.search(line)), lines[-1])
