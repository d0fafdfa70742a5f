"""A wire between the witness and the server that knows where messages begin, and breaks at one of them.

A driver's conversation is recorded once and then played again and again, each time with a fault at another message.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from release.witness.protocol import CANCEL_REQUEST, Startup, message, startup_packet
from release.witness.relay import Entrance

LATE_SECONDS: Final = 0.015
LEAVE_SECONDS: Final = 0.005
"""How soon a client is gone that is to leave."""
PLAY_SECONDS: Final = 10.0
"""A conversation takes a thousandth of that; a client that waits longer waits for an answer that nobody gives."""

HEADER_BYTES: Final = 5

AT_ANY_TIME: Final = b"NSA"
"""Messages that the server may send whenever it likes: notices, settings, notifications."""


class Break(StrEnum):
    """What happens to a message."""

    CUT = "cut"
    HALF = "half, then cut"
    LATE = "late"
    GONE = "server gone"
    """Both sides are told by a reset, as of a server that is no more."""
    LEFT = "client gone"
    """The message comes late, and the client has closed its session before that."""


class Direction(StrEnum):
    """Whose message it is."""

    SERVER = "of the server"
    CLIENT = "of the client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A break at the n-th message of a direction; those of the greeting count, too."""

    what: Break
    direction: Direction
    n: int


class Passed(NamedTuple):
    """A message that has passed the wire."""

    direction: Direction
    data: bytes

    @property
    def kind(self) -> bytes:
        return self.data[:1]


@dataclass(slots=True, kw_only=True)
class Wire:
    """A wire to a server, with a fault at most. `passed`: the messages of the session after its startup packet."""

    host: str
    port: int
    fault: Fault | None = None
    fired: threading.Event = field(default_factory=threading.Event)
    passed: list[Passed] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[int]:
        """Listens; yields the port."""
        door = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=self._accept, args=[door])
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            with suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()
            thread.join()

    def _accept(self, door: socket.socket) -> None:
        threads: list[threading.Thread] = []
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                threads.append(threading.Thread(target=self._connected, args=[client]))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _connected(self, client: socket.socket) -> None:
        with client, socket.create_connection((self.host, self.port)) as server, suppress(OSError):
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = client.recv(65536)
            server.sendall(first)
            if first[4:8] == CANCEL_REQUEST.to_bytes(4):
                server.recv(1)
            else:
                self._carry(Side(client, server, Direction.CLIENT), Side(server, client, Direction.SERVER))

    def _carry(self, *sides: Side) -> None:
        """Both directions in one thread, so that a reset finds nobody who still reads. Raises OSError at a break."""
        open_sides = {side.source: side for side in sides}
        while open_sides:
            for source in select.select(open_sides, [], [])[0]:
                side = open_sides[source]
                if data := source.recv(65536):
                    for each in side.messages(data):
                        self._pass(side, each)
                else:
                    del open_sides[source]
                    side.sink.shutdown(socket.SHUT_WR)

    def _pass(self, side: Side, data: bytes) -> None:
        self.passed.append(Passed(side.direction, data))
        side.count += 1
        fault = self.fault
        if not fault or (fault.direction, fault.n) != (side.direction, side.count):
            side.sink.sendall(data)
            return
        self.fired.set()
        if fault.what in {Break.LATE, Break.LEFT}:
            time.sleep(LATE_SECONDS)
            side.sink.sendall(data)
            return
        if fault.what is Break.HALF:
            side.sink.sendall(data[: len(data) // 2])
        if fault.what is Break.GONE:
            for each in (side.source, side.sink):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionResetError


@dataclass(slots=True, eq=False)
class Side:
    """One direction of a wire, and how many messages have come that way."""

    source: socket.socket
    sink: socket.socket
    direction: Direction
    count: int = 0
    _rest: bytes = b""

    def messages(self, data: bytes) -> Iterator[bytes]:
        """The messages that end in these bytes, each whole."""
        self._rest += data
        while len(self._rest) > (length := int.from_bytes(self._rest[1:5])) and len(self._rest) >= HEADER_BYTES:
            found, self._rest = self._rest[: length + 1], self._rest[length + 1 :]
            yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a driver sends at once, and how many answers it had before that."""

    after: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A driver's conversation: what it sends, and the types of the server's answers, in their order."""

    batches: tuple[Batch, ...]
    answers: bytes
    greeting: dict[Direction, int]

    @classmethod
    def of(cls, passed: list[Passed]) -> Recording:
        """What a wire has seen of one session."""
        begun = next(at for at, each in enumerate(passed) if each.kind == b"Z") + 1
        batches: list[Batch] = []
        answers = b""
        for direction, data in passed[begun:]:
            if direction is Direction.CLIENT and batches and batches[-1].after == len(answers):
                batches[-1] = replace(batches[-1], data=batches[-1].data + data)
            elif direction is Direction.CLIENT:
                batches.append(Batch(after=len(answers), data=data))
            elif data[:1] not in AT_ANY_TIME:
                answers += data[:1]
        greeting = {each: sum(one.direction is each for one in passed[:begun]) for each in Direction}
        return cls(batches=tuple(batches), answers=answers, greeting=greeting)


class Player:
    """A client that says what a driver said, and leaves when it is answered otherwise than the driver was.

    `leave`: it is gone as soon as this is set.
    """

    def __init__(self, door: Entrance, name: str, leave: Callable[[], bool]) -> None:
        self._door = door
        self._name = name.encode()
        self._leave = leave
        self._answers = b""
        self._connection = socket.socket()

    def play(self, recording: Recording) -> bool:
        """Whether all of it could be said, and all of it was answered as it was."""
        with self._connection as connection, suppress(OSError):
            connection.connect((self._door.host, self._door.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = self._received()
            return self._let_in(received) and self._say(recording, received)
        return False

    def _let_in(self, received: Iterator[bytes]) -> bool:
        asked = Startup(0, ((b"user", self._name), (b"database", self._name)))
        self._connection.sendall(startup_packet(asked, ()))
        if next(received, b"") != b"R":
            return False
        self._connection.sendall(message(b"p", self._door.password.encode() + b"\0"))
        return next((kind for kind in received if kind in {b"Z", b"E"}), b"") == b"Z"

    def _say(self, recording: Recording, received: Iterator[bytes]) -> bool:
        answers = b""
        for batch in (*recording.batches, Batch(after=len(recording.answers) + 1, data=b"")):
            while len(answers) < batch.after:
                kind = next(received, b"")
                answers += b"" if kind in AT_ANY_TIME else kind
                if not kind or not recording.answers.startswith(answers):
                    return answers == recording.answers
            self._connection.sendall(batch.data)
        return False

    def _received(self) -> Iterator[bytes]:
        """The types of the messages that come, until none comes any more, or it leaves."""
        side = Side(self._connection, self._connection, Direction.SERVER)
        until = time.monotonic() + PLAY_SECONDS
        while not self._leave():
            self._connection.settimeout(LEAVE_SECONDS)
            try:
                data = self._connection.recv(65536)
            except TimeoutError:
                assert time.monotonic() < until, "an answer never came, and no end"
                continue
            if not data:
                return
            yield from (each[:1] for each in side.messages(data))
