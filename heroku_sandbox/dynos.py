"""Dynos: child processes that live and die as Heroku's do.

A dyno is everything that its command started. It is ended as Heroku ends one: SIGTERM to all of its
processes, SIGKILL after the grace; and when the command itself ends, whatever is left is killed.
Its output goes straight into a file, which is the release's output stream and the source of the app's log; that
of an attached dyno goes to its client (rendezvous.py).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from heroku_sandbox.logplex import Logs
from heroku_sandbox.state import new_id, now
from heroku_sandbox.terminal import Ends

_MARKER = "HEROKU_DYNO_ID"  # part of Heroku's dyno metadata; here also how a dyno's processes are found


@dataclass(slots=True, kw_only=True)
class Dyno:
    """A dyno. `code` is the command's exit status, negative for a signal, None while it runs."""

    id: str = field(default_factory=new_id)
    app_id: str
    name: str
    type: str
    command: str
    size: str
    release_id: str
    release_version: int
    output: Path
    created_at: datetime = field(default_factory=now)
    code: int | None = None
    pid: int = 0
    managed: bool = False
    """Whether it is one of the formation's: the dyno manager starts it again."""
    stopped: bool = False
    """Whether it was asked to end."""
    ended: threading.Event = field(default_factory=threading.Event)


class Dynos:
    """All dynos that are running, and those that have run since the sandbox was started."""

    def __init__(self, *, grace: Callable[[], float], logs: Logs) -> None:
        self._grace = grace
        self._logs = logs
        self._dynos: dict[str, Dyno] = {}
        self._lock = threading.Lock()
        self._closed = False

    def announce(self, dyno: Dyno) -> None:
        """Notes a dyno that is to be started later, when its client is there."""
        dyno.output.touch()
        with self._lock:
            self._dynos[dyno.id] = dyno

    def start(
        self,
        dyno: Dyno,
        *,
        folder: Path,
        environment: Mapping[str, str],
        limit: float,
        ended: Callable[[Dyno], None] = lambda _: None,
        ends: Ends | None = None,
    ) -> None:
        """Starts the command in `folder`, stops it after `limit` seconds, and calls `ended` when it is over.

        Its output goes into the dyno's file and from there into the app's log; with `ends` to these instead.
        """
        with self._lock, dyno.output.open("ab") as output:
            if self._closed or dyno.ended.is_set():
                raise RuntimeError("The sandbox is stopping, or the dyno is stopped, so it cannot be started.")
            self.say(dyno, f"Starting process with command `{dyno.command}`")
            process = subprocess.Popen(
                _start_of(ends.command(dyno.command) if ends else ["/bin/sh", "-c", dyno.command], folder),
                cwd=folder,
                env={**environment, _MARKER: dyno.id},
                stdin=ends.inner_input if ends else subprocess.DEVNULL,
                stdout=ends.inner_output if ends else output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            dyno.pid = process.pid
            self._dynos[dyno.id] = dyno
        self.say(dyno, "State changed from starting to up")
        if ends is None:
            self._logs.follow(dyno.id, dyno.app_id, dyno.name, dyno.output)
        threading.Thread(target=self._watch, args=(dyno, process, limit, ended), daemon=True).start()

    def _watch(self, dyno: Dyno, process: subprocess.Popen[bytes], limit: float, ended: Callable[[Dyno], None]) -> None:
        """Waits for the command's end, kills what it has left behind, and calls `ended`."""
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            self.stop(dyno)
            code = process.wait()
        signal_all(dyno, signal.SIGKILL)
        self._logs.ended(dyno.id)
        self.say(dyno, f"Process exited with status {code if code >= 0 else 128 - code}")
        after = "complete" if not dyno.managed else "down" if dyno.stopped else "crashed"
        self.say(dyno, f"State changed from up to {after}")
        dyno.code = code
        dyno.ended.set()
        ended(dyno)

    def say(self, dyno: Dyno, text: str) -> None:
        """Notes in the app's log what the platform says about a dyno."""
        self._logs.write(dyno.app_id, "heroku", dyno.name, text)

    def stop(self, dyno: Dyno) -> None:
        """Sends SIGTERM to all its processes and, if it has not ended within the grace, SIGKILL."""
        if self.abandon(dyno):
            return
        dyno.stopped = True
        self.say(dyno, "Stopping all processes with SIGTERM")
        signal_all(dyno, signal.SIGTERM)
        self.kill_after_grace(dyno)

    def abandon(self, dyno: Dyno) -> bool:
        """Ends a dyno that was not started. Returns False for one that was."""
        with self._lock:
            if dyno.pid:
                return False
            dyno.code = 1
            dyno.ended.set()
        self.say(dyno, "State changed from starting to crashed")
        return True

    def kill_after_grace(self, dyno: Dyno) -> None:
        """Sends SIGKILL to what is left of a dyno after the grace."""

        def finish() -> None:
            if not dyno.ended.wait(self._grace()):
                self.say(dyno, "Stopping process with SIGKILL")
                signal_all(dyno, signal.SIGKILL)

        threading.Thread(target=finish, daemon=True).start()

    def of(self, app_id: str) -> list[Dyno]:
        """Returns the running dynos of an app, oldest first."""
        return [dyno for dyno in self.all_of(app_id) if not dyno.ended.is_set()]

    def all_of(self, app_id: str) -> list[Dyno]:
        """Returns all dynos of an app since the sandbox was started, oldest first."""
        with self._lock:
            return [dyno for dyno in self._dynos.values() if dyno.app_id == app_id]

    def close(self) -> None:
        """Kills every dyno. Nothing can be started afterwards."""
        with self._lock:
            self._closed = True
            running = [dyno for dyno in self._dynos.values() if dyno.pid and not dyno.ended.is_set()]
        for dyno in running:
            signal_all(dyno, signal.SIGKILL)
        for dyno in running:
            dyno.ended.wait(5)


def _start_of(shell: list[str], folder: Path) -> list[str]:
    """Returns what starts a shell: before it Heroku reads the scripts that buildpacks have left in `.profile.d`."""
    if not any((folder / ".profile.d").glob("*.sh")):
        return shell
    read = 'for script in .profile.d/*.sh; do source "./$script"; done; exec "$@"'
    return ["/bin/bash", "-c", read, "dyno", *shell]


def new_number() -> int:
    """Draws a number as in `run.4711`."""
    return 1000 + secrets.randbelow(9000)


def signal_all(dyno: Dyno, number: int) -> None:
    """Sends a signal to every process of a dyno, also to those that left its process group or session."""
    if number != signal.SIGKILL:
        for pid in _processes(dyno):
            _kill(pid, number)
        return
    for _ in range(20):  # a process may fork after the list was read: look again until there is none
        pids = _processes(dyno)
        if not pids:
            return
        for pid in pids:
            _kill(pid, number)
        time.sleep(0.005)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _processes(dyno: Dyno) -> list[int]:
    """Returns the ids of a dyno's processes: those of its session, and all that inherited its id in the environment."""
    if not dyno.pid:  # not started; session 0 is the kernel's
        return []
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():  # not Linux: the process group has to do
        with contextlib.suppress(ProcessLookupError):
            os.killpg(dyno.pid, 0)
            return [-dyno.pid]
        return []
    marker = f"{_MARKER}={dyno.id}".encode()
    ids = []
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # After the command's name, which may hold anything: state, parent, group, session.
            state, _, _, session = (entry / "stat").read_bytes().rpartition(b") ")[2].split()[:4]
            if state in (b"Z", b"X"):
                continue
            if int(session) == dyno.pid or marker in (entry / "environ").read_bytes().split(b"\0"):
                ids.append(int(entry.name))
    return ids
