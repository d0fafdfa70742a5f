"""The relay: listens on loopback, passes sessions on to the database, and sees each of them to its end.

Every session has a thread of its own, so that its beginning can be written as it happens, one step after the other, and
no session waits for another's handshake. A thread that waits costs next to nothing.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from release.witness.authentication import new_password
from release.witness.session import Opened, Session
from release.witness.tls import Certificate
from release.witness.upstream import Upstream
from release.witness.verdict import Seen
from release.witness.vocabulary import Vocabulary

LOOPBACK: Final = "127.0.0.1"

BACKLOG: Final = 128

GIVEN_UP_SECONDS: Final = 3.0
"""For the threads of sessions that were cut off to see it: as long as a cancel request may take."""

PORTS: Final = 65_536
"""How many TCP ports there are: one byte for each that was used, however many connections there were."""


class Entrance(Struct, frozen=True, kw_only=True):
    """Where a client reaches a database through the witness, and with which password. The user stays the same."""

    host: str
    port: int
    password: str

    def __repr__(self) -> str:
        return f"Entrance(host={self.host!r}, port={self.port})"


class Relay:
    """A context manager that listens while it is open. When it is left, none of its sessions lives.

    `opened` is called in the session's own thread, before its first statement can pass. What it raises is a doubt of
    the session, and nothing more. `patience`: seconds in which sessions must end, once their client is gone.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        opened: Callable[[Opened], None] = lambda _: None,
        certificate: Certificate | None = None,
        patience: float = 10.0,
    ) -> None:
        self._clock = clock
        self._opened = opened
        self._certificate = certificate or Certificate()
        self._patience = patience
        self._lock = threading.Lock()
        self._sessions: dict[Session, threading.Thread] = {}
        self._past = Seen()
        self._ports = bytearray(PORTS)
        self._wake, self._waker = os.pipe()
        self._listeners: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def listen(self, upstream: Upstream, vocabulary: Vocabulary | None = None) -> Entrance:
        """Opens an entrance to a server. Raises OSError."""
        door = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
        door.setblocking(False)
        password = new_password()
        upstream = replace(upstream, connected=self._connected)
        # A thread each: a poll that has begun does not learn of a door that is opened later.
        about = [door, upstream, password, vocabulary or Vocabulary()]
        listener = threading.Thread(target=self._accept, args=about, name="witness", daemon=True)
        self._listeners.append(listener)
        listener.start()
        return Entrance(host=LOOPBACK, port=door.getsockname()[1], password=password)

    @property
    def root_certificate(self) -> bytes:
        """The authority behind the witness's certificate, in PEM: for clients that verify (`sslrootcert`)."""
        return self._certificate.made().root

    def seen(self) -> Seen:
        """What was seen so far, in sessions that have ended and in those that have not."""
        with self._lock:
            return reduce(Seen.plus, (session.seen() for session in self._sessions), self._past)

    def ports(self) -> frozenset[int]:
        """Local TCP ports of all connections to servers that it has opened so far, whether they are open still or not.

        A port is here once its connection stands, so sockets are to be listed first and this is to be asked after that.
        """
        return frozenset(port for port, used in enumerate(self._ports) if used)

    def end(self) -> Seen:
        """Lets nobody in any more, sees all sessions to their end, and returns what was seen. May be called again."""
        if self._waker >= 0:
            os.close(self._waker)  # readable for all that poll the other end
            self._waker = -1
            until = time.monotonic() + self._patience + 1
            with self._lock:
                sessions = list(self._sessions)
            for session in sessions:
                session.interrupt()
            self._join(until)
            with self._lock:
                late = list(self._sessions)
            for session in late:
                session.give_up()
            self._join(time.monotonic() + GIVEN_UP_SECONDS)
            if not list(self._threads()):
                os.close(self._wake)
        return self.seen()

    def _join(self, until: float) -> None:
        for thread in self._threads():
            thread.join(max(0.0, until - time.monotonic()))

    def _connected(self, port: int) -> None:
        self._ports[port] = 1

    def _threads(self) -> Iterator[threading.Thread]:
        with self._lock:
            threads = [*self._listeners, *self._sessions.values()]
        yield from (thread for thread in threads if thread.is_alive())

    def _accept(self, door: socket.socket, upstream: Upstream, password: str, vocabulary: Vocabulary) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(door, select.POLLIN)
        with door:
            while self._wake not in dict(poll.poll()):
                with suppress(OSError):
                    self._begin(door, upstream, password, vocabulary)

    def _begin(self, door: socket.socket, upstream: Upstream, password: str, vocabulary: Vocabulary) -> None:
        client, _ = door.accept()
        session = Session(
            client=client,
            upstream=upstream,
            password=password,
            certificate=self._certificate,
            clock=self._clock,
            vocabulary=vocabulary,
            opened=self._opened,
            cancel=self._cancel,
            wake=self._wake,
            patience=self._patience,
        )
        thread = threading.Thread(target=self._run, args=[session], name="witness session", daemon=True)
        with self._lock:
            self._sessions[session] = thread
        thread.start()

    def _run(self, session: Session) -> None:
        try:
            session.run()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it costs a doubt and nothing more
            session.doubt(error)
        finally:
            with self._lock:
                del self._sessions[session]
                self._past = self._past.plus(session.seen())

    def _cancel(self, process: bytes) -> None:
        """Passes a client's cancel request on, to the server that the session with this pid and key is on."""
        with self._lock:
            found = [session for session in self._sessions if process and session.process == process]
        for session in found:
            session.upstream.cancel(process)
