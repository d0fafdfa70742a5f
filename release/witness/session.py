"""One session through the witness: its beginning, its bytes both ways, and its end, which the witness sees to."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from release.witness.authentication import Refused
from release.witness.conversation import Conversation
from release.witness.greeting import (
    CONNECTION_FAILURE,
    FEATURE_NOT_SUPPORTED,
    INVALID_PASSWORD,
    PROTOCOL_VIOLATION,
    Caller,
    Cancel,
    Greeting,
    knock,
)
from release.witness.protocol import FROM_CLIENT, FROM_SERVER, Frames, Message, ProtocolError, Startup, fatal, message
from release.witness.pump import Pump, Way, close, half_close
from release.witness.tls import Certificate
from release.witness.upstream import Connection, Unreachable, Upstream
from release.witness.verdict import Seen
from release.witness.vocabulary import Vocabulary

FIRST_CANCEL: Final = 0.1
LAST_CANCEL: Final = 2.0
"""Seconds between one cancel request and the next: a cancel can come too early, and a pipeline has many statements."""

CANCEL_SECONDS: Final = 1.0
"""For each step of a cancel request that is the witness's own: a server that does not answer is not waited for."""

LINGER: Final = 0.5
"""Seconds in which a client may read the server's last words."""

TERMINATE: Final = message(b"X")


class Opened(Struct, frozen=True, kw_only=True):
    """A session that is about to run its first statement: its server process, and who it says it is."""

    pid: int
    user: str
    database: str
    application: str
    upstream: Upstream


