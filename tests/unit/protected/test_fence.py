"""Whether a fence that the journal tells of is up, by what Heroku says now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from release.database.entry import Entry, State
from release.heroku.platform import App
from release.protected.fence import is_up
from release.protected.target import Target


def target(*, maintenance: bool, private: bool = False, **formation: int) -> Target:
    """The part of a target that is asked."""
    site = SimpleNamespace(private=private)
    found: Any = SimpleNamespace(app=App("app-1", "shop", maintenance), site=site, formation=formation)
    return cast("Target", found)


def entry(formation: dict[str, int] | None) -> Entry:
    return Entry(
        run_id="0f3a",
        app="shop",
        release="v42",
        commit=None,
        state=State.MIGRATING,
        outcome=None,
        reason=None,
        started_at="2026-01-02T03:04:05Z",
        finished_at=None,
        fence="release",
        maintenance=False,
        formation=formation,
        baseline=3,
        backup="b-uuid",
        salvage=None,
        restore=None,
    )


@pytest.mark.parametrize(
    ("now", "before", "up"),
    [
        (target(maintenance=True, web=0, worker=0), {"web": 1, "worker": 2}, True),
        (target(maintenance=True, web=1, worker=0), {"web": 1, "worker": 2}, False),
        (target(maintenance=True, private=True, web=1, worker=0), {"web": 1, "worker": 2}, True),
        (target(maintenance=True, web=0), {"web": 1, "worker": 2}, True),  # the process type is gone
        (target(maintenance=True, web=0, worker=0, clock=0), {"web": 1, "worker": 2, "clock": 1}, True),
        (target(maintenance=True, web=0), {"web": 1}, True),
        (target(maintenance=True, web=2, release=1), {"web": 0, "release": 1}, True),
        (target(maintenance=True), None, True),
        (target(maintenance=True, new=3), {"web": 1}, True),  # it was not there when the fence went up
        (target(maintenance=True, worker=1), {"worker": 0}, True),
        (target(maintenance=False, web=0, worker=0), {"web": 1, "worker": 2}, False),
        (target(maintenance=True, web=0, worker=1), {"web": 1, "worker": 2}, False),
        (target(maintenance=True, worker=0, clock=1), {"worker": 2, "clock": 1}, False),
        (target(maintenance=False), None, False),
    ],
)
def test_a_fence_is_up_while_maintenance_is_on_and_what_it_stopped_stands(
    now: Target, before: dict[str, int] | None, up: bool
) -> None:
    assert is_up(now, entry(before)) is up
