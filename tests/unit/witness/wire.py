"""A client that speaks the protocol by itself, so that it can stop anywhere, and a wire that can be cut anywhere."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from release.witness.greeting import receive
from release.witness.protocol import Startup, message, startup_packet
from tests.unit.witness.conftest import Witnessed


def query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def parse(text: str, name: str = "") -> bytes:
    return message(b"P", f"{name}\0{text}\0".encode() + b"\0\0")


def bind(portal: str = "", name: str = "") -> bytes:
    return message(b"B", f"{portal}\0{name}\0".encode() + bytes(6))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message(b"E", f"{portal}\0".encode() + rows.to_bytes(4))


def run(text: str) -> bytes:
    """A statement by the extended protocol, but for the Sync."""
    return parse(text) + bind() + execute()


SYNC = message(b"S")
TERMINATE = message(b"X")
COPY_DONE = message(b"c")


def copy_data(data: bytes) -> bytes:
    return message(b"d", data)


class Client:
    """A session through the witness, byte by byte."""

    def __init__(self, witnessed: Witnessed) -> None:
        door, name = witnessed.entrance, witnessed.database.name.encode()
        self.socket = socket.create_connection((door.host, door.port))
        self.socket.settimeout(10)
        self.socket.sendall(startup_packet(Startup(0, ((b"user", name), (b"database", name))), ()))
        assert receive(self.socket) == (b"R", (3).to_bytes(4))
        self.socket.sendall(message(b"p", door.password.encode() + b"\0"))
        self.until(b"Z")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        """Reads up to a message of this type; returns all that came."""
        got = [receive(self.socket)]
        while got[-1][0] != kind:
            got.append(receive(self.socket))
        return got

    def ask(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Sends and waits for ReadyForQuery."""
        self.send(data)
        return self.until(b"Z")

    def close(self) -> None:
        self.socket.close()


@contextmanager
def cut(host: str, port: int, after: int, *, upwards: bool = False) -> Iterator[tuple[int, list[int]]]:
    """A wire to a server that is cut when so many bytes have come back (`upwards`: gone there).

    Yields its port, and the number of bytes that have passed that way so far.
    """
    passed = [0]
    door = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, sink: socket.socket, *, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if counted:
                    data = data[: after - passed[0]]
                    passed[0] += len(data)
                sink.sendall(data)
                if counted and passed[0] >= after:
                    break
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                with client, socket.create_connection((host, port)) as server:
                    back = threading.Thread(target=carry, args=(server, client), kwargs={"counted": not upwards})
                    back.start()
                    carry(client, server, counted=upwards)
                    back.join()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield door.getsockname()[1], passed
    finally:
        with suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)
        door.close()
        thread.join()
