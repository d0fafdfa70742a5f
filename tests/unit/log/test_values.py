"""The values of rows in what a database says of its errors: they stay out of what is sent on."""

from __future__ import annotations

import pytest

from release.log.values import without_values


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Key (email)=(a@example.com) already exists.", "Key (email)=(…) already exists."),
        ("Key (email)=(a@example.com) is duplicated.", "Key (email)=(…) is duplicated."),
        ("Key (lower(name), year)=(a) b) c, 1) is duplicated.", "Key (lower(name), year)=(…) is duplicated."),
        (
            'Key (team)=(7) is not present in table "teams".',
            'Key (team)=(…) is not present in table "teams".',
        ),
        (
            'Key (id)=(7) is still referenced from table "users".',
            'Key (id)=(…) is still referenced from table "users".',
        ),
        (
            'Key (room, during)=(1, ["2026-01-01","2026-01-02")) conflicts with existing key (room, during)=(1, [x)).',
            "Key (room, during)=(…)",
        ),
        ("Key (email)=(a@example.com) existiert bereits.", "Key (email)=(…)"),
        ("Failing row contains (1, a@example.com, (2)).", "Failing row contains (…)."),
        ("it failed. Failing row contains (1, a", "it failed. Failing row contains (…)."),
        ("division by zero", "division by zero"),
        ("Key (email) is what it says", "Key (email) is what it says"),
    ],
)
def test_the_columns_stay_and_their_values_go(said: str, kept: str) -> None:
    assert without_values(said) == kept
