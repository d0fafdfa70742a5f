"""When the boot probe gives up on a web process that answers, and when it goes on asking."""

from __future__ import annotations

import pytest

from release.probes.boot import Steady


@pytest.mark.parametrize(
    ("statuses", "given_up_at"),
    [
        ({0.0: 500, 1.0: 500, 10.0: 500}, 10.0),
        ({0.0: 500, 10.0: 500, 10.5: 500}, 10.5),
        ({0.0: 500, 9.9: 500, 10.1: None, 20.0: 500}, None),
        ({0.0: 500, 5.0: 501, 10.0: 501, 12.0: 501}, None),
        ({0.0: 500, 5.0: 501, 10.0: 501, 15.0: 501}, 15.0),
        ({0.0: 404, 5.0: 404, 10.0: 404}, None),
        ({at * 2.0: 503 for at in range(20)}, None),
        ({at * 2.0: 502 for at in range(20)}, None),
    ],
)
def test_three_times_the_same_over_ten_seconds_is_steady(
    statuses: dict[float, int | None], given_up_at: float | None
) -> None:
    steady = Steady()
    ends = [at for at, status in statuses.items() if steady.hears(status, at)]
    assert (ends[0] if ends else None) == given_up_at
