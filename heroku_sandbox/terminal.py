"""What an attached dyno's command reads and writes: a terminal of its own, or pipes without one (`--no-tty`)."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass

_LINES, _COLUMNS = 24, 80
# A session has to claim its terminal. Python could do so between fork and exec, but not safely beside other threads.
_CLAIM = (
    "import fcntl, os, sys, termios;"
    " fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execv('/bin/sh', ['/bin/sh', '-c', sys.argv[1]])"
)


@dataclass(slots=True, kw_only=True)
class Ends:
    """The sandbox's ends, where the command's output is read and its input is written, and the command's own."""

    read: int
    write: int
    terminal: bool
    inner_input: int
    inner_output: int
    closed: bool = False
    """Whether the command's input has been closed."""

    def close_inner(self) -> None:
        """Closes the command's ends here, once it has them."""
        for descriptor in {self.inner_input, self.inner_output}:
            os.close(descriptor)

    def close_input(self) -> None:
        """Ends the command's input. Of a terminal nothing is closed: that would end its output, too."""
        if not self.closed and not self.terminal:
            os.close(self.write)
        self.closed = True

    def close(self) -> None:
        """Closes the sandbox's ends. A command that still runs on the terminal gets SIGHUP from the kernel."""
        self.close_input()
        with contextlib.suppress(OSError):
            os.close(self.read)

    def command(self, line: str) -> list[str]:
        """Returns the program that runs a line of shell at these ends."""
        if self.terminal:
            return [sys.executable, "-I", "-S", "-c", _CLAIM, line]
        return ["/bin/sh", "-c", line]


def terminal(environment: Mapping[str, str]) -> Ends:
    """Makes a terminal, as large as COLUMNS and LINES say."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (_number(environment, "LINES", _LINES), _number(environment, "COLUMNS", _COLUMNS)))
    return Ends(read=outer, write=outer, terminal=True, inner_input=inner, inner_output=inner)


def pipes() -> Ends:
    """Makes a pipe for the input and one for the output, as both of them go to the client in one stream."""
    inner_input, write = os.pipe()
    read, inner_output = os.pipe()
    return Ends(read=read, write=write, terminal=False, inner_input=inner_input, inner_output=inner_output)


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name, "")
    return min(int(value), 1000) or default if value.isdecimal() else default
