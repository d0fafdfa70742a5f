"""Bringing back what others wrote: a restore has taken it back with everything else, and the salvage holds it.

By hand only. It shows first, table by table, then asks, then writes in one transaction. The lock is held all the while,
so that no release runs meanwhile.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from release.app.frameworks import histories
from release.clock import Deadline
from release.commands import backups
from release.commands.backups import Shelf
from release.commands.download import Progress, download
from release.commands.restore import confirmed
from release.database.entry import Entry
from release.database.reconcile import dump as dumps
from release.database.reconcile.comparison import Compared, compare, forget, why_not
from release.database.reconcile.dump import Dump
from release.database.reconcile.put_back import Wishes, put_back
from release.database.reconcile.tables import Name, Table, read_tables
from release.database.session import translated
from release.errors import Misconfigured, Reason, Refused
from release.heroku.transfers import Transfer
from release.output.reconcile import Line, PutBack, Shown
from release.output.words import size
from release.protected import lock
from release.protected.locate import find_target
from release.protected.target import Target
from release.run import Run

LIMIT = 12 * 3600.0
"""Seconds. Nobody's hour runs out: this is somebody's own command."""

LOCK_WAIT = 1.0
"""Seconds. While a release runs this is refused, and does not wait for its end."""

Record = Mapping[str, Any]


class Order(Struct, frozen=True, kw_only=True):
    """What the operator asks for. `tables` are names as typed; `folder` takes the salvage and what conflicts."""

    salvage: str | None = None
    tables: tuple[str, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)
    common_columns: bool = False
    dry_run: bool = False
    folder: Path = Path()


class Restored(Struct, frozen=True, kw_only=True):
    """A run that was restored, as the journal has it, and the salvages that it took, the newest last."""

    entry: Entry
    record: Record
    salvages: tuple[Transfer, ...]


class Talk(Struct, frozen=True, kw_only=True):
    """How the command talks with its operator.

    `show` prints the comparison, and `progress` how far a download is. `confirm` is given the app's name; it says
    whether to go on, or raises Refused. `demanded`: --yes was given.
    """

    show: Callable[[Shown], None]
    confirm: Callable[[str], bool]
    progress: Callable[[], AbstractContextManager[Progress]]
    demanded: bool


def reconcile(run: Run, order: Order, talk: Talk) -> PutBack | None:
    """Compares, shows, asks, and puts back. Returns None where it only shows.

    Raises Misconfigured, Refused, StepFailed or HerokuError; nothing is written then.
    """
    settings = replace(run.settings, lock_wait=LOCK_WAIT)
    run = replace(run, settings=settings, deadline=Deadline(run.clock, LIMIT))
    lock.connect(run)
    target = find_target(run)
    _refuse_unfinished(run, target)
    restored, salvage = find_salvage(run, target, order.salvage)
    since = _moment(run, target)
    order = replace(order, wishes=replace(order.wishes, since=since))
    with translated():
        tables = read_tables(run.database.connection)
    _find_named(tables, order.tables)  # a name that is mistyped is said before gigabytes are fetched
    dump = _fetch(run, target, salvage, order, talk)
    wanted = _wanted(tables, dump, order, salvage)
    lock.check_still_ours(run)
    found = [*_compare(run, dump, wanted, order, restored)]
    chosen = choose(found, order, restored)
    talk.show(_shown(found, chosen, restored, salvage, _notes(dump, tables, restored, salvage, order)))
    if not chosen and talk.demanded and not order.dry_run and any(each.missing for each in found):
        raise Refused(Reason.TABLES_NOT_NAMED, f"{salvage.name} was only compared")
    if order.dry_run or not chosen or not talk.confirm(target.app.name):
        return None
    lock.check_still_ours(run)
    run.signals.check()
    done = put_back(
        run.database.connection, chosen, order.wishes, lambda table, verb: _file(order, target, salvage, table, verb)
    )
    return PutBack(rows=done.rows, moved=done.moved, conflicts=done.conflicts, files=[str(each) for each in done.files])


def confirm_on_terminal(run: Run, app: str) -> bool:
    """Asks for the app's name. Says no where there is no terminal to ask on. Raises Refused (not_confirmed)."""
    if not sys.stdin.isatty():
        sys.stderr.write("Nothing was written: there is no terminal to ask on. Add --yes to put the rows back.\n")
        return False
    with run.signals.interruptible():
        sys.stderr.write(f"\nType the app's name ({app}) to put back the rows of the tables with a star: ")
        sys.stderr.flush()
        typed = sys.stdin.readline()
    confirmed(app, typed)
    return True


