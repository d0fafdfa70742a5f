"""What the witness saw: how the transactions of sessions ended, and whether anything was committed in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from operator import attrgetter
from typing import Final

from msgspec import Struct, field

from release.witness.touched import NONE, Touched

SLOWEST: Final = 5
"""How many of the slowest statements are kept."""

LONGEST: Final = 1000
"""Characters of an error that are told."""

DOUBTS: Final = 20
"""How many different doubts are kept; one is enough."""


class Ending(StrEnum):
    """How a transaction ended."""

    COMMITTED = "committed"
    """With something in it that is not surely a read."""
    READ = "read"
    """Committed, and surely nothing but reads."""
    ROLLED_BACK = "rolled_back"
    UNKNOWN = "unknown"
    """The server's answer to what may have committed it never came."""


class Word(StrEnum):
    """What can be said of a command's sessions."""

    NOTHING = "nothing"
    """Nothing was committed."""
    COMMITTED = "committed"
    UNKNOWN = "unknown"


class Ran(Struct, frozen=True, kw_only=True):
    """A statement that the server answered: its shape, seconds, and rows where its tag counts them."""

    shape: str
    seconds: float
    rows: int | None


class Complaint(Struct, frozen=True, kw_only=True):
    """An error of the server, or of the witness on the way there.

    When (the clock's seconds), SQLSTATE, message, the shape of what was running, and which key it is about, if one,
    without its values.
    """

    at: float
    sqlstate: str
    text: str
    shape: str | None
    detail: str = ""

    @property
    def words(self) -> str:
        """What the server says, in one line: `could not create unique index "a": Key (email)=(…) is duplicated`."""
        words = f"{self.text}: {self.detail.removesuffix('.')}" if self.detail else self.text
        return " ".join(words.split())[:LONGEST]

    def __str__(self) -> str:
        return f"{self.words} (SQLSTATE {self.sqlstate})"


class Seen(Struct, frozen=True, kw_only=True):
    """What was seen of a session, or of several together; as large for a thousand as for one.

    `refused`: connections that became no session, since the server or the witness said no; the words are among the
    errors. `open`: pids of the server processes of sessions that have not ended. `transactions`: how many ended how.
    `errors`: how many the clients were answered with. `touched`: the tables to which they may have written, in
    transactions that were not rolled back. `doubts`: why something is not known.
    """

    sessions: int = 0
    refused: int = 0
    open: tuple[int, ...] = ()
    transactions: Mapping[Ending, int] = field(default_factory=dict)
    statements: int = 0
    errors: int = 0
    touched: Touched = NONE
    first_error: Complaint | None = None
    last_error: Complaint | None = None
    slowest: tuple[Ran, ...] = ()
    doubts: tuple[str, ...] = ()

    def plus(self, other: Seen) -> Seen:
        """Both together."""
        slowest = sorted([*self.slowest, *other.slowest], key=attrgetter("seconds"), reverse=True)
        firsts = [each for each in (self.first_error, other.first_error) if each]
        lasts = [each for each in (self.last_error, other.last_error) if each]
        return Seen(
            sessions=self.sessions + other.sessions,
            refused=self.refused + other.refused,
            open=self.open + other.open,
            transactions=dict(Counter(self.transactions) + Counter(other.transactions)),
            statements=self.statements + other.statements,
            errors=self.errors + other.errors,
            touched=self.touched.beside(other.touched),
            first_error=min(firsts, key=attrgetter("at"), default=None),
            last_error=max(lasts, key=attrgetter("at"), default=None),
            slowest=tuple(slowest[:SLOWEST]),
            doubts=tuple(dict.fromkeys([*self.doubts, *other.doubts]))[:DOUBTS],
        )


class Verdict(Struct, frozen=True, kw_only=True):
    """The word on what was seen, and why; `why` is empty only for `nothing`."""

    word: Word
    why: tuple[str, ...] = ()


def verdict(seen: Seen) -> Verdict:
    """Judges. Without any session nothing is known: the command may have gone past the witness."""
    committed, unknown = (seen.transactions.get(ending, 0) for ending in (Ending.COMMITTED, Ending.UNKNOWN))
    if committed:
        return Verdict(word=Word.COMMITTED, why=(f"{committed} transactions were committed",))
    doubts = list(seen.doubts)
    if not seen.sessions:
        doubts.append("no session was opened through the witness")
    if unknown:
        doubts.append(f"of {unknown} transactions the server's last word never came")
    doubts += [f"session {pid} has not ended" for pid in seen.open]
    return Verdict(word=Word.UNKNOWN if doubts else Word.NOTHING, why=tuple(doubts))


class Account(Struct, frozen=True, kw_only=True):
    """What the witness has to say of one command: what it saw of it, and the word on that.

    `variables` led through the witness. `elsewhere` are those of other databases in which something was committed.
    `written` are the tables of the protected one to which the command may have written, as `schema.table`; None: it may
    have been any.
    """

    seen: Seen = field(default_factory=Seen)
    verdict: Verdict
    elsewhere: tuple[str, ...] = ()
    written: tuple[str, ...] | None = None
    variables: tuple[str, ...] = ()


NOT_ENDED: Final = Account(verdict=Verdict(word=Word.UNKNOWN, why=("the command has not ended",)))
"""The account of a command for as long as it runs."""
