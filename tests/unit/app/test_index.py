"""What an index says: where it is found, what is in it, and whether something is pending by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from release.app.index import Index, drizzle_journal, is_pending

DRIZZLE = Index(file="meta/_journal.json", read=drizzle_journal)


def _journal(*times: int, dialect: str = "postgresql") -> str:
    entries = [{"idx": n, "version": "7", "when": time, "tag": f"{n:04}_x"} for n, time in enumerate(times)]
    return json.dumps({"version": "7", "dialect": dialect, "entries": entries})


def _entries(*times: int) -> set[tuple[str, ...]]:
    return {(str(time),) for time in times}


@pytest.mark.parametrize(
    ("journals", "found"),
    [
        ({"drizzle": _journal(10, 20)}, _entries(10, 20)),
        ({"src/db/migrations": _journal(10)}, _entries(10)),
        ({"drizzle": _journal()}, set()),
        ({"drizzle": _journal(10), "node_modules/x": _journal(30), ".cache/x": _journal(40)}, _entries(10)),
        ({"drizzle": _journal(10), "offline": _journal(30, dialect="sqlite")}, _entries(10)),
        ({"drizzle": _journal(10), "reporting": _journal(10)}, None),
        ({"drizzle": "{"}, None),
        ({"drizzle": json.dumps({"dialect": "postgresql", "entries": [{"when": "yesterday"}]})}, None),
        ({"packages/a/b/migrations": _journal(10)}, None),
        ({}, None),
    ],
)
def test_the_one_journal_of_an_app_is_read(
    tmp_path: Path, journals: dict[str, str], found: set[tuple[str, ...]] | None
) -> None:
    for folder, text in journals.items():
        (tmp_path / folder / "meta").mkdir(parents=True)
        (tmp_path / folder / "meta" / "_journal.json").write_text(text)

    assert DRIZZLE.entries(tmp_path) == found


@pytest.mark.parametrize(
    ("known", "applied", "pending"),
    [
        ([10], [], True),
        ([], [], False),
        ([10, 20], [10], True),
        ([10, 20], [10, 20], False),
        ([10], [10, 20], False),  # the database is ahead
        ([10, 15, 20], [10, 20], False),  # the tool passes over it, too
        ([9, 10], [9], True),  # numbers, not words
        ([10], [5, 6], None),
        ([10], [None, 10], False),  # a column that may be empty
        (None, [10], None),
    ],
)
def test_what_is_younger_than_all_that_was_applied_is_pending(
    known: list[int] | None, applied: list[int | None], pending: bool | None
) -> None:
    listed = None if known is None else _entries(*known)

    assert is_pending(listed, [(str(time),) for time in applied]) is pending