def _refuse_unfinished(run: Run, target: Target) -> None:
    cut_off = run.journal.unfinished(target.app.id, target.addon.id, app=target.app.name)
    if cut_off is not None:
        raise Refused(Reason.UNFINISHED_RUN, f"run {cut_off.run_id} is in the state {cut_off.state}")


def _moment(run: Run, target: Target) -> int | None:
    """Returns the transaction that closed the newest run that was restored: what is later was written afterwards."""
    newest = next(iter(_restored(run, target)), None)
    return max(run.journal.own_transactions(newest.entry.run_id), default=None) if newest else None


def find_salvage(run: Run, target: Target, name: str | None) -> tuple[Restored, Transfer]:
    """Finds the salvage that somebody means, or that of the newest run that was restored, with its run.

    Raises Misconfigured (backup_unknown) or Refused (no_salvage, not_a_salvage, other_backup, backup_unusable).
    """
    shelf = Shelf(attached=target, source=target.source, transfers=target.transfers)
    runs = list(_restored(run, target))
    if name is not None:
        salvage = backups.pick(shelf, name)
        taken = next((each for each in runs if salvage in each.salvages), None)
        if taken is None:
            made = backups.made_by(salvage, backups.makers(run.journal.history(1000)))
            raise Refused(Reason.NOT_A_SALVAGE, f"{salvage.name} is of {made}")
        return taken, salvage
    if not runs:
        raise Refused(Reason.NO_SALVAGE, "the journal knows no run of this database that was restored")
    if not runs[0].salvages:
        raise Refused(Reason.NO_SALVAGE, f"run {runs[0].entry.run_id} was restored, and no salvage of it is listed")
    return runs[0], backups.pick(shelf, runs[0].salvages[-1].uuid)


def _restored(run: Run, target: Target) -> Iterator[Restored]:
    """Yields the runs of this database that were restored, the newest first."""
    for entry, record in run.journal.history(1000):
        if entry.outcome == "restored" and entry.belongs(target.app.id, target.addon.id, app=target.app.name):
            yield Restored(entry=entry, record=record, salvages=_salvages(entry, record, target))


def _salvages(entry: Entry, record: Record, target: Target) -> tuple[Transfer, ...]:
    """Finds a run's salvages: by its record, or where it has none, by their number, as of a run that was killed.

    The restore has taken the journal's row back to before the salvage. All transfers are numbered in one row.
    """
    own = [each for each in target.transfers if each.is_backup and each.reads(target.source)]
    if "outcome" in record or entry.salvage:
        named = {entry.salvage, record.get("salvage")} - {None}
        named |= {each.get("transfer") for each in record.get("transfers") or () if each.get("kind") == "salvage"}
        found = [each for each in own if each.uuid in named or each.name in named]
    else:
        ended = re.fullmatch(r"r0*(\d+)", entry.restore or "")
        between = range((entry.baseline or 0) + 1, int(ended[1]) if ended else 0)
        found = sorted((each for each in own if each.number in between), key=lambda each: each.number)
        # The first of them is the run's backup, which the row in it does not name: it was written before.
        found = [each for each in found[1:] if not each.schedule]
    return tuple(sorted(found, key=lambda transfer: transfer.number))


