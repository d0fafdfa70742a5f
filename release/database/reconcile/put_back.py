"""A salvage's rows put back: one transaction, constraints checked by the server, sequences moved on.

The tables are locked against other writers from before the first row until the end (SHARE ROW EXCLUSIVE, which turning
triggers off needs anyway); readers go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from psycopg import Connection, errors, sql

from release.database import bounds
from release.database.reconcile import conflicts, sequences, triggers
from release.database.reconcile.comparison import LATER, NEW, ROW, WITHIN, Compared, is_different, written_later
from release.database.reconcile.tables import Table, operator
from release.database.session import translated
from release.errors import Reason, Refused, StepFailed

LOCKED_WITHIN = "10s"
"""How long other writers are waited for. They wait for this session meanwhile, so it must not be long."""


class Wishes(Struct, frozen=True, kw_only=True):
    """What the operator wants beyond rows that are missing. `since`: see `comparison.compare`."""

    updates: bool = False
    deletes: bool = False
    fire_triggers: bool = False
    skip_conflicts: bool = False
    since: int | None = None


class Done(Struct, kw_only=True):
    """What was written, in rows by verb and table, which sequences moved, what conflicted, and the files with that."""

    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def add(self, table: Table, verb: str, rows: int) -> None:
        """Adds rows that were written."""
        if rows:
            self.rows.setdefault(table.text, {})[verb] = rows


class _Writing(Struct, frozen=True, kw_only=True):
    """What the writing functions share. `halving`: conflicts are looked for row by row."""

    connection: Connection[Any]
    wishes: Wishes
    done: Done
    halving: bool

    def write(self, compared: Compared, verb: str, statement: sql.Composable, what: str) -> None:
        """Runs a statement over all rows of a temporary table, at once or halving. It ends with their number."""
        table = compared.table
        query = sql.SQL("SELECT coalesce(max({}), 0) FROM {}").format(ROW, table.temporary(what))
        ((last,),) = self.connection.execute(query).fetchall()

        def write(low: int, high: int) -> int:
            # As text, not as parameters: with them a percent sign in a column's name would have to be doubled.
            numbered = statement + sql.SQL(" BETWEEN {} AND {}").format(low, high)
            return self.connection.execute(numbered).rowcount

        rows = conflicts.halved(self.connection, table, verb, write, last) if self.halving else write(1, last)
        self.done.add(table, verb, rows)


def put_back(
    connection: Connection[Any], chosen: Sequence[Compared], wishes: Wishes, file_of: Callable[[Table, str], Path]
) -> Done:
    """Puts the rows of the tables back and returns what was done. `file_of` names the file for what conflicts.

    Raises Refused (rows_conflict), with the files in its detail, when anything conflicts and that is not to be
    skipped; StepFailed otherwise. Nothing is written then.
    """
    try:
        with translated(), bounds.allowing(connection, WITHIN), connection.transaction():
            return _put_back(connection, chosen, wishes, file_of)
    except OSError as error:
        raise StepFailed(Reason.FILE_NOT_WRITTEN, f"{error.filename}: {error.strerror}") from error


def _put_back(
    connection: Connection[Any], chosen: Sequence[Compared], wishes: Wishes, file_of: Callable[[Table, str], Path]
) -> Done:
    tables = in_order([compared.table for compared in chosen])
    _lock(connection, tables)
    ordered = sorted(chosen, key=lambda compared: tables.index(compared.table))
    switched = [] if wishes.fire_triggers else triggers.turn_off(connection, tables)
    done = _write_all(connection, ordered, wishes)
    _report(connection, tables, done, file_of)
    if done.conflicts and not wishes.skip_conflicts:
        raise Refused(Reason.ROWS_CONFLICT, _in_words(done), files=[str(path) for path in done.files])
    for table in tables:
        done.moved += sequences.move_on(connection, table)
    triggers.turn_on(connection, switched)
    return done


def _in_words(done: Done) -> str:
    return f"{'; '.join(done.conflicts[:10])}; the rows are in {', '.join(map(str, done.files))}"


def in_order(tables: Iterable[Table]) -> list[Table]:
    """Sorts tables so that those that are referenced come before those that reference them.

    Where they reference each other in a circle, the order is that of their names.
    """
    by_oid = {table.oid: table for table in sorted(tables, key=lambda table: table.text)}
    graph: dict[int, set[int]] = {oid: set() for oid in by_oid}
    for table in by_oid.values():
        for reference in table.references:
            if reference.oid in by_oid and reference.oid != table.oid:
                graph[reference.oid].add(table.oid)
    try:
        return [by_oid[oid] for oid in TopologicalSorter(graph).static_order()]
    except CycleError:
        return list(by_oid.values())


def _lock(connection: Connection[Any], tables: Sequence[Table]) -> None:
    connection.execute("SET LOCAL row_security = off")
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCKED_WITHIN)))
    connection.execute(
        sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(
            sql.SQL(", ").join(sql.SQL("ONLY {}").format(table.identifier) for table in tables)
        )
    )


def _write_all(connection: Connection[Any], ordered: Sequence[Compared], wishes: Wishes) -> Done:
    """Writes everything at once, with constraints deferred where they can be; where that fails, row by row."""
    connection.execute(conflicts.MAKE)
    done = Done()
    try:
        with connection.transaction():
            connection.execute("SET CONSTRAINTS ALL DEFERRED")
            _write(_Writing(connection=connection, wishes=wishes, done=done, halving=False), ordered)
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except (errors.IntegrityError, errors.DataError):
        done = Done()
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        _write(_Writing(connection=connection, wishes=wishes, done=done, halving=True), ordered)
    return done


def _write(writing: _Writing, ordered: Sequence[Compared]) -> None:
    for compared in ordered:
        _note_later(writing, compared)
    if writing.wishes.deletes:
        for compared in reversed(ordered):
            _delete(writing, compared)
    for compared in ordered:
        _insert(writing, compared)
    if writing.wishes.updates:
        for compared in ordered:
            _update(writing, compared)


def _note_later(writing: _Writing, compared: Compared) -> None:
    """Notes rows whose key was written in the database after the restore: by now, it may be another row's."""
    table = compared.table
    rows = sql.SQL("SELECT s.{} FROM {} s JOIN ONLY {} r ON {} WHERE NOT s.{} AND {} AND {}").format(
        ROW,
        table.temporary("differing"),
        table.identifier,
        table.same_key("s", "r"),
        NEW,
        written_later(table, writing.wishes.since),
        is_different(compared.common, "s", "r"),
    )
    why = "a row of this key was written in the database after the restore"
    conflicts.note(writing.connection, table, "insert", why, rows)


