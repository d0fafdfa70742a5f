"""Time and signals, with real signals sent to real processes."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

from release.clock import Clock, Deadline, Interrupted, ScaledClock, Signals

pytestmark = pytest.mark.timeout(60, method="thread")  # the alarm is the heartbeat's here


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as signals:
        yield signals


def _send(number: int, after: float) -> subprocess.Popen[bytes]:
    script = f"import os, time; time.sleep({after}); os.kill({os.getpid()}, {int(number)})"
    return subprocess.Popen([sys.executable, "-Sc", script])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_sleep_ends_at_once_when_a_signal_comes(signals: Signals, number: signal.Signals) -> None:
    start = time.monotonic()
    with _send(number, after=0.05), pytest.raises(Interrupted, match=f"^{number.name} was received$") as caught:
        Clock(signals).sleep(30)
    assert caught.value.signal_name == number.name
    assert time.monotonic() - start < 5
    assert signals.received is not None
    assert start < signals.received.at <= time.monotonic()


def test_a_sleep_does_not_begin_when_a_signal_is_pending(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        Clock(signals).sleep(0)


def test_a_child_that_ends_wakes_a_wait_but_not_a_sleep(signals: Signals) -> None:
    clock = Clock(signals)
    with subprocess.Popen(["sleep", "0.05"]):
        start = time.monotonic()
        signals.wait(5)
        assert time.monotonic() - start < 4
    with subprocess.Popen(["sleep", "0.05"]):
        start = time.monotonic()
        clock.sleep(0.2)
        assert time.monotonic() - start >= 0.2


def test_only_the_first_signal_counts(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.received is not None
    assert signals.received.name == "SIGHUP"


def test_after_it_was_acknowledged_signals_are_ignored_and_sleeping_is_possible(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.pending
    received = signals.acknowledge()
    assert received is not None
    assert received.name == "SIGTERM"
    os.kill(os.getpid(), signal.SIGTERM)
    start = time.monotonic()
    with _send(signal.SIGINT, after=0.01), signals.interruptible():
        Clock(signals).sleep(0.3)
    assert time.monotonic() - start >= 0.3
    assert not signals.pending


def test_a_shield_keeps_a_signal_back_until_it_is_lowered(signals: Signals) -> None:
    clock = Clock(signals)
    with signals.shield():
        with signals.shield():
            os.kill(os.getpid(), signal.SIGTERM)
            clock.sleep(0.01)
        clock.sleep(0.01)
        assert not signals.pending
    with pytest.raises(Interrupted):
        clock.sleep(0.01)


def test_a_blocking_read_is_cut_off_when_it_is_interruptible(signals: Signals) -> None:
    reader, writer = os.pipe()
    start = time.monotonic()
    with _send(signal.SIGTERM, after=0.05), pytest.raises(Interrupted), signals.interruptible():
        os.read(reader, 1)
    assert time.monotonic() - start < 5
    os.close(reader)
    os.close(writer)


def test_a_signal_that_the_kernel_gives_to_another_thread_cuts_a_read_off(signals: Signals) -> None:
    reader, writer = os.pipe()
    ended = threading.Event()
    other = threading.Thread(target=ended.wait, daemon=True)
    other.start()
    assert other.ident is not None
    sender = threading.Timer(0.1, signal.pthread_kill, (other.ident, signal.SIGTERM))
    start = time.monotonic()
    sender.start()
    with pytest.raises(Interrupted), signals.interruptible():
        os.read(reader, 1)
    assert time.monotonic() - start < 5
    ended.set()
    other.join()
    os.close(reader)
    os.close(writer)


def test_what_was_to_ring_before_an_interruptible_block_still_does_afterwards(signals: Signals) -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.8)
        with signals.interruptible():
            time.sleep(0.6)
        assert not rung
        time.sleep(1.5)
        assert rung == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_outside_of_it_a_blocking_read_goes_on(signals: Signals) -> None:
    reader, writer = os.pipe()
    with signals.interruptible():
        pass
    script = f"import os, time; os.kill({os.getpid()}, 15); time.sleep(0.1); os.write({writer}, b'x')"
    with subprocess.Popen([sys.executable, "-Sc", script], pass_fds=[writer]):
        assert os.read(reader, 1) == b"x"
    assert signals.pending
    os.close(reader)
    os.close(writer)


def test_an_interruption_that_a_library_swallows_is_raised_again(signals: Signals) -> None:
    def swallowing() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Interrupted:
            pass

    with pytest.raises(Interrupted), signals.interruptible():
        swallowing()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_hits_a_finalizer_is_raised_again_in_time(signals: Signals) -> None:
    """Python drops what a finalizer raises, and the read below would go on to its end."""

    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    reader, writer = os.pipe()
    start = time.monotonic()

    def reading() -> None:
        Finalized()
        assert signals.pending
        select.select([reader], [], [], 5)

    with pytest.raises(Interrupted), signals.interruptible():
        reading()
    assert time.monotonic() - start < 2
    os.close(reader)
    os.close(writer)


def test_an_interruption_that_a_library_turns_into_its_own_error_is_raised_again(signals: Signals) -> None:
    def translating() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Interrupted as error:
            raise ConnectionError from error

    with pytest.raises(Interrupted), signals.interruptible():
        translating()


def test_an_error_that_has_nothing_to_do_with_a_signal_passes(signals: Signals) -> None:
    with pytest.raises(KeyError), signals.interruptible():
        raise KeyError


def test_a_second_signal_does_not_hit_the_handling_of_the_first(signals: Signals) -> None:
    handled = False
    try:
        with signals.interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
    except Interrupted:
        os.kill(os.getpid(), signal.SIGTERM)
        handled = True
    assert handled


def test_ten_thousand_signals_lose_no_wakeup_and_block_nothing(signals: Signals) -> None:
    for _ in range(10_000):
        os.kill(os.getpid(), signal.SIGTERM)
    signals.wait(0)
    start = time.monotonic()
    signals.wait(0.05)
    assert time.monotonic() - start >= 0.05
    assert signals.pending


def test_handlers_are_as_before_when_it_is_closed() -> None:
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in watched]
    with Signals() as signals:
        assert signals.fileno() is not None
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in watched] == before
    assert signals.fileno() is None


def test_after_an_acknowledgement_a_late_signal_does_not_change_the_exit_code() -> None:
    script = """
        import os, signal
        from release.clock import Signals
        with Signals() as signals:
            signals.acknowledge()
        os.kill(os.getpid(), signal.SIGTERM)
    """
    argv = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run(argv, check=False).returncode == 0


def test_nohup_is_respected() -> None:
    script = """
        import os, signal
        from release.clock import Signals
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.pending
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.pending
    """
    argv = ["sh", "-c", 'trap \'\' HUP; exec "$0" -c "$1"', sys.executable, textwrap.dedent(script)]
    assert subprocess.run(argv, check=False).returncode == 0


def test_a_deadline_counts_down_to_zero_and_not_below() -> None:
    clock = ScaledClock(1000)
    deadline = Deadline(clock, 20)
    assert 0 < deadline.left() <= 20
    assert deadline.clamp(3) == 3
    assert 3 < deadline.clamp(300) <= 20
    assert not deadline.expired
    clock.sleep(25)
    assert deadline.expired
    assert deadline.left() == 0
    assert deadline.clamp(3) == 0


def test_a_deadline_of_none_never_comes() -> None:
    deadline = Deadline(Clock(), None)
    assert deadline.left() == math.inf
    assert not deadline.expired
    assert deadline.clamp(7) == 7
    assert Deadline(Clock(), None).within(5).left() <= 5


def test_a_deadline_within_another_never_comes_after_it() -> None:
    outer = Deadline(Clock(), 10)
    assert outer.within(1000).left() <= 10
    assert outer.within(2).left() <= 2


def test_a_scaled_clock_runs_an_hour_in_a_moment() -> None:
    clock = ScaledClock(36_000)
    start, wall, real = clock.monotonic(), clock.now(), time.monotonic()
    clock.sleep(3600)
    assert clock.monotonic() - start >= 3600
    assert (clock.now() - wall).total_seconds() >= 3600
    assert time.monotonic() - real < 5
    assert clock.real(36_000) == 1
