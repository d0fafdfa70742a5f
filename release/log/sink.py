"""Bytes to a file descriptor, for a log that must never hurt the work it reports on.

Nothing here raises or blocks for long, whatever the other end is: closed, full, gone, or a reader that has stopped
reading. What cannot be written is dropped and counted. The descriptor's flags are left alone (O_NONBLOCK would hit
everybody who shares the open file), so before each write `poll` is asked, and no write is larger than what `poll`
promises to take without blocking. A terminal promises nothing, so it is opened once more, by its name.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from contextlib import suppress

CHUNK = 4096
"""Bytes: PIPE_BUF on Linux. When `poll` says that a pipe is writable, so much goes in without blocking (pipe(7))."""
FILE_CHUNK = 1 << 20
"""Bytes of one write to a file, which never makes anybody wait."""
SHORT_WAIT = 0.1
"""Seconds that cost no patience: a reader that takes a chunk in this time is only slow, and the child waits with us."""
REGAINED = 0.05
"""Seconds of patience that come back in a second."""


class Sink:
    """A writer of whole lines to a file descriptor.

    A slow reader (40 KB a second or more) is waited for, as in any pipeline. One that has stopped costs `patience` real
    seconds once and makes the sink lossy: it drops lines without waiting, until there is room again. Patience that was
    used up comes back slowly, so that a reader which stops again and again costs a twentieth of the time at most. A
    line that was written in part is finished before the next one, so lines never interleave.
    """

    def __init__(self, fd: int, *, patience: float = 5.0) -> None:
        self.dropped = 0
        self._patience = patience
        self._left = patience
        self._last_wait = time.monotonic()
        self._lossy = False
        self._rest = b""
        self._fd = fd
        self._chunk = CHUNK
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            self._open = False  # and it stays so: whatever gets this number later is somebody else's
            return
        self._open = True
        if stat.S_ISREG(mode):
            self._chunk = FILE_CHUNK
        elif os.isatty(fd):
            with suppress(OSError):
                self._fd = os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        self._own = self._fd != fd
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    def close(self) -> None:
        """Closes what the sink has opened itself; the descriptor it was given is its owner's."""
        if self._open and self._own:
            os.close(self._fd)
        self._open = False

    @property
    def broken(self) -> bool:
        """Whether lines were lost or are about to be: what matters should be said elsewhere too."""
        return self.dropped > 0 or bool(self._rest) or self._lossy or not self._open

    def hurry(self) -> None:
        """Limits all waits from here on to a second: time has become short."""
        self._patience = self._left = min(self._patience, 1.0)

    def write(self, lines: bytes, *, insist: bool = False) -> bool:
        """Writes whole lines (each ends with a newline). Returns False when at least one of them was dropped.

        To insist means to have the whole patience once more, for a line that matters more than the time it costs.
        """
        before = self.dropped
        if insist:
            self._left, self._lossy = self._patience, False
        if self._rest:
            self._rest = self._push(self._rest)
        left = lines if self._rest else self._push(lines)
        if left:
            self._drop(lines, left)
        else:
            self._lossy = False
        return self.dropped == before and not self._rest

    def _push(self, data: bytes) -> bytes:
        """Writes what goes in; returns what did not."""
        if not self._open:
            return data
        view = memoryview(data)
        try:
            while view and (written := self._write_some(view)):
                view = view[written:]
        except OSError:
            # EPIPE, EIO, ENOSPC, EBADF: this line is lost, the next one is tried again.
            pass
        return bytes(view)

    def _write_some(self, view: memoryview) -> int:
        """Writes some of it as soon as there is room. Returns how many bytes; 0 when there was no room for too long."""
        written = self._try(view)
        if written or self._lossy:
            return written
        start = time.monotonic()
        self._left = min(self._patience, self._left + (start - self._last_wait) * REGAINED)
        end = start + SHORT_WAIT + self._left
        while not written and (now := time.monotonic()) < end:
            if self._poll.poll((end - now) * 1000):
                written = self._try(view)
                if not written:
                    time.sleep(SHORT_WAIT / 10)
        self._last_wait = time.monotonic()
        self._left = max(0.0, self._left - max(0.0, self._last_wait - start - SHORT_WAIT))
        self._lossy = not written
        return written

    def _try(self, view: memoryview) -> int:
        if not self._poll.poll(0):
            return 0
        try:
            return os.write(self._fd, view[: self._chunk])
        except BlockingIOError:  # a terminal says that it has room, and has too little
            return 0

    def _drop(self, lines: bytes, left: bytes) -> None:
        """Counts what was not written, but keeps the end of a line that was begun."""
        written = len(lines) - len(left)
        if written and lines[written - 1] != ord("\n"):
            end = left.index(b"\n") + 1
            self._rest, left = left[:end], left[end:]
        self.dropped += left.count(b"\n")


def last_words(text: str) -> bool:
    """Writes a text on stderr within a second. Returns False when it could not be written."""
    sink = Sink(2, patience=1.0)
    said = sink.write(text.encode("utf-8", "replace").rstrip(b"\n") + b"\n")
    sink.close()
    return said


def hold_standard_streams() -> None:
    """Fills the places of closed standard streams with /dev/null.

    It has to be called before anything else is opened.

    Otherwise the next socket gets the number 1 or 2, and a stray `print`, or a child's output, goes to Heroku or into
    the database's connection.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            _point_at_nothing(fd)


def settle_standard_streams() -> None:
    """Flushes stdout and stderr now; one that cannot be flushed is pointed at /dev/null.

    To be called last. At its end Python flushes both itself, and a failure there turns the exit code into 120
    (https://docs.python.org/3/library/sys.html#sys.exit).
    """
    for fd, stream in ((1, sys.stdout), (2, sys.stderr)):
        if stream is None or stream.closed:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            _point_at_nothing(fd)


def _point_at_nothing(fd: int) -> None:
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing != fd:
            os.dup2(nothing, fd)
            os.close(nothing)
    except OSError:
        pass  # no descriptor to be had: nothing better can be done
