"""The addresses of a database's servers, in the spelling of the kernel's tables of sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from msgspec import Struct, field

from release.child.sockets import read_address, spell_address

UNIX = ("", "/", "@")
"""How a host begins that is no host, but the folder of a Unix socket (libpq-connect, "host"); without any it is one."""


class Addresses(Struct, frozen=True, kw_only=True):
    """Where a database's servers are.

    Of a server elsewhere any port counts, since a pooler may listen at another one. Of a server on this machine only
    its port does, because everything else here is something else; but at each address of the machine, and as the name
    of a Unix socket.
    """

    elsewhere: frozenset[str]
    here: frozenset[str]
    unresolved: tuple[str, ...]
    _local: dict[str, bool] = field(default_factory=dict)

    def lead(self, remote: str) -> bool:
        """Tells whether an address and port, as the kernel spells them, are such a server's."""
        address, _, port = remote.partition(":")
        return address in self.elsewhere or (port in self.here and self._is_local(address))

    def name(self, path: str) -> bool:
        """Tells whether the path of a Unix socket is that of a server here (`unix_socket_directories`, any of them)."""
        folder, _, port = path.rpartition("/.s.PGSQL.")
        return bool(folder) and port.isdigit() and f"{int(port):04X}" in self.here

    def _is_local(self, address: str) -> bool:
        if address not in self._local:
            self._local[address] = is_local(str(read_address(address)))
        return self._local[address]


def resolve(servers: Iterable[tuple[str, int]]) -> Addresses:
    """Looks the servers' names up, once. A server that is reached by a Unix socket is here."""
    elsewhere: set[str] = set()
    here: set[str] = set()
    unresolved = []
    for host, port in servers:
        try:
            found = {"127.0.0.1"} if host[:1] in UNIX else _addresses(host)
        except (OSError, UnicodeError):  # the latter: a label that is empty or too long
            unresolved.append(host)
            continue
        for address in found:
            if is_local(address):
                here.add(f"{port:04X}")
            else:
                elsewhere |= spell_address(address)
    return Addresses(elsewhere=frozenset(elsewhere), here=frozenset(here), unresolved=tuple(unresolved))


def is_local(address: str) -> bool:
    """Tells whether an address is this machine's own: only to such a one can a socket be bound. In doubt it is."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def _addresses(host: str) -> set[str]:
    return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
