"""Bounds: every wait for the server ends on this side, too, whatever has become of the server.

A backend that is stopped, or a network that swallows packets, keeps no statement_timeout. So the connection counts how
long it has waited and gives up a little after the server should have; soon after a signal, since Heroku kills 30 s
after SIGTERM; and at a deadline, where one is set. psycopg hands its waiting over as a generator that is resumed
when data comes and every tenth of a second, which is where it is looked at: no thread, no timer.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from release.clock import Deadline, Signals

STATEMENT: Final = 30.0
"""Seconds that a statement may take in the server, unless it is allowed more."""

MARGIN: Final = 3.0
"""Seconds that the server gets beyond that to say that it has given up."""

CONNECT: Final = 10.0
"""Seconds for a connection, and as many for the answer of the name server."""

AFTER_SIGNAL: Final = 2.0
"""Seconds that a statement may go on after a signal which nobody has taken note of yet."""

LAST: Final = 20.0
"""Seconds after a signal when nothing is waited for any longer."""

LEAST: Final = 0.5
"""Seconds that every statement gets: a server that is well answers sooner."""

STOPPED: Final = 1.0
"""A longer pause between two looks was this process's own (SIGSTOP, a laptop's lid), and is not counted as more."""


class Silent(psycopg.OperationalError):
    """The server has not answered in time. The connection is closed."""


@dataclass(slots=True, kw_only=True)
class Patience:
    """How long is waited for the server. `statement`: its own statement_timeout; all seconds are real ones."""

    signals: Signals | None = None
    deadline: Deadline | None = None
    statement: float = STATEMENT
    margin: float = MARGIN

    def over(self, waited: float) -> bool:
        """Whether a wait of so many seconds has been long enough."""
        if waited > self.statement + self.margin:
            return True
        if waited <= LEAST:
            return False
        if self.deadline is not None and self.deadline.expired:
            return True
        late = self._since_signal()
        return late > LAST or (late > AFTER_SIGNAL and waited > AFTER_SIGNAL and self._pending)

    def connecting(self) -> float:
        """Seconds for a connection. Raises Silent when there is no time for one."""
        left = min(CONNECT, LAST - self._since_signal())
        if self.deadline is not None:
            left = min(left, self.deadline.real_left())
        if left <= 0:
            raise Silent("no time is left to connect to the server")
        return max(2.0, left)  # libpq's own least

    def _since_signal(self) -> float:
        received = self.signals.received if self.signals else None
        return monotonic() - received.at if received else 0.0

    @property
    def _pending(self) -> bool:
        return self.signals is not None and self.signals.pending


class Bounded(psycopg.Connection[Any]):
    """A connection that gives up a server which does not answer. Every statement then raises Silent, once."""

    patience: Patience = Patience()

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **named: Any) -> Any:
        """As psycopg's own, which all statements go through."""
        try:
            return super().wait(self._watched(gen), *args, **named)
        except Silent:
            self.pgconn.finish()
            raise

    def _watched(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        waited, looked, wanted = 0.0, monotonic(), None
        while True:
            try:
                wanted = gen.send((yield wanted) if wanted is not None else None)
            except StopIteration as done:
                return done.value
            now = monotonic()
            waited, looked = waited + min(now - looked, STOPPED), now
            if self.patience.over(waited):
                raise Silent(f"the server did not answer for {waited:.0f} s")


def connect(url: str, patience: Patience, **parameters: Any) -> Bounded:
    """A connection, or psycopg.OperationalError, in time: also when the name server is silent, or the server is."""
    seconds = patience.connecting()
    found = _addresses(conninfo_to_dict(url), seconds, patience)
    each = max(2, int(seconds / max(1, len(found.get("hostaddr", "").split(",")))))
    connection = Bounded.connect(url, connect_timeout=each, **found, **parameters)
    connection.patience = patience
    patience.statement, patience.margin = STATEMENT, MARGIN
    return connection


@contextmanager
def allowing(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Gives statements of the block so many seconds, in the server and here."""
    (before,) = connection.execute("SELECT current_setting('statement_timeout')").fetchall()[0]
    patience = connection.patience if isinstance(connection, Bounded) else Patience()
    usual = patience.statement
    limit(connection, seconds)
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("SELECT set_config('statement_timeout', %s, false)", [before])
            patience.statement = usual


def limit(connection: psycopg.Connection[Any], seconds: float, *, margin: float = MARGIN) -> None:
    """Gives every statement from here on so many seconds, in the server and here."""
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(max(1, int(seconds * 1000)))])
    if isinstance(connection, Bounded):
        connection.patience.statement, connection.patience.margin = seconds, margin


def _addresses(parameters: dict[str, Any], seconds: float, patience: Patience) -> dict[str, Any]:
    """The addresses of a host that is named, as parameters; nothing where there is no name to ask for."""
    host = str(parameters.get("host") or "")
    if not host or "," in host or host.startswith("/") or parameters.get("hostaddr") or _is_address(host):
        return {}
    answers: list[list[Any] | Exception] = []

    def ask() -> None:
        try:
            port = parameters.get("port") or "5432"
            answers.append(socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    asking = Thread(target=ask, daemon=True)  # getaddrinfo knows no time limit
    asking.start()
    waited = 0.0
    while not answers and waited < seconds and not patience.over(waited):
        asking.join(0.1)
        waited += 0.1
    answer = answers[0] if answers else None
    if answer is None:
        raise Silent(f"the name server did not answer for {waited:.0f} s, asked for {host!r}")
    if isinstance(answer, Exception):
        raise psycopg.OperationalError(f"failed to resolve host {host!r}: {answer}")
    found = list(dict.fromkeys(item[4][0] for item in answer))
    return {"host": ",".join([host] * len(found)), "hostaddr": ",".join(found)}


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except OSError:
            continue
        return True
    return False
