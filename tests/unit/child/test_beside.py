"""Connections beside the witness: real drivers in real processes, a real PostgreSQL, real sockets on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from heroku_sandbox.postgres import Server
from release.child import beside, sockets
from release.child.beside import MOST, Beside
from release.child.descendants import Descendants
from release.child.sockets import own_ports
from tests.unit.database.conftest import shared_server

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are known on Linux only")

PSYCOPG = """
import sys, time, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as session:
    session.execute("SELECT 1")
    print("connected", flush=True)
    time.sleep(60)
"""
SHORT = """
import sys, psycopg
for _ in range(20):  # on loopback the server is sometimes the first to close, and TIME_WAIT is at its end
    psycopg.connect(sys.argv[1]).close()
"""
PLAIN = """
import socket, sys, time
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(int(sys.argv[3]))]
print("connected", flush=True)
time.sleep(60)
"""
BUSY_WEB = """
import socket, sys, time
print("connected", flush=True)
while True:
    held = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    time.sleep(0.1)
    held.close()
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with shared_server() as server:
        yield server


@pytest.fixture
def port(stack: ExitStack) -> int:
    """The port of a server on loopback that takes everybody and says nothing."""
    return listen(stack, "127.0.0.1")


def listen(stack: ExitStack, address: str) -> int:
    server = stack.enter_context(
        socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=500)
    )
    return int(server.getsockname()[1])


def start(stack: ExitStack, script: str, *args: object) -> subprocess.Popen[bytes]:
    """A process that is connected."""
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE)
    stack.enter_context(process)
    stack.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == b"connected\n"
    return process


