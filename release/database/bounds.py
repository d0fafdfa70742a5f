"""Bounds: every wait for the server ends on this side, too, whatever has become of the server.

A backend that is stopped, or a network that swallows packets, keeps no statement_timeout. So the connection counts how
long it has waited. It gives up a little after the server should have, soon after a signal (Heroku kills 30 s after
SIGTERM), and at a deadline where one is set. psycopg hands its waiting over as a generator that is resumed when data
comes and every tenth of a second. The time is checked there, so that no thread and no timer is needed.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic
from typing import Any, Final

import psycopg
from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict

from release.clock import Deadline, Signals

STATEMENT: Final = 30.0
"""Seconds that a statement may take in the server, unless it is allowed more."""

MARGIN: Final = 3.0
"""Seconds that the server gets beyond that to answer that it has given up."""

CONNECT: Final = 10.0
"""Seconds for a connection, and as many again for the answer of the name server."""

AFTER_SIGNAL: Final = 2.0
"""Seconds that a statement may go on after a signal that nobody has taken note of yet."""

LAST: Final = 20.0
"""Seconds after a signal at which all waiting ends: ten are left until Heroku kills."""

LEAST: Final = 0.5
"""Seconds that every statement gets even after a deadline. A server that is well answers sooner."""

STOPPED: Final = 1.0
"""Seconds that a pause between two checks counts at most. A longer one is this process's own, as after SIGSTOP."""


class Silent(psycopg.OperationalError):
    """A server that has not answered in time. The connection to it is closed."""


class Patience(Struct, kw_only=True):
    """The patience with the server, in real seconds. `statement` is the server's own statement_timeout."""

    signals: Signals | None = None
    deadline: Deadline | None = None
    statement: float = STATEMENT
    margin: float = MARGIN

    def over(self, waited: float) -> bool:
        """Says whether a wait of so many seconds has been long enough."""
        if waited > self.statement + self.margin:
            return True
        if waited <= LEAST:
            return False
        if self.deadline is not None and self.deadline.expired:
            return True
        late = self._since_signal()
        return late > LAST or (late > AFTER_SIGNAL and waited > AFTER_SIGNAL and self._pending)

    def connecting(self) -> float:
        """Returns the seconds for a connection. Raises Silent when no time is left for one."""
        left = min(CONNECT, LAST - self._since_signal())
        if self.deadline is not None:
            left = min(left, self.deadline.real_left())
        if left <= 0:
            raise Silent("no time is left to connect to the server")
        return max(2.0, left)  # libpq takes a shorter connect_timeout for 2 s.

    def _since_signal(self) -> float:
        received = self.signals.received if self.signals else None
        return monotonic() - received.at if received else 0.0

    @property
    def _pending(self) -> bool:
        return self.signals is not None and self.signals.pending


class Bounded(psycopg.Connection[Any]):
    """A connection that gives up a server that does not answer. It raises Silent then, and is closed."""

    patience: Patience = Patience()

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **named: Any) -> Any:
        """Waits as psycopg's own method does, through which all statements go. Raises Silent."""
        try:
            return super().wait(self._watched(gen), *args, **named)
        except Silent:
            self.pgconn.finish()
            raise

    def _watched(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        waited, checked, wanted = 0.0, monotonic(), None
        while True:
            try:
                wanted = gen.send((yield wanted) if wanted is not None else None)
            except StopIteration as done:
                return done.value
            now = monotonic()
            waited, checked = waited + min(now - checked, STOPPED), now
            if self.patience.over(waited):
                raise Silent(f"the server did not answer for {waited:.0f} s")


def connect(url: str, patience: Patience, **parameters: Any) -> Bounded:
    """Connects within the patience, also when the server or the name server is silent.

    Raises psycopg.OperationalError.
    """
    seconds = patience.connecting()
    addresses = _addresses(conninfo_to_dict(url), seconds, patience)
    # libpq gives every address the whole connect_timeout, in whole seconds and at least 2.
    per_address = max(2, int(seconds / max(1, len(addresses.get("hostaddr", "").split(",")))))
    connection = Bounded.connect(url, connect_timeout=per_address, **addresses, **parameters)
    connection.patience = patience
    patience.statement, patience.margin = STATEMENT, MARGIN
    return connection


@contextmanager
def allowing(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Limits the statements of the block to so many seconds, in the server and here."""
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
    """Limits every later statement to so many seconds, in the server and here."""
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(max(1, int(seconds * 1000)))])
    if isinstance(connection, Bounded):
        connection.patience.statement, connection.patience.margin = seconds, margin


def _addresses(parameters: dict[str, Any], seconds: float, patience: Patience) -> dict[str, Any]:
    """Looks the addresses of a host up and returns them as parameters; none where the host is no name to look up.

    libpq would ask the name server itself, without any limit of time. Raises Silent or psycopg.OperationalError.
    """
    host = str(parameters.get("host") or "")
    if not host or "," in host or host.startswith("/") or parameters.get("hostaddr") or _is_address(host):
        return {}
    answers: list[list[Any] | Exception] = []

    def look_up() -> None:
        try:
            port = parameters.get("port") or "5432"
            answers.append(socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    lookup = Thread(target=look_up, daemon=True)  # getaddrinfo knows no time limit.
    lookup.start()
    waited = 0.0
    while not answers and waited < seconds and not patience.over(waited):
        lookup.join(0.1)
        waited += 0.1
    answer = answers[0] if answers else None
    if answer is None:
        raise Silent(f"the name server did not answer for {waited:.0f} s, asked for {host!r}")
    if isinstance(answer, Exception):
        raise psycopg.OperationalError(f"failed to resolve host {host!r}: {answer}")
    # getaddrinfo gives tuples whose last field is the socket address, (address, port, …). libpq wants a host for each.
    addresses = list(dict.fromkeys(item[4][0] for item in answer))
    return {"host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses)}


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except OSError:
            continue
        return True
    return False
