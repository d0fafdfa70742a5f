"""The sink against readers of every bad kind."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from release.log.sink import Sink

LINE = b"x" * 999 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with suppress(OSError):
            os.close(fd)


def _all_there_is(fd: int) -> bytes:
    data = b""
    while select.select([fd], [], [], 0.05)[0]:
        read = os.read(fd, 1 << 20)
        if not read:
            break
        data += read
    return data


def test_lines_arrive(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(writer)
    assert sink.write(b"one\ntwo\n")
    assert sink.write(b"three\n")
    assert _all_there_is(reader) == b"one\ntwo\nthree\n"
    assert (sink.dropped, sink.broken) == (0, False)


def test_lines_go_into_a_file_whole(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        sink = Sink(file.fileno())
        assert sink.write(LINE * 5000)
    assert (tmp_path / "log").read_bytes() == LINE * 5000


def test_a_stopped_reader_costs_the_patience_once_and_then_nothing(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    sink = Sink(writer, patience=0.3)
    start = time.monotonic()
    assert not sink.write(LINE * 100)
    first = time.monotonic() - start
    start = time.monotonic()
    for _ in range(1000):
        assert not sink.write(LINE)
    second = time.monotonic() - start
    assert 0.3 <= first < 2
    assert second < 0.3
    assert sink.broken


def test_a_reader_that_comes_back_gets_whole_lines_again_and_the_rest_is_counted(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(writer, patience=0.05)
    numbered = [b"%06d " % number + b"y" * 700 + b"\n" for number in range(400)]
    for line in numbered[:200]:
        sink.write(line)
    received = _all_there_is(reader)
    for line in numbered[200:]:
        sink.write(line)
        received += _all_there_is(reader) if int(line[:6]) % 50 == 0 else b""
    received += _all_there_is(reader)
    sink.write(b"last\n")
    received += _all_there_is(reader)
    lines = received.splitlines(keepends=True)
    assert set(lines) <= {*numbered, b"last\n"}, "no line is torn"
    assert lines == sorted(lines)
    assert lines[-1] == b"last\n"
    assert len(lines) + sink.dropped == len(numbered) + 1


def test_a_slow_reader_is_waited_for_without_losing_a_line(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(writer, patience=0.1)
    received: list[bytes] = []

    def read_slowly() -> None:
        while sum(map(len, received)) < 300_000:
            received.append(os.read(reader, 8192))
            time.sleep(0.01)

    thread = threading.Thread(target=read_slowly)
    thread.start()
    assert sink.write(LINE * 300)
    thread.join()
    assert b"".join(received) == LINE * 300


def test_who_insists_has_the_whole_patience_again(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(writer, patience=0.5)
    assert not sink.write(LINE * 100)
    threading.Timer(0.2, lambda: os.read(reader, 1 << 20)).start()
    assert sink.write(b"release_finished\n", insist=True)
    assert _all_there_is(reader).endswith(b"release_finished\n")


def test_in_a_hurry_nobody_is_waited_for_long(pipe: tuple[int, int]) -> None:
    sink = Sink(pipe[1], patience=60)
    sink.hurry()
    start = time.monotonic()
    assert not sink.write(LINE * 100)
    assert time.monotonic() - start < 3


def test_the_flags_of_a_shared_descriptor_are_left_alone(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    before = fcntl.fcntl(writer, fcntl.F_GETFL)
    Sink(writer, patience=0.01).write(LINE * 100)
    assert fcntl.fcntl(writer, fcntl.F_GETFL) == before


def test_a_non_blocking_pipe_is_no_trouble(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    sink = Sink(writer, patience=0.01)
    assert not sink.write(LINE * 100)
    received = _all_there_is(reader)
    assert sink.write(b"last\n")
    received += _all_there_is(reader)
    assert set(received.splitlines()) == {LINE.strip(), b"last"}


def test_a_reader_that_is_gone_is_counted_and_nothing_is_raised(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = Sink(writer)
    os.close(reader)
    assert not sink.write(b"one\ntwo\n")
    assert not sink.write(b"three\n")
    assert (sink.dropped, sink.broken) == (3, True)


def test_a_descriptor_that_is_closed_later_is_counted(pipe: tuple[int, int]) -> None:
    sink = Sink(pipe[1])
    os.close(pipe[1])
    assert not sink.write(b"one\n")
    assert sink.dropped == 1


def test_a_descriptor_that_was_closed_from_the_start_is_never_used_even_when_somebody_else_gets_it(
    tmp_path: Path,
) -> None:
    fd = os.open(tmp_path / "before", os.O_CREAT | os.O_WRONLY)
    os.close(fd)
    sink = Sink(fd)
    other = os.open(tmp_path / "database", os.O_CREAT | os.O_WRONLY)
    assert other == fd
    assert not sink.write(b"one\n")
    os.close(other)
    assert (tmp_path / "database").read_bytes() == b""
    assert sink.dropped == 1


def test_a_full_disk_is_counted() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(fd)
    assert not sink.write(b"one\ntwo\n")
    assert sink.dropped == 2
    os.close(fd)


def test_a_terminal_that_is_stopped_does_not_block() -> None:
    outer, inner = pty.openpty()
    sink = Sink(inner, patience=0.1)
    start = time.monotonic()
    for length in range(1, 300):
        sink.write(b"x" * length + b"\n")
    assert not sink.write(LINE * 200)
    assert time.monotonic() - start < 3
    assert os.get_blocking(inner), "the terminal is left as it was"
    sink.close()
    os.close(outer)
    os.close(inner)


def test_a_terminal_gets_everything() -> None:
    outer, inner = pty.openpty()
    sink = Sink(inner)
    received = bytearray()

    def read_to_the_last() -> None:
        while not received.endswith(b"last\r\n"):
            received.extend(os.read(outer, 4096))

    thread = threading.Thread(target=read_to_the_last)
    thread.start()
    assert sink.write(LINE * 50 + b"last\n")
    thread.join()
    assert bytes(received).replace(b"\r\n", b"\n") == LINE * 50 + b"last\n"
    sink.close()
    os.close(outer)
    os.close(inner)


def _exit_code(
    code: str, prepare: Callable[[], None] | None = None, stdout: int | None = None, stderr: int | None = None
) -> int:
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, check=False, env={}, preexec_fn=prepare, stdout=stdout, stderr=stderr).returncode


PRINTING = "import sys; from release.log.sink import *; hold_standard_streams(); print('x' * 100); "


def test_without_settling_python_turns_a_broken_stdout_into_120(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    assert _exit_code(PRINTING, stdout=pipe[1], stderr=subprocess.DEVNULL) == 120


@pytest.mark.parametrize("code", [0, 3, 70])
def test_a_broken_stdout_changes_no_exit_code(pipe: tuple[int, int], code: int) -> None:
    os.close(pipe[0])
    program = PRINTING + f"settle_standard_streams(); sys.exit({code})"
    assert _exit_code(program, stdout=pipe[1], stderr=subprocess.DEVNULL) == code


@pytest.mark.parametrize("code", [0, 4])
def test_neither_do_broken_stdout_and_stderr_together(pipe: tuple[int, int], code: int) -> None:
    os.close(pipe[0])
    program = PRINTING + f"sys.stderr.write('y'); settle_standard_streams(); sys.exit({code})"
    assert _exit_code(program, stdout=pipe[1], stderr=pipe[1]) == code


def test_closed_standard_streams_are_never_given_to_a_connection() -> None:
    program = (
        "import sys, os, socket; from release.log.sink import *; sink = Sink(1); hold_standard_streams();"
        "sys.exit(0 if sink.broken and socket.socket().fileno() > 2 and os.isatty(1) is False else 1)"
    )
    assert _exit_code(program, prepare=lambda: os.closerange(0, 3)) == 0


def test_a_pipe_that_breaks_raises_no_signal() -> None:
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


def test_last_words_reach_stderr(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    assert _exit_code("from release.log.sink import *; exit(not last_words('ende'))", stderr=writer) == 0
    assert _all_there_is(reader) == b"ende\n"


def test_last_words_that_nobody_hears_hurt_nobody(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    assert _exit_code("from release.log.sink import *; exit(last_words('ende'))", stderr=pipe[1]) == 0
