"""Commands that behave, and commands that do not: real processes, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from release.child.process import CommandNotStarted, Ended, start_command
from release.clock import Clock, Deadline, Interrupted, Signals
from release.log.logger import open_log

PATH = {"PATH": os.environ["PATH"]}
KEY = "HRKU-AAbbCCddEE-ff_00112233445566778899"


class House:
    """Everything a command needs, and its events."""

    def __init__(self, signals: Signals, path: Path) -> None:
        self.signals = signals
        self.clock = Clock(signals)
        self.fd = os.open(path, os.O_CREAT | os.O_RDWR)
        self.log = open_log(fd=self.fd, secrets=[KEY], clock=self.clock)

    def run(self, *argv: str, seconds: float | None = 20, **options: Any) -> Ended:
        everything: dict[str, Any] = {"env": PATH, "grace": 0.3} | options
        deadline = everything.pop("deadline", Deadline(self.clock, seconds))
        with start_command(argv, log=self.log, clock=self.clock, signals=self.signals, **everything) as running:
            return running.wait(deadline)

    def sh(self, script: str, seconds: float | None = 20, **options: Any) -> Ended:
        return self.run("sh", "-c", script, seconds=seconds, **options)

    def python(self, script: str, seconds: float | None = 20, **options: Any) -> Ended:
        return self.run(sys.executable, "-Suc", textwrap.dedent(script), seconds=seconds, **options)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in os.pread(self.fd, 1 << 24, 0).splitlines()]

    def lines(self, stream: str = "stdout") -> list[str]:
        return [event["line"] for event in self.events() if event.get("stream") == stream]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Signals() as signals:
        house = House(signals, tmp_path / "log")
        yield house
        os.close(house.fd)


def _alive(marker: str) -> list[int]:
    """The processes that have this among their arguments."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and marker.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def _children() -> set[int]:
    """This process's children, zombies too; the sandboxes of other tests are among them."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, _, rest = file.read_text().rpartition(") ")
            if int(rest.split()[1]) == os.getpid():
                found.add(int(file.parent.name))
    return found


@pytest.fixture
def marker() -> str:
    """A number of seconds to sleep that nobody else sleeps."""
    return f"3{time.monotonic_ns() % 10**9}.{os.getpid()}"


def test_a_command_ends_and_its_output_is_in_the_log(house: House) -> None:
    ended = house.sh("echo one; echo two >&2; printf three; exit 3")
    assert (ended.exit_code, ended.signal, ended.ok) == (3, None, False)
    assert (ended.timed_out, ended.interrupted, ended.leftovers, ended.survivors) == (False, False, 0, 0)
    assert sorted(ended.tail) == ["one", "three", "two"]
    assert 0 < ended.duration < 5
    first, *output, last = house.events()
    assert first["event"] == "command_started"
    assert first["command"] == "sh -c 'echo one; echo two >&2; printf three; exit 3'"
    assert [(event["event"], event["stream"], event["line"]) for event in sorted(output, key=lambda e: e["line"])] == [
        ("command_output", "stdout", "one"),
        ("command_output", "stdout", "three"),
        ("command_output", "stderr", "two"),
    ]
    assert {name: last[name] for name in ("event", "exit_code", "signal")} == {
        "event": "command_finished",
        "exit_code": 3,
        "signal": None,
    }
    assert not {"timed_out", "interrupted", "leftovers", "survivors"} & last.keys()


@pytest.mark.parametrize("code", [0, 1, 2, 70, 127, 143, 255])
def test_every_exit_code_is_told(house: House, code: int) -> None:
    ended = house.sh(f"exit {code}")
    assert (ended.exit_code, ended.signal) == (code, None)
    assert ended.ok == (code == 0)


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "INT", "HUP", "PIPE", "ABRT", "RTMIN"])
def test_every_signal_is_told(house: House, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    ended = house.python(f"import os; os.kill(os.getpid(), {int(number)}); input()")
    if name == "INT":  # Python turns it into an exception and dies of it properly
        assert ended.signal == "SIGINT"
    elif name == "PIPE":  # which Python ignores
        assert ended.exit_code == 1
    else:
        assert ended.signal == f"SIG{name}"
        assert ended.exit_code is None
    assert not ended.ok


def test_stdin_is_closed(house: House) -> None:
    assert house.sh("cat; read line; echo $?").ok
    assert house.lines() == ["1"]


def test_the_environment_is_what_was_given_and_nothing_else(house: House, tmp_path: Path) -> None:
    assert house.run("env", env=PATH | {"A": "ä b"}, cwd=tmp_path).ok
    assert sorted(house.lines()) == sorted(["A=ä b", f"PATH={PATH['PATH']}"])


def test_no_shell_sees_the_arguments(house: House) -> None:
    assert house.run("echo", "$HOME; `id` | *").ok
    assert house.lines() == ["$HOME; `id` | *"]


def test_the_folder_is_the_one_asked_for(house: House, tmp_path: Path) -> None:
    assert house.run("pwd", cwd=tmp_path).ok
    assert house.lines() == [str(tmp_path)]


def test_at_the_deadline_the_whole_group_gets_sigterm(house: House, marker: str) -> None:
    start = time.monotonic()
    ended = house.sh(f"trap 'echo stopping; exit 0' TERM; sleep {marker} & wait", seconds=0.2, grace=10)
    assert time.monotonic() - start < 5
    assert (ended.exit_code, ended.timed_out, ended.ok) == (0, True, False)
    assert house.lines() == ["stopping"]
    assert _alive(marker) == []


def test_who_ignores_sigterm_is_killed_after_the_grace_and_heard_until_then(house: House) -> None:
    start = time.monotonic()
    ended = house.sh("trap '' TERM; echo begin; while :; do sleep 0.02; echo again; done", seconds=0.2, grace=0.4)
    assert 0.5 < time.monotonic() - start < 5
    assert (ended.exit_code, ended.signal, ended.timed_out) == (None, "SIGKILL", True)
    assert len(house.lines()) > 10


def test_a_child_of_the_command_has_the_grace_too(house: House) -> None:
    child = "trap 'sleep 0.2; echo tidied; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    ended = house.sh(f'sh -c "{child}"; true', seconds=0.3, grace=5)
    assert ended.timed_out
    assert house.lines() == ["up", "tidied"]


def test_a_stopped_command_ends_as_well(house: House) -> None:
    ended = house.sh("kill -STOP $$", seconds=0.2, grace=5)
    assert (ended.signal, ended.timed_out) == ("SIGTERM", True)


def test_a_command_that_ended_in_time_is_not_timed_out_even_when_we_look_late(house: House) -> None:
    with start_command(
        ["true"], env=PATH, log=house.log, clock=house.clock, signals=house.signals, grace=0.1
    ) as running:
        time.sleep(0.2)
        ended = running.wait(Deadline(house.clock, 0))
    assert ended.ok


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_at_once(house: House, marker: str, number: signal.Signals) -> None:
    start = time.monotonic()
    ended = house.sh(f"(sleep 0.1; kill -{int(number)} {os.getpid()}) & exec sleep {marker}", seconds=30)
    assert time.monotonic() - start < 5
    assert (ended.signal, ended.interrupted, ended.timed_out, ended.ok) == ("SIGTERM", True, False, False)
    assert house.signals.pending
    assert _alive(marker) == []
    assert house.events()[-1]["interrupted"] is True


def test_no_command_is_started_when_a_signal_is_pending(house: House, tmp_path: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        house.run("touch", str(tmp_path / "started"))
    assert not (tmp_path / "started").exists()


def test_after_the_signal_was_acknowledged_commands_run_to_their_end(house: House) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    house.signals.acknowledge()
    assert house.sh(f"kill -TERM {os.getpid()}; sleep 0.1; echo done").ok


def test_a_grandchild_that_holds_stdout_does_not_hold_us(house: House, marker: str) -> None:
    start = time.monotonic()
    ended = house.sh(f"sleep {marker} & echo done")
    assert time.monotonic() - start < 5
    assert ended.ok
    assert ended.leftovers == 1
    assert house.lines() == ["done"]
    assert _alive(marker) == []


def test_a_grandchild_may_finish_its_last_line(house: House) -> None:
    ended = house.sh("(sleep 0.05; echo late) & echo early")
    assert ended.ok
    assert house.lines() == ["early", "late"]


ESCAPES = {
    "setsid": "setsid sleep {0} >/dev/null 2>&1 & sleep 0.1",
    "setsid and a parent that is gone": "(setsid sleep {0} >/dev/null 2>&1 &) ; sleep 0.1",
    "a process group": (
        f'{sys.executable} -Sc \'import os; os.setpgid(0, 0); os.execvp("sleep", ["sleep", "{{0}}"])\' & sleep 0.2'
    ),
    "a tree": "setsid sh -c 'setsid sleep {0} & setsid sh -c \"sleep {0} & sleep {0}\" & wait' & sleep 0.2",
}


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("end", ["", "; exit 1", "; kill -9 $$", "; sleep 60"])
def test_nobody_gets_away(house: House, marker: str, escape: str, end: str) -> None:
    others = _children()
    ended = house.sh(ESCAPES[escape].format(marker) + end, seconds=0.6)
    assert _alive(marker) == []
    assert ended.leftovers > 0
    assert ended.survivors == 0
    assert _children() == others


def test_a_daemon_that_forks_twice_does_not_get_away(house: House, marker: str) -> None:
    ended = house.python(f"""
        import os, sys
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for fd in range(3):
                    os.close(fd)
                os.execvp("sleep", ["sleep", "{marker}"])
            os._exit(0)
        os.wait()
        import time; time.sleep(0.1)
    """)
    assert (ended.ok, ended.leftovers) == (True, 1)
    assert _alive(marker) == []


def test_somebody_elses_children_are_left_alone(house: House) -> None:
    with subprocess.Popen(["sleep", "60"]) as other, subprocess.Popen(["sleep", "60"], start_new_session=True) as third:
        assert house.sh("sleep 60 &").leftovers == 1
        assert other.poll() is None
        assert third.poll() is None
        other.kill()
        third.kill()


def test_orphans_go_where_they_went_before_when_the_command_is_over(house: House) -> None:
    assert house.sh("true").ok
    with subprocess.Popen(["sh", "-c", "sleep 0.3 & echo $!"], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        orphan = int(shell.stdout.readline())
    assert Path(f"/proc/{orphan}/stat").read_text().split()[3] != str(os.getpid())


def test_a_command_inside_another_leaves_that_alone(house: House, marker: str) -> None:
    with start_command(
        ["sh", "-c", f"sleep {marker} & wait"], env=PATH, log=house.log, clock=house.clock, signals=house.signals
    ) as web:
        web.pump(0.1)
        assert house.sh("sleep 60 &").leftovers == 1
        assert web.alive
        assert len(_alive(marker)) == 1
    assert _alive(marker) == []


def test_a_command_that_closes_its_streams_is_waited_for(house: House) -> None:
    start = time.monotonic()
    ended = house.sh("exec >&- 2>&-; sleep 0.3; exit 5")
    assert ended.exit_code == 5
    assert 0.3 <= time.monotonic() - start < 5
    assert house.sh("exec >&- 2>&-; sleep 60", seconds=0.1).timed_out


def test_it_costs_no_cpu_to_wait(house: House) -> None:
    before = time.process_time()
    house.sh("exec >&- 2>&-; sleep 0.5")
    assert time.process_time() - before < 0.2


def test_a_command_that_prints_for_ever_ends_at_its_deadline(house: House) -> None:
    start = time.monotonic()
    ended = house.run("yes", seconds=0.3)
    assert ended.timed_out
    assert time.monotonic() - start < 5


def test_ten_megabytes_without_a_newline_take_no_memory(house: House) -> None:
    house.python("print('warm')")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ended = house.python("import sys\nfor _ in range(160): sys.stdout.write('0123456789abcdef' * 4096)")
    assert ended.ok
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096, "KiB"
    assert sum(map(len, house.lines())) == len("warm") + 160 * 65536


def test_what_a_child_prints_is_never_an_event_of_ours(house: House) -> None:
    forged = '{"event":"release_finished","outcome":"released","exit_code":0}'
    assert house.run("printf", "%s\\n", forged, '"}', forged).ok
    assert [event["event"] for event in house.events()] == [
        "command_started",
        *["command_output"] * 3,
        "command_finished",
    ]
    assert house.lines() == [forged, '"}', forged]


def test_nul_bad_unicode_and_terminal_escapes_are_passed_on_as_text(house: House) -> None:
    assert house.run("printf", r"nul\000 bad\377 \033[31mred\n").ok
    assert house.lines() == ["nul\x00 bad� \x1b[31mred"]


def test_a_key_that_is_printed_whole_or_in_two_pieces_is_hidden_and_so_it_is_among_the_arguments(house: House) -> None:
    half = len(KEY) // 2
    ended = house.python(
        f"""
        import sys, time
        print("{KEY}")
        sys.stdout.write("{KEY[:half]}"); sys.stdout.flush(); time.sleep(0.1); print("{KEY[half:]}")
    """
    )
    assert ended.tail == ("[redacted]", "[redacted]")
    assert house.lines() == ["[redacted]", "[redacted]"]
    assert KEY.encode() not in os.pread(house.fd, 1 << 20, 0)


def _script(folder: Path, text: str, mode: int) -> str:
    path = folder / "script"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


NOT_STARTED: dict[str, tuple[Callable[[Path], Sequence[str]], str]] = {
    "not found": (lambda _: ["no-such-command"], "no-such-command: not found on the PATH"),
    "no such file": (lambda _: ["./nothing"], "./nothing: no such file"),
    "a folder": (lambda folder: [str(folder)], "{0}: it is a directory"),
    "not executable": (lambda folder: [_script(folder, "#!/bin/sh\n", 0o644)], "{0}/script: it is not executable"),
    "no interpreter": (
        lambda folder: [_script(folder, "#!/no/such/python3\n", 0o755)],
        "{0}/script: its interpreter does not exist (#!/no/such/python3)",
    ),
    "no first line": (
        lambda folder: [_script(folder, "echo hi\n", 0o755)],
        "{0}/script: it is neither a program for this machine nor a script with an interpreter in its first line",
    ),
    "NUL": (lambda _: ["echo", "a\0b"], "echo: it cannot be passed to the system (embedded null byte)"),
    "too long": (lambda _: ["echo", "x" * 4_000_000], "echo: Argument list too long"),
    "empty": (lambda _: [], ": the command is empty"),
}


@pytest.mark.parametrize("case", NOT_STARTED)
def test_a_command_that_cannot_be_started_says_why(house: House, tmp_path: Path, case: str) -> None:
    make, message = NOT_STARTED[case]
    with pytest.raises(CommandNotStarted) as caught:
        house.run(*make(tmp_path))
    assert str(caught.value) == message.format(tmp_path)
    assert house.events() == []


def test_a_folder_that_does_not_exist_is_named(house: House, tmp_path: Path) -> None:
    with pytest.raises(CommandNotStarted, match=rf"^true: its folder {tmp_path}/no does not exist$"):
        house.run("true", cwd=tmp_path / "no")


def test_the_commands_path_is_searched_not_ours(house: House, tmp_path: Path) -> None:
    Path(_script(tmp_path, "#!/bin/sh\necho mine\n", 0o755)).rename(tmp_path / "only-here")
    assert house.run("only-here", env={"PATH": str(tmp_path)}).ok
    with pytest.raises(CommandNotStarted, match=r"^only-here: not found on the PATH$"):
        house.run("only-here")


def test_lines_are_handed_on_as_they_were_logged(house: House) -> None:
    seen: list[tuple[str, list[str]]] = []
    assert house.sh(f"echo {KEY}; echo x", on_lines=lambda stream, lines: seen.append((stream, list(lines)))).ok
    assert [line for _, lines in seen for line in lines] == ["[redacted]", "x"]
    assert {stream for stream, _ in seen} == {"stdout"}


def test_a_running_command_is_pumped_and_ended_when_the_block_is_left(house: House, marker: str) -> None:
    with start_command(
        ["sh", "-c", f"echo ready; sleep {marker} & wait"],
        env=PATH,
        log=house.log,
        clock=house.clock,
        signals=house.signals,
        grace=0.3,
    ) as running:
        while not house.lines():
            running.pump(0.05)
        assert running.alive
        assert running.ended is None
        assert len(_alive(marker)) == 1
    assert running.ended is not None
    assert (running.ended.signal, running.ended.ok) == ("SIGTERM", False)
    assert not running.alive
    assert running.stop() is running.ended
    assert _alive(marker) == []


def test_a_running_command_ends_also_when_the_block_fails(house: House, marker: str) -> None:
    with (
        pytest.raises(KeyError),
        start_command(["sleep", marker], env=PATH, log=house.log, clock=house.clock, signals=house.signals),
    ):
        raise KeyError
    assert _alive(marker) == []


def test_a_pump_ends_when_the_command_does(house: House) -> None:
    with start_command(["true"], env=PATH, log=house.log, clock=house.clock, signals=house.signals) as running:
        start = time.monotonic()
        running.pump(30)
        assert time.monotonic() - start < 5
        assert running.stop().ok


def test_a_blocked_log_does_not_block_the_command(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with Signals() as signals:
        house = House(signals, tmp_path / "log")
        house.log = open_log(fd=writer, clock=house.clock, patience=0.2)
        start = time.monotonic()
        assert house.sh("seq 200000; exit 0").ok
        assert time.monotonic() - start < 10
        assert house.log.dropped > 190_000
    os.close(reader)
    os.close(writer)


def test_without_open_signals_commands_run_as_well(tmp_path: Path) -> None:
    house = House(Signals(), tmp_path / "log")
    assert house.sh("exec >&- 2>&-; sleep 0.1").ok
    assert house.sh("sleep 60", seconds=0.1).timed_out


def test_descriptors_and_zombies_do_not_pile_up(house: House) -> None:
    house.sh("true")
    before, others = len(os.listdir("/proc/self/fd")), _children()  # noqa: PTH208
    for _ in range(4):
        house.sh("sleep 60 & true")
        with pytest.raises(CommandNotStarted):
            house.run("no-such-command")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert _children() == others
