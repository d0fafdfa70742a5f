"""A plan's text says in one line whether something is pending, and why."""

from __future__ import annotations

import pytest

from release.app.migrations import By
from release.output.plan import Plan, as_text

ASKED = {"framework": "Knex", "migrate": "knex migrate:latest", "pending": "knex migrate:list"}
UNASKED = {**ASKED, "pending": None}
TOLD = "the app's list of migrations and the database's history say so"


@pytest.mark.parametrize(
    ("commands", "by", "differs", "pending", "said"),
    [
        (ASKED, By.ASKED, [], False, "nothing: `knex migrate:list` says so"),
        (ASKED, By.ASKED, [], True, "yes: `knex migrate:list` says so"),
        (UNASKED, By.ASKED, [], False, f"nothing: {TOLD}"),
        (UNASKED, By.SAME_CODE, [], False, "nothing: this code landed last, and nothing has changed since"),
        (UNASKED, By.ASSUMED, [], True, "taken to be so: nothing can tell"),
        (
            UNASKED,
            By.ASSUMED,
            ["code", "structure"],
            True,
            "taken to be so: nothing can tell, and not all is as when it landed last (code, structure)",
        ),
        (ASKED, By.ALWAYS, [], True, "taken to be so: RELEASE_PENDING=always"),
        (
            ASKED,
            By.DATABASE_AHEAD,
            [],
            False,
            "nothing is migrated: the database has migrations that this code does not have",
        ),
    ],
)
def test_one_line_says_why_something_is_pending_or_is_not(
    commands: dict[str, str | None], by: By, differs: list[str], pending: bool, said: str
) -> None:
    plan = Plan(commands=commands, pending=pending, decided={"by": by, "differs": differs})
    [line] = [line for line in as_text(plan, width=200).splitlines() if line.startswith("  Pending")]
    assert line == f"  Pending     {said}"
