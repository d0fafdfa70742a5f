"""What people read of each event: lines with an indent, a glyph and a style. Nothing here knows a terminal.

Step headings stand at the edge, what happens within a step two columns in, what the app's own commands print four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from release.output.lines import printable
from release.output.tracebacks import Fold
from release.output.witnessed import NOTICED, doubts, slowest, summary, visible
from release.output.words import (
    count,
    in_short,
    seconds,
    sentence,
    size,
    title,
    what_happened,
    what_the_database_is,
)

Fields = Mapping[str, Any]

MOST = 20
"""Differences, or tables, that are shown; the log has them all."""


class Line(NamedTuple):
    """A line of text. `style` is one of rich's; it colours the glyph where there is one, else the text."""

    text: str
    style: str = ""
    glyph: str = ""
    indent: int = 0


def lines(event: Fields) -> Iterator[Line]:
    """Returns the lines for an event; none for one that says nothing to people, or that is newer than this program."""
    show = _SHOWN.get(str(event.get("event")))
    return show(event) if show else iter(())


class Telling:
    """What people read of a whole run, event by event: `lines`, less what they have just read.

    `folds`: tracebacks that a command prints are folded. That is for readers of a log, which has every line; without
    one they would be lost.
    """

    def __init__(self, *, folds: bool) -> None:
        self._folds = folds
        self._outputs: dict[str, Fold] = {}
        self._error: str | None = None
        self._owed: str | None = None
        self._skipped = False

    def __call__(self, event: Fields) -> Iterator[Line]:
        """Returns the lines for the next event."""
        if event.get("event") == "command_output":
            output = self._outputs.setdefault(str(event.get("stream")), Fold())
            if not self._folds or output.shows(str(event.get("line", ""))):
                yield from lines(event)
            return
        if folded := sum(output.folded for output in self._outputs.values()):
            yield note(f"{count(folded, 'line')} more in the log", 4)
        self._outputs.clear()
        if event.get("event") == "release_finished":
            yield from self._paid(event)
        if event.get("event") == "step_finished" and self._skipped and event.get("step") == "restore":
            yield good(f"that took {seconds(event.get('duration'))}")
            return
        self._skipped |= event.get("event") == "restore_skipped"
        yield from lines(self._unrepeated(event))

    def _unrepeated(self, event: Fields) -> Fields:
        """Leaves out words that were just read, or are the end's.

        A step that fails within another fails both, with the same words, and most often they end the run as well.
        """
        if event.get("event") != "step_failed":
            return event
        before, self._error = self._error, str(event.get("error"))
        if before == self._error:
            return {**event, "error": f"{event.get('step')} failed for the same reason"}
        short = in_short(self._error)
        if short != self._error:
            self._owed = self._error
        return {**event, "error": short}

    def _paid(self, end: Fields) -> Iterator[Line]:
        """Tells in full what was told in short, where the run ends by something else."""
        if self._owed and self._owed not in f"{end.get('error')} {end.get('hint')}":
            yield bad(self._owed)


def good(text: str) -> Line:
    """Makes a line that says: it went well."""
    return Line(text, "green", "✓", 2)


def bad(text: str) -> Line:
    """Makes a line that says: it failed."""
    return Line(text, "bold red", "✗", 2)


def warn(text: str, indent: int = 2) -> Line:
    """Makes a line that says: somebody should look at it."""
    return Line(text, "yellow", "!", indent)


def note(text: str, indent: int = 2) -> Line:
    """Makes a line that states a fact."""
    return Line(text, "dim", "·", indent)


def _started(event: Fields) -> Iterator[Line]:
    facts = [str(event["commit"])[:12]] if event.get("commit") else []
    facts += [str(event[name]) for name in ("description", "trigger") if event.get(name)]
    yield Line(title(event), "bold")
    yield Line(" · ".join([*facts, f"run {event.get('run_id')}"]), "dim")


def _step_started(event: Fields) -> Iterator[Line]:
    yield Line("")
    yield Line(str(event.get("step")), "bold")


