"""Runs of the hook by `fast.py`: started, listened to line by line, signalled, waited for."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.hook import PATH, Result

FAST = Path(__file__).with_name("fast.py")

OnLine = Callable[[int], None]
"""Is told the number of each line on stdout, from 1, when it has come."""


class Started:
    """A run under way, in a session and process group of its own."""

    def __init__(self, pid: int, output: int, errors: int, report: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self._report = report
        self._open = {output: bytearray(), errors: bytearray()}
        self._streams = list(self._open.values())
        self._selector = selectors.DefaultSelector()
        for fd in (output, errors, report):
            self._selector.register(fd, selectors.EVENT_READ)
        self._lines = 0

    def signal(self, number: int, *, group: bool = False) -> None:
        """Sends a signal to the hook, or to all of its process group; one that has ended does not mind."""
        with suppress(ProcessLookupError):
            if group:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    def finish(self, *, within: float = 100, on_line: OnLine | None = None) -> Result:
        """Waits for the end; a run that takes longer is killed, which is a failure."""
        ends = time.monotonic() + within
        while self._open or self.exit_code is None:
            if time.monotonic() > ends:
                self.signal(signal.SIGKILL, group=True)
                raise TimeoutError(f"no end within {within} s; so far: {self._streams[0].decode()[-3000:]}")
            self.read(0.2, on_line)
        self._selector.close()
        return Result(exit_code=self.exit_code, stdout=bytes(self._streams[0]), stderr=bytes(self._streams[1]))

    def said(self) -> bytes:
        """What has come on stdout so far."""
        return bytes(self._streams[0])

    def read(self, seconds: float, on_line: OnLine | None = None) -> None:
        """Takes what comes within so many seconds, but not more than one round of it."""
        for key, _ in self._selector.select(seconds):
            data = os.read(key.fd, 1 << 16)
            if key.fd == self._report:
                self._ended(data)
            elif data:
                self._open[key.fd] += data
                self._tell(key.fd, data, on_line)
            else:
                self._selector.unregister(key.fd)
                os.close(key.fd)
                del self._open[key.fd]

    def _ended(self, data: bytes) -> None:
        self.exit_code = os.waitstatus_to_exitcode(int(data))
        self._selector.unregister(self._report)
        os.close(self._report)

    def _tell(self, fd: int, data: bytes, on_line: OnLine | None) -> None:
        if self._open[fd] is not self._streams[0]:
            return
        for _ in range(data.count(b"\n")):
            self._lines += 1
            if on_line:
                on_line(self._lines)


class Launcher:
    """The process that forks the runs; a context manager."""

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-I", FAST, "--serve", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={"PATH": PATH},
        )
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait(10)

    def start(
        self,
        arguments: list[str],
        environ: Mapping[str, str],
        folder: Path,
        *,
        factor: float = 10,
        twist: str | None = None,
    ) -> Started:
        """Starts a run."""
        output, their_output = os.pipe()
        errors, their_errors = os.pipe()
        report, their_report = os.pipe()
        theirs = [their_output, their_errors, their_report]
        job = {
            "arguments": arguments,
            "environ": dict(environ),
            "folder": str(folder),
            "factor": factor,
            "twist": twist,
        }
        socket.send_fds(self._control, [json.dumps(job).encode()], theirs)
        for fd in theirs:
            os.close(fd)
        pid = int(os.read(report, 8))
        return Started(pid, output, errors, report)