def forward(stack: ExitStack, door: socket.socket, postgres: Server) -> None:
    """Takes one client in and passes on what the two sides say, as if the server listened there, too."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        address = (postgres.host, postgres.port)
        with suppress(OSError), door.accept()[0] as client, socket.create_connection(address) as server:
            back = threading.Thread(target=copy, args=(server, client))
            back.start()
            copy(client, server)
            back.join()

    thread = threading.Thread(target=serve)
    stack.callback(thread.join)
    stack.callback(lambda: door.shutdown(socket.SHUT_RDWR))
    thread.start()


def words(goal: str, process: subprocess.Popen[bytes] | int) -> str:
    pid = process if isinstance(process, int) else process.pid
    name = Path(f"/proc/{pid}/comm").read_text().strip()
    return f"a connection to {goal} beside the witness ({name}, pid {pid})"


def nobodys() -> frozenset[int]:
    return frozenset()


# In the tree of a command's processes.


def test_a_childs_session_on_loopback_is_found(stack: ExitStack, postgres: Server) -> None:
    look = Beside([(postgres.host, postgres.port)], own=nobodys, container=False)
    process = start(stack, PSYCOPG, postgres.superuser_url)

    look.look({process.pid})
    look.look({process.pid})

    assert look.found == (words(f"{postgres.host}:{postgres.port}", process),)
    assert look.blind is None


def test_a_session_by_another_of_the_machines_addresses_is_found(stack: ExitStack, postgres: Server) -> None:
    forward(stack, stack.enter_context(socket.create_server(("127.0.0.2", postgres.port))), postgres)
    look = Beside([(postgres.host, postgres.port)], own=nobodys, container=False)
    process = start(stack, PSYCOPG, f"{postgres.superuser_url}?host=127.0.0.2")

    look.look({process.pid})

    assert look.found == (words(f"127.0.0.2:{postgres.port}", process),)


@pytest.mark.parametrize("named", ["127.0.0.1", "localhost", "the folder"])
def test_a_session_by_a_unix_socket_is_found(stack: ExitStack, postgres: Server, named: str) -> None:
    # A path of the temporary folder of a test may be longer than the 107 bytes that a socket's may have.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
    path = folder / f".s.PGSQL.{postgres.port}"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        forward(stack, door, postgres)
        look = Beside([(str(folder) if named == "the folder" else named, postgres.port)], own=nobodys, container=False)
        process = start(stack, PSYCOPG, f"{postgres.superuser_url}?host={folder}")

        look.look({process.pid})

        assert look.found == (words(str(path), process),)
        assert look.blind is None
        stack.close()


def test_a_server_named_by_its_unix_socket_is_found_by_tcp_too(stack: ExitStack, postgres: Server) -> None:
    look = Beside([("/var/run/postgresql", postgres.port)], own=nobodys, container=False)
    process = start(stack, PSYCOPG, postgres.superuser_url)

    look.look({process.pid})

    assert look.found == (words(f"{postgres.host}:{postgres.port}", process),)


def test_ipv6_is_found_too(stack: ExitStack) -> None:
    try:
        port = listen(stack, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    look = Beside([("127.0.0.1", port)], own=nobodys, container=False)
    process = start(stack, PLAIN, "::1", port, 1)

    look.look({process.pid})

    assert look.found == (words(f"[::1]:{port}", process),)


def test_a_grandchild_in_a_session_of_its_own_is_found(stack: ExitStack, port: int) -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]], start_new_session=True)"
    look = Beside([("127.0.0.1", port)], own=nobodys, container=False)
    descendants = stack.enter_context(Descendants())
    process = start(stack, script, PLAIN, "127.0.0.1", port, 1)
    stack.callback(descendants.kill, process.pid)

    look.look(descendants.pids())

    (grandchild,) = descendants.pids() - {process.pid}
    assert look.found == (words(f"127.0.0.1:{port}", grandchild),)


def test_another_process_with_ten_connections_a_second_is_not(stack: ExitStack, port: int) -> None:
    web = start(stack, BUSY_WEB, "127.0.0.1", port)
    command = start(stack, PLAIN, "127.0.0.1", listen(stack, "127.0.0.1"), 1)
    look = Beside([("127.0.0.1", port)], own=nobodys, container=False)

    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        look.look({command.pid})

    assert (look.found, look.blind) == ((), None)
    in_the_tree = Beside([("127.0.0.1", port)], own=nobodys, container=False)
    until = time.monotonic() + 10
    while not in_the_tree.found and time.monotonic() < until:
        in_the_tree.look({web.pid})
    assert in_the_tree.found == (words(f"127.0.0.1:{port}", web),)


def test_what_the_command_has_elsewhere_on_loopback_is_not_meant(stack: ExitStack, port: int) -> None:
    process = start(stack, PLAIN, "127.0.0.1", listen(stack, "127.0.0.1"), 3)
    look = Beside([("127.0.0.1", port)], own=nobodys, container=False)

    look.look({process.pid})

    assert (look.found, look.blind) == ((), None)


def test_a_socket_inherited_from_the_hook_is_the_hooks(stack: ExitStack, port: int) -> None:
    own = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    process = stack.enter_context(subprocess.Popen(["sleep", "60"], pass_fds=[own.fileno()]))
    stack.callback(process.kill)
    look = Beside([("127.0.0.1", port)], own=nobodys, container=False)

    look.look({process.pid})

    assert (look.found, look.blind) == ((), None)


def test_many_connections_of_one_process_are_said_once(stack: ExitStack, port: int) -> None:
    process = start(stack, PLAIN, "127.0.0.1", port, 30)
    look = Beside([("127.0.0.1", port)], own=nobodys, container=False)

    look.look({process.pid})

    assert look.found == (words(f"127.0.0.1:{port}", process),)


def test_what_was_found_stays_found_when_it_is_over(stack: ExitStack, port: int) -> None:
    process = start(stack, PLAIN, "127.0.0.1", port, 1)
    look = Beside([("127.0.0.1", port)], own=nobodys, container=False)
    look.look({process.pid})
    found = look.found
    process.kill()
    process.wait()

    look.look({process.pid})
    look.look(set())

    assert len(found) == 1
    assert (look.found, look.blind) == (found, None)


# In a container, where all sockets are looked at.


def test_in_a_container_everybodys_connection_is_found(stack: ExitStack, port: int) -> None:
    look = Beside([("127.0.0.1", port)], own=nobodys, container=True)
    process = start(stack, PLAIN, "127.0.0.1", port, 1)

    look.look(set())

    assert look.found == (words(f"127.0.0.1:{port}", process),)
    assert look.blind is None


def test_in_a_container_a_session_already_closed_is_found(postgres: Server) -> None:
    look = Beside([(postgres.host, postgres.port)], own=nobodys, container=True)
    subprocess.run([sys.executable, "-c", SHORT, f"{postgres.superuser_url}?sslmode=disable"], check=True)

    look.look(set())

    goal = f"{postgres.host}:{postgres.port}"
    assert f"a connection to {goal} beside the witness (already closed)" in look.found


def test_what_was_closing_before_the_command_is_not_the_commands(stack: ExitStack, port: int) -> None:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = server.getsockname()[1]
    close_one(server)
    look = Beside([("127.0.0.1", port)], own=nobodys, container=True)
    look.look(set())
    assert (look.found, look.blind) == ((), None)

    close_one(server)
    look.look(set())

    assert look.found == (f"a connection to 127.0.0.1:{port} beside the witness (already closed)",)


def close_one(server: socket.socket) -> None:
    """Leaves a connection in TIME_WAIT, at the client's end."""
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    client.close()
    accepted.recv(1)
    accepted.close()


