"""The final record: everything about a run in one object, which ends the log and goes to the journal and notifiers.

What the steps do not hand up (each transfer, each retry, how long was waited for whom) is picked from the events as
they pass, so that no duration is measured twice and none is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from release.clock import Clock
from release.errors import Outcome, ReleaseError
from release.log.events import Event
from release.log.shorten import plain, shorten
from release.program import named
from release.run import Ending, Run

MOST = 40
"""How many transfers, commands, probes and changes are listed at most. More of them would say no more."""

ROOM = 8_000
"""Bytes that the record may take up in the journal."""

KEPT_IN_JOURNAL = frozenset({Outcome.RELEASED, Outcome.UNTOUCHED, Outcome.RESTORED, Outcome.KEPT})
"""Endings after which there is time to write to the database. After the others a restore may be under way,
or there is no row."""

WAITS = {Event.LOCK_WAITED: "lock", Event.TRANSFER_AWAITED: "transfer"}


class Tally:
    """A count of the events as they pass. `observe` is the log's observer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: tuple[dict[str, Any], float] | None = None
        self._sizes: dict[str, int] = {}
        self.transfers: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.waits: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.changes: list[str] | None = None
        self.retries = 0
        self.retry_wait = 0.0
        self._commands: dict[object, str] = {}

    def observe(self, event: Mapping[str, Any]) -> None:
        """Takes note of one event."""
        self._end_wait()  # no event says that a wait is over; the next one, whichever it is, shows it
        match event["event"]:
            case Event.TRANSFER_FINISHED:
                self._note(self.transfers, event, "kind", "transfer", "succeeded", "bytes", "duration")
            case Event.COMMAND_STARTED:
                self._commands[event.get("pid")] = str(event.get("command", ""))[:200]
            case Event.COMMAND_FINISHED:
                command = self._commands.pop(event.get("pid"), "")
                self._note(self.commands, {**event, "command": command}, "step", "command", "exit_code", "duration")
            case Event.PROBE_PASSED | Event.PROBE_FAILED as name:
                passed = {"passed": name == Event.PROBE_PASSED}
                self._note(self.probes, {**event, **passed}, "probe", "passed", "duration")
            case Event.RETRY_SCHEDULED:
                self.retries += 1
                self.retry_wait += float(event.get("wait") or 0)
            case Event.WARNING_RAISED:
                self.warnings.append(str(event.get("warning")))
            case Event.DATABASE_COMPARED if self.changes is None and not event.get("rehearsal"):
                self.changes = [str(difference) for difference in list(event.get("differences") or ())[:MOST]]
            case Event.LOCK_WAITED | Event.TRANSFER_AWAITED as name:
                holder = event.get("holder") or event.get("transfers")
                self._waiting = ({"for": WAITS[name], "holder": holder}, self._clock.monotonic())

    def _end_wait(self) -> None:
        if self._waiting is not None:
            wait, began = self._waiting
            self.waits.append({**wait, "duration": round(self._clock.monotonic() - began, 3)})
            self._waiting = None

    def _note(self, into: list[dict[str, Any]], event: Mapping[str, Any], *names: str) -> None:
        if len(into) < MOST:
            into.append({name: event[name] for name in (*names, "rehearsal") if event.get(name) is not None})

    def fields(self) -> dict[str, Any]:
        """Returns what the final record says beside the ending."""
        self._end_wait()
        retries = {"count": self.retries, "wait": round(self.retry_wait, 3)} if self.retries else None
        return {
            "transfers": self.transfers,
            "commands": self.commands,
            "probes": self.probes,
            "waits": self.waits,
            "retries": retries,
            "changes": self.changes,
            "warnings": list(dict.fromkeys(self.warnings))[:MOST],
        }


def final_record(ending: Ending, tally: Tally, *, duration: float, steps: Mapping[str, float]) -> dict[str, Any]:
    """Returns the fields of `release_finished`."""
    return {
        "outcome": ending.outcome,
        "reason": ending.reason.slug if ending.reason else None,
        "exit_code": ending.exit_code,
        "duration": round(duration, 3),
        "steps": {name: round(seconds, 3) for name, seconds in steps.items()},
        "backup": ending.backup,
        "salvage": ending.salvage,
        "restore": ending.restore,
        "error": named(ending.detail) or None,
        "hint": named(ending.hint) or None,
        "facts": dict(ending.facts) or None,
        **tally.fields(),
    }


def keep_record(run: Run, record: Mapping[str, Any]) -> None:
    """Writes the record of a decided run into its journal row, if it has one. A failure to do so is a warning."""
    if record["outcome"] not in KEPT_IN_JOURNAL or not run.database.connected:
        return
    try:
        kept = run.journal.keep_record(run.id, shorten(plain(record, run.log.redactor.text), ROOM))
    except ReleaseError as error:
        run.warn("record_not_kept", str(error))
        return
    if kept:
        _prune(run)


def _prune(run: Run) -> None:
    from release.database.pruning import prune  # noqa: PLC0415 -- only a run that has migrated pays for it

    try:
        prune(run.database)
    except ReleaseError as error:
        run.warn("journal_not_pruned", f"{error}; the next run does it")
