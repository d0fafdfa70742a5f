"""All the processes that a command starts, and their end: also those that left its process group.

A child can escape its process group (`setsid`) and, by forking twice, its parent. On Linux an ancestor can declare
itself a "subreaper": orphans below it become its children instead of init's, so nothing gets away (prctl(2),
PR_SET_CHILD_SUBREAPER). Where there is neither that nor /proc, only the process group is ended.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from msgspec import Struct

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
"""Numbers of prctl's options, from linux/prctl.h."""
KILL_PATIENCE = 2.0
"""Real seconds in which killed processes have to be gone; one that hangs in the kernel may take longer."""
QUIET_LOOKS = 2
"""So many looks in a row have to find no process before all are taken for gone."""


class _Process(Struct, frozen=True, kw_only=True):
    pid: int
    parent: int
    session: int
    zombie: bool


class Descendants:
    """The processes below this one. While it is open, orphans become children, told apart from those it had before.

    Whatever this process starts itself in the meantime by other means counts as a descendant too, unless it is done
    with at the end. Commands may be nested: what an outer one started is left alone by an inner one.
    """

    def __init__(self) -> None:
        self._was_subreaper = 0
        self._bystanders: set[int] = set()

    def __enter__(self) -> Self:
        self._was_subreaper = _subreaper()
        _set_subreaper(1)
        # Their sessions too, because what they leave behind in those is theirs.
        # The kernel's list of children may leave one out while another ends (proc_tid_children(5)). What is left out
        # here would be killed later, so all processes are looked through as well.
        there = (*_children(), *_among(_all_processes(), os.getpid()))
        self._bystanders = {number for child in there for number in (child.pid, child.session)}
        return self

    def __exit__(self, *_: object) -> None:
        _set_subreaper(self._was_subreaper)

    def any_alive(self, leader: int) -> bool:
        """Tells whether anything in the session that `leader` began is still running: itself, or an orphan of it."""
        return any(child.session == leader and not child.zombie for child in _children())

    def pids(self) -> set[int]:
        """Returns all processes below this one that were not there before; none where there is no /proc."""
        below: set[int] = set()
        waiting = [child.pid for child in _children() if child.pid not in self._bystanders]
        while waiting:
            pid = waiting.pop()
            below.add(pid)
            waiting += [child.pid for child in _children(pid) if child.pid not in below]
        return below

    def kill(self, leader: int) -> tuple[int, int]:
        """Kills all that is left (SIGKILL) and reaps it, but for `leader` itself, which its owner reaps.

        Returns how many were killed besides `leader`, and how many are still there after `KILL_PATIENCE`.
        """
        killed = self._reap_zombies(leader)[0]
        # Until the leader is reaped nobody else can have its number.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        end = time.monotonic() + KILL_PATIENCE
        quiet = 0
        # A process that dies after the children were listed and before its state is read hands its own children over
        # unseen. So one quiet look is not enough.
        while quiet < QUIET_LOOKS:
            running, reaped = self._reap_zombies(leader)
            killed |= running
            if (running or reaped) and time.monotonic() > end:
                return len(killed - {leader}), max(1, len(running))
            for pid in running:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            quiet = 0 if running or reaped else quiet + 1
            if running:
                time.sleep(0.002)  # a killed process is gone within some milliseconds
        return len(killed - {leader}), 0

    def _reap_zombies(self, leader: int) -> tuple[set[int], int]:
        """Reaps the children that are zombies, whose own children come into view next time.

        Returns the children that are running, and how many were reaped.
        """
        running = set()
        reaped = 0
        for child in _children():
            if not self._bystanders.isdisjoint((child.pid, child.session)):
                continue
            if not child.zombie:
                running.add(child.pid)
            elif child.pid != leader:
                reaped += _reap(child.pid)
        return running, reaped


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # somebody else in this process has reaped it
        return False


def _children(of: int | None = None) -> list[_Process]:
    """Returns the children of a process, by default ours, orphans that became ours included; none without /proc.

    The kernel can list them (proc_tid_children(5)); where it is built without that, all processes are looked through,
    which takes some milliseconds on a busy machine.
    """
    parent = os.getpid() if of is None else of
    folder = f"/proc/{parent}/task"
    try:
        names = [name for task in os.listdir(folder) for name in Path(folder, task, "children").read_text().split()]  # noqa: PTH208 -- names, not paths
    except OSError:
        names = _all_processes() if Path(folder).exists() else []
    return _among(names, parent)


def _among(names: Iterable[str], parent: int) -> list[_Process]:
    """Returns those of some processes that are children of `parent`."""
    return [process for name in names if (process := _process(name)) and process.parent == parent]


def _all_processes() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 -- names, not paths
    except OSError:
        return []


def _process(name: str) -> _Process | None:
    try:
        stat = Path("/proc", name, "stat").read_bytes()
    except OSError:  # gone in the meantime
        return None
    # The second field is the program's name in parentheses, and may hold any character (proc_pid_stat(5)).
    state, parent, _group, session = stat[stat.rindex(b")") + 2 :].split(maxsplit=4)[:4]
    return _Process(pid=int(name), parent=int(parent), session=int(session), zombie=state in (b"Z", b"X"))


def _subreaper() -> int:
    import ctypes  # noqa: PLC0415 -- 10 ms that a run without a command can do without

    value = ctypes.c_int(0)
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0)
    return value.value


def _set_subreaper(value: int) -> None:
    import ctypes  # noqa: PLC0415 -- see above

    with suppress(AttributeError, OSError):  # no prctl: not Linux
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, value, 0, 0, 0)
