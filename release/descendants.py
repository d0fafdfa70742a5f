"""All the processes that a command starts, and their end: also those that left its process group.

A child can escape its process group (`setsid`) and, by forking twice, its parent. On Linux an ancestor can declare
itself a "subreaper": orphans below it become its children instead of init's, so nothing gets away (prctl(2),
PR_SET_CHILD_SUBREAPER). Where there is neither that nor /proc, only the process group is ended.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
"""From linux/prctl.h."""
KILL_PATIENCE = 2.0
"""Real seconds in which killed processes have to be gone; one that hangs in the kernel may take longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    parent: int
    group: int
    session: int
    zombie: bool


class Descendants:
    """While it is open, orphans below this process become its children; they are told apart from those it had before.

    Whatever this process starts itself in the meantime by other means counts as a descendant too, unless it is done
    with at the end. Commands may be nested: what an outer one started is left alone by an inner one.
    """

    def __init__(self) -> None:
        self._was_subreaper = 0
        self._bystanders: set[int] = set()

    def __enter__(self) -> Self:
        self._was_subreaper = _subreaper()
        _set_subreaper(1)
        children = [process for process in _processes() if process.parent == os.getpid()]
        # Their sessions too, because what they leave behind in those is theirs.
        self._bystanders = {number for process in children for number in (process.pid, process.session)}
        return self

    def __exit__(self, *_: object) -> None:
        _set_subreaper(self._was_subreaper)

    def any_alive(self, leader: int) -> bool:
        """Whether anything in the session that `leader` began is still running."""
        return any(process.session == leader and not process.zombie for process in _processes())

    def kill(self, leader: int) -> tuple[int, int]:
        """SIGKILL for all that is left, and reap it, but for `leader` itself (its owner does that).

        Returns how many were killed besides `leader`, and how many are still there after `KILL_PATIENCE`.
        """
        killed = self._left(leader)
        # Until the leader is reaped nobody else can have its number.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        end = time.monotonic() + KILL_PATIENCE
        while left := self._left(leader):
            killed |= left
            if time.monotonic() > end:
                return len(killed - {leader}), len(left)
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
        return len(killed - {leader}), 0

    def _left(self, leader: int) -> set[int]:
        """Those that are running; zombies that are ours are reaped on the way."""
        left = set()
        for process in _processes():
            ours = process.parent == os.getpid()
            orphan = ours and self._bystanders.isdisjoint((process.pid, process.session))
            if not (orphan or process.session == leader):
                continue
            if not process.zombie:
                left.add(process.pid)
            elif ours and process.pid != leader:
                with suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
        return left


def _processes() -> list[_Process]:
    """All processes; none where there is no /proc."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 (a Path for each of a machine's processes is slow)
    except OSError:
        return []
    return [process for name in names if name.isdigit() and (process := _process(name))]


def _process(name: str) -> _Process | None:
    try:
        stat = Path("/proc", name, "stat").read_bytes()
    except OSError:  # gone in the meantime
        return None
    # The second field is the program's name in parentheses, and may hold any character (proc_pid_stat(5)).
    state, parent, group, session = stat[stat.rindex(b")") + 2 :].split(maxsplit=4)[:4]
    return _Process(
        pid=int(name), parent=int(parent), group=int(group), session=int(session), zombie=state in (b"Z", b"X")
    )


def _subreaper() -> int:
    import ctypes  # noqa: PLC0415 (10 ms that a run without a command can do without)

    value = ctypes.c_int(0)
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0)
    return value.value


def _set_subreaper(value: int) -> None:
    import ctypes  # noqa: PLC0415 (see above)

    with suppress(AttributeError, OSError):  # no prctl: not Linux
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, value, 0, 0, 0)
