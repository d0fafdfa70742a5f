"""The report: a run's log as a timeline in text, for a terminal, a ticket, a mail; or as JSON for machines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from release.output.lines import printable
from release.output.show import bad, good, note, warn
from release.output.timeline import Moment, Step, Story
from release.output.tracebacks import Fold
from release.output.words import count, seconds, sentence, title, what_happened, what_the_database_is

BAR = 24
"""Columns of the picture beside the steps."""
TAIL = 15
"""Lines of output that are shown of a step that failed."""
LEAST = 40
"""Columns of the narrowest report."""

GLYPHS = {kind.__name__: kind("").glyph for kind in (good, bad, warn, note)}


def as_text(stories: list[Story], *, width: int) -> str:
    """Returns all runs as text, one below the other."""
    width = max(LEAST, width)
    blocks = ["\n".join(_block(story, width)) for story in stories]
    head = f"{count(len(stories), 'run')} in this log\n\n" if len(stories) > 1 else ""
    return printable_lines(head + "\n\n\n".join(blocks)) + "\n"


def printable_lines(text: str) -> str:
    """Removes terminal escapes from the text: a log may hold what a child printed."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _block(story: Story, width: int) -> Iterator[str]:
    yield headline(story)
    yield from textwrap.wrap(about(story), width)
    for text in story.notes:
        yield from _wrapped(text, width, "! ")
    yield ""
    whole = max(story.seconds, 0.001)
    for moment in story.loose:
        yield from _wrapped(moment.texts[0], width, f"{GLYPHS[moment.kind]} ")
    for step in story.steps:
        yield from _step(step, whole, width, story.error_of(step))
    yield ""
    yield from _wrapped(verdict(story), width)
    if story.changes:
        yield ""
        yield "What the run changed, as it was compared:"
        for change in story.changes:
            yield from _wrapped(change, width, "  · ")
    for text in advice(story):
        yield ""
        yield from _wrapped(text, width)


def headline(story: Story) -> str:
    """Returns `Release v8 of my-app: restored (migration_failed), exit 1`, or the like."""
    record = story.record
    name = title({"release": story.release, "app": story.app})
    if record is None:
        return f"{name}: no end in this log"
    reason = f" ({record['reason']})" if record.get("reason") else ""
    outcome = str(record.get("outcome") or ("done" if record.get("exit_code") == 0 else "not started"))
    return f"{name}: {outcome}{reason}, exit {record.get('exit_code')}"


def about(story: Story) -> str:
    """Says which run it was, when it ran and what caused it."""
    facts = story.facts
    parts = [f"run {story.run_id}", f"{story.started_at:%Y-%m-%d %H:%M:%S} UTC", seconds(story.seconds)]
    parts += [f"commit {str(facts['commit'])[:12]}"] if facts.get("commit") else []
    parts += [str(facts[name]) for name in ("description", "trigger") if facts.get(name)]
    return " · ".join([*parts, *([f"version {facts['version']}"] if facts.get("version") else [])])


def verdict(story: Story) -> str:
    """Says in two sentences how it ended."""
    if story.record is None:
        return "How it ended is not in this log."
    return f"{what_happened(story.record)} {what_the_database_is(story.record)}"


def advice(story: Story) -> list[str]:
    """Says what to do; nothing when the record has no hint."""
    hint = (story.record or {}).get("hint")
    return [f"What to do: {sentence(str(hint))}"] if hint else []


def _step(step: Step, whole: float, width: int, error: str | None) -> Iterator[str]:
    ended = step.ended if step.ended is not None else whole
    first = min(BAR - 1, int(BAR * step.began / whole))
    last = max(first + 1, round(BAR * ended / whole))
    mark = "█" if step.error is None else "▓"
    bar = " " * first + mark * (last - first)
    glyph = GLYPHS["bad"] if step.error else GLYPHS["good"] if step.ended is not None else GLYPHS["warn"]
    took = seconds(ended - step.began) if step.ended is not None else "not ended"
    yield f"{glyph} {step.label:<10} {took:>12}  {bar}".rstrip()
    for moment in step.moments:
        at = f"{moment.began:8.1f}"
        for number, text in enumerate(moment.texts):
            start = f"  {at} {GLYPHS[moment.kind]} " if not number else " " * 13 + "  · "
            yield from _wrapped(text, width, start)
        yield from _slowest(moment, width)
    if error:
        yield from _wrapped(error, width, " " * 11 + f"{GLYPHS['bad']} ")
    if step.output:
        yield from _output(step, width)


def _slowest(moment: Moment, width: int) -> Iterator[str]:
    if moment.slowest:
        yield " " * 13 + "  · the slowest statements:"
    for statement in moment.slowest:
        yield from _wrapped(str(statement), width, " " * 17)


def _output(step: Step, width: int) -> Iterator[str]:
    streams = {stream: Fold() for stream, _ in step.output}
    shown = [line for stream, line in step.output if streams[stream].shows(line)][-TAIL:] if step.error else []
    left = len(step.output) + step.dropped - len(shown)
    if left:
        yield " " * 13 + f"({count(left, 'line')} of output{' more in the log' if shown else ''})"
    for line in shown:
        yield (" " * 13 + "│ " + line)[: max(width, LEAST)]


def _wrapped(text: str, width: int, start: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
    ) or [start.rstrip()]


def as_data(stories: list[Story]) -> list[dict[str, Any]]:
    """Returns for machines what the text says, as fields. Times are seconds since the run began."""
    return [
        {
            "run_id": story.run_id,
            "app": story.app,
            "release": story.release,
            "commit": story.facts.get("commit"),
            "started_at": story.started_at.isoformat().replace("+00:00", "Z"),
            "duration": round(story.seconds, 3),
            "complete": story.record is not None,
            "summary": verdict(story),
            "notes": story.notes,
            "record": story.record,
            "steps": [
                {
                    "name": step.name,
                    "began": round(step.began, 3),
                    "ended": None if step.ended is None else round(step.ended, 3),
                    "error": step.error,
                    "output_lines": len(step.output) + step.dropped,
                    "moments": [
                        {
                            "at": round(moment.began, 3),
                            "event": moment.event,
                            "kind": moment.kind,
                            "texts": moment.texts,
                            "slowest": [statement._asdict() for statement in moment.slowest],
                        }
                        for moment in step.moments
                    ],
                }
                for step in story.steps
            ],
        }
        for story in stories
    ]
