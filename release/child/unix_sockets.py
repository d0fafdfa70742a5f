"""Unix sockets: who is connected to a socket's path.

Only the server's end bears the path; which socket is its peer tells the kernel by netlink (sock_diag(7)).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

from msgspec import Struct

SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
REQUEST_DUMP = 0x301
DONE, ERROR = 3, 2
ALL_STATES = 0xFFFFFFFF
SHOW_NAME, SHOW_PEER = 1, 4
NAME, PEER = 0, 2
"""Numbers of linux/netlink.h, linux/sock_diag.h and linux/unix_diag.h."""

HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBHIIIII")
MESSAGE = struct.Struct("=BBBBIII")
ATTRIBUTE = struct.Struct("=HH")
PATIENCE = 0.5
"""Seconds in which the kernel has to answer; it does so at once."""


class UnixClient(Struct, frozen=True, kw_only=True):
    """A connection to a socket's path: the client's socket."""

    path: str
    inode: str


def unix_clients(wanted: Callable[[str], bool]) -> list[UnixClient]:
    """Returns who is connected to the paths wanted. Raises `OSError` where the kernel does not tell."""
    found = []
    for attributes in _dump():
        path = attributes.get(NAME, b"").rstrip(b"\0").replace(b"\0", b"@").decode(errors="replace")
        (peer,) = struct.unpack("=I", attributes.get(PEER, b"\0\0\0\0"))
        if peer and wanted(path):  # without one it only listens, or its client has closed
            found.append(UnixClient(path=path, inode=str(peer)))
    return found


def _dump() -> Iterator[dict[int, bytes]]:
    """Yields the name and the peer of each Unix socket."""
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError("no netlink: not Linux")
    question = REQUEST.pack(socket.AF_UNIX, 0, 0, ALL_STATES, 0, SHOW_NAME | SHOW_PEER, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
        kernel.settimeout(PATIENCE)
        kernel.send(HEADER.pack(HEADER.size + len(question), SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, 1, 0) + question)
        while True:
            for kind, body in _messages(kernel.recv(1 << 16)):
                if kind == DONE:
                    return
                if kind == ERROR:
                    raise OSError("the kernel tells no Unix sockets")
                yield dict(_attributes(body[MESSAGE.size :]))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        yield kind, data[HEADER.size : length]
        data = data[_aligned(length) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return max(length + 3 & ~3, 4)