class Session:
    """A client's connection and what becomes of it. It runs in one thread; `seen` may be asked in others."""

    def __init__(
        self,
        *,
        client: socket.socket,
        upstream: Upstream,
        password: str,
        certificate: Certificate,
        clock: Callable[[], float],
        vocabulary: Vocabulary,
        opened: Callable[[Opened], None],
        cancel: Callable[[bytes], None],
        wake: int,
        patience: float,
    ) -> None:
        self.upstream = upstream
        self.process = b""
        self._caller = Caller(client, certificate)
        self._password = password
        self._opened = opened
        self._cancel = cancel
        self._wake = wake
        self._patience = patience
        self._conversation = Conversation(clock=clock, vocabulary=vocabulary)
        self._pid: int | None = None
        self._server: Connection | None = None
        self._given_up = False
        self._asked = Frames(FROM_CLIENT)
        self._answered = Frames(FROM_SERVER)
        self._blind = False

    def seen(self) -> Seen:
        """What was seen so far."""
        return self._conversation.seen(self._pid)

    def doubt(self, error: Exception) -> None:
        """Something in the witness itself has failed."""
        self._conversation.doubt(f"the witness failed: {type(error).__name__}: {error}")

    def interrupt(self) -> None:
        """Cuts off a session that has not begun, on both sides; one that has is told by the wakened pump."""
        if self._pid is None:
            self._given_up = True
            self._cut(self._caller.connection)
            self._cut(self._server)

    def give_up(self) -> None:
        """Cuts off the server, which does not answer: what becomes of its session nobody can say."""
        self._conversation.doubt("it was given up, since it did not end in time")
        self._given_up = True
        self._cut(self._server)

    def _cut(self, connection: Connection | None) -> None:
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def run(self) -> None:
        """From the client's first byte to the server's last."""
        try:
            asked = self._caller.ask()
        except ProtocolError as error:
            refuse(self._caller.connection, PROTOCOL_VIOLATION, str(error))
        except OSError:
            close(self._caller.connection)
        else:
            self._take(self._caller.connection, asked)

    def _take(self, client: Connection, asked: Startup | Cancel) -> None:
        if isinstance(asked, Startup):
            self._serve(client, asked)
        else:
            self._cancel(asked.process)
            close(client)

    def _serve(self, client: Connection, asked: Startup) -> None:
        if asked.replication:
            self._refuse(client, FEATURE_NOT_SUPPORTED, "the release phase's witness passes no replication connections")
            return
        try:
            if self._greeted(client, asked) and self._server:
                self._relay(client, self._server)
        except Unreachable as error:
            self._refuse(client, CONNECTION_FAILURE, f"the database could not be reached: {error}")
        except Refused as error:
            self._refuse(client, INVALID_PASSWORD, str(error))
        except ProtocolError as error:
            self._conversation.doubt(f"the protocol was broken: {error}")
            self._refuse(client, PROTOCOL_VIOLATION, str(error))
        except OSError as error:
            self._refuse(client, CONNECTION_FAILURE, f"the connection to the database was lost: {error}")
        finally:
            self._conversation.ended()
            if self._server:
                close(self._server)
            close(client)

    def _greeted(self, client: Connection, asked: Startup) -> bool:
        greeting = Greeting(client, knock(self.upstream, asked, self._connected), self.upstream, asked)
        begun = greeting.exchange(self._password, lambda seen: self._conversation.from_server([seen]))
        if begun is None:
            return False
        self.process = begun.process
        self._pid = begun.pid
        self._tell(asked)
        client.sendall(message(b"Z", b"I"))
        return True

    def _connected(self, server: Connection) -> None:
        """Keeps the server's connection, so that `give_up` finds it. Raises ConnectionAbortedError after that."""
        self._server = server
        if self._given_up:
            raise ConnectionAbortedError("the command is over")

    def _tell(self, asked: Startup) -> None:
        user, database, application = (
            asked.get(name).decode(errors="replace") for name in (b"user", b"database", b"application_name")
        )
        opened = Opened(
            pid=self._pid or 0, user=user, database=database or user, application=application, upstream=self.upstream
        )
        try:
            self._opened(opened)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it must not take the app's session with it
            self._conversation.doubt(f"its beginning could not be noted: {type(error).__name__}")

    def _relay(self, client: Connection, server: Connection) -> None:
        up = Way(client, server, self._looking(self._asked, self._conversation.from_client))
        down = Way(server, client, self._looking(self._answered, self._conversation.from_server))
        pump = Pump(up, down, self._wake)
        while not (down.ended or pump.client_gone or pump.woken):
            pump.step(None)
        if down.ended:
            self._last_words(pump)
        else:
            self._farewell(pump)

    def _looking(self, frames: Frames, take: Callable[[list[Message]], None]) -> Callable[[memoryview], None]:
        """What looks at one direction. Where it fails the bytes pass unseen, and nothing sure is said any more."""

        def look(data: memoryview) -> None:
            if self._blind:
                return
            try:
                take(frames.feed(data))
            except Exception as error:  # noqa: BLE001 -- whatever it is, it must not take the app's session with it
                self._blind = True
                self.doubt(error)

        return look

    def _last_words(self, pump: Pump) -> None:
        """The server has closed: the client gets what is left, and the end of it.

        What the client still sends is read and thrown away for a moment: closing before it is read would reset the
        connection, and take the server's last words with it.
        """
        self._conversation.ended()
        self._blind = True
        until = time.monotonic() + LINGER
        while not pump.down.empty and not pump.client_gone and (left := until - time.monotonic()) > 0:
            pump.step(left)
        half_close(pump.up.source)
        pump.up.discard()
        while not pump.client_gone and (left := until - time.monotonic()) > 0:
            pump.step(left)

    def _farewell(self, pump: Pump) -> None:
        """The client is gone: what it left running is cancelled, and the server's last word is waited for."""
        until = time.monotonic() + self._patience
        pause, cancel_at = FIRST_CANCEL, 0.0
        pump.client_gone = True
        pump.down.discard()
        said = False
        while not pump.down.ended:
            now = time.monotonic()
            if now >= until:
                self._conversation.doubt("it did not end when it was cancelled")
                return
            if not said and pump.up.empty:
                said = self._say_goodbye(pump)
            if self._conversation.busy and now >= cancel_at:
                self.upstream.cancel(self.process, min(until - now, CANCEL_SECONDS))
                cancel_at, pause = time.monotonic() + pause, min(2 * pause, LAST_CANCEL)
            pump.step(min(until - now, pause))

    def _say_goodbye(self, pump: Pump) -> bool:
        """Terminate, where a message may stand; in the middle of one, or of a COPY, the end of all bytes."""
        if self._asked.between and not self._blind and not self._conversation.copying:
            pump.up.put(TERMINATE)
            pump.up.flush()
        else:
            half_close(pump.up.sink)
        return True

    def _refuse(self, client: Connection, sqlstate: str, text: str) -> None:
        """Says no, and keeps what was said: it may be the last error of a command that fails.

        Not when the command is over, and this is the end of it.
        """
        if not self._given_up:
            self._conversation.refused(sqlstate, text)
        refuse(client, sqlstate, text)


def refuse(client: Connection, sqlstate: str, text: str) -> None:
    """Says no, in words that a driver shows."""
    with suppress(OSError, ValueError):
        client.settimeout(LINGER)
        client.sendall(fatal(sqlstate, text))
    close(client)