def only_others_wrote(record: Record, table: str) -> bool:
    """Whether the run's record tells that others wrote to a table and its migration did not, by witness or counters."""
    told = _taken_back(record)
    migration = told.get("migration")
    return table in (told.get("only_others") or ()) or (migration is not None and table not in migration)


def _taken_back(record: Record) -> Mapping[str, Any]:
    return (record.get("facts") or {}).get("taken_back") or {}


def _is_told(record: Record) -> bool:
    """Whether anything is known of who wrote what."""
    told = _taken_back(record)
    return bool(told.get("only_others")) or told.get("migration") is not None


def _fetch(run: Run, target: Target, salvage: Transfer, order: Order, talk: Talk) -> Dump:
    """Downloads the salvage where it is not there yet from an earlier try, and reads its table of contents."""
    candidates = dumps.programs(run.environ.get("PATH", ""))
    path = order.folder / f"{target.app.name}-{salvage.name}.{salvage.uuid[:8]}.dump"
    if not path.exists():
        before = os.umask(0o077)  # the file holds everybody's data
        try:
            with talk.progress() as progress:
                ca = run.environ.get("RELEASE_SANDBOX_CA")
                download(run, salvage.uuid, path, any_database=False, progress=progress, ca=ca)
        finally:
            os.umask(before)
    return dumps.open_dump(path, candidates)


def _find_named(tables: Mapping[Name, Table], typed: Sequence[str]) -> list[Table]:
    """Finds tables by name, with a schema or without. Raises Misconfigured (table_unknown), Refused."""
    named = []
    for name in typed:
        found = [table for table in tables.values() if name in {table.text, ".".join(table.full_name)}]
        found = found or [table for table in tables.values() if name == table.name]
        if len(found) != 1:
            several = f": there are {', '.join(table.text for table in found)}" if found else ""
            raise Misconfigured(Reason.TABLE_UNKNOWN, f"{name}{several}")
        if _is_history(found[0]):
            raise Refused(Reason.TABLE_NOT_COMPARABLE, f"{found[0].text}: it says what was migrated, which was undone")
        if problem := why_not(found[0]):
            raise Refused(Reason.TABLE_NOT_COMPARABLE, f"{found[0].text}: {problem}")
        named.append(found[0])
    return named


def _is_history(table: Table) -> bool:
    columns = {column.name for column in table.columns}
    return any(table.name == history.table and history.all_columns <= columns for history in histories())


def _wanted(tables: Mapping[Name, Table], dump: Dump, order: Order, salvage: Transfer) -> list[Table]:
    """Returns the tables to compare: those that are named, or all that both sides have."""
    named = _find_named(tables, order.tables)
    for table in named:
        if not dump.holds(table.full_name):
            raise Misconfigured(Reason.TABLE_UNKNOWN, f"{table.text} is in the database, and not in {salvage.name}")
    return named or [table for table in tables.values() if dump.holds(table.full_name)]


def _compare(run: Run, dump: Dump, tables: Sequence[Table], order: Order, restored: Restored) -> Iterator[Compared]:
    """Compares one table after the other, in the dump's order. Only what may be put back is kept."""
    connection = run.database.connection
    by_name = {table.full_name: table for table in tables if not why_not(table)}
    yield from (Compared(table=table, problem=why_not(table)) for table in tables if why_not(table))
    if not by_name:
        return
    with dumps.copied(dump, list(by_name)) as every:
        for copied in every:
            run.signals.check()
            table = by_name[copied.name]
            found = compare(connection, table, copied, since=order.wishes.since)
            if not found.problem and not (order.tables or only_others_wrote(restored.record, table.text)):
                with translated():
                    forget(connection, table)
            yield found


