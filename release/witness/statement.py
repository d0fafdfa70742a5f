"""A statement's text: its shape without values, whether it surely only reads, and what of it no rollback undoes.

It is judged conservatively: what is not surely a read counts as a write. Texts are taken as bytes in Latin-1, since to
PostgreSQL every byte above 127 is a letter, whatever the encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, LiteralString, NamedTuple

SHOWN: Final = 200
"""Characters of a shape."""

CACHED_BYTES: Final = 2_048
"""Texts up to this length are remembered with their judgement: drivers repeat the short ones."""

VOCABULARY: Final[LiteralString] = """
SELECT coalesce(array_agg(name) FILTER (WHERE NOT volatile), '{}'),
       coalesce(array_agg(name) FILTER (WHERE volatile AND own), '{}'),
       EXISTS (SELECT FROM pg_catalog.pg_proc p
                WHERE p.provolatile = 'v' AND p.prokind <> 'p' AND p.oid >= 16384
                  AND (p.proname LIKE 'dblink%' OR NOT EXISTS
                       (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_proc'::regclass
                           AND x.objid = p.oid AND x.deptype = 'e'))
                  AND (EXISTS (SELECT FROM pg_catalog.pg_depend d
                                WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid = p.oid
                                  AND d.classid IN ('pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_policy'::regclass,
                                                    'pg_catalog.pg_operator'::regclass, 'pg_catalog.pg_cast'::regclass))
                    OR (p.pronargs = 1 AND EXISTS (SELECT FROM pg_catalog.pg_type t
                                                    WHERE t.oid = p.proargtypes[0] AND t.typtype IN ('c', 'p'))))),
       coalesce(array_agg(name) FILTER (WHERE lasting), '{}'),
       coalesce(bool_or(lasting AND used), false)
  FROM (SELECT proname::text AS name, bool_or(provolatile = 'v' OR prokind = 'p') AS volatile,
               bool_or(oid >= 16384) AS own,
               bool_or(oid >= 16384 AND prosrc ~* '\\m(setval|dblink|pg_background|lo_export|pg_logical_emit)')
                   AS lasting,
               bool_or(oid >= 16384 AND EXISTS
                       (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass
                           AND d.refobjid = pg_proc.oid AND d.deptype <> 'e')) AS used
          FROM pg_catalog.pg_proc GROUP BY proname) AS names
"""
"""Asks the server for a `Vocabulary`, in its fields' order. Functions under a view, a policy, an operator or a cast, or
of a row (`row.function`), are called by statements that do not name them as functions."""

PREPARED: Final = (" PREPARED", "PREPARE TRANSACTION")
"""How tags end that decide about a prepared transaction, or leave one."""

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

_SYNTAX: Final = frozenset(
    """ALL AND ANY ARRAY AS BETWEEN BIT CASE CAST CHAR CHARACTER COALESCE COPY DEC DECIMAL DISTINCT ELSE EXCEPT EXISTS
    EXPLAIN EXTRACT FLOAT FROM GREATEST GROUPING HAVING ILIKE IN INTERSECT INTERVAL JOIN LATERAL LEAST LIKE LIMIT NOT
    NULLIF NUMERIC OFFSET ON OR OVERLAY POSITION ROW SELECT SOME SUBSTRING THEN TIME TIMESTAMP TO TRIM UNION USING
    VALUES VARCHAR WHEN WHERE WITH""".split()  # noqa: SIM905 -- a list of words reads better as words
)
"""Words before a parenthesis that make it no call, since no function can be called so, or hardly any is."""

_BEFORE_A_NAME: Final = frozenset({")", "AS", "ORDINALITY", "WITH", "RECURSIVE"})
"""After these a word with a parenthesis is no call: an alias with its columns, OVER, FILTER, MATERIALIZED."""

_HARMLESS: Final = re.compile(
    r"set_config|random|clock_timestamp|timeofday|gen_random_uuid|pg_sleep|currval|lastval|pg_(try_)?advisory_\w*lock\w*"
)
"""Volatile functions of PostgreSQL's own that leave nothing in the database. An advisory lock ends with its session."""

_USUAL: Final = re.compile(
    r"version|current_(setting|schemas?|database|user)|pg_backend_pid|pg_get_\w+|pg_\w+_is_visible|format_type|to_reg\w+"
    r"|(obj|col)_description|count|min|max|sum|avg|array_agg|string_agg|unnest|array_\w+|lower|upper|length|now|age"
    r"|generate_(series|subscripts)|quote_ident|regexp_\w+|row_number|has_\w+_privilege|pg_(total_)?relation_size"
    r"|pg_encoding_to_char|json\w*_agg|bool_(and|or)|concat|replace|split_part|nullif|to_char|left|right|row_to_json"
)
"""Functions of PostgreSQL's own that change nothing; what is known when the server was not asked."""

_BY_ITSELF: Final = frozenset({"VACUUM", "CLUSTER", "REINDEX", "CALL", "DO"})
_BY_ITSELF_OF: Final = frozenset({"DATABASE", "TABLESPACE", "SYSTEM", "SUBSCRIPTION"})

_BARE: Final = re.compile(rb"[\w\s;,.=*()]*", re.ASCII)
"""A text that reads the same in every encoding and with every setting of strings."""

