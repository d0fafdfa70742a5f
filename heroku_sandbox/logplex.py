"""The apps' logs, as Logplex keeps them: what dynos print, and what the platform says about them.

A dyno's output goes into a file; one thread reads the files of the running dynos and gives each line its time. The
form of a line and the words of the platform follow Heroku's documentation of its logs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BufferedReader
from pathlib import Path

from heroku_sandbox.state import new_id, now

KEPT = 1500
"""So many lines of an app are kept (Heroku's Logplex: 1,500)."""
LONGEST = 10_000
"""A line of more bytes is split."""
_LOOK_SECONDS = 0.05
_BREATH_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of an app's log. `number` counts in the app; `source` is `app` or `heroku`; `dyno` may be `api`."""

    number: int
    at: datetime
    source: str
    dyno: str
    text: str

    def __str__(self) -> str:
        """Writes it as `2026-11-26T18:56:03.123456+00:00 app[web.1]: text`."""
        return f"{self.at:%Y-%m-%dT%H:%M:%S.%f}+00:00 {self.source}[{self.dyno}]: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a client wants to read: the last `lines` of a dyno (or process type) and source, and with `tail` more."""

    id: str
    app_id: str
    lines: int
    dyno: str | None
    source: str | None
    tail: bool
    expires: datetime

    def wants(self, line: Line) -> bool:
        """Tells whether a line is among those that were asked for."""
        process_type = line.dyno.partition(".")[0]
        return self.dyno in (None, line.dyno, process_type) and self.source in (None, line.source)


@dataclass(slots=True)
class _Followed:
    """A dyno whose output is being read."""

    app_id: str
    dyno: str
    file: BufferedReader
    rest: bytes = b""

    def lines(self, *, ended: bool = False) -> Iterator[str]:
        """Yields the lines that are new; one without its end only once the dyno has `ended`."""
        *whole, self.rest = (self.rest + self.file.read()).split(b"\n")
        if ended and self.rest:
            whole.append(self.rest)
        for line in whole:
            for start in range(0, max(1, len(line)), LONGEST):
                yield line[start : start + LONGEST].decode(errors="replace").rstrip("\r")


class Logs:
    """The logs of all apps since the sandbox was started, and who reads them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._apps: dict[str, deque[Line]] = {}
        self._followed: dict[str, _Followed] = {}
        self._sessions: dict[str, Session] = {}
        self._reader: threading.Thread | None = None

    def write(self, app_id: str, source: str, dyno: str, text: str) -> None:
        """Adds a line to an app's log."""
        with self._changed:
            lines = self._apps.setdefault(app_id, deque(maxlen=KEPT))
            number = lines[-1].number + 1 if lines else 1
            lines.append(Line(number=number, at=now(), source=source, dyno=dyno, text=text))
            self._changed.notify_all()

    def follow(self, dyno_id: str, app_id: str, name: str, output: Path) -> None:
        """Begins to copy what a dyno prints."""
        with self._changed:
            self._followed[dyno_id] = _Followed(app_id, name, output.open("rb"))
            if self._reader is None:
                self._reader = threading.Thread(target=self._read_outputs, daemon=True)
                self._reader.start()
            self._changed.notify_all()

    def _read_outputs(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._followed)
                for followed in self._followed.values():
                    self._copy(followed)
            time.sleep(_LOOK_SECONDS)

    def _copy(self, followed: _Followed, *, ended: bool = False) -> None:
        for text in followed.lines(ended=ended):
            self.write(followed.app_id, "app", followed.dyno, text)

    def ended(self, dyno_id: str) -> None:
        """Copies the rest of what a dyno has printed. Does nothing for one that was not followed."""
        with self._changed:
            followed = self._followed.pop(dyno_id, None)
            if followed:
                with followed.file:
                    self._copy(followed, ended=True)

    def open(
        self,
        app_id: str,
        *,
        lines: int = 100,
        dyno: str | None = None,
        source: str | None = None,
        tail: bool = False,
        seconds: float = 300,
    ) -> Session:
        """Makes a session, whose stream has to be begun within so many seconds."""
        session = Session(
            id=new_id(),
            app_id=app_id,
            lines=min(lines, KEPT),
            dyno=dyno,
            source=source,
            tail=tail,
            expires=now() + timedelta(seconds=seconds),
        )
        with self._changed:
            moment = now()
            self._sessions = {each.id: each for each in self._sessions.values() if each.expires > moment}
            self._sessions[session.id] = session
        return session

    def session(self, session_id: str) -> Session | None:
        """Returns a session whose stream may be begun, else None."""
        with self._changed:
            session = self._sessions.get(session_id)
        return session if session and session.expires > now() else None

    def read(self, session: Session, after: int = 0) -> Iterator[list[Line]]:
        """Yields the lines of a session after that of a number. With `tail` it never ends, and may yield none."""
        with self._changed:
            last = self._last(session.app_id)
            after = after if after <= last else 0  # a number from before the sandbox was started anew
            present = self._after(session.app_id, after)
        shown = [line for line in present if session.wants(line)]
        yield shown if after else shown[max(0, len(shown) - session.lines) :]
        while session.tail:
            fresh = self._await(session.app_id, last)
            last = fresh[-1].number if fresh else last
            yield [line for line in fresh if session.wants(line)]

    def _after(self, app_id: str, number: int) -> list[Line]:
        with self._changed:
            return [line for line in self._apps.get(app_id, ()) if line.number > number]

    def _last(self, app_id: str) -> int:
        with self._changed:
            lines = self._apps.get(app_id)
            return lines[-1].number if lines else 0

    def _await(self, app_id: str, number: int) -> list[Line]:
        """Waits for lines after that of a number; returns none when for a while there are none."""
        with self._changed:
            self._changed.wait_for(lambda: self._last(app_id) > number, _BREATH_SECONDS)
            return self._after(app_id, number)

    def forget(self, app_id: str) -> None:
        """Drops the log of an app that is destroyed."""
        with self._changed:
            self._apps.pop(app_id, None)
