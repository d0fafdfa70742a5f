"""The tables of the database: what of each is needed to compare rows by primary key and to write some."""

from __future__ import annotations

from typing import Any, Final, LiteralString

import msgspec
from psycopg import Connection, sql

Name = tuple[str, str]
"""A schema and a table."""

_TABLES: Final[LiteralString] = """
SELECT json_build_object(
    'schema', n.nspname, 'name', c.relname, 'oid', c.oid::bigint, 'text', c.oid::regclass::text,
    'size', pg_total_relation_size(c.oid), 'partition', c.relispartition,
    'rules', EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid),
    'children', EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
    'loaded_before', k.xmin::text,
    'columns', coalesce((SELECT json_agg(json_build_object('name', a.attname, 'generated', a.attgenerated <> '',
                             'always', a.attidentity = 'a', 'type', format_type(a.atttypid, a.atttypmod))
                             ORDER BY a.attnum)
                  FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
                 '[]'),
    'key', coalesce((SELECT json_agg(json_build_array(a.attname, s.nspname, o.oprname) ORDER BY u.place)
              FROM unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS u (attnum, class, place)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum
              JOIN pg_catalog.pg_opclass d ON d.oid = u.class
              JOIN pg_catalog.pg_amop m ON m.amopfamily = d.opcfamily AND m.amoplefttype = d.opcintype
                   AND m.amoprighttype = d.opcintype AND m.amopstrategy = 3
              JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
              JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
             WHERE u.place <= i.indnkeyatts), '[]'),
    'references', coalesce((SELECT json_agg(json_build_object('schema', rn.nspname, 'name', r.relname,
                     'oid', r.oid::bigint, 'pairs',
                     (SELECT json_agg(json_build_array(mine.attname, theirs.attname, s.nspname, o.oprname))
                        FROM unnest(f.confkey, f.conkey, f.conpfeqop) AS u (mine, theirs, op)
                        JOIN pg_catalog.pg_attribute mine ON mine.attrelid = f.confrelid AND mine.attnum = u.mine
                        JOIN pg_catalog.pg_attribute theirs ON theirs.attrelid = f.conrelid AND theirs.attnum = u.theirs
                        JOIN pg_catalog.pg_operator o ON o.oid = u.op
                        JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace)))
                FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class r ON r.oid = f.conrelid
                JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
               WHERE f.contype = 'f' AND f.confrelid = c.oid), '[]'))
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indisvalid
  LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.contype = 'p' AND k.conrelid = c.oid
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
   AND n.nspname NOT IN ('information_schema', 'release_phase', '_heroku')
 ORDER BY c.oid::regclass::text COLLATE "C"
"""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column. `always` says that it is an identity GENERATED ALWAYS."""

    name: str
    type: str
    generated: bool
    always: bool


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign key that leads here from a table. `pairs`: column here, column there, and the operator that compares.

    The operator is a schema and a name.
    """

    schema: str
    name: str
    oid: int
    pairs: list[tuple[str, str, str, str]]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table. `text` is its name as people write it; `key` has the primary key's columns, each with its operator.

    `loaded_before` is the transaction that made the primary key. A restore makes it after it has loaded the rows.
    """

    schema: str
    name: str
    oid: int
    text: str
    size: int
    partition: bool
    rules: bool
    children: bool
    loaded_before: str | None
    columns: list[Column]
    key: list[tuple[str, str, str]]
    references: list[Reference]

    @property
    def full_name(self) -> Name:
        """Its schema and name."""
        return self.schema, self.name

    @property
    def identifier(self) -> sql.Identifier:
        """SQL for its name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def loaded(self) -> list[str]:
        """The columns that a dump holds: all that are not generated."""
        return [column.name for column in self.columns if not column.generated]

    def temporary(self, what: str) -> sql.Identifier:
        """SQL for the name of a temporary table of this one."""
        return sql.Identifier("pg_temp", f"release_{what}_{self.oid}")

    def same_key(self, one: str, other: str) -> sql.Composable:
        """SQL that compares two rows' primary keys with the operators of its index, whatever schema they are in."""
        return sql.SQL(" AND ").join(
            sql.SQL("{} {} {}").format(sql.Identifier(one, column), operator(*named), sql.Identifier(other, column))
            for column, *named in self.key
        )


def operator(schema: str, name: str) -> sql.Composable:
    """SQL for an operator, whatever the search path is. Its name, which comes from the catalog, is never quoted."""
    return sql.SQL("OPERATOR({}.{})").format(sql.Identifier(schema), sql.SQL(name))


def read_tables(connection: Connection[Any]) -> dict[Name, Table]:
    """Reads all tables that hold rows of users', the partitions among them. Raises psycopg.Error."""
    tables = (msgspec.convert(row, Table) for (row,) in connection.execute(_TABLES))
    return {table.full_name: table for table in tables}
