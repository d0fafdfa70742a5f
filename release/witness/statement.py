"""A statement's text: its shape without values, whether it surely only reads, and what of it no rollback undoes.

It is judged conservatively: what is not surely a read counts as a write. Texts are taken as bytes in Latin-1, since to
PostgreSQL every byte above 127 is a letter, whatever the encoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from release.witness.lexer import SHOWN, SYNTAX, Token, shape_of, split, tokenize
from release.witness.touched import ANY, NONE, Touched, touched_by
from release.witness.vocabulary import Vocabulary

CACHED_BYTES: Final = 2_048
"""Texts up to this length are remembered with their judgement: drivers repeat the short ones."""

PREPARED: Final = (" PREPARED", "PREPARE TRANSACTION")
"""How tags end that decide about a prepared transaction, or leave one."""

_NEUTRAL: Final = {
    "BEGIN": "BEGIN",
    "START": "START TRANSACTION",
    "COMMIT": "COMMIT",
    "END": "COMMIT",
    "ROLLBACK": "ROLLBACK",
    "ABORT": "ROLLBACK",
    "SAVEPOINT": "SAVEPOINT",
    "RELEASE": "RELEASE",
    "SET": "SET",
    "RESET": "RESET",
    "SHOW": "SHOW",
    "LISTEN": "LISTEN",
    "UNLISTEN": "UNLISTEN",
    "PREPARE": "PREPARE",
    "DEALLOCATE": "DEALLOCATE",
    "DISCARD": "DISCARD",
    "CLOSE": "CLOSE",
    "FETCH": "FETCH",
    "MOVE": "MOVE",
    "LOCK": "LOCK TABLE",
}
"""Statements that leave nothing in the database, and how the server's tag for them begins."""

_READING: Final = {
    "SELECT": "SELECT",
    "WITH": "SELECT",
    "VALUES": "SELECT",
    "TABLE": "SELECT",
    "(": "SELECT",
    "EXPLAIN": "EXPLAIN",
    "DECLARE": "DECLARE CURSOR",
    "COPY": "COPY",
}
"""Statements that read unless something in them says otherwise."""

_WRITING: Final = frozenset({"INTO", "INSERT", "UPDATE", "DELETE", "MERGE", "SHARE", "EXECUTE", "CREATE", "REFRESH"})
"""Words that are in no statement that surely reads. `FOR UPDATE` and `FOR SHARE` write into the rows' headers."""

_BEFORE_A_NAME: Final = frozenset({")", "AS", "ORDINALITY", "WITH", "RECURSIVE"})
"""After these a word with a parenthesis is no call: an alias with its columns, OVER, FILTER, MATERIALIZED."""

_BY_ITSELF: Final = frozenset({"VACUUM", "CLUSTER", "REINDEX", "CALL", "DO"})
_BY_ITSELF_OF: Final = frozenset({"DATABASE", "TABLESPACE", "SYSTEM", "SUBSCRIPTION"})

_BARE: Final = re.compile(rb"[\w\s;,.=*()]*", re.ASCII)
"""A text that reads the same in every encoding and with every setting of strings."""

_OUTLASTS: Final = re.compile(
    r"\b(setval|dblink\w*|pg_background\w*|lo_export|pg_\w*replication_slot\w*|pg_logical_emit_message"
    r"|pg_replication_origin\w*)\W*\(",
    re.IGNORECASE,
)
"""What stays when a transaction is rolled back. It is looked for everywhere, also in what may be a text or a body."""


class Statement(Struct, frozen=True, kw_only=True):
    """A statement, judged.

    `tag`: what the server's tag begins with when it is what it looks like; None when it is not surely a read.
    `by_itself`: outside of a transaction block it may have committed something even when it fails.
    `outlasts`: the word in it that no rollback undoes. `to_savepoint`: it is a `ROLLBACK TO`. `touched`: the tables to
    which it may write.
    """

    shape: str
    tag: str | None = None
    by_itself: bool = False
    outlasts: str | None = None
    to_savepoint: bool = False
    touched: Touched = ANY

    def reads(self, tag: str) -> bool:
        """Whether it surely only read, now that the server has answered with this tag."""
        return self.tag is not None and f"{tag} ".startswith(f"{self.tag} ") and not tag.endswith(PREPARED)

    @property
    def ends(self) -> bool:
        """Whether it may end a transaction."""
        return self.by_itself or (self.tag in {"COMMIT", "ROLLBACK", "PREPARE"} and not self.to_savepoint)


