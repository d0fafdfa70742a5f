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
from release.run import Ending, Run

MOST = 40
"""So many transfers, commands, probes and changes are listed; a run that has more says enough with these."""

ROOM = 8_000
"""Bytes of the record in the journal."""

KEPT_IN_JOURNAL = frozenset({Outcome.RELEASED, Outcome.UNTOUCHED, Outcome.RESTORED, Outcome.KEPT})
"""Endings over a database that can be written without haste."""

WAITS = {Event.LOCK_WAITED: "lock", Event.TRANSFER_AWAITED: "transfer"}


class Tally:
    """Counts events as they pass. `observe` is the log's observer."""

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
        self._end_wait()
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
                self.changes = [str(each) for each in list(event.get("differences") or ())[:MOST]]
            case Event.LOCK_WAITED | Event.TRANSFER_AWAITED as name:
                whom = event.get("holder") or event.get("transfers")
                self._waiting = ({"for": WAITS[name], "holder": whom}, self._clock.monotonic())

    def _end_wait(self) -> None:
        if self._waiting is not None:
            wait, began = self._waiting
            self.waits.append({**wait, "duration": round(self._clock.monotonic() - began, 3)})
            self._waiting = None

    def _note(self, into: list[dict[str, Any]], event: Mapping[str, Any], *names: str) -> None:
        if len(into) < MOST:
            into.append({name: event[name] for name in (*names, "rehearsal") if event.get(name) is not None})

    def fields(self) -> dict[str, Any]:
        """What the final record says beside the ending."""
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
    """The fields of `release_finished`."""
    return {
        "outcome": ending.outcome,
        "reason": ending.reason.slug if ending.reason else None,
        "exit_code": ending.exit_code,
        "duration": round(duration, 3),
        "steps": {name: round(seconds, 3) for name, seconds in steps.items()},
        "backup": ending.backup,
        "salvage": ending.salvage,
        "restore": ending.restore,
        "error": ending.detail or None,
        "hint": ending.hint or None,
        "facts": dict(ending.facts) or None,
        **tally.fields(),
    }


def keep(run: Run, record: Mapping[str, Any]) -> None:
    """Keeps the record of a decided run in its journal row, if it has one. A failure changes nothing."""
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
