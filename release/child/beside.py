"""Connections to the database that a command makes beside the witness: by another port, address, credential or socket.

They are looked for among the kernel's sockets, not among the server's sessions: a live app opens and closes sessions of
the same role all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress

from msgspec import Struct

from release.child import sockets
from release.child.addresses import resolve
from release.child.sockets import NOBODYS, connections, inodes
from release.child.unix_sockets import unix_clients

NEW, AGAIN = 4, 10
"""For how many looks a socket is new, and how many looks pass until one that is not new is looked up again."""

MOST = 20
"""So many connections are named at most. One is enough for a doubt."""


class _Connection(Struct, frozen=True, kw_only=True):
    """A connection to the database, by its client's end. One by a Unix socket has no port."""

    goal: str
    key: str
    inode: str
    port: int | None


class Beside:
    """Looks for connections to a database's addresses that were made past the witness.

    `servers` are hosts and ports of the database as URLs name them; a host that begins with `/` is the folder of a Unix
    socket. `own` tells the local ports of the hook's own connections, also of those that came and went between two
    looks. `container`: all sockets of the container count, also those that nobody holds any more (TIME_WAIT), but for
    what is already closing when this is made. Else only what the processes given hold at the moment of a look.

    Look often, every 50 ms or so. Over TLS the server has a last word to say after the client has closed, so the
    client's end is reset and not even TIME_WAIT is left. A session that ends between two looks is then not seen.
    """

    def __init__(
        self, servers: Collection[tuple[str, int]], *, own: Callable[[], frozenset[int]], container: bool
    ) -> None:
        self._own = own
        self._container = container
        self._blind: str | None = None
        self._found: dict[str, None] = {}
        self._told: set[str] = set()
        self._ports: set[int] = set()
        self._before: set[str] = set()
        self._suspects: set[_Connection] = set()
        self._locked: set[int] = set()
        self._looks = 0
        self._read: dict[str, int] = {}
        self._addresses = resolve(servers)
        if self._addresses.unresolved:
            self._blind = f"no address was found of {', '.join(self._addresses.unresolved)}"
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it costs a doubt and nothing more
            self._see_nothing(error)

    @property
    def found(self) -> tuple[str, ...]:
        """What was found so far, in words, each once, the first `MOST`."""
        return tuple(self._found)

    @property
    def blind(self) -> str | None:
        """Why nothing can be known, in words; None if all looks were good."""
        return self._blind

    def look(self, pids: AbstractSet[int]) -> None:
        """Looks once, at the command's processes or at the whole container. It never raises."""
        try:
            if self._container:
                self._look_around(pids)
            else:
                self._look_into(pids)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it costs a doubt and nothing more
            self._see_nothing(error)

    def _begin(self) -> None:
        """Notes what is there before the command: the hook's own, and what is already closing."""
        mine = inodes("self")
        self._ports |= self._own()
        there = self._connections()
        self._before = {each.key for each in there if each.inode == NOBODYS}
        self._ports |= {each.port for each in there if each.inode in mine and each.port is not None}

    def _look_into(self, pids: AbstractSet[int]) -> None:
        """Finds what these processes hold; a socket inherited from the hook is the hook's."""
        held, locked = _held(pids)
        if not locked and not self._anything_new(held):
            return
        there = {
            each.inode: each for each in self._connections() if each.inode != NOBODYS and each.key not in self._told
        }
        if not there:
            return
        if strange := held.keys() & there.keys():
            for inode in strange - inodes("self"):
                self._tell(there[inode], held[inode])
        self._doubt(locked)

    def _anything_new(self, held: Mapping[str, int]) -> bool:
        """Whether the kernel's tables have to be read, which may be long ones: a socket is new, or may lead elsewhere.

        A socket may be made some time before it is connected.
        """
        self._looks += 1
        self._read = {inode: self._read.get(inode, 0) + 1 for inode in held}
        return any(times <= NEW for times in self._read.values()) or (bool(held) and self._looks % AGAIN == 0)

    def _doubt(self, locked: set[int]) -> None:
        """Notes processes that could not be looked into, twice in a row: one that is just ending cannot either."""
        for pid in locked & self._locked:
            if not _is_zombie(pid):
                self._blind = self._blind or f"the sockets of {_describe(pid)} cannot be seen"
        self._locked = locked

    def _look_around(self, pids: AbstractSet[int]) -> None:
        """Finds what is nobody's of the hook among all sockets."""
        mine = inodes("self")
        self._ports |= self._own()
        there = self._connections()
        self._before &= {each.key for each in there}
        self._ports |= {each.port for each in there if each.inode in mine and each.port is not None}
        if strange := [each for each in there if each.inode not in mine and self._is_strange(each)]:
            # The hook may have connected while the table was read.
            mine = inodes("self")
            self._ports |= self._own()
            strange = [each for each in strange if each.inode not in mine and self._is_strange(each)]
        suspects, self._suspects = self._suspects, set()
        for each in strange:
            # An own port with a stranger's socket: it was closed just now, or another connection has that port, too.
            if each.port in self._ports and each not in suspects:
                self._suspects.add(each)
            else:
                self._tell(each, _holder(each.inode, pids))

    def _is_strange(self, each: _Connection) -> bool:
        if each.key in self._told:
            return False
        return each.inode != NOBODYS or (each.key not in self._before and each.port not in self._ports)

    def _connections(self) -> list[_Connection]:
        """Returns all connections to the database, whoever made them."""
        found = [
            _Connection(goal=each.goal, key=f"{each.local} {each.remote}", inode=each.inode, port=each.port)
            for each in connections(self._addresses.lead)
        ]
        if self._addresses.here:
            found += self._by_unix_socket()
        self._told &= {each.key for each in found}
        return found

    def _by_unix_socket(self) -> Iterator[_Connection]:
        try:
            for each in unix_clients(self._addresses.name):
                yield _Connection(goal=each.path, key=f"unix {each.inode}", inode=each.inode, port=None)
        except OSError as error:
            self._blind = self._blind or f"who is connected by Unix sockets cannot be seen ({error})"

    def _tell(self, each: _Connection, pid: int | None) -> None:
        self._told.add(each.key)
        by = "already closed" if pid is None else _describe(pid)
        if len(self._found) < MOST:
            self._found[f"a connection to {each.goal} beside the witness ({by})"] = None

    def _see_nothing(self, error: Exception) -> None:
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._blind = self._blind or f"the sockets of this machine cannot be seen ({type(error).__name__}: {text})"


def _held(pids: AbstractSet[int]) -> tuple[dict[str, int], set[int]]:
    """Returns the sockets that these processes hold, each with a holder, and the processes that cannot be seen into."""
    held: dict[str, int] = {}
    locked = set()
    for pid in pids:
        try:
            held |= dict.fromkeys(inodes(pid), pid)
        except PermissionError:
            locked.add(pid)
        except OSError:  # gone
            continue
    return held, locked


def _holder(inode: str, pids: Iterable[int]) -> int | None:
    """Returns who holds a socket: one of these processes, or any other; None if nobody is seen to."""
    others = (int(each.name) for each in sockets.PROC.iterdir() if each.name.isdigit())
    for pid in (*pids, *others) if inode != NOBODYS else ():
        with suppress(OSError):
            if inode in inodes(pid):
                return pid
    return None


def _describe(pid: int) -> str:
    """Names a process without its arguments, which may hold secrets."""
    try:
        name = (sockets.PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return f"pid {pid}"
    return f"{name}, pid {pid}"


def _is_zombie(pid: int) -> bool:
    with suppress(OSError):
        stat = (sockets.PROC / str(pid) / "stat").read_bytes()
        return stat[stat.rindex(b")") + 2 :][:1] in (b"Z", b"X")
    return True
