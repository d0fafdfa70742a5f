"""What the last line says of rows that a restore took back: as much as is known of whose they were, and no more."""

from __future__ import annotations

import pytest

from release.protected.taken_back import TakenBack, sentence

OTHERS = "Rows that others wrote were taken back: public.jobs (2)."
SHARED = "Rows of tables to which the migration wrote, and others may have, were taken back: public.learners (3)."
ANYBODYS = "Rows written while the migration ran, by it or by others, were taken back: public.learners (3)."
BACK = "b002 holds them; `release-phase reconcile b002` brings others' rows in again."
FOUND = "b002 holds them; `release-phase reconcile b002` finds others' rows."
LEARNERS = {"public.learners": 3}
KNOWN = ("public.learners", "public.new")


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (TakenBack(by_others={"public.jobs": 2}, migration=()), f"{OTHERS} {BACK}"),
        (TakenBack(meanwhile=LEARNERS), f"{ANYBODYS} {BACK}"),
        (TakenBack(meanwhile=LEARNERS, migration=KNOWN), f"{SHARED} {FOUND}"),
        (TakenBack(by_others={"public.jobs": 2}, meanwhile=LEARNERS, migration=KNOWN), f"{OTHERS} {SHARED} {BACK}"),
        (
            TakenBack(meanwhile={**LEARNERS, "public.new": 1}, migration=KNOWN, migrations_alone=("public.new",)),
            f"{SHARED} {FOUND}",
        ),
        (TakenBack(meanwhile={"public.new": 1}, migration=KNOWN, migrations_alone=("public.new",)), ""),
        (TakenBack(), ""),
    ],
    ids=["others'", "not known", "others' perhaps", "both", "not all the migration's", "the migration's", "none"],
)
def test_as_much_is_said_as_is_known_of_whose_rows_they_were(taken: TakenBack, said: str) -> None:
    assert sentence(taken, "b002", {}) == said


def test_rows_in_no_dump_are_named_whosever_the_others_were() -> None:
    taken = TakenBack(meanwhile=LEARNERS, migration=KNOWN)
    assert sentence(taken, None, {"public.jobs": "1 row"}) == (
        f"{SHARED} No salvage holds them. Written after the salvage, and in no dump: public.jobs (1 row)."
    )