def _insert(writing: _Writing, compared: Compared) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, compared.common))
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} WHERE {} AND {}").format(
        compared.table.identifier, columns, columns, compared.table.temporary("differing"), NEW, ROW
    )
    writing.write(compared, "insert", statement, "differing")


def _update(writing: _Writing, compared: Compared) -> None:
    table = compared.table
    fixed = {column for column, *_ in table.key} | {column.name for column in table.columns if column.always}
    columns = [column for column in compared.common if column not in fixed]
    if not columns:
        return
    statement = sql.SQL("UPDATE ONLY {} r SET {} FROM {} s WHERE {} AND NOT {} AND {} AND NOT {} AND {}").format(
        table.identifier,
        sql.SQL(", ").join(sql.SQL("{} = s.{}").format(*[sql.Identifier(column)] * 2) for column in columns),
        table.temporary("differing"),
        table.same_key("s", "r"),
        NEW,
        is_different(columns, "s", "r"),
        written_later(table, writing.wishes.since),
        ROW,
    )
    writing.write(compared, "update", statement, "differing")


def _delete(writing: _Writing, compared: Compared) -> None:
    """Deletes rows that the salvage does not have any more, but none that is still referenced.

    ON DELETE CASCADE would take rows of other tables along, which nobody has asked for.
    """
    table = compared.table
    referenced = _referenced(table)
    gone = table.temporary("gone")
    if referenced is not None:
        rows = sql.SQL("SELECT s.{} FROM {} s JOIN ONLY {} r ON {} WHERE NOT s.{} AND ({})").format(
            ROW, gone, table.identifier, table.same_key("s", "r"), LATER, referenced
        )
        conflicts.note(writing.connection, table, "delete", "rows of other tables still refer to it", rows)
    statement = sql.SQL("DELETE FROM ONLY {} r USING {} s WHERE {} AND NOT {} AND NOT ({}) AND s.{}").format(
        table.identifier,
        gone,
        table.same_key("s", "r"),
        written_later(table, writing.wishes.since),
        referenced or sql.SQL("false"),
        ROW,
    )
    writing.write(compared, "delete", statement, "gone")


def _referenced(table: Table) -> sql.Composable | None:
    """SQL that says whether any row refers to the row `r`. None where no foreign key leads to the table."""
    tests = [
        sql.SQL("EXISTS (SELECT FROM {} f WHERE {})").format(
            sql.Identifier(reference.schema, reference.name),
            sql.SQL(" AND ").join(
                sql.SQL("r.{} {} f.{}").format(sql.Identifier(mine), operator(*named), sql.Identifier(theirs))
                for mine, theirs, *named in reference.pairs
            ),
        )
        for reference in table.references
    ]
    return sql.SQL(" OR ").join(tests) if tests else None


def _report(
    connection: Connection[Any], tables: Sequence[Table], done: Done, file_of: Callable[[Table, str], Path]
) -> None:
    """Lists what conflicts and writes it to files, before anything is committed or rolled back."""
    by_oid = {table.oid: table for table in tables}
    for oid, verb, why, rows in conflicts.listed(connection):
        table = by_oid[oid]
        done.conflicts.append(f"{table.text}: {rows:,} {'row' if rows == 1 else 'rows'}, {why}")
        path = file_of(table, verb)
        if path not in done.files:
            conflicts.save(connection, table, verb, path)
            done.files.append(path)