def choose(found: Sequence[Compared], order: Order, restored: Restored) -> list[Compared]:
    """Returns the tables whose rows are to be put back. Raises Refused (table_not_comparable, columns_differ)."""
    if not order.tables:
        known = restored.record
        fit = [
            each for each in found if each.differs and not each.problem and only_others_wrote(known, each.table.text)
        ]
        return fit if order.common_columns else [each for each in fit if not each.lost and not each.added]
    for each in found:
        if each.problem:
            raise Refused(Reason.TABLE_NOT_COMPARABLE, f"{each.table.text}: {each.problem}")
        if (each.lost or each.added) and not order.common_columns:
            raise Refused(Reason.COLUMNS_DIFFER, f"{each.table.text}: {_columns(each)}")
    return [each for each in found if each.differs]


def _columns(compared: Compared) -> str:
    parts = [
        f"{what} {', '.join(columns)}"
        for what, columns in (("only the salvage has", compared.lost), ("only the database has", compared.added))
        if columns
    ]
    return "; ".join(parts)


def _shown(
    found: Sequence[Compared],
    chosen: Sequence[Compared],
    restored: Restored,
    salvage: Transfer,
    notes: list[str],
) -> Shown:
    return Shown(
        salvage=salvage.name,
        run=restored.entry.run_id,
        release=restored.entry.release,
        restore=restored.entry.restore,
        tables=[
            _line(each, restored.record, each in chosen)
            for each in sorted(found, key=lambda each: each.table.text)
            if each.differs or each.problem
        ],
        same=sum(not each.differs and not each.problem for each in found),
        notes=notes,
    )


def by_whom(record: Record, table: str) -> str:
    """Returns who wrote to a table between backup and salvage, in words, as far as the run's record tells."""
    if only_others_wrote(record, table):
        return "only others wrote to it"
    told = _taken_back(record)
    if table in (told.get("migration") or ()):
        return "the migration wrote to it, and others may have, too"
    if table in (told.get("meanwhile") or ()):
        return "it was written while the migration ran, by it or by others"
    return ""


def _line(compared: Compared, record: Record, chosen: bool) -> Line:
    partition = "it is a partition, and its rows are put back into it itself" if compared.table.partition else ""
    return Line(
        table=compared.table.text,
        only_in_salvage=compared.missing,
        only_in_database=compared.gone,
        different=compared.different,
        changed_since=compared.later,
        made_since=compared.made,
        chosen=chosen,
        note="; ".join(
            filter(None, (by_whom(record, compared.table.text), compared.problem, _columns(compared), partition))
        ),
    )


def _notes(dump: Dump, tables: Mapping[Name, Table], restored: Restored, salvage: Transfer, order: Order) -> list[str]:
    """Returns what else is to be known, each a sentence without its full stop."""
    notes = []
    if missing := [] if order.tables else dump.without(tables):
        notes.append(f"In the salvage only, so that nothing is put back: {', '.join(missing)}")
    if dump.large_objects:
        notes.append(
            "The salvage holds large objects, which are not compared. They have no key but their number;"
            " `pg_restore` loads them into a database of their own"
        )
    if others := [each.name for each in restored.salvages if each != salvage]:
        notes.append(
            f"The same run has taken other salvages, too: {', '.join(others)}. The newest holds what was written last;"
            " `release-phase reconcile SALVAGE` compares another"
        )
    if not order.tables and not _is_told(restored.record):
        notes.append("Who wrote what is not known. Name the tables whose rows are to come back with --table")
    notes.append(f"The salvage is kept in {dump.path} ({size(dump.path.stat().st_size)}). Remove it when you are done")
    return notes


def _file(order: Order, target: Target, salvage: Transfer, table: Table, verb: str) -> Path:
    """Names the file for a table's rows that conflict."""
    plain = re.sub(r"[^\w.-]", "_", ".".join(table.full_name))
    what = "not-deleted" if verb == "delete" else "conflicts"
    return order.folder / f"{target.app.name}-{salvage.name}-{plain}.{table.oid}.{what}.csv"
