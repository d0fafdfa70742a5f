"""The webhook: the final record, with Slack's `text`, to RELEASE_WEBHOOK_URL; and a line when a restore begins.

It tells, and decides nothing: five seconds and two attempts for each message, in a thread of its own, so that no name
server and no dripping answer can hold a run up. Redirects are not followed, proxies and `.netrc` not looked at. What is
sent went through the log's redaction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import msgspec

from release import __version__
from release.clock import Clock, Deadline
from release.log.events import Event
from release.log.logger import Log
from release.log.shorten import plain
from release.output.words import Record, title, what_happened, what_the_database_is

WITHIN = 5.0
"""Seconds for a message with both attempts."""

LEAST = 0.5
"""Seconds for a message when a signal has used up the time."""

ATTEMPTS = 2
ICONS = {"released": "✅", "untouched": "⚠️", "restored": "↩️", "refused": "✋", "kept": "⚠️", None: "⚠️"}


class Webhook:
    """The messages of one run. Nothing here raises; `observe` belongs to the log."""

    def __init__(self, url: str, log: Log, about: Record) -> None:
        self._url = url
        self._log = log
        self._about = about
        self._begun: Thread | None = None

    def observe(self, event: Mapping[str, Any]) -> None:
        """Says that a restore begins, at the first sign of it, and does not wait for the answer."""
        begins = (event["event"] == Event.FENCE_RAISED and event.get("mode") == "restore") or (
            event["event"] == Event.TRANSFER_STARTED and event.get("kind") == "restore"
        )
        if begins and self._begun is None:
            text = (
                f"⏳ {title(self._about)}: a restore begins. The database will be back as it was; do not write to it."
            )
            self._begun = self._send({"text": text, "event": "restore_begun", **self._about}, Delivery())

    def finish(self, record: Record, *, since_signal: float | None) -> None:
        """Sends the final record; a failure is a warning in the log. `since_signal`: seconds, when one came."""
        within = patience(since_signal)
        record = {**self._about, **record}
        delivery = Delivery()
        body = {"text": escaped(message(record)), "event": str(Event.RELEASE_FINISHED), **record}
        thread = self._send(body, delivery, within=within)
        thread.join(within)
        problem = "no answer in time" if thread.is_alive() else delivery.problem
        if problem:
            self._log.warning(
                Event.WARNING_RAISED, warning="webhook_failed", detail=problem, attempts=delivery.attempts
            )

    def _send(self, body: Mapping[str, Any], delivery: Delivery, *, within: float = WITHIN) -> Thread:
        data = msgspec.json.encode(plain(body, self._log.redactor.text))
        thread = Thread(target=delivery.run, args=(self._url, data, Deadline(Clock(), within)), daemon=True)
        thread.start()
        return thread


def message(record: Record) -> str:
    """The text: what people read first."""
    outcome = record.get("outcome")
    head = f"{ICONS.get(outcome, '🚨')} {title(record)}: {outcome or 'not started'}"
    reason = f" ({record['reason']})" if record.get("reason") else ""
    hint = f"\nWhat to do: {record['hint']}" if record.get("hint") else ""
    return f"{head}{reason}. {what_happened(record)} {what_the_database_is(record)}{hint}"


def escaped(text: str) -> str:
    """Slack reads `<!channel>` in a text; an error message is not to call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Delivery:
    """One message on its way; `problem` says why it did not arrive."""

    def __init__(self) -> None:
        self.problem = ""
        self.attempts = 0

    def run(self, url: str, body: bytes, deadline: Deadline) -> None:
        """Two attempts at most; an answer that will be the same again is not asked for twice."""
        for attempt in range(1, ATTEMPTS + 1):
            self.attempts = attempt
            self.problem, again = _post(url, body, deadline)
            if not self.problem or not again or deadline.expired:
                return
            Clock().sleep(deadline.clamp(0.2 * attempt))


def _post(url: str, body: bytes, deadline: Deadline) -> tuple[str, bool]:
    """One attempt: what went wrong ("" for nothing), and whether another can help."""
    import http.client  # noqa: PLC0415 -- brings ssl and email along; most runs have no webhook

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=max(0.1, min(deadline.left(), WITHIN / ATTEMPTS)))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json", "User-Agent": f"heroku-release-phase/{__version__}"}
    try:
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(error).__name__, True
    finally:
        connection.close()
    if 200 <= status < 300:  # noqa: PLR2004
        return "", False
    if 300 <= status < 400:  # noqa: PLR2004
        return f"it answered {status}; redirects are not followed", False
    return f"it answered {status}", status >= 500 or status == 429  # noqa: PLR2004


def patience(since_signal: float | None) -> float:
    """Seconds for the last message: less when a signal has started Heroku's countdown of 30 s."""
    left = math.inf if since_signal is None else 23.0 - since_signal
    return max(LEAST, min(WITHIN, left))
