"""A child process: its process group, its output, its end.

The command runs without a shell, in a session of its own, with stdin closed. What it prints goes into the log line by
line. When it ends, or has to end, everything that it started ends with it: nothing may go on writing into a database
that is about to be restored. One loop in the main thread does it all; a signal, or the child's end, wakes it.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from release.child.descendants import Descendants
from release.child.last_words import last_words
from release.child.output import TAIL_LINES, Lines, Output
from release.child.sockets import local_ports
from release.child.spawn import CommandNotStarted, spawn
from release.clock import Clock, Deadline, Signals
from release.log.events import Event
from release.log.logger import Log

__all__ = ["CommandNotStarted", "Ended", "Lines", "Running", "start_command"]

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
LINGER = 0.2
"""Seconds in which what a finished command left behind may still finish its last lines (`tee` does)."""
READ = 64 * 1024
"""Bytes a read: what a pipe holds by default."""
LOOK_EVERY = 0.05
"""Seconds between two looks at what cannot wake us: orphans, and the child itself where no signal can."""


class Ended(Struct, frozen=True, kw_only=True):
    """How a command ended. Either `exit_code` or `signal` is set.

    `timed_out` and `interrupted` say that we ended it, or would have. It may still have exited with 0, but then that
    proves nothing. `duration` is in seconds. `tail` is its last lines, redacted; `last_words` the line that names its
    error, as far as one does (see last_words.py). `leftovers` is how many processes it had left behind and were killed,
    `survivors` how many could not be killed.
    """

    exit_code: int | None
    signal: str | None
    duration: float
    timed_out: bool
    interrupted: bool
    tail: tuple[str, ...]
    last_words: str
    leftovers: int
    survivors: int

    @property
    def how(self) -> str:
        """Its end in words: `exit code 3`, or `SIGKILL`."""
        return self.signal or f"exit code {self.exit_code}"

    @property
    def ok(self) -> bool:
        """Whether it came to its own end, with 0, and nothing of it is alive."""
        return self.exit_code == 0 and not (self.timed_out or self.interrupted or self.survivors)


class Running:
    """A command that runs, as `start_command` makes it."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        *,
        descendants: Descendants,
        log: Log,
        clock: Clock,
        signals: Signals,
        grace: float,
        on_lines: Lines | None,
        quiet: bool,
    ) -> None:
        self.pid = child.pid
        self.ended: Ended | None = None
        self._child = child
        self._descendants = descendants
        self._log = log
        self._clock = clock
        self._signals = signals
        self._grace = grace
        self._started = clock.monotonic()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._pipes: dict[int, Output] = {}
        self._outputs: dict[str, Output] = {}
        self._selector = selectors.DefaultSelector()
        for stream, pipe in (("stdout", child.stdout), ("stderr", child.stderr)):
            if pipe is not None:
                self._outputs[stream] = Output(log, stream, self._tail, on_lines, quiet=quiet)
                self._pipes[pipe.fileno()] = self._outputs[stream]
                self._selector.register(pipe, selectors.EVENT_READ)
        self._wakeup = signals.fileno()
        if self._wakeup is not None:
            self._selector.register(self._wakeup, selectors.EVENT_READ)

    @property
    def alive(self) -> bool:
        """Whether the command itself still runs (what it started may outlive it)."""
        if self.ended is not None or self._child.returncode is not None:
            return False
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._child.poll() is None
        # WNOWAIT leaves it a zombie, so that its number stays taken until its group has been killed.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def pids(self) -> set[int]:
        """Returns the processes that are alive of it and of all that it started. May be called in any thread."""
        return self._descendants.pids()

    def ports(self) -> frozenset[int]:
        """Returns the local TCP ports by which it, or anything that it started, is connected at this moment."""
        return local_ports(self._descendants.pids())

    def pump(self, seconds: float) -> None:
        """Passes its output on for so many seconds; less when it ends or a signal is pending."""
        self._watch(Deadline(self._clock, seconds))

    def wait(self, deadline: Deadline) -> Ended:
        """Waits until it has ended, the deadline has come or a signal is pending; in the latter cases it is ended."""
        self._watch(deadline)
        return self.stop(timed_out=deadline.expired and not self._signals.pending)

    def stop(self, *, timed_out: bool = False) -> Ended:
        """Ends it and all that it started, if need be: SIGTERM, grace, SIGKILL.

        Returns how it ended, also if it had before.
        """
        if self.ended is not None:
            return self.ended
        if self.alive:
            self._terminate()
        else:
            timed_out = False
            self._drain()
        leftovers, survivors = self._descendants.kill(self.pid)
        self._drain()
        self._close()
        code = self._reap()
        self.ended = Ended(
            exit_code=code if code >= 0 else None,
            signal=_signal_name(-code) if code < 0 else None,
            duration=self._clock.monotonic() - self._started,
            timed_out=timed_out,
            interrupted=self._signals.pending,
            tail=tuple(self._tail),
            last_words=self._last_words(),
            leftovers=leftovers,
            survivors=survivors,
        )
        self._report(self.ended)
        return self.ended

    def _watch(self, deadline: Deadline) -> None:
        while self.alive and not self._signals.pending and not deadline.expired:
            self._round(self._clock.real(deadline.left()))

    def _terminate(self) -> None:
        """Sends SIGTERM to the group, and passes output on until no process is left or the grace is over."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
            os.killpg(self.pid, signal.SIGCONT)  # a stopped process does not hear SIGTERM
        grace = Deadline(self._clock, self._grace)
        while not grace.expired and (self.alive or self._descendants.any_alive(self.pid)):
            self._round(LOOK_EVERY)

    def _drain(self) -> None:
        """Reads what is still to come, until both pipes are closed at the other end or `LINGER` is over."""
        linger = Deadline(Clock(), LINGER)
        while self._pipes and not linger.expired:
            self._round(linger.left())

    def _round(self, seconds: float) -> None:
        """Waits at most so many real seconds for output, a signal or the child's end, and passes on what is there."""
        for key, _ in self._selector.select(min(seconds, LOOK_EVERY if self._wakeup is None else 1.0)):
            if key.fd == self._wakeup:
                self._signals.drain()
            else:
                self._read(key.fd)

    def _read(self, fd: int) -> None:
        data = os.read(fd, READ)
        if data:
            self._pipes[fd].feed(data)
        else:
            self._selector.unregister(fd)
            self._pipes.pop(fd).close()

    def _close(self) -> None:
        for output in self._pipes.values():
            output.close()
        self._pipes.clear()
        self._selector.close()
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def _reap(self) -> int:
        try:
            return self._child.wait(LOOK_EVERY if self.alive else None)
        except subprocess.TimeoutExpired:  # killed, but it hangs in the kernel: among the survivors
            self._child.returncode = -signal.SIGKILL
            return self._child.returncode

    def _last_words(self) -> str:
        """Looks for them in stderr first: what is printed on stdout is rarely an error."""
        said = (last_words(self._outputs[stream].own) for stream in ("stderr", "stdout") if stream in self._outputs)
        return next(filter(None, said), "")

    def _report(self, ended: Ended) -> None:
        facts = {"timed_out": ended.timed_out, "interrupted": ended.interrupted}
        counts = {"leftovers": ended.leftovers, "survivors": ended.survivors}
        self._log.info(
            Event.COMMAND_FINISHED,
            pid=self.pid,
            exit_code=ended.exit_code,
            signal=ended.signal,
            duration=ended.duration,
            **{name: value for name, value in (facts | counts).items() if value},
        )


@contextmanager
def start_command(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Log,
    clock: Clock,
    signals: Signals,
    cwd: Path | None = None,
    grace: float = GRACE,
    on_lines: Lines | None = None,
    quiet: bool = False,
) -> Iterator[Running]:
    """Starts a command and ends it, with all that it started, when the block is left.

    `env` is its whole environment; `quiet`: its output goes to `on_lines` and not into the log. Raises
    `CommandNotStarted`, and `Interrupted` when a signal is pending already.
    While it runs, call `pump` often: a child whose output nobody reads stands still.
    """
    signals.check()
    with Descendants() as descendants:
        child = spawn(argv, env, cwd)
        log.info(Event.COMMAND_STARTED, command=shlex.join(argv), pid=child.pid)
        running = Running(
            child,
            descendants=descendants,
            log=log,
            clock=clock,
            signals=signals,
            grace=grace,
            on_lines=on_lines,
            quiet=quiet,
        )
        try:
            yield running
        finally:
            running.stop()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"SIG{number}"
