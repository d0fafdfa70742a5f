"""Who is told how a run goes, besides the log: when a restore begins, and how the run ended.

`NOTIFIERS` is the list of them. A new one is a row there and a module with its `send`, beside its setting. They decide
nothing. All of them are told at once, in threads of their own, with five seconds and two attempts for each message.
What they get went through the log's redaction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from threading import Thread
from typing import Any, Final

from msgspec import Struct

from release.clock import Clock, Deadline
from release.log.events import Event
from release.log.logger import Log
from release.log.shorten import plain
from release.notify import webhook
from release.output.words import Record, title, what_happened, what_the_database_is
from release.settings.urls import is_webhook

WITHIN = 5.0
"""Seconds for a message with both attempts."""

LEAST = 0.5
"""Seconds for a message when a signal has used up the time."""

ATTEMPTS = 2
"""Attempts for a message at most."""

UNTIL_KILLED = 23.0
"""Seconds after a signal in which messages may still go out: Heroku kills after 30 s, and the log has to end before."""

ICONS = {"released": "✅", "untouched": "⚠️", "restored": "↩️", "refused": "✋", "kept": "⚠️", None: "⚠️"}
"""The first character of a message for each outcome; any other outcome is an emergency."""

Send = Callable[[str, Mapping[str, Any], float], tuple[str, bool]]
"""A function that sends a message to an address, once, within so many seconds.

It returns what went wrong, "" for nothing, and whether another attempt can help. A message has `text`, `event` and the
fields that the event has in the log.
"""


class Notifier(Struct, frozen=True, kw_only=True):
    """A way to tell somebody. `variable` holds the address; the settings refuse one that is not `accepted`."""

    name: str
    variable: str
    accepted: Callable[[str], bool]
    send: Send


NOTIFIERS: Final = (Notifier(name="webhook", variable="RELEASE_WEBHOOK_URL", accepted=is_webhook, send=webhook.send),)


class Audience:
    """Those who hear of one run. Nothing here raises; `observe` is called by the log."""

    def __init__(self, addresses: Iterable[tuple[Notifier, str]], log: Log, about: Record) -> None:
        self._addresses = tuple(addresses)
        self._log = log
        self._about = about
        self._restore_told = False

    def observe(self, event: Mapping[str, Any]) -> None:
        """Says that a restore begins, at the first sign of it, and does not wait for the answer."""
        begins = (event["event"] == Event.FENCE_RAISED and event.get("mode") == "restore") or (
            event["event"] == Event.TRANSFER_STARTED and event.get("kind") == "restore"
        )
        if begins and not self._restore_told:
            self._restore_told = True
            text = (
                f"⏳ {title(self._about)}: a restore begins. The database will be back as it was; do not write to it."
            )
            self._tell({"text": text, "event": "restore_begun", **self._about}, WITHIN)

    def finish(self, record: Record, *, since_signal: float | None) -> None:
        """Sends the final record; a failure is a warning in the log. `since_signal`: seconds, when one came."""
        if not self._addresses:
            return
        record = {**self._about, **record}
        deadline = Deadline(Clock(), patience(since_signal))
        text = message(record)
        for delivery in self._tell({"text": text, "event": str(Event.RELEASE_FINISHED), **record}, deadline.left()):
            delivery.wait(deadline.left())
            if delivery.problem:
                self._log.warning(
                    Event.WARNING_RAISED,
                    warning=f"{delivery.notifier.name}_failed",
                    detail=delivery.problem,
                    attempts=delivery.attempts,
                )

    def _tell(self, body: Mapping[str, Any], within: float) -> list[Delivery]:
        clean = self._log.redactor.text
        return [Delivery(notifier, address, plain(body, clean), within) for notifier, address in self._addresses]


def find_audience(environ: Mapping[str, str], log: Log, about: Record) -> Audience:
    """Finds those whose address is set.

    The environment is read before the settings are, so that they hear when these are wrong, too.
    """
    given = [(notifier, environ.get(notifier.variable, "").strip()) for notifier in NOTIFIERS]
    usable = [(notifier, address) for notifier, address in given if address and notifier.accepted(address)]
    return Audience(usable, log, about)


class Delivery:
    """A message on its way to one notifier. `problem` says why it has not arrived; it is "" once it has."""

    def __init__(self, notifier: Notifier, address: str, body: Mapping[str, Any], within: float) -> None:
        self.notifier = notifier
        self.problem = "no answer in time"
        self.attempts = 0
        self._thread = Thread(target=self._run, args=(address, body, Deadline(Clock(), within)), daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Waits until it has arrived or was given up, or so many seconds."""
        self._thread.join(seconds)

    def _run(self, address: str, body: Mapping[str, Any], deadline: Deadline) -> None:
        """Makes two attempts at most; an answer that will be the same again is not asked for twice."""
        for attempt in range(1, ATTEMPTS + 1):
            self.attempts = attempt
            problem, again = self.notifier.send(address, body, max(0.1, deadline.clamp(WITHIN / ATTEMPTS)))
            if not problem or not again or attempt == ATTEMPTS or deadline.expired:
                break
            Clock().sleep(deadline.clamp(0.2 * attempt))
        self.problem = problem


def message(record: Record) -> str:
    """Returns the text: what people read first."""
    outcome = record.get("outcome")
    head = f"{ICONS.get(outcome, '🚨')} {title(record)}: {outcome or 'not started'}"
    reason = f" ({record['reason']})" if record.get("reason") else ""
    hint = f"\nWhat to do: {record['hint']}" if record.get("hint") else ""
    return f"{head}{reason}. {what_happened(record)} {what_the_database_is(record)}{hint}"


def patience(since_signal: float | None) -> float:
    """Returns the seconds for the last message: fewer when a signal has started Heroku's countdown of 30 s."""
    left = math.inf if since_signal is None else UNTIL_KILLED - since_signal
    return max(LEAST, min(WITHIN, left))