_WORD: Final = re.compile(r"[a-z_\x80-\xff][\w$\x80-\xff]*", re.ASCII)

_OUTLASTS: Final = re.compile(
    r"\b(setval|dblink\w*|pg_background\w*|lo_export|pg_\w*replication_slot\w*|pg_logical_emit_message"
    r"|pg_replication_origin\w*)\W*\(",
    re.IGNORECASE,
)
"""What stays when a transaction is rolled back. It is looked for everywhere, also in what may be a text or a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What the server says about its functions: by name, and whether some are called without being named.

    `harmless`: names of which no function is volatile; `own`: names of which the app has a volatile one; `lasting`: of
    the app's functions that do what no rollback undoes; `always`: something (a trigger, a default) calls one of these.
    """

    harmless: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    hidden: bool = False
    lasting: frozenset[str] = frozenset()
    always: bool = False

    @classmethod
    def of(cls, row: Sequence[Any]) -> Vocabulary:
        """What the server has answered to `VOCABULARY`."""
        harmless, own, hidden, lasting, always = row
        return cls(
            harmless=frozenset(harmless), own=frozenset(own), hidden=hidden, lasting=frozenset(lasting), always=always
        )

    def outlasts(self, text: str) -> str | None:
        """A function of the app's that a text may call, where one of them does what no rollback undoes.

        Any of the app's, since one may call the other; and any word, since the call may be in a text.
        """
        if not self.lasting:
            return None
        return next(
            (word for word in _WORD.findall(text.lower()) if word in self.own), "a trigger" if self.always else None
        )

    def calls_harmless(self, name: str) -> bool:
        """Whether a function of this name surely changes nothing."""
        if name in self.own:
            return False
        return name in self.harmless or bool(_HARMLESS.fullmatch(name) or _USUAL.fullmatch(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement, judged.

    `tag`: what the server's tag begins with when it is what it looks like; None when it is not surely a read.
    `by_itself`: outside of a transaction block it may have committed something even when it fails.
    `outlasts`: the word in it that no rollback undoes. `to_savepoint`: it is a `ROLLBACK TO`.
    """

    shape: str
    tag: str | None = None
    by_itself: bool = False
    outlasts: str | None = None
    to_savepoint: bool = False

    def reads(self, tag: str) -> bool:
        """Whether it surely only read, now that the server has answered with this tag."""
        return self.tag is not None and f"{tag} ".startswith(f"{self.tag} ") and not tag.endswith(PREPARED)

    @property
    def ends(self) -> bool:
        """Whether it may end a transaction."""
        return self.by_itself or (self.tag in {"COMMIT", "ROLLBACK", "PREPARE"} and not self.to_savepoint)


UNKNOWN: Final = Statement(shape="(not seen)", by_itself=True)
"""A statement whose text nobody saw."""


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


def statements(text: bytes, *, whole: bool, plain: bool, vocabulary: Vocabulary) -> tuple[Statement, ...]:
    """The statements of a text, judged. `plain`: the session's encoding and string syntax are the usual ones."""
    judge = _remembered if len(text) <= CACHED_BYTES else _judge
    return judge(text, whole and (plain or bool(_BARE.fullmatch(text))), vocabulary)


def shape(text: bytes) -> str:
    """A text without the values in it, in one line and shortened: what it does, and nobody's data."""
    return _shape(_tokens(text[: 20 * SHOWN].decode("latin-1")))


def _judge(text: bytes, sure: bool, vocabulary: Vocabulary) -> tuple[Statement, ...]:
    decoded = text.decode("latin-1")
    found = list(_tokens(decoded))
    nested = any(token.kind == "comment" and "/*" in token.text[2:] for token in found)
    if not sure or nested or any(token.text.upper() == "ATOMIC" for token in found):
        return (Statement(shape=_shape(found), by_itself=True, outlasts=_outlasts(decoded, vocabulary)),)
    return tuple(_judged(pieces, vocabulary) for pieces in _split(found))


_remembered = lru_cache(maxsize=256)(_judge)


def _tokens(text: str) -> Iterator[Token]:
    """The pieces of a text; what is between them is left out, comments are kept."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "mark"
        if kind == "tag":
            kind = "value"
        if kind != "space":
            yield Token(kind, match[0])


def _split(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Statement by statement, without comments."""
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


def _shape(tokens: Iterator[Token] | Sequence[Token]) -> str:
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
    return last.isidentifier() and last.upper() not in _SYNTAX


def _judged(tokens: list[Token], vocabulary: Vocabulary) -> Statement:
    words = [token.text.upper() if token.kind == "word" else token.text for token in tokens]
    tag = _tag(tokens, words, vocabulary)
    text = " ".join(token.text for token in tokens)
    return Statement(
        shape=_shape(tokens),
        tag=tag,
        by_itself=words[0] in _BY_ITSELF or "CONCURRENTLY" in words or (len(words) > 1 and words[1] in _BY_ITSELF_OF),
        outlasts=_outlasts(text, vocabulary if tag is None else Vocabulary()),
        to_savepoint=words[0] == "ROLLBACK" and "TO" in words,
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
    return words[at] in _SYNTAX or (at > 0 and words[at - 1] in _BEFORE_A_NAME)


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
