"""What a proof calls wrong: by differences, by rows, and by where sequences stand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from release.database.comparison import Change, Comparison, Difference, Verdict
from release.database.evidence import Counters, Evidence
from release.database.fingerprint import Fingerprint
from release.database.outset import Outset
from release.database.positions import Position
from release.database.rows import Holding
from release.errors import Reason, StepFailed
from release.protected.before import BackedUp
from release.protected.proof import SHOWN, _check_sequences, _sorted_out, check_rows
from release.run import Run

BADGES = Difference(kind="table", name="public.badges", change=Change.ADDED)
COLUMN = Difference(kind="column", name="public.learners.kind", change=Change.ADDED)
INDEX = Difference(kind="index", name="public.quick", change=Change.ADDED)
GONE = Difference(kind="table", name="public.learners", change=Change.REMOVED)
OTHER = Difference(kind="view", name="public.happy", change=Change.CHANGED)
THEIRS = Difference(kind="table", name="public.theirs", change=Change.ADDED)


def sorted_out(*differences: Difference, added: tuple[Difference, ...] | None) -> tuple[list[str], list[str]]:
    return _sorted_out(Comparison(verdict=Verdict.CHANGED, differences=differences), added)


def test_what_the_migration_added_and_is_still_there_is_wrong() -> None:
    assert sorted_out(BADGES, COLUMN, added=(BADGES, COLUMN)) == ([str(BADGES), str(COLUMN)], [])


def test_what_somebody_else_has_made_is_not_known_and_no_fault() -> None:
    assert sorted_out(THEIRS, BADGES, added=(BADGES,)) == ([str(BADGES)], [str(THEIRS)])
    assert sorted_out(THEIRS, added=()) == ([], [str(THEIRS)])


def test_a_part_of_something_known_is_wrong_whoever_made_it() -> None:
    assert sorted_out(COLUMN, INDEX, added=()) == ([str(COLUMN), str(INDEX)], [])


def test_what_is_gone_or_changed_is_wrong_whoever_did_it() -> None:
    assert sorted_out(GONE, OTHER, added=(BADGES,)) == ([str(GONE), str(OTHER)], [])


def test_where_it_is_not_known_what_was_added_all_that_came_is_wrong() -> None:
    assert sorted_out(THEIRS, added=None) == ([str(THEIRS)], [])


def test_something_of_another_kind_by_the_same_name_is_somebody_elses() -> None:
    view = Difference(kind="view", name="public.badges", change=Change.ADDED)
    assert sorted_out(view, added=(BADGES,)) == ([], [str(view)])


def test_no_difference_is_nothing_wrong() -> None:
    assert sorted_out(added=None) == sorted_out(added=()) == ([], [])


# Rows.


class Warned(list[tuple[str, str]]):
    """What a run has warned of."""

    def warn(self, warning: str, detail: str) -> None:
        self.append((warning, detail))


def checked(before: Holding, now: Holding, *, steady: list[str], log_read: bool, there: str = "a b") -> Warned:
    warned = Warned()
    outset = Outset(steady=steady)
    backup: Any = SimpleNamespace(before=SimpleNamespace(holding=before), outset=outset)
    writes = {name: Counters(0, 0, 0, 0, 1) for name in there.split()}
    restored: Any = SimpleNamespace(holding=now, evidence=Evidence(writes=writes))
    run: Any = warned
    check_rows(cast("Run", run), cast("BackedUp", backup), cast("Fingerprint", restored), log_read=log_read)
    return warned


def test_tables_that_hold_rows_again_are_right() -> None:
    assert checked(Holding(["a", "b"]), Holding(["a", "b"]), steady=["a", "b"], log_read=True) == []


@pytest.mark.parametrize("log_read", [True, False])
def test_a_table_that_surely_held_rows_and_holds_none_has_lost_them(log_read: bool) -> None:
    with pytest.raises(StepFailed) as caught:
        checked(Holding(["a", "b"]), Holding(["b"]), steady=["a", "b"], log_read=log_read)
    assert (caught.value.reason, caught.value.detail) == (Reason.RESTORE_UNPROVED, "hold no rows any more: a")


def test_a_queue_that_may_have_been_empty_in_the_dump_is_believed_by_the_log_alone() -> None:
    assert checked(Holding(["a", "b"]), Holding(["b"]), steady=["b"], log_read=True) == [
        ("rows_unknown", "empty now, and perhaps when the backup was taken: a")
    ]
    with pytest.raises(StepFailed):
        checked(Holding(["a", "b"]), Holding(["b"]), steady=["b"], log_read=False)


def test_a_table_that_cannot_be_looked_into_is_said_to_be_unknown() -> None:
    found = checked(Holding(["a", "b"]), Holding(["b"], ["a"]), steady=["a", "b"], log_read=True)
    assert found == [("rows_unknown", "could not be looked into for rows: a")]


def test_a_table_that_was_empty_or_unknown_before_proves_nothing() -> None:
    assert checked(Holding(["b"], ["a"]), Holding(["b"]), steady=["b"], log_read=False) == []


def test_a_table_that_is_gone_is_a_difference_of_the_structure() -> None:
    assert checked(Holding(["a", "b"]), Holding(["b"]), steady=["a", "b"], log_read=True, there="b") == []


def test_many_lost_tables_are_all_facts_and_some_are_named() -> None:
    names = [f"t{n:03}" for n in range(SHOWN + 5)]
    with pytest.raises(StepFailed) as caught:
        checked(Holding(names), Holding(), steady=names, log_read=True, there=" ".join(names))
    assert caught.value.facts["tables"] == names
    assert caught.value.detail.count("t0") == SHOWN


# Sequences.


def taken(before: Evidence, after: Evidence) -> BackedUp:
    """A backup, with what the evidence was before and after it."""
    outset = Outset(evidence=after)
    return cast("BackedUp", SimpleNamespace(before=SimpleNamespace(evidence=before), outset=outset))


def test_a_sequence_that_was_set_back_while_the_backup_was_taken_is_right() -> None:
    _check_sequences(taken(at(90), at(5)), at(5))


def at(value: int, increment: int = 1) -> Evidence:
    return Evidence(positions={"public.a_id_seq": Position(value, True, increment)})


@pytest.mark.parametrize(
    ("before", "now"), [(at(5), at(5)), (at(5), at(9)), (at(-5, -1), at(-9, -1)), (at(5), Evidence())]
)
def test_a_sequence_that_stands_where_it_stood_or_later_is_right(before: Evidence, now: Evidence) -> None:
    _check_sequences(taken(before, before), now)


@pytest.mark.parametrize(("before", "now"), [(at(5), at(4)), (at(-5, -1), at(-4, -1))])
def test_a_sequence_that_stands_behind_is_wrong(before: Evidence, now: Evidence) -> None:
    with pytest.raises(StepFailed) as caught:
        _check_sequences(taken(before, before), now)
    assert caught.value.detail == "sequences stand behind: public.a_id_seq"
