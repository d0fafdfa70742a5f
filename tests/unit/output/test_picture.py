"""The page's picture: its figures fit into it, for a desk and for a phone, however long a run takes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

from release.output.picture import AXIS, LABEL, LETTER, SIZES, Size, pictures, ticks
from release.output.timeline import Moment, Step, Story


class Placed(NamedTuple):
    """A text in the picture: from where to where it goes, as wide as the widest font makes it."""

    text: str
    begin: float
    end: float
    on_axis: bool


def placed(picture: ET.Element) -> list[Placed]:
    found = []
    for each in picture.iter("text"):
        text, middle = each.text or "", each.get("text-anchor") == "middle"
        wide = len(text) * LETTER * (AXIS if each.get("class") else LABEL)
        begin = float(each.get("x", "0")) - (wide / 2 if middle else 0)
        found.append(Placed(text, begin, begin + wide, middle))
    return found


def story(whole: float) -> Story:
    """A run whose migration failed, and in which nothing had to be restored."""
    shares = {"prepare": (0, 0.02), "backup": (0.02, 0.5), "migrate": (0.5, 0.9), "restore": (0.9, 1)}
    steps = [Step(name=name, began=whole * begin, ended=whole * end) for name, (begin, end) in shares.items()]
    steps[-1].moments.append(Moment(began=whole, at=whole, event="restore_skipped", kind="note", texts=["no restore"]))
    return Story(run_id="a", app="b", release="v1", started_at=datetime.now(UTC), steps=steps, seconds=whole)


@pytest.mark.parametrize("whole", [0.0, 0.4, 3.1, 59.0, 95.0, 659.0, 1500.0, 7900.0, 90_000.0])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_no_label_runs_over_the_edge_or_into_another(whole: float, size: Size) -> None:
    drawn = ET.fromstring(f"<page>{pictures(story(whole))}</page>")
    picture = next(each for each in drawn if each.get("class") == size.name)

    texts = placed(picture)

    assert all(text.begin >= 0 and text.end <= size.width for text in texts), texts
    axis = [text for text in texts if text.on_axis]
    assert all(before.end < after.begin for before, after in pairwise(axis)), axis
    names = [text.end for text in texts if re.fullmatch("[a-z ]+", text.text)]
    assert len(names) == 4
    assert max(names) < min(float(bar.get("x", "0")) for bar in picture.iter("rect"))


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        (0.001, [0]),
        (3.1, [0, 1, 2, 3]),
        (95, [0, 30, 60, 90]),
        (1499, [0, 300, 600, 900, 1200]),
        (7900, [0, 1800, 3600, 5400, 7200]),
    ],
)
def test_the_axis_has_round_figures(whole: float, expected: list[float]) -> None:
    assert ticks(whole, 6) == expected
