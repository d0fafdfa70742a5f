"""What the server says about its functions: which of them change nothing, and which are called without being named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, LiteralString

from msgspec import Struct

NAME_BYTES: Final = 63
"""The server cuts longer names (NAMEDATALEN)."""

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
       coalesce(bool_or(lasting AND used), false),
       coalesce(array_agg(name) FILTER (WHERE volatile AND NOT own), '{}'),
       coalesce(array_agg(name) FILTER (WHERE volatile AND own AND lent), '{}')
  FROM (SELECT proname::text AS name, bool_or(provolatile = 'v' OR prokind = 'p') AS volatile,
               bool_or(oid >= 16384) AS own,
               bool_and(oid < 16384 OR EXISTS
                        (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                          WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = pg_proc.oid
                            AND d.deptype = 'e' AND e.extname IN ('uuid-ossp', 'pgcrypto'))) AS lent,
               bool_or(oid >= 16384 AND prosrc ~* '\\m(setval|dblink|pg_background|lo_export|pg_logical_emit)')
                   AS lasting,
               bool_or(oid >= 16384 AND EXISTS
                       (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass
                           AND d.refobjid = pg_proc.oid AND d.deptype <> 'e')) AS used
          FROM pg_catalog.pg_proc GROUP BY proname) AS names
"""
"""Asks the server for a `Vocabulary`, in its fields' order. Functions under a view, a policy, an operator or a cast, or
of a row (`row.function`), are called by statements that do not name them as functions."""

_HARMLESS: Final = re.compile(
    r"set_config|random|clock_timestamp|timeofday|gen_random_uuid|pg_sleep|currval|lastval|pg_(try_)?advisory_\w*lock\w*"
)
"""Volatile functions of PostgreSQL's own that leave nothing in the database. An advisory lock ends with its session."""

_NO_TABLE: Final = re.compile(r"nextval|setval|txid_current|pg_current_xact_id|pg_notify")
"""Volatile functions of PostgreSQL's own that write to no table, beside the harmless ones."""

_USUAL: Final = re.compile(
    r"version|current_(setting|schemas?|database|user)|pg_backend_pid|pg_get_\w+|pg_\w+_is_visible|format_type|to_reg\w+"
    r"|(obj|col)_description|count|min|max|sum|avg|array_agg|string_agg|unnest|array_\w+|lower|upper|length|now|age"
    r"|generate_(series|subscripts)|quote_ident|regexp_\w+|row_number|has_\w+_privilege|pg_(total_)?relation_size"
    r"|pg_encoding_to_char|json\w*_agg|bool_(and|or)|concat|replace|split_part|nullif|to_char|left|right|row_to_json"
)
"""Functions of PostgreSQL's own that change nothing; what is known when the server was not asked."""

_WORD: Final = re.compile(r"[a-z_\x80-\xff][\w$\x80-\xff]*", re.ASCII)


class Vocabulary(Struct, frozen=True, kw_only=True):
    """What the server says about its functions: by name, and whether some are called without being named.

    `harmless`: names of which no function is volatile; `own`: names of which the app has a volatile one; `lasting`: of
    the app's functions that do what no rollback undoes; `always`: something (a trigger, a default) calls one of these.
    `volatile`: names of PostgreSQL's own volatile ones; None when the server was not asked. `lent`: of `own` those that
    come with an extension that writes to no table.
    """

    harmless: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    hidden: bool = False
    lasting: frozenset[str] = frozenset()
    always: bool = False
    volatile: frozenset[str] | None = None
    lent: frozenset[str] = frozenset()

    @classmethod
    def of(cls, row: Sequence[Any]) -> Vocabulary:
        """What the server has answered to `VOCABULARY`."""
        harmless, own, hidden, lasting, always, volatile, lent = row
        return cls(
            harmless=frozenset(harmless),
            own=frozenset(own),
            hidden=hidden,
            lasting=frozenset(lasting),
            always=always,
            volatile=frozenset(volatile),
            lent=frozenset(lent),
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

    def calls_no_table(self, name: str) -> bool:
        """Whether what stands before a parenthesis surely writes to no table, be it a function or none.

        A function that is not in the catalogs yet is made by a statement that the witness sees, too.
        """
        if self.volatile is None or not name.isascii() or not name:
            return False
        name = name[:NAME_BYTES]
        if name in self.own:
            return name in self.lent
        return name not in self.volatile or bool(_NO_TABLE.fullmatch(name) or _HARMLESS.fullmatch(name))