@pytest.mark.parametrize("container", [False, True])
def test_the_hooks_own_connections_are_not_found(port: int, container: bool) -> None:
    look = Beside([("127.0.0.1", port)], own=nobodys, container=container)
    own = socket.create_connection(("127.0.0.1", port))
    look.look({os.getpid()})
    own.close()  # the server does not close, so it stays there without an owner

    look.look({os.getpid()})

    assert (look.found, look.blind) == ((), None)


def test_an_own_connection_that_came_and_went_is_told_by_its_port(stack: ExitStack) -> None:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    ports: set[int] = set()
    look = Beside([server.getsockname()], own=lambda: frozenset(ports), container=True)
    client = socket.create_connection(server.getsockname())
    ports |= own_ports([client.fileno()])
    stack.enter_context(server.accept()[0])
    client.close()

    look.look(set())
    ports.clear()  # remembered
    look.look(set())

    assert (look.found, look.blind) == ((), None)


def test_the_hook_may_connect_at_any_moment_of_a_look(stack: ExitStack) -> None:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=500))
    ports: set[int] = set()
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            time.sleep(0.002)  # each stays in the kernel's table for a minute
            client = socket.socket()
            client.bind(("127.0.0.1", 0))
            ports.add(client.getsockname()[1])
            client.connect(server.getsockname())
            server.accept()[0].close()
            client.close()

    look = Beside([server.getsockname()], own=lambda: frozenset(ports.copy()), container=True)
    thread = threading.Thread(target=come_and_go)
    thread.start()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        look.look(set())
    over.set()
    thread.join()

    assert len(ports) > 10
    assert (look.found, look.blind) == ((), None)


def test_a_strangers_socket_at_an_own_port_is_found_at_the_second_look(stack: ExitStack) -> None:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    ports: set[int] = set()
    look = Beside([server.getsockname()], own=lambda: frozenset(ports), container=True)
    process = start(stack, PLAIN, *server.getsockname(), 1)
    accepted, (_, at) = server.accept()
    stack.enter_context(accepted)
    ports.add(at)

    look.look({process.pid})
    first = look.found
    look.look({process.pid})

    assert first == ()
    assert look.found == (words("{}:{}".format(*server.getsockname()), process),)


def test_so_many_are_named_and_no_more(stack: ExitStack) -> None:
    servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(MOST + 5)]
    look = Beside([server.getsockname() for server in servers], own=nobodys, container=True)
    for server in servers:
        close_one(server)

    look.look(set())

    assert len(look.found) == MOST


# A server elsewhere: the kernel's tables as files, since no test reaches outside.


