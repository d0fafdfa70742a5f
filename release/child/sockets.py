"""Sockets: by which local TCP ports some processes are connected, as Linux shows it below /proc.

The server knows a session by its client's address and port, so this tells whose a session is, whatever it calls itself.
Elsewhere, and for processes that cannot be looked into, nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")

ESTABLISHED = "01"
"""A state as /proc/net/tcp prints it (net/tcp_states.h; proc_net_tcp.rst in the kernel's documentation)."""


def local_ports(pids: Iterable[int]) -> frozenset[int]:
    """Returns the local ports of the connections that these processes have at this moment."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    return frozenset(port for port, inode in _connections() if inode in inodes) if inodes else frozenset()


def _sockets(pid: int) -> Iterator[str]:
    """Yields the inodes of a process's sockets."""
    with suppress(OSError):
        for entry in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                kind, _, inode = str(entry.readlink()).partition(":")
                if kind == "socket":
                    yield inode.strip("[]")


def _connections() -> Iterator[tuple[int, str]]:
    """Yields local port and inode of every TCP connection of this machine or container."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / "net" / name).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == ESTABLISHED:
                    yield int(words[1].rpartition(":")[2], 16), words[9]
