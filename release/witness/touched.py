"""The tables to which statements may write, by the names in their text.

It is judged conservatively: a statement that is not surely understood may write to any table. What a write to one table
brings about in others (triggers, cascades, partitions) the catalogs tell, see `release.database.reach`. So a statement
that may change just that, such as a new trigger or function, may write to any table, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from release.witness.lexer import Token
from release.witness.vocabulary import NAME_BYTES, Vocabulary

MOST: Final = 2_000
"""Names that are kept of a session; one that has more may have written to any table."""

Name = tuple[str, str]
"""A table's schema, empty where the text does not say, and its own name."""


class Touched(Struct, frozen=True, kw_only=True):
    """The tables to which something may have written. `everything`: it may have been any.

    `rows`: tables that were there before, and whose rows were written. `shaped`: those that were made or altered, and
    of which nothing else needs to be known. `made`: those that were made. `gone`: tables that were dropped or
    got another name, and views that were made, altered or dropped.
    """

    rows: frozenset[Name] = frozenset()
    made: frozenset[Name] = frozenset()
    shaped: frozenset[Name] = frozenset()
    gone: frozenset[Name] = frozenset()
    everything: bool = False

    def then(self, later: Touched) -> Touched:
        """Both, one after the other in one session: rows of a table that it has made itself do not count as rows."""
        if later.rows <= self.rows and not (later.shaped or later.gone or later.everything):
            return self
        return self.beside(
            Touched(
                rows=later.rows - self.made,
                made=later.made,
                shaped=later.shaped,
                gone=later.gone,
                everything=later.everything,
            )
        )

    def beside(self, other: Touched) -> Touched:
        """Both, of two sessions."""
        if self.everything or other.everything:
            return ANY
        both = Touched(
            rows=self.rows | other.rows,
            made=self.made | other.made,
            shaped=self.shaped | other.shaped,
            gone=self.gone | other.gone,
        )
        return ANY if len(both.rows | both.shaped | both.gone) > MOST else both

    @property
    def unclear(self) -> bool:
        """Whether rows were written to what the catalogs do not tell any more: to a table or a view that is gone."""
        gone = {name for _, name in self.gone}
        return self.everything or any(name in gone for _, name in self.rows)


NONE: Final = Touched()
ANY: Final = Touched(everything=True)

_QUIET: Final = frozenset(
    """BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE SET RESET SHOW LISTEN UNLISTEN NOTIFY PREPARE DEALLOCATE
    DISCARD CLOSE FETCH MOVE LOCK ANALYZE VACUUM REINDEX CLUSTER REFRESH COMMENT GRANT REVOKE CHECKPOINT
    SELECT WITH VALUES TABLE EXPLAIN DECLARE INSERT UPDATE DELETE MERGE COPY""".split()  # noqa: SIM905 -- as words
)
"""How statements begin that write to no table but those that are named as the target of a command in them."""

_NAMES_COMMANDS: Final = frozenset({"GRANT", "REVOKE", "COMMENT", "ALTER"})
"""How statements begin in which INSERT and the like are no commands."""

_WRITES_INTO: Final = frozenset({("INSERT", "INTO"), ("MERGE", "INTO"), ("DELETE", "FROM")})
"""Words before the table to which a command writes; ON DELETE is none."""

_QUIET_KINDS: Final = frozenset({"INDEX", "SEQUENCE", "SCHEMA", "TYPE", "COLLATION", "STATISTICS"})
"""Kinds of objects that are made, or dropped without CASCADE, with no table's rows written."""

_RESHAPES: Final = frozenset({"TRIGGER", "RULE", "ATTACH", "DETACH", "INHERIT", "INHERITS", "OF", "REPLICA"})
"""Words in an ALTER TABLE that change what a write to the table brings about."""

_NO_TARGET: Final = frozenset({"ON", "DO", "FOR", "KEY", "THEN"})
"""After these UPDATE names no table: ON UPDATE CASCADE, ON CONFLICT DO UPDATE, FOR UPDATE, WHEN MATCHED THEN UPDATE."""


class _NotUnderstood(Exception):
    """The text is not as expected, so it may write to any table."""


def touched_by(tokens: Sequence[Token], words: Sequence[str], vocabulary: Vocabulary) -> Touched:
    """Returns the tables to which a statement may write. `words` are its tokens, in capitals where they are no names.

    It has at least one token.
    """
    text = _Text(tokens, words)
    if vocabulary.hidden or "EXECUTE" in words or not all(map(vocabulary.calls_no_table, text.calls())):
        return ANY
    try:
        return text.commands().then(text.definition())
    except _NotUnderstood:
        return ANY