UNKNOWN: Final = Statement(shape="(not seen)", by_itself=True)
"""A statement whose text nobody saw."""


def statements(text: bytes, *, whole: bool, plain: bool, vocabulary: Vocabulary) -> tuple[Statement, ...]:
    """The statements of a text, judged. `plain`: the session's encoding and string syntax are the usual ones."""
    judge = _remembered if len(text) <= CACHED_BYTES else _judge
    return judge(text, whole and (plain or bool(_BARE.fullmatch(text))), vocabulary)


def shape(text: bytes) -> str:
    """A text without the values in it, in one line and shortened: what it does, and nobody's data."""
    return shape_of(tokenize(text[: 20 * SHOWN].decode("latin-1")))


def _judge(text: bytes, sure: bool, vocabulary: Vocabulary) -> tuple[Statement, ...]:
    decoded = text.decode("latin-1")
    found = list(tokenize(decoded))
    nested = any(token.kind == "comment" and "/*" in token.text[2:] for token in found)
    if not sure or nested or any(token.text.upper() == "ATOMIC" for token in found):
        return (Statement(shape=shape_of(found), by_itself=True, outlasts=_outlasts(decoded, vocabulary)),)
    return tuple(_judged(pieces, vocabulary) for pieces in split(found))


_remembered = lru_cache(maxsize=256)(_judge)


def _judged(tokens: list[Token], vocabulary: Vocabulary) -> Statement:
    words = [token.text.upper() if token.kind == "word" else token.text for token in tokens]
    tag = _tag(tokens, words, vocabulary)
    text = " ".join(token.text for token in tokens)
    return Statement(
        shape=shape_of(tokens),
        tag=tag,
        by_itself=words[0] in _BY_ITSELF or "CONCURRENTLY" in words or (len(words) > 1 and words[1] in _BY_ITSELF_OF),
        outlasts=_outlasts(text, vocabulary if tag is None else Vocabulary()),
        to_savepoint=words[0] == "ROLLBACK" and "TO" in words,
        touched=NONE if tag is not None else touched_by(tokens, words, vocabulary),
    )


def _outlasts(text: str, vocabulary: Vocabulary) -> str | None:
    found = _OUTLASTS.search(text)
    return found[0] if found else vocabulary.outlasts(text)


def _tag(tokens: list[Token], words: list[str], vocabulary: Vocabulary) -> str | None:
    """How the server's tag begins when the statement surely only reads; None when it does not."""
    head = words[0]
    if head in _NEUTRAL:
        return _NEUTRAL[head]
    if head not in _READING or vocabulary.hidden or not _WRITING.isdisjoint(words):
        return None
    begin, end = 1, len(tokens)
    if head == "COPY":
        end = _to_the_client(words)
        if not end:
            return None
        begin = 1 if words[1] == "(" else end  # a table's columns are no call
    calls = (at for at in range(begin, end) if words[at] == "(" and tokens[at - 1].kind in {"word", "quoted"})
    return _READING[head] if all(_harmless(tokens, words, at - 1, vocabulary) for at in calls) else None


def _harmless(tokens: list[Token], words: list[str], at: int, vocabulary: Vocabulary) -> bool:
    """Whether what stands before a parenthesis is a function that changes nothing, or no function."""
    name = tokens[at].name
    if vocabulary.calls_harmless(name):
        return True
    if name in vocabulary.own or tokens[at].kind != "word":
        return False
    return words[at] in SYNTAX or (at > 0 and words[at - 1] in _BEFORE_A_NAME)


def _to_the_client(words: Sequence[str]) -> int:
    """Where in a COPY to the client its TO is; 0 for any other COPY. STDIN is the same as STDOUT to the grammar.

    Words in parentheses, a query's or columns, do not count; what follows STDOUT are options.
    """
    depth = 0
    for at, word in enumerate(words):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if not depth and word in {"FROM", "TO"}:
            return at if word == "TO" and words[at + 1 : at + 2] in (["STDOUT"], ["STDIN"]) else 0
    return 0
