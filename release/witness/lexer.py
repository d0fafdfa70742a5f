"""A statement's text in pieces: its tokens, where one statement ends, and its shape without the values in it.

Texts are taken as bytes in Latin-1, since to PostgreSQL every byte above 127 is a letter, whatever the encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

SHOWN: Final = 200
"""Characters of a shape."""

SYNTAX: Final = frozenset(
    """ALL AND ANY ARRAY AS BETWEEN BIT CASE CAST CHAR CHARACTER COALESCE COPY DEC DECIMAL DISTINCT ELSE EXCEPT EXISTS
    EXPLAIN EXTRACT FLOAT FROM GREATEST GROUPING HAVING ILIKE IN INTERSECT INTERVAL JOIN LATERAL LEAST LIKE LIMIT NOT
    NULLIF NUMERIC OFFSET ON OR OVERLAY POSITION ROW SELECT SOME SUBSTRING THEN TIME TIMESTAMP TO TRIM UNION USING
    VALUES VARCHAR WHEN WHERE WITH""".split()  # noqa: SIM905 -- a list of words reads better as words
)
"""Words before a parenthesis that make it no call, since no function can be called so, or hardly any is."""

_TOKEN = re.compile(
    r"""
    (?P<space> [\ \t\n\r\f\v]+ | --[^\n\r]* )
  | (?P<comment> /\*.*?(?:\*/|\Z) )
  | (?P<value> [eE]'(?:[^'\\]|\\.|''|'[\ \t\f\v\r]*\n[\ \t\f\v\r\n]*')*(?:'|\Z)
             | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z)
             | (?P<tag>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$).*?(?:(?P=tag)|\Z)
             | \d[\w.]* | \.\d[\w.]* )
  | (?P<parameter> \$\d+ )
  | (?P<quoted> (?:[uU]&)?"(?:[^"]|"")*(?:"|\Z) )
  | (?P<word> [A-Za-z_\x80-\xff][\w$\x80-\xff]* )
  | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)


class Token(NamedTuple):
    """A piece of a statement: its kind (a group's name in the pattern) and its text."""

    kind: str
    text: str

    @property
    def name(self) -> str:
        """What a function of this name is called in the catalog; empty for what cannot be a name."""
        if self.kind == "word":
            return self.text.lower()
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" and self.text[0] == '"' else ""


def tokenize(text: str) -> Iterator[Token]:
    """Yields the pieces of a text; what is between them is left out, comments are kept."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "mark"
        if kind == "tag":
            kind = "value"
        if kind != "space":
            yield Token(kind, match[0])


def split(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Yields statement by statement, without comments."""
    depth = 0
    piece: list[Token] = []
    for token in tokens:
        if token.kind == "comment":
            continue
        if token.kind == "mark":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if token.text == ";" and depth <= 0:
                if piece:
                    yield piece
                piece, depth = [], 0
                continue
        piece.append(token)
    if piece:
        yield piece


def shape_of(tokens: Iterator[Token] | Sequence[Token]) -> str:
    """Returns the text without the values in it, in one line and shortened: what it does, and nobody's data."""
    words: list[str] = []
    length = 0
    glue = True
    for token in tokens:
        if token.kind == "comment":
            continue
        text = "?" if token.kind == "value" else token.text
        tight = glue or token.text in {",", ")", ".", ";", "]", "::", ":"} or (token.text == "(" and _is_name(words))
        words.append(text if tight else f" {text}")
        glue = token.text in {"(", ".", "[", ":"}
        length += len(words[-1])
        if length > SHOWN:
            break
    text = "".join(words).encode("latin-1", errors="replace").decode(errors="replace").replace("\n", " ")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _is_name(words: Sequence[str]) -> bool:
    last = words[-1].strip() if words else ""
    return last.isidentifier() and last.upper() not in SYNTAX
