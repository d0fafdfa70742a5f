"""Sockets: which connections there are, and whose, as Linux shows it below /proc.

The server knows a session by its client's address and port, so this tells whose a session is, whatever it calls itself.
Elsewhere, and for processes that cannot be looked into, nothing is known.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from msgspec import Struct

PROC = Path("/proc")

ESTABLISHED = "01"
"""A state as /proc/net/tcp prints it (net/tcp_states.h; proc_net_tcp.rst in the kernel's documentation)."""

NOBODYS = "0"
"""The inode of a connection that no process holds any more: it is being closed, or in TIME_WAIT."""

MAPPED = "0000000000000000FFFF0000" if sys.byteorder == "little" else "00000000000000000000FFFF"
"""What stands before an IPv4 address where a socket for IPv6 uses it (RFC 4291, 2.5.5.2), in the kernel's spelling."""


class Tcp(Struct, frozen=True, kw_only=True):
    """A TCP connection. Addresses are spelled as the kernel does: words in hexadecimal, in the machine's byte order."""

    local: str
    remote: str
    state: str
    inode: str

    @property
    def port(self) -> int:
        """The port at this end."""
        return int(self.local.rpartition(":")[2], 16)

    @property
    def goal(self) -> str:
        """The address and port at the other end, as people write them."""
        spelled, _, port = self.remote.partition(":")
        address = read_address(spelled)
        return f"[{address}]:{int(port, 16)}" if isinstance(address, IPv6Address) else f"{address}:{int(port, 16)}"


def local_ports(pids: Iterable[int]) -> frozenset[int]:
    """Returns the local ports of the connections that these processes have at this moment."""
    held: set[str] = set()
    for pid in pids:
        with suppress(OSError):
            held |= inodes(pid)
    return frozenset(each.port for each in _connections() if each.inode in held) if held else frozenset()


def own_ports(fds: Iterable[int]) -> frozenset[int]:
    """Returns the local TCP ports of file descriptors of this very process; other kinds and closed ones have none."""
    ports = set()
    for fd in fds:
        # Only sockets are copied: a copy of a pipe's end would keep the pipe open.
        with suppress(OSError), _copied(fd) as connection:
            if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM:
                ports.add(int(connection.getsockname()[1]))
    return frozenset(ports)


def _copied(fd: int) -> socket.socket:
    """Returns a socket for a copy of a descriptor. Raises `OSError` if that is closed, or none of a socket."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        raise OSError("no socket")
    copy = os.dup(fd)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def inodes(pid: int | str) -> set[str]:
    """Returns the inodes of a process's sockets. Raises `OSError` if it is gone or cannot be looked into."""
    folder = f"{PROC}/{pid}/fd"
    found = set()
    for name in os.listdir(folder):  # noqa: PTH208 -- paths would cost ten times as much
        with suppress(OSError):
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 -- likewise
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def connections(wanted: Callable[[str], bool] | None = None) -> Iterator[Tcp]:
    """Yields TCP sockets of this machine or container, whatever their state: all, or those whose other end is wanted.

    Raises `OSError` where there is no /proc.
    """
    for name in ("tcp", "tcp6"):
        try:
            file = (PROC / "net" / name).open("rb")
        except FileNotFoundError:
            if name == "tcp":
                raise
            return  # a kernel without IPv6
        with file:  # line by line: on a machine with many sockets all of them together take megabytes
            next(file, None)
            for line in file:
                if wanted is None or wanted(line.split(maxsplit=3)[2].decode()):
                    words = line.decode().split(maxsplit=10)
                    yield Tcp(local=words[1], remote=words[2], state=words[3], inode=words[9])


def spell_address(text: str) -> set[str]:
    """Returns how the kernel's tables spell an address: an IPv4 one in two ways, as sockets for IPv6 have it too."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    packed = address.packed
    words = [int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4)]
    spelled = "".join(f"{word:08X}" for word in words)
    return {spelled} if isinstance(address, IPv6Address) else {spelled, MAPPED + spelled}


def read_address(spelled: str) -> IPv4Address | IPv6Address:
    """Returns the address that the kernel's tables spell so."""
    words = [int(spelled[at : at + 8], 16) for at in range(0, len(spelled), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ip_address(packed)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _connections() -> Iterator[Tcp]:
    """Yields the connections that are established; none where there is no /proc."""
    with suppress(OSError):
        yield from (each for each in connections() if each.state == ESTABLISHED)