def _step_finished(event: Fields) -> Iterator[Line]:
    yield good(f"{event.get('step')} took {seconds(event.get('duration'))}")


def _step_failed(event: Fields) -> Iterator[Line]:
    took = f" ({seconds(event['duration'])})" if event.get("duration") is not None else ""
    yield bad(f"{event.get('error')}{took}")


def _transfer_started(event: Fields) -> Iterator[Line]:
    """Says what a salvage is, too: the word is this tool's own."""
    source = f" of {event['source']}" if event.get("source") else ""
    earlier = f"; the last one took {seconds(event['expected'])}" if event.get("expected") else ""
    what = ", a backup of what is about to be overwritten" if event.get("kind") == "salvage" else ""
    yield note(f"{event.get('kind')} {event.get('transfer')}{source} began{what}{earlier}")


def _transfer_progressed(event: Fields) -> Iterator[Line]:
    yield note(f"{size(event.get('bytes'))} after {seconds(event.get('duration'))}", 4)


def _transfer_finished(event: Fields) -> Iterator[Line]:
    succeeded = event.get("succeeded") is True
    judged = ", which the proof judges" if event.get("kind") == "restore" and succeeded else ""
    warnings = f", {count(event['warnings'], 'warning')}{judged}" if event.get("warnings") else ""
    kind = f"{event['kind']} " if event.get("kind") else ""
    what = f"{kind}{event.get('transfer')}{'' if succeeded else ' did not succeed'}"
    text = f"{what}: {size(event.get('bytes'))} in {seconds(event.get('duration'))}{warnings}"
    yield good(text) if succeeded else bad(text)


def _command_started(event: Fields) -> Iterator[Line]:
    yield Line(f"$ {event.get('command')}", "dim", indent=2)


def _command_output(event: Fields) -> Iterator[Line]:
    yield Line(str(event.get("line", "")), "red" if event.get("stream") == "stderr" else "", indent=4)


def _command_finished(event: Fields) -> Iterator[Line]:
    """Says nothing of a good end, nor of exit code 1 while preparing: that is how "migrations are pending" is said."""
    usual = {0, 1, None} if event.get("step") in {"prepare", "plan"} else {0, None}
    if event.get("signal") or event.get("exit_code") not in usual:
        how = event.get("signal") or f"exit code {event.get('exit_code')}"
        yield note(f"it ended with {how} after {seconds(event.get('duration'))}")


def _retry(event: Fields) -> Iterator[Line]:
    caused_by = sentence(str(event.get("caused_by")))
    yield warn(f"{event.get('call')}: {caused_by} Again in {seconds(event.get('wait'))}.")


def _waited(event: Fields) -> Iterator[Line]:
    whom = event.get("holder") or ", ".join(event.get("transfers") or ()) or "another run"
    yield warn(f"waiting for {whom}, {seconds(event.get('limit'))} at most")


def _probe_passed(event: Fields) -> Iterator[Line]:
    saw = [f"status {event['status']}"] if event.get("status") else []
    saw += [f"booted in {seconds(event['booted_in'])}"] if event.get("booted_in") else []
    yield good(f"probe {event.get('probe')} passed{': ' if saw else ''}{', '.join(saw)}")


def _probe_failed(event: Fields) -> Iterator[Line]:
    """Says what it saw, too: the first bytes of an answer (its status is in the detail), or rows."""
    yield bad(f"probe {event.get('probe')}: {event.get('detail')}")
    if event.get("body"):
        yield note(f"its answer: {visible(printable(str(event['body'])))}", 4)
    rows = event.get("rows")
    for row in rows if isinstance(rows, list) else ():
        values = row if isinstance(row, list) else [row]
        yield note(f"row: {visible(', '.join(msgspec.json.encode(value).decode() for value in values))}", 4)


def _compared(event: Fields) -> Iterator[Line]:
    what = "the copy" if event.get("rehearsal") else "the database"
    text = f"{what}, compared with how it was before: {str(event.get('verdict')).replace('_', ' ')}"
    yield good(text) if event.get("verdict") == "equal" else note(text)
    written = (f"{table}: {rows}" for table, rows in (event.get("written") or {}).items())
    for text in [*map(str, event.get("differences") or ()), *written][:MOST]:
        yield note(text, 4)