LINE = (
    "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 00000000 100 0 0\n"
)
ELSEWHERE = {
    "its port": ("tcp", "0500000A:1538", "10.0.0.5:5432"),
    "a pooler's port": ("tcp", "0500000A:1920", "10.0.0.5:6432"),
    "a socket for IPv6": ("tcp6", "0000000000000000FFFF00000500000A:1538", "10.0.0.5:5432"),
    "IPv6": ("tcp6", "B80D0120000000000000000005000000:1538", "[2001:db8::5]:5432"),
    "another address": ("tcp", "0600000A:1538", None),
    "loopback with its port": ("tcp", "0100007F:1538", None),
}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes what the kernel would tell: one connection in `tcp` or `tcp6`."""
    for folder in ("net", "self/fd", "7/fd"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "7" / "comm").write_text("ruby\n")
    (tmp_path / "7" / "fd" / "3").symlink_to("socket:[4711]")
    for name in ("tcp", "tcp6"):
        (tmp_path / "net" / name).write_text("a line of headings\n")

    def write(name: str, **fields: str) -> None:
        with (tmp_path / "net" / name).open("a") as file:
            file.write(LINE.format(**{"local": "0900000A:9C40", "state": "01", "inode": "4711"} | fields))

    monkeypatch.setattr(sockets, "PROC", tmp_path)
    return write


@pytest.mark.skipif(sys.byteorder == "big", reason="the lines are of a machine with the other byte order")
@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("case", ELSEWHERE)
def test_of_a_server_elsewhere_each_port_counts(table: Callable[..., None], case: str, container: bool) -> None:
    name, remote, goal = ELSEWHERE[case]
    look = Beside([("10.0.0.5", 5432), ("2001:db8::5", 5432)], own=nobodys, container=container)
    table(name, remote=remote)

    look.look({7})

    assert look.found == ((f"a connection to {goal} beside the witness (ruby, pid 7)",) if goal else ())
    assert look.blind is None


# Where nothing can be known.


def test_without_proc_it_is_blind_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "PROC", tmp_path)
    look = Beside([("127.0.0.1", 5432)], own=nobodys, container=True)

    look.look({1})

    assert look.found == ()
    assert look.blind == "the sockets of this machine cannot be seen (FileNotFoundError: No such file or directory)"


def test_a_host_without_an_address_is_said_and_the_others_are_seen(stack: ExitStack, port: int) -> None:
    look = Beside([("no such host", 5432), ("127.0.0.1", port)], own=nobodys, container=False)
    process = start(stack, PLAIN, "127.0.0.1", port, 1)

    look.look({process.pid})

    assert look.blind == "no address was found of no such host"
    assert look.found == (words(f"127.0.0.1:{port}", process),)


@pytest.mark.parametrize("container", [False, True])
def test_processes_that_are_gone_are_no_matter(stack: ExitStack, port: int, container: bool) -> None:
    start(stack, BUSY_WEB, "127.0.0.1", listen(stack, "127.0.0.1"))
    gone = subprocess.Popen(["true"])
    gone.wait()
    look = Beside([("127.0.0.1", port)], own=nobodys, container=container)

    look.look({gone.pid, 2**22 + 1})

    assert (look.found, look.blind) == ((), None)


def test_a_process_that_cannot_be_looked_into_is_said_at_the_second_look(
    stack: ExitStack, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(stack, PLAIN, "127.0.0.1", port, 1)
    locked = start(stack, PLAIN, "127.0.0.1", listen(stack, "127.0.0.1"), 1)
    look = Beside([("127.0.0.1", port)], own=nobodys, container=False)

    def refuse(_pid: int) -> set[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(beside, "inodes", refuse)  # of another user: as root one can look into all
    look.look({locked.pid})
    assert look.blind is None
    look.look({locked.pid})

    name = Path(f"/proc/{locked.pid}/comm").read_text().strip()
    assert look.blind == f"the sockets of {name}, pid {locked.pid} cannot be seen"


def test_a_look_never_raises_whatever_own_does() -> None:
    calls = iter([frozenset[int]()])
    look = Beside([("127.0.0.1", 5432)], own=lambda: next(calls), container=True)
    assert look.blind is None

    look.look({1})

    assert look.blind == "the sockets of this machine cannot be seen (StopIteration: )"
