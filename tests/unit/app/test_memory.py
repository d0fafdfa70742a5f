"""Which variables decide whether the same commands do the same: a change of any other one costs nothing."""

from __future__ import annotations

import pytest

from release.app.memory import STEERING, _without_password


@pytest.mark.parametrize(
    "name",
    ["FLYWAY_TARGET", "RAILS_ENV", "NODE_ENV", "DJANGO_SETTINGS_MODULE", "DB_SCHEMA", "RUN_MIGRATIONS", "PGOPTIONS"],
)
def test_what_steers_a_migration_counts(name: str) -> None:
    assert STEERING.search(name)


@pytest.mark.parametrize(
    "name",
    ["COLOR", "SECRET_KEY", "RELEASE_MIGRATE_ATTEMPTS", "RELEASE_PROBE_PATH", "HEROKU_RELEASE_VERSION", "PORT", "DYNO"],
)
def test_what_steers_none_does_not(name: str) -> None:
    assert not STEERING.search(name)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("postgres://u:new@host:5432/d?schema=a", "postgres://u@host:5432/d?schema=a"),
        ("postgres://u@host/d", "postgres://u@host/d"),
        ("plain", "plain"),
        ("", ""),
        (None, None),
    ],
)
def test_a_new_password_is_no_change_but_another_schema_is(value: str | None, told: str | None) -> None:
    assert _without_password(value) == told
