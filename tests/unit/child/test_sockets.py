"""By which ports a command's processes are connected: real processes, real connections on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from release.child import sockets
from release.child.process import Running, start_command
from release.child.sockets import local_ports, own_ports, read_address, spell_address
from release.clock import Clock, Deadline, Signals
from release.log.logger import open_log

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are known on Linux only")

CONNECT = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.sendall(b"x")
time.sleep(60)
"""


class Listener:
    """A server on loopback, and who has come to it."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.server = socket.create_server((address, 0), family=family)
        self.server.settimeout(20)
        self.address = address
        self.port: int = self.server.getsockname()[1]
        self.accepted: list[socket.socket] = []

    def next_port(self) -> int:
        """The port of the next client, once it is connected."""
        connection, client = self.server.accept()
        connection.recv(1)
        self.accepted.append(connection)
        return int(client[1])

    def close(self) -> None:
        for each in (self.server, *self.accepted):
            each.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def listener(stack: ExitStack) -> Listener:
    listener = Listener()
    stack.callback(listener.close)
    return listener


def child(stack: ExitStack, listener: Listener, script: str = CONNECT) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-Sc", script, listener.address, str(listener.port)])
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def test_a_childs_connection_is_known_by_its_port(stack: ExitStack, listener: Listener) -> None:
    process = child(stack, listener)
    port = listener.next_port()

    assert local_ports([process.pid]) == {port}


def test_each_process_has_its_own(stack: ExitStack, listener: Listener) -> None:
    one, two = child(stack, listener), child(stack, listener)
    ports = {listener.next_port(), listener.next_port()}

    assert local_ports([one.pid]) | local_ports([two.pid]) == ports
    assert local_ports([one.pid]).isdisjoint(local_ports([two.pid]))
    assert local_ports([one.pid, two.pid]) == ports


def test_ipv6_is_told_too(stack: ExitStack) -> None:
    try:
        listener = Listener("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    stack.callback(listener.close)
    process = child(stack, listener)

    port = listener.next_port()

    assert local_ports([process.pid]) == {port}


def test_many_connections_of_one_process_are_all_told(stack: ExitStack, listener: Listener) -> None:
    script = """
import socket, sys, time
connections = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(5)]
for connection in connections:
    connection.sendall(b"x")
time.sleep(60)
"""
    process = child(stack, listener, script)

    ports = {listener.next_port() for _ in range(5)}

    assert len(ports) == 5
    assert local_ports([process.pid]) == ports


def test_a_connection_that_has_ended_is_told_no_more(stack: ExitStack, listener: Listener) -> None:
    process = child(stack, listener)
    port = listener.next_port()
    process.kill()
    process.wait()

    assert port not in local_ports([process.pid])


def test_what_only_listens_is_no_connection(stack: ExitStack, listener: Listener) -> None:
    listening = "import socket, sys, time; s = socket.create_server(('127.0.0.1', 0));" + CONNECT
    process = child(stack, listener, listening)
    port = listener.next_port()

    assert local_ports([process.pid]) == {port}


def test_of_processes_that_are_gone_or_of_none_nothing_is_known(stack: ExitStack, listener: Listener) -> None:
    child(stack, listener)
    listener.next_port()
    gone = subprocess.Popen(["true"])
    gone.wait()

    assert local_ports([gone.pid]) == frozenset()
    assert local_ports([]) == frozenset()


def test_a_process_that_cannot_be_looked_into_does_not_hide_the_others(stack: ExitStack, listener: Listener) -> None:
    process = child(stack, listener)
    port = listener.next_port()

    assert local_ports([2**22 + 1, process.pid]) == {port}


def test_where_there_is_no_proc_nothing_is_known(
    stack: ExitStack, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = child(stack, listener)
    listener.next_port()
    monkeypatch.setattr(sockets, "PROC", tmp_path)

    assert local_ports([process.pid]) == frozenset()


# Of a command and of all that it started.


@pytest.fixture
def house(stack: ExitStack, tmp_path: Path) -> tuple[Clock, Signals, int]:
    signals = stack.enter_context(Signals())
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    stack.callback(os.close, fd)
    return Clock(signals), signals, fd


def command(stack: ExitStack, house: tuple[Clock, Signals, int], listener: Listener, script: str) -> Running:
    clock, signals, fd = house
    argv = (sys.executable, "-Sc", textwrap.dedent(script), CONNECT, listener.address, str(listener.port))
    log = open_log(fd=fd, clock=clock)
    return stack.enter_context(
        start_command(argv, log=log, clock=clock, signals=signals, env={"PATH": os.environ["PATH"]}, grace=0.2)
    )


SCRIPTS = {
    "itself": "import sys; code, *sys.argv[1:] = sys.argv[1:]; exec(code)",
    "a child": "import subprocess, sys; subprocess.run([sys.executable, '-Sc', *sys.argv[1:]])",
    "a grandchild in a session of its own": """
        import subprocess, sys
        subprocess.run([sys.executable, '-Sc', *sys.argv[1:]], start_new_session=True)
    """,
    "an orphan that has left its process group": """
        import os, subprocess, sys, time
        if os.fork() == 0:
            os.setsid()
            subprocess.Popen([sys.executable, '-Sc', *sys.argv[1:]], start_new_session=True)
            os._exit(0)
        time.sleep(60)
    """,
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_command_is_connected_by_whatever_it_started(
    stack: ExitStack, house: tuple[Clock, Signals, int], listener: Listener, script: str
) -> None:
    running = command(stack, house, listener, script)
    port = listener.next_port()

    assert running.ports() == {port}


def test_the_hooks_own_connections_are_none_of_a_commands(
    stack: ExitStack, house: tuple[Clock, Signals, int], listener: Listener
) -> None:
    own = stack.enter_context(socket.create_connection((listener.address, listener.port)))
    own.sendall(b"x")
    listener.next_port()
    bystander = child(stack, listener)
    listener.next_port()
    running = command(stack, house, listener, SCRIPTS["a child"])
    port = listener.next_port()

    assert bystander.poll() is None
    assert running.ports() == {port}


def test_a_command_that_has_ended_is_connected_by_nothing(
    stack: ExitStack, house: tuple[Clock, Signals, int], listener: Listener
) -> None:
    running = command(stack, house, listener, "pass")
    ends = time.monotonic() + 10
    while running.alive and time.monotonic() < ends:
        running.pump(0.05)
    running.wait(Deadline(house[0], 5))

    assert running.ports() == frozenset()


# Of this very process.


def test_own_descriptors_are_known_by_their_ports(stack: ExitStack, listener: Listener) -> None:
    own = [stack.enter_context(socket.create_connection((listener.address, listener.port))) for _ in range(2)]
    unix = stack.enter_context(socket.socket(socket.AF_UNIX))
    datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    datagrams.bind(("127.0.0.1", 0))
    null = os.open(os.devnull, os.O_RDONLY)
    stack.callback(os.close, null)
    others = (unix.fileno(), datagrams.fileno(), null, 2**20)

    assert own_ports([*(each.fileno() for each in own), *others]) == {each.getsockname()[1] for each in own}
    assert [each.getpeername()[1] for each in own] == [listener.port] * 2  # none was closed by being asked


@pytest.mark.parametrize("address", ["10.0.0.5", "127.0.0.1", "::1", "2001:db8::5", "::ffff:10.0.0.5", "fe80::1%lo"])
def test_what_the_kernel_spells_is_read_back(address: str) -> None:
    plain = address.partition("%")[0].removeprefix("::ffff:")

    assert {str(read_address(spelled)) for spelled in spell_address(address)} == {plain}
