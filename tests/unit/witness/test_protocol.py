"""Messages are found wherever the bytes are cut, and none of them costs memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from release.witness.protocol import (
    FROM_CLIENT,
    FROM_SERVER,
    TEXT_BYTES,
    Frames,
    Message,
    ProtocolError,
    Startup,
    message,
    startup,
    startup_packet,
)
from tests.unit.witness.conftest import Witnessed

LARGE = 200_000_000

MEMORY = 3_000_000
"""Bytes that the witness may take for a message of any size: its buffers, and what the allocator rounds up."""

CLIENT = f"""
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    assert connection.execute("SELECT length(%s)", ["x" * {LARGE}]).fetchone() == ({LARGE},)
    assert len(connection.execute("SELECT repeat('x', {LARGE})").fetchone()[0]) == {LARGE}
"""

BODIES = st.sampled_from([0, 1, 5, 100, TEXT_BYTES, TEXT_BYTES + 1])
MESSAGES = st.lists(st.tuples(st.sampled_from(sorted(FROM_CLIENT) + list(b"dH")), BODIES), max_size=8)


@given(MESSAGES, st.lists(st.integers(0, 300), max_size=20))
def test_messages_are_found_wherever_the_bytes_are_cut(messages: list[tuple[int, int]], sizes: list[int]) -> None:
    data = b"".join(message(bytes([kind]), b"x" * length) for kind, length in messages)
    frames, found = Frames(FROM_CLIENT), []
    for size in [*sizes, len(data)]:
        found += frames.feed(data[:size])
        data = data[size:]
    limits = [(kind, length, FROM_CLIENT.get(kind, 0)) for kind, length in messages]
    assert found == [
        Message(kind, b"x" * min(length, limit), length <= limit) for kind, length, limit in limits if limit
    ]
    assert frames.between


def test_the_middle_of_a_message_is_known_as_such() -> None:
    frames = Frames(FROM_SERVER)
    for byte in message(b"D", b"abc")[:-1]:
        frames.feed(bytes([byte]))
        assert not frames.between
    frames.feed(b"c")
    assert frames.between


@pytest.mark.parametrize("kind", [b"Q", b"d"])
def test_a_message_shorter_than_its_own_length_is_refused(kind: bytes) -> None:
    with pytest.raises(ProtocolError, match="has the length 3"):
        Frames(FROM_CLIENT).feed(kind + (3).to_bytes(4))


def test_settings_come_after_the_clients_own() -> None:
    asked = Startup(2, ((b"user", b"me"), (b"lock_timeout", b"1s")))
    packet = startup_packet(asked, [("lock_timeout", "7s")])
    assert startup(packet[4:]) == Startup(2, (*asked.parameters, (b"lock_timeout", b"7s")))
    assert startup(packet[4:]).get(b"lock_timeout") == b"7s"


@pytest.mark.parametrize("payload", [b"\0\2\0\0\0", b"\0\3\0\0", b"\0\3\0\0user\0me", b"\0\3\0\0user\0\0"])
def test_a_startup_message_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        startup(payload)


@pytest.mark.parametrize(("value", "is_one"), [(b"", False), (b"off", False), (b"true", True), (b"database", True)])
def test_a_replication_connection_is_known(value: bytes, is_one: bool) -> None:
    assert Startup(0, ((b"replication", value),)).replication is is_one


def resident() -> int:
    """The most memory that this process has had since it was last reset, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory can be reset on Linux only")
def test_a_message_of_any_size_costs_no_memory(witnessed: Witnessed) -> None:
    with witnessed.connect(sslmode="require") as connection:
        connection.execute("SELECT 1")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    was = resident()
    done = subprocess.run([sys.executable, "-c", CLIENT, witnessed.url(sslmode="require")], check=False)
    assert done.returncode == 0
    assert resident() - was < MEMORY
    assert witnessed.seen().statements == 3
