"""Bytes between two sockets, both ways at once in one thread, with a buffer of bounded size for each way."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from release.witness.upstream import Connection

FIRST_BYTES: Final = 4_096
BUFFER_BYTES: Final = 65_536
"""A way's buffer to begin with, and at most: most sessions never fill the first."""

_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_HALF_CLOSED: Final = getattr(select, "POLLRDHUP", 0)
"""Linux only: the other side has closed, though there may be bytes to read."""

_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL | _HALF_CLOSED


class Way:
    """One direction. `look` sees the bytes before they are passed on; `ended`: the source has closed."""

    def __init__(self, source: Connection, sink: Connection, look: Callable[[memoryview], None]) -> None:
        self.source = source
        self.sink = sink
        self.ended = False
        self.discards = False
        self._look = look
        self._view = memoryview(bytearray(FIRST_BYTES))
        self._start = self._end = 0

    @property
    def empty(self) -> bool:
        """Whether all that was read was passed on."""
        return self._start == self._end

    @property
    def buffered(self) -> bool:
        """Whether TLS holds bytes that no poll of the socket tells of."""
        return isinstance(self.source, ssl.SSLSocket) and self.source.pending() > 0

    def discard(self) -> None:
        """From now on what comes is looked at and thrown away."""
        self.discards = True
        self._start = self._end = 0

    def put(self, data: bytes) -> None:
        """Adds a message of the witness's own, after all that was passed on."""
        self._view[: len(data)] = data
        self._start, self._end = 0, len(data)

    def move(self) -> None:
        """Reads what there is, shows it, and passes on what the other side takes."""
        self._read()
        filled = self._end == len(self._view)
        if self._end:
            self._look(self._view[: self._end])
        if self.discards:
            self._start = self._end = 0
        self.flush()
        if filled and self.empty and len(self._view) < BUFFER_BYTES:
            self._view = memoryview(bytearray(2 * len(self._view)))

    def flush(self) -> None:
        """Passes on what the other side takes. Of one that takes nothing any more the rest is thrown away."""
        while self._start < self._end:
            try:
                self._start += self.sink.send(self._view[self._start : self._end])
            except _LATER:
                return
            except OSError:
                self.discard()
        self._start = self._end = 0

    def _read(self) -> None:
        secure = isinstance(self.source, ssl.SSLSocket)
        while self._end < len(self._view):
            try:
                count = self.source.recv_into(self._view[self._end :])
            except _LATER:
                return
            except OSError:
                count = 0
            self._end += count
            self.ended = not count
            if self.ended or not secure:
                return


class Pump:
    """Two ways, and what wakes them: a socket of either side, or the descriptor `wake` becoming readable."""

    def __init__(self, up: Way, down: Way, wake: int) -> None:
        self.up = up
        self.down = down
        self.client_gone = False
        self.woken = False
        self._wake = wake
        self._poll = select.poll()
        self._poll.register(wake, select.POLLIN)
        self._interests: dict[int, int] = {}
        for connection in (up.source, up.sink):
            connection.setblocking(False)
        self._client = up.source.fileno()
        self._server = up.sink.fileno()

    def step(self, seconds: float | None) -> None:
        """Waits for something to move and moves it; at most so many seconds, None for as long as it takes."""
        self._interests_now()
        up, down = self.up, self.down
        at_once = (up.buffered and self._reads(up)) or (down.buffered and self._reads(down))
        events = dict(self._poll.poll(0 if at_once else None if seconds is None else seconds * 1000))
        if events.pop(self._wake, 0):
            self._poll.unregister(self._wake)
            self.woken = True
        client, server = events.get(self._client, 0), events.get(self._server, 0)
        self._move(down, ready=server, writable=client)
        self._move(up, ready=client, writable=server)
        if client & _GONE and not self._reads(up):
            self.client_gone = True
        self.client_gone |= up.ended

    def _reads(self, way: Way) -> bool:
        """Whether a way takes more: it has passed on what it had."""
        return way.empty and not way.ended and not (way is self.up and self.client_gone)

    def _move(self, way: Way, *, ready: int, writable: int) -> None:
        if not way.empty:
            if writable:
                way.flush()
        elif (ready or way.buffered) and self._reads(way):
            way.move()

    def _interests_now(self) -> None:
        """Tells the poll what to wait for. A socket that is done with is not asked, or it would answer all the time."""
        client = 0 if self.client_gone else _HALF_CLOSED
        server = 0
        if self._reads(self.up):
            client |= select.POLLIN
        if self._reads(self.down):
            server |= select.POLLIN
        if not self.up.empty:
            server |= select.POLLOUT
        if not self.down.empty:
            client |= select.POLLOUT
        self._ask(self._client, client)
        self._ask(self._server, server)

    def _ask(self, number: int, interest: int) -> None:
        before = self._interests.get(number, 0)
        if interest == before:
            return
        if not interest:
            self._poll.unregister(number)
        else:
            self._poll.register(number, interest)
        self._interests[number] = interest


def half_close(connection: Connection) -> None:
    """Tells the other side that nothing more comes, without ending TLS, whose answers are still to be read."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)


def close(connection: Connection) -> None:
    """Closes at once, with TLS's own goodbye where it can be sent without waiting."""
    with suppress(OSError, ValueError):
        if isinstance(connection, ssl.SSLSocket):
            connection.setblocking(False)
            connection.unwrap()
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)
    connection.close()