class _Text:
    """A statement's tokens, and the places in it where tables are named."""

    def __init__(self, tokens: Sequence[Token], words: Sequence[str]) -> None:
        self._tokens = tokens
        self._words = words

    def calls(self) -> Iterator[str]:
        """Yields what stands before a parenthesis; types and keywords are among it."""
        for at, word in enumerate(self._words):
            if word == "(" and at and self._tokens[at - 1].kind in {"word", "quoted"}:
                yield self._tokens[at - 1].name

    def commands(self) -> Touched:
        """Returns the targets of the commands in it that write rows, wherever they stand. Raises _NotUnderstood."""
        rows: set[Name] = set()
        made: set[Name] = set()
        if self._words[0] in _NAMES_COMMANDS:
            return NONE
        for at, word in enumerate(self._words):
            before, after = self._word(at - 1), self._word(at + 1)
            if (word, after) in _WRITES_INTO and before != "ON":
                rows.add(self._table(at + 2)[0])
            elif word == "UPDATE" and before not in _NO_TARGET:
                rows.add(self._table(at + 1)[0])
            elif word == "INTO" and before not in {"INSERT", "MERGE"}:
                made.add(self._table(self._past(at + 1, "TEMPORARY", "TEMP", "UNLOGGED", "TABLE"))[0])
        return Touched(rows=frozenset(rows), made=frozenset(made), shaped=frozenset(made))

    def definition(self) -> Touched:
        """Returns the tables that the statement itself makes, alters, drops or fills. Raises _NotUnderstood."""
        head = self._words[0]
        if head in {"(", *_QUIET}:
            return self._copied() if head == "COPY" else NONE
        one = {"TRUNCATE": self._truncated, "CREATE": self._created, "ALTER": self._altered, "DROP": self._dropped}
        if head not in one:
            raise _NotUnderstood
        return one[head]()

    def _copied(self) -> Touched:
        """COPY into a table. One out of a query or a table names no target."""
        if self._word(1) == "(":
            return NONE
        table, after = self._table(1)
        depth = 0
        for word in self._words[after:]:
            depth += {"(": 1, ")": -1}.get(word, 0)
            if not depth and word in {"FROM", "TO"}:
                return Touched(rows=frozenset({table})) if word == "FROM" else NONE
        raise _NotUnderstood

    def _truncated(self) -> Touched:
        if "CASCADE" in self._words:
            raise _NotUnderstood
        return Touched(rows=frozenset(self._tables(self._past(1, "TABLE"))))

    def _created(self) -> Touched:
        at = self._past(
            1, "OR", "REPLACE", "GLOBAL", "LOCAL", "TEMPORARY", "TEMP", "UNLOGGED", "UNIQUE", "MATERIALIZED"
        )
        kind = self._word(at)
        if kind == "TABLE":
            table = self._table(self._past(at + 1, "IF", "NOT", "EXISTS"))[0]
            return Touched(made=frozenset({table}), shaped=frozenset({table}))
        if kind in {"VIEW", "RECURSIVE"}:
            at = self._past(at, "RECURSIVE", "VIEW", "IF", "NOT", "EXISTS")
            return Touched(gone=frozenset({self._table(at)[0]}))
        if kind not in _QUIET_KINDS or "CREATE" in self._words[1:]:
            raise _NotUnderstood
        return NONE

    def _altered(self) -> Touched:
        kind, at = self._word(1), self._past(2, "IF", "EXISTS", "ONLY")
        if kind == "TABLE":
            if not _RESHAPES.isdisjoint(self._words):
                raise _NotUnderstood
            table, named = self._table(at)[0], frozenset(self._new_name())
            moved = bool(named) or "SCHEMA" in self._words  # another table may have its name by now
            return Touched(shaped=named | {table}, gone=frozenset({table}) if moved else frozenset())
        if kind in {"VIEW", "MATERIALIZED"}:
            return Touched(gone=frozenset({self._table(self._past(at, "VIEW", "IF", "EXISTS"))[0], *self._new_name()}))
        adds_a_value = kind == "TYPE" and ("ADD", "VALUE") in zip(self._words, self._words[1:], strict=False)
        if kind not in {"INDEX", "SEQUENCE", "DEFAULT"} and not adds_a_value:
            raise _NotUnderstood
        return NONE

    def _new_name(self) -> Iterator[Name]:
        for at, word in enumerate(self._words):
            if word == "RENAME" and self._word(at + 1) == "TO":
                yield self._table(at + 2)[0]

    def _dropped(self) -> Touched:
        at = self._past(1, "MATERIALIZED")
        kind, names = self._word(at), self._past(at + 1, "CONCURRENTLY", "IF", "EXISTS")
        if kind == "TABLE":  # its CASCADE takes constraints, views and columns of its row type with it, and no rows
            tables = frozenset(self._tables(names))
            return Touched(shaped=tables, gone=tables)
        if "CASCADE" in self._words:
            raise _NotUnderstood
        if kind == "VIEW":
            return Touched(gone=frozenset(self._tables(names)))
        if kind not in {*_QUIET_KINDS, "FUNCTION", "PROCEDURE", "DOMAIN"}:
            raise _NotUnderstood
        return NONE

    # Names

    def _word(self, at: int) -> str:
        return self._words[at] if 0 <= at < len(self._words) else ""

    def _past(self, at: int, *skipped: str) -> int:
        """Returns the place after the words that may stand here."""
        while self._word(at) in skipped and self._tokens[at].kind == "word":
            at += 1
        return at

    def _tables(self, at: int) -> Iterator[Name]:
        """Yields the tables of a list."""
        while True:
            table, at = self._table(at)
            yield table
            at += self._word(at) == "*"
            if self._word(at) != ",":
                return
            at += 1

    def _table(self, at: int) -> tuple[Name, int]:
        """Returns the table that is named here, and the place after it. Raises _NotUnderstood."""
        at = self._past(at, "ONLY")
        if self._word(at) == "(" and self._word(at - 1) == "ONLY":
            raise _NotUnderstood
        parts = [self._name(at)]
        while self._word(at + 1) == ".":
            at += 2
            parts.append(self._name(at))
        return ("" if len(parts) == 1 else parts[-2], parts[-1]), at + 1

    def _name(self, at: int) -> str:
        """Returns a name as the catalogs have it; the text's bytes above 127 depend on an encoding. Raises."""
        name = self._tokens[at].name if at < len(self._tokens) else ""
        if not name or not name.isascii():
            raise _NotUnderstood
        return name[:NAME_BYTES]