def _witnessed(event: Fields) -> Iterator[Line]:
    """Says what the witness saw, and which statements took their time."""
    doubted = doubts(event)
    yield warn(summary(event)) if doubted or event.get("elsewhere") else note(summary(event))
    for text in doubted:
        yield warn(text, 4)
    for statement in slowest(event):
        if (statement.seconds or 0) >= NOTICED:
            yield note(str(statement), 4)


def _planned(event: Fields) -> Iterator[Line]:
    yield note(f"{event.get('backup')}: {event.get('detail')}")
    for table, rows in list((event.get("written") or {}).items())[:MOST]:
        yield warn(f"will be lost in {table}: {rows}", 4)
    for text in event.get("notes") or ():
        yield warn(str(text), 4)


def _warned(event: Fields) -> Iterator[Line]:
    yield warn(str(event.get("detail")))
    written = event.get("written")
    for table, rows in list(written.items() if isinstance(written, Mapping) else ())[:MOST]:
        yield warn(f"{table}: {rows}", 4)
    if event.get("shape"):
        yield note(f"in: {visible(event['shape'])}", 4)


def _noted(text: Callable[[Fields], str]) -> Callable[[Fields], Iterator[Line]]:
    return lambda event: iter([note(text(event))])


def _decided(event: Fields) -> Iterator[Line]:
    """Says what has decided whether to migrate, where the app was not asked."""
    match event.get("by"):
        case "same_code":
            yield note("nothing is pending: this code landed last, and nothing has changed since")
        case "always":
            yield note("RELEASE_PENDING=always: it is migrated whatever is pending")
        case "assumed" if event.get("differs"):
            yield note(f"not as it was when this app last landed: {', '.join(event['differs'])}")


def _finished(event: Fields) -> Iterator[Line]:
    well = event.get("exit_code") == 0
    outcome = str(event.get("outcome") or ("done" if well else "not started")).replace("_", " ")
    yield Line("")
    yield Line(f"{outcome} after {seconds(event.get('duration'))}", "bold green" if well else "bold red")
    yield Line(what_happened(event))
    yield Line(what_the_database_is(event))
    if event.get("hint"):
        yield Line(f"What to do: {sentence(str(event['hint']))}")


_SHOWN: dict[str, Callable[[Fields], Iterator[Line]]] = {
    "release_started": _started,
    "step_started": _step_started,
    "step_finished": _step_finished,
    "step_failed": _step_failed,
    "retry_scheduled": _retry,
    "lock_waited": _waited,
    "transfer_awaited": _waited,
    "transfer_started": _transfer_started,
    "transfer_progressed": _transfer_progressed,
    "transfer_finished": _transfer_finished,
    "command_started": _command_started,
    "command_output": _command_output,
    "command_finished": _command_finished,
    "probe_passed": _probe_passed,
    "probe_failed": _probe_failed,
    "database_compared": _compared,
    "migration_witnessed": _witnessed,
    "restore_planned": _planned,
    "warning_raised": _warned,
    "framework_detected": _noted(lambda event: f"{event.get('framework')} was found: {event.get('migrate')}"),
    "pending_decided": _decided,
    "fence_raised": _noted(
        lambda event: (
            f"the fence is up: maintenance mode is on, {', '.join(event.get('scaled') or ()) or 'no dyno'} stopped"
        )
    ),
    "fence_lowered": _noted(lambda _: "the fence is down: dynos and maintenance mode are as before"),
    "restore_skipped": _noted(lambda event: f"no restore: {event.get('why')}"),
    "handover_started": _noted(lambda event: f"{event.get('dyno')} takes over"),
    "signal_received": _noted(lambda event: f"{event.get('signal')} was received"),
    "guard_overridden": _noted(lambda event: f"RELEASE_ALLOW={event.get('guard')}: {event.get('detail')}"),
    "release_finished": _finished,
}
