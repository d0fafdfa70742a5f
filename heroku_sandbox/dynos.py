"""Dynos: child processes that live and die as Heroku's do.

A dyno is everything that its command started. It is ended as Heroku ends one: SIGTERM to all of its
processes, SIGKILL after the grace; and when the command itself ends, whatever is left is killed.
Its output goes straight into a file, which is the release's output stream.
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

from heroku_sandbox.state import new_id, now

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
    ended: threading.Event = field(default_factory=threading.Event)


class Dynos:
    """All dynos that are running, and those that have run since the sandbox was started."""

    def __init__(self, *, grace: Callable[[], float]) -> None:
        self._grace = grace
        self._dynos: dict[str, Dyno] = {}
        self._lock = threading.Lock()
        self._closed = False

    def start(
        self,
        dyno: Dyno,
        *,
        folder: Path,
        environment: Mapping[str, str],
        limit: float,
        ended: Callable[[Dyno], None] = lambda _: None,
    ) -> None:
        """Starts the command in `folder`, stops it after `limit` seconds, and calls `ended` when it is over."""
        with self._lock, dyno.output.open("ab") as output:
            if self._closed:
                raise RuntimeError("The sandbox is stopping, so no dyno can be started.")
            process = subprocess.Popen(
                _start_of(dyno.command, folder),
                cwd=folder,
                env={**environment, _MARKER: dyno.id},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            dyno.pid = process.pid
            self._dynos[dyno.id] = dyno
        threading.Thread(target=self._watch, args=(dyno, process, limit, ended), daemon=True).start()

    def _watch(self, dyno: Dyno, process: subprocess.Popen[bytes], limit: float, ended: Callable[[Dyno], None]) -> None:
        """Waits for the command's end, kills what it has left behind, and calls `ended`."""
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            self.stop(dyno)
            code = process.wait()
        signal_all(dyno, signal.SIGKILL)
        dyno.code = code
        dyno.ended.set()
        ended(dyno)

    def stop(self, dyno: Dyno) -> None:
        """Sends SIGTERM to all its processes and, if it has not ended within the grace, SIGKILL."""
        signal_all(dyno, signal.SIGTERM)

        def finish() -> None:
            if not dyno.ended.wait(self._grace()):
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
            running = [dyno for dyno in self._dynos.values() if not dyno.ended.is_set()]
        for dyno in running:
            signal_all(dyno, signal.SIGKILL)
        for dyno in running:
            dyno.ended.wait(5)


def _start_of(command: str, folder: Path) -> list[str]:
    """Returns what starts a command: before it Heroku reads the scripts that buildpacks have left in `.profile.d`."""
    shell = ["/bin/sh", "-c", command]
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
