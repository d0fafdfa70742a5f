"""Time and signals: what waits, for how long, and what may wake it.

Signal handlers here only take a note; they never raise in the middle of arbitrary code. Every wait is a `select` that
the signal wakes at once through a wakeup file descriptor. (`time.sleep` would sleep on after a handler that only sets a
flag, and `Event.set` inside a handler can deadlock on the event's own lock.)
"""

from __future__ import annotations

import contextlib
import math
import select
import signal
import socket
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals that ask a run to stop. SIGKILL cannot be caught; all others keep their default."""


LONGEST_NAP = 0.1
"""Seconds between two looks for a signal in a thread other than the main one, which no signal wakes."""


HEARTBEAT = 0.25
"""Seconds between two chances for a signal's handler to run while the main thread is held up in a system call."""

LEAVING = (__file__, contextlib.__file__)
"""The files whose code runs when a block is left. An exception from outside would keep it from putting things back."""


class Interrupted(Exception):
    """A signal asked the run to stop. `signal_name` is the signal's name, `"SIGTERM"` for one."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"{signal_name} was received")
        self.signal_name = signal_name


class Received(Struct, frozen=True, kw_only=True):
    """The first signal that asked to stop: its name, and when it came (`time.monotonic`, real seconds)."""

    name: str
    at: float


class Signals:
    """A context manager that takes note of SIGTERM, SIGINT and SIGHUP while it is open. It belongs in the main thread.

    Only the first signal counts. It is `pending` until it is acknowledged; while it is, `check`, `Clock.sleep` and
    a command that runs react to it. After `acknowledge` all signals are ignored, so that the recovery that the
    first one caused can wait in peace. They stay ignored after it is closed, up to the end of the process.
    """

    def __init__(self) -> None:
        self.received: Received | None = None
        self._acknowledged = False
        self._shields = 0
        self._armed = False
        self._cut = False
        self._reader: socket.socket | None = None
        self._writer: socket.socket | None = None
        self._previous_wakeup = -1
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._previous_wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in STOPPING:
            # `nohup release-phase` asks not to be stopped by a hang-up; that wish is kept.
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._note)
        # With any handler at all, a child's end is written to the wakeup file descriptor too.
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _nothing)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            if self._acknowledged and number in STOPPING:
                # The run has said how it ended. A signal while the process winds up must not change its exit code.
                signal.signal(number, signal.SIG_IGN)
                continue
            # None stands for a handler that was not installed from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]
        self._previous.clear()
        signal.set_wakeup_fd(self._previous_wakeup)
        for end in (self._reader, self._writer):
            if end is not None:
                end.close()
        self._reader = self._writer = None

    @property
    def pending(self) -> bool:
        """Whether a signal has come that is neither acknowledged nor kept back by a shield."""
        return self.received is not None and not self._acknowledged and not self._shields

    def check(self) -> None:
        """Raises `Interrupted` when a signal is pending."""
        if self.pending and self.received is not None:
            raise Interrupted(self.received.name)

    def acknowledge(self) -> Received | None:
        """Ignores all signals from here on. Returns the one that came before, if any."""
        self._acknowledged = True
        return self.received

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """Keeps signals back: none is pending until the block is left. Blocks may be nested."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Raises `Interrupted` at once when a signal comes inside, even out of a blocking system call.

        It is meant only for code that changes nothing and holds nothing (an HTTP read), because that code may be cut
        off between any two instructions. Where a library swallows the exception, or turns it into one of its own, it
        is raised again at the end of the block. In another thread than the main one, where no handler runs, a signal
        is noticed at the end of the block.
        """
        if not _in_main_thread():
            self.check()
            yield
            self.check()
            return
        with _heartbeat(self._cut_again):
            previous, self._armed = self._armed, True
            try:
                self.check()
                yield
            except Interrupted:
                raise
            except Exception:
                self._armed = previous
                self.check()
                raise
            finally:
                self._armed, self._cut = previous, False
            self.check()

    def fileno(self) -> int | None:
        """Returns the file descriptor that becomes readable when any signal comes, also at a child's end.

        None while it is not open.
        """
        return None if self._reader is None else self._reader.fileno()

    def drain(self) -> None:
        """Empties the wakeup file descriptor. Never blocks."""
        try:
            while self._reader is not None and self._reader.recv(4096):
                pass
        except BlockingIOError:  # nothing is left to read
            pass

    def wait(self, seconds: float) -> None:
        """Waits for so many real seconds, or until any signal comes. It may return early."""
        fileno = self.fileno()
        if not _in_main_thread():  # it must not take the byte that is to wake the main thread
            time.sleep(min(seconds, LONGEST_NAP))
            return
        if fileno is None:
            time.sleep(seconds)
            return
        select.select([fileno], [], [], seconds)
        self.drain()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = Received(name=signal.Signals(number).name, at=time.monotonic())
        if self._armed and self.pending:
            self._armed = False  # once only: a second signal must not hit the code that handles the first
            self._cut = True
            raise Interrupted(self.received.name)

    def _cut_again(self, _number: int, frame: FrameType | None) -> None:
        """Raises what was raised in this block and has not left it: Python drops an exception inside a finalizer.

        Any object may be finalized at any moment, as urllib3's pools are. The read would go on to its own time limit.
        """
        if self._cut and self.pending and self.received and frame and frame.f_code.co_filename not in LEAVING:
            raise Interrupted(self.received.name)


@contextlib.contextmanager
def _heartbeat(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Cuts into the main thread's system calls four times a second, so that no handler has to wait for a call's end.

    Python runs a handler in the main thread, between two instructions or when a system call of that thread was
    interrupted. A signal that the kernel gave to another thread interrupts none of its calls, and one that came just
    before the call began is too early to: either would be noticed only when the call ends by itself.
    """
    previous = signal.signal(signal.SIGALRM, handler)
    timer = signal.setitimer(signal.ITIMER_REAL, HEARTBEAT, HEARTBEAT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if previous is None else previous)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Does nothing: that there is a handler is enough to wake a wait."""


class Clock:
    """The time, and waiting, as a value that is handed in. All figures are seconds."""

    def __init__(self, signals: Signals | None = None) -> None:
        self._signals = signals or Signals()

    def monotonic(self) -> float:
        """Returns the seconds of a clock that never jumps. It goes on while the process is stopped."""
        return time.monotonic()

    def now(self) -> datetime:
        """Returns the time of the wall clock in UTC. It may jump, so it is for people and logs, never for deadlines."""
        return datetime.now(UTC)

    def real(self, seconds: float) -> float:
        """Converts seconds of this clock into real ones, which is what a `select` gets as its timeout."""
        return seconds

    def sleep(self, seconds: float) -> None:
        """Waits for so many seconds. Raises `Interrupted` at once when a signal is pending or comes meanwhile."""
        end = self.monotonic() + seconds
        self._signals.check()
        while (left := end - self.monotonic()) > 0:
            self._signals.wait(self.real(left))
            self._signals.check()


class ScaledClock(Clock):
    """A clock that runs `factor` times as fast, so that an hour's wait can be tried out in seconds."""

    def __init__(self, factor: float, signals: Signals | None = None) -> None:
        super().__init__(signals)
        self._factor = factor
        self._start = time.monotonic()
        self._start_wall = datetime.now(UTC).timestamp()

    def monotonic(self) -> float:
        """Returns the seconds of `Clock.monotonic`, which pass `factor` times as fast."""
        return self._start + (time.monotonic() - self._start) * self._factor

    def now(self) -> datetime:
        """Returns the time of `Clock.now`, which has moved on `factor` times as fast since the clock was made."""
        return datetime.fromtimestamp(self._start_wall + self.monotonic() - self._start, UTC)

    def real(self, seconds: float) -> float:
        """Converts seconds of this clock into real ones: `factor` times as few."""
        return seconds / self._factor


class Deadline:
    """A moment on a monotonic clock. `Deadline(clock, None)` never comes."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._at = math.inf if seconds is None else clock.monotonic() + seconds

    def left(self) -> float:
        """Returns the seconds until then: never negative, and `math.inf` for a deadline that never comes."""
        return max(0.0, self._at - self._clock.monotonic())

    def real_left(self) -> float:
        """Returns the real seconds until then."""
        return self._clock.real(self.left())

    @property
    def expired(self) -> bool:
        """Whether the deadline has come."""
        return self.left() <= 0

    def clamp(self, seconds: float) -> float:
        """Returns so many seconds, or what is left when that is less."""
        return min(seconds, self.left())

    def within(self, seconds: float) -> Deadline:
        """Returns a deadline in so many seconds, but never after this one."""
        return Deadline(self._clock, self.clamp(seconds))
