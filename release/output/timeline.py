"""A run's log as a timeline: what happened when, for how long, and how it ended.

Made for logs as people have them: with prefixes of `heroku logs`, lines of other programs in between, several runs in
one file, cut off at either end, written by an older version. Only what is not a log at all is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from release import __version__
from release.output.lines import parse
from release.output.show import bad, good, lines, note, warn
from release.output.witnessed import Statement, slowest
from release.output.words import in_short
from release.program import named

Fields = Mapping[str, Any]
MOST_OUTPUT = 2000
"""Lines of the app's own commands that are kept of a step, the last ones."""

SHOWN = frozenset(
    {"transfer_finished", "retry_scheduled", "lock_waited", "transfer_awaited", "probe_passed", "probe_failed"}
    | {"warning_raised", "fence_raised", "fence_lowered", "restore_skipped", "handover_started", "signal_received"}
    | {"guard_overridden", "framework_detected", "database_compared", "restore_planned", "command_finished"}
    | {"migration_witnessed", "pending_decided"}
)
"""Events that stand in a timeline. The others (progress, starts) are left out: an event that ends them says it all."""


class Moment(Struct, kw_only=True):
    """A moment within a step: from `began` to `at`, both in seconds since the run began; `kind` as in show.py.

    `slowest`: statements, which have a table of their own and are not among the texts.
    """

    began: float
    at: float
    event: str
    kind: str
    texts: list[str]
    slowest: list[Statement] = field(default_factory=list)


class Step(Struct, kw_only=True):
    """A step: its times in seconds since the run began (`ended`: None when the log ends within it)."""

    name: str
    began: float
    ended: float | None = None
    error: str | None = None
    hint: str | None = None
    moments: list[Moment] = field(default_factory=list)
    output: list[tuple[str, str]] = field(default_factory=list)
    dropped: int = 0

    @property
    def label(self) -> str:
        """Its name for people: the step in which nothing was restored is not called a restore."""
        skipped = self.name == "restore" and any(moment.event == "restore_skipped" for moment in self.moments)
        return "no restore" if skipped else self.name


class Story(Struct, kw_only=True):
    """A run as its log tells it. `record`: the final record, None when the log ends early; `notes`: its oddities."""

    run_id: str
    app: str | None
    release: str | None
    started_at: datetime
    facts: Fields = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    loose: list[Moment] = field(default_factory=list)
    record: Fields | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def changes(self) -> list[str]:
        """What the run changed in the database, by name."""
        return [str(change) for change in (self.record or {}).get("changes") or ()]

    def error_of(self, step: Step) -> str | None:
        """Returns a step's error: in short, where it is long and the run's own, which is told in full."""
        if (
            step.error is None
            or step.error not in f"{(self.record or {}).get('error')} {(self.record or {}).get('hint')}"
        ):
            return step.error
        return in_short(step.error)


def read(log: Iterable[str]) -> list[Story]:
    """Reads all runs in a log, in the order in which they begin; none when nothing in it is ours."""
    runs: dict[str, list[Fields]] = {}
    last = ""
    for line in log:
        event = parse(line)
        if event is None or _moment(event) is None:
            continue
        last = str(event.get("run_id") or last)
        runs.setdefault(last, []).append(event)
    return [_story(run_id, events) for run_id, events in runs.items()]


def _moment(event: Fields) -> datetime | None:
    """Returns when an event was written; None when that is not readable, or has no time zone."""
    try:
        written = datetime.fromisoformat(event["timestamp"])
    except ValueError:
        return None
    return written if written.tzinfo else None


def _story(run_id: str, events: list[Fields]) -> Story:
    first = _moment(events[0])
    assert first is not None  # noqa: S101 -- read() lets nothing else through
    story = Story(
        run_id=run_id,
        app=_first(events, "app"),
        release=_first(events, "release"),
        started_at=first,
    )
    teller = _Teller(story)
    for event in events:
        at = _moment(event)
        teller.take(event, max(0.0, (at - first).total_seconds()) if at else 0.0)
    _find_oddities(story, events)
    return story


def _first(events: list[Fields], name: str) -> str | None:
    return next((str(event[name]) for event in events if event.get(name)), None)


def _find_oddities(story: Story, events: list[Fields]) -> None:
    if events[0]["event"] != "release_started":
        story.notes.append("The beginning of this run is not in the log: times count from its first line here.")
    version = str(story.facts.get("version") or "")
    if version and version != __version__:
        story.notes.append(f"Written by version {version}, read by {__version__}: what is unknown here is left out.")
    if story.record is None:
        where = story.steps[-1].name if story.steps and story.steps[-1].ended is None else None
        story.notes.append(
            f"The log ends{f' within the step {where}' if where else ''} before release_finished: it was cut off, or"
            " the run was killed. " + named("`release-phase recover` finishes what is unfinished.")
        )
    elif story.record.get("dropped_lines"):
        story.notes.append(f"{story.record['dropped_lines']} lines could not be written when this run was logged.")


class _Teller:
    """A reader of one run's events, in their order, that fills in its story."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._open: dict[str, float] = {}

    def take(self, event: Fields, at: float) -> None:
        """Takes one event, `at` seconds after the first."""
        story, name = self._story, event["event"]
        story.seconds = max(story.seconds, at)
        match name:
            case "release_started":
                story.facts = event
            case "release_finished":
                story.record = event
            case "step_started":
                story.steps.append(Step(name=str(event.get("step")), began=at))
            case "step_finished" | "step_failed":
                self._end_step(event, at)
            case "command_output":
                self._output(event, at)
            case _ if name in SHOWN:
                self._tell(event, at)

    def _end_step(self, event: Fields, at: float) -> None:
        step = self._step(event, at)
        step.ended = at
        step.moments.sort(key=lambda moment: moment.began)
        if event["event"] == "step_failed":
            step.error, step.hint = str(event.get("error")), event.get("hint")

    def _step(self, event: Fields, at: float) -> Step:
        """Returns the step an event belongs to; it is opened here when the log has lost its beginning."""
        if not event.get("step") and self._story.steps:  # the hook itself failed, within whatever step it was
            return self._story.steps[-1]
        name = str(event.get("step") or "run")
        for step in reversed(self._story.steps):
            if step.name == name and step.ended is None:
                return step
        step = Step(name=name, began=max(0.0, at - float(event.get("duration") or 0)))
        self._story.steps.append(step)
        return step

    def _output(self, event: Fields, at: float) -> None:
        step = self._step(event, at)
        step.output.append((str(event.get("stream")), str(event.get("line"))))
        if len(step.output) > MOST_OUTPUT:
            del step.output[0]
            step.dropped += 1

    def _tell(self, event: Fields, at: float) -> None:
        table = slowest(event)
        shown = list(lines({**event, "slowest": None} if table else event))
        if not shown:
            return
        duration = float(event.get("duration") or 0)
        moment = Moment(
            began=max(0.0, at - duration),
            at=at + float(event.get("wait") or 0),
            event=event["event"],
            kind=_KINDS.get(shown[0].glyph, "note"),
            texts=[line.text for line in shown],
            slowest=table,
        )
        if event.get("step"):
            self._step(event, at).moments.append(moment)
        else:
            self._story.loose.append(moment)


_KINDS = {good("").glyph: "good", bad("").glyph: "bad", warn("").glyph: "warn", note("").glyph: "note"}
