"""The page's picture: a row for each step, with bars to scale, transfers within them, and waits and retries as marks.

It is drawn twice, for a desk and for a phone, and the page shows the one that fits: a picture that is only made smaller
could not be read, and one whose letters are made larger runs over its edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from msgspec import Struct

from release.output.timeline import Moment, Step, Story
from release.output.words import seconds

ROW, TOP = 26, 22
"""Heights in the picture's own units: a step's row, and the axis above."""
LABEL, AXIS = 13, 11
"""Sizes of letters: a step's name, and figures."""
LETTER = 0.62
"""How wide a letter is, of its size: as wide as in the widest of the page's fonts."""
GAP = 5
"""Room between a bar and its figure."""

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
"""Seconds between two marks of the axis: figures that are round for people."""


class Size(Struct, frozen=True, kw_only=True):
    """How wide a picture is, in its own units, and how many marks its axis has room for."""

    name: str
    width: int
    marks: int


SIZES = (Size(name="wide", width=720, marks=6), Size(name="narrow", width=340, marks=3))


def pictures(story: Story) -> str:
    """Returns the pictures as SVG, of the classes `wide` and `narrow`."""
    return "".join(_picture(story, size) for size in SIZES)


def _picture(story: Story, size: Size) -> str:
    whole = max(story.seconds, 0.001)
    left = _wide(max((step.label for step in story.steps), key=len), LABEL) + 2 * GAP
    scale = _scale(story, size.width - left, whole)
    height = TOP + ROW * len(story.steps) + 4
    parts = [
        f'<svg class="{size.name}" viewBox="0 0 {size.width} {height}" role="img" aria-label="Timeline of the steps">'
    ]
    for at in ticks(whole, size.marks):
        x = left + at * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{height}"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="12" text-anchor="middle">{seconds(at) if at else "0"}</text>')
    for row, step in enumerate(story.steps):
        parts += _row(step, left, TOP + row * ROW, scale, whole)
    return "".join([*parts, "</svg>"])


def _wide(text: str, letter: int) -> float:
    return len(text) * letter * LETTER


def _scale(story: Story, room: float, whole: float) -> float:
    """Returns the units that a second takes, so that each bar has room for its figure, and the axis for its last."""
    ends = [(_end(step, whole), _took(step, whole)) for step in story.steps]
    behind = [(end, GAP + 1 + _wide(took, AXIS)) for end, took in ends if end > 0]
    return min((room - needed) / end for end, needed in [*behind, (whole, _wide(seconds(whole), AXIS) / 2)])


def _end(step: Step, whole: float) -> float:
    return step.ended if step.ended is not None else whole


def _took(step: Step, whole: float) -> str:
    return seconds(_end(step, whole) - step.began)


def _row(step: Step, left: float, y: int, scale: float, whole: float) -> Iterator[str]:
    x, width = left + step.began * scale, max(2.0, (_end(step, whole) - step.began) * scale)
    kind = "bad" if step.error else "step" if step.ended is not None else "open"
    took = _took(step, whole)
    yield f'<text x="0" y="{y + 15}">{escape(step.label)}</text>'
    yield f'<rect class="{kind}" x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="16" rx="2">'
    yield f"<title>{escape(step.label)}: {took}</title></rect>"
    for moment in step.moments:
        yield from _within(moment, left, y, scale)
    yield f'<text class="axis" x="{x + width + GAP:.1f}" y="{y + 15}">{took}</text>'


def _within(moment: Moment, left: float, y: int, scale: float) -> Iterator[str]:
    x = left + moment.began * scale
    text = f"<title>{escape(moment.texts[0])}</title>"
    if moment.event == "transfer_finished":
        width = max(2.0, (moment.at - moment.began) * scale)
        yield f'<rect class="inner" x="{x:.1f}" y="{y + 7}" width="{width:.1f}" height="8" rx="1">{text}</rect>'
    elif moment.event in {"retry_scheduled", "lock_waited", "transfer_awaited"}:
        yield f'<circle class="mark" cx="{x:.1f}" cy="{y + 11}" r="3.5">{text}</circle>'


def ticks(whole: float, most: int) -> list[float]:
    """Returns round figures from 0 up to the whole, `most` of them or fewer, unless it takes days."""
    step = next((figure for figure in TICKS if whole / figure < most), whole)
    return [step * number for number in range(int(whole / step) + 1)]
