"""What others do to a database while the hook is at work: they write, hold locks, make things, and come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

import psycopg

from heroku_sandbox import App
from tests.hook import POSTGRES_BIN, Result, finish


class Writers:
    """A dyno of the app that adds rows to `jobs`; it ends with its session, as the fence ends both."""

    def __init__(self, app: App, *, statement: str = "INSERT INTO jobs VALUES (%s)") -> None:
        self.app = app
        self.accepted: list[int] = []
        self._statement = statement.encode()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        token = 0
        with suppress(psycopg.Error), psycopg.connect(self.app.database_url, autocommit=True) as session:
            session.execute("SET application_name = 'worker.1'")
            while not self._stop.wait(0.02):
                token += 1
                session.execute(self._statement, [token])
                self.accepted.append(token)

    def __enter__(self) -> Self:
        """Starts; returns once it has written."""
        self._thread.start()
        ends = time.monotonic() + 10
        while not self.accepted:
            assert time.monotonic() < ends, "nothing could be written"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Does something in a thread; what goes wrong there is raised here."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- raised again below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failures:
        raise failures[0]


def at_event(
    process: subprocess.Popen[bytes],
    name: str,
    begin: Callable[[], None],
    *,
    end: Callable[[], None] = lambda: None,
    after: float = 0.0,
    **fields: object,
) -> Result:
    """Lets a run go on to its end, but for what is done as soon as it has said an event with these fields.

    The run stands still while that begins; `end` is done `after` seconds later.
    """
    assert process.stdout is not None
    heard, done = [], False
    for line in process.stdout:
        heard.append(line)
        event = json.loads(line)
        if not done and event["event"] == name and all(event.get(key) == value for key, value in fields.items()):
            os.kill(process.pid, signal.SIGSTOP)
            begin()
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(after)
            end()
            done = True
    assert done, f"{name} was never said"
    rest = finish(process)
    return Result(exit_code=rest.exit_code, stdout=b"".join(heard) + rest.stdout, stderr=rest.stderr)


def rows_in_dump(dump: str, table: str) -> list[str]:
    """The lines of a table's data in a dump, as COPY has them."""
    argv = [str(POSTGRES_BIN / "pg_restore"), "--data-only", f"--table={table}", "-f", "-", dump]
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("COPY "))
    return lines[start + 1 : lines.index("\\.", start)]
