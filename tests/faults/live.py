"""People at work on a database through a whole release, and where every row is that the server acknowledged to them.

Three kinds of writers, since a fence stops each in another way: a worker of the app's formation, which ends when its
process type is scaled to 0; a job runner, which opens a new session at once when its own is gone; a client outside,
which connects for each request, as a web process without a pool does. Each row has a token of its own and is written in
a short transaction; what counts is what the server has acknowledged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psycopg

from heroku_sandbox import App
from tests.faults.others import rows_in
from tests.judge import execute, query

TABLE = "CREATE TABLE IF NOT EXISTS jobs (token text PRIMARY KEY)"
INSERT = b"INSERT INTO public.jobs VALUES (%s)"
PAUSE = 0.02
"""Seconds between two writes."""
LOOK = 0.05
"""Seconds between two looks at the formation, whose workers end that much later at most."""
BEFORE = 10.0
"""Seconds in which each writer has to have written its first row."""
AFTER = 0.3
"""Seconds for which they stay at work when all is over."""
CONNECT_WITHIN = 5


class Writer:
    """Writes rows until it is told to stop; a context manager.

    `accepted`: tokens of rows whose commit the server has acknowledged; `failed`: what went wrong, once for each row
    that it could not write; `sessions`: how many it has opened; `slowest`: seconds that the longest of its writes took.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.accepted: list[str] = []
        self.failed: list[str] = []
        self.sessions = 0
        self.slowest = 0.0
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), f"{self.name} waits for the database and will not stop"

    def write(self) -> None:
        """Writes a row, or fails to. Raises psycopg.Error."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Whether it should be at work."""
        return True

    def leave(self) -> None:
        """Gives up its session."""

    def _work(self) -> None:
        while not self._stop.wait(PAUSE):
            if not self.wanted():
                self.leave()
                continue
            self._token = f"{self.name}-{len(self.accepted) + len(self.failed)}"
            began = time.monotonic()
            try:
                self.write()
                self.accepted.append(self._token)
            except psycopg.Error as error:
                self.failed.append(f"{type(error).__name__} {error}".partition("\n")[0])
            self.slowest = max(self.slowest, time.monotonic() - began)
        self.leave()

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(self._url, application_name=self.name, connect_timeout=CONNECT_WITHIN)
        self.sessions += 1
        return connection

    def _insert(self, connection: psycopg.Connection) -> None:
        with connection.transaction():
            connection.execute(INSERT, [self._token])


class Runner(Writer):
    """A job runner: keeps a session, and opens a new one at once when it is gone."""

    _connection: psycopg.Connection | None = None

    def write(self) -> None:
        """Writes a row in the session that it has."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        self._insert(self._connection)

    def leave(self) -> None:
        """Ends the session."""
        if self._connection:
            self._connection.close()


class Formation:
    """Watches how many workers the platform runs; a context manager."""

    def __init__(self, app: App, process: str = "worker") -> None:
        self.up = True
        self._app, self._process = app, process
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="formation", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(LOOK):
            self.up = self._app.formation()[self._process] > 0


class Worker(Runner):
    """A dyno of the formation: a runner that is not at work while its process type stands at 0."""

    def __init__(self, name: str, url: str, formation: Formation) -> None:
        super().__init__(name, url)
        self._formation = formation

    def wanted(self) -> bool:
        """Whether the platform runs it."""
        return self._formation.up


class Client(Writer):
    """Somebody outside who makes one request after the other: each connects, reads, writes, commits and leaves."""

    def write(self) -> None:
        """Makes a request."""
        with self._connect() as connection:
            connection.execute("SELECT count(*) FROM public.jobs")
            connection.execute(INSERT, [self._token])


@dataclass(kw_only=True)
class People:
    """Writers at work on an app's database; a context manager that returns when each has written."""

    app: App
    workers: int = 1
    runners: int = 1
    clients: int = 1
    writers: list[Writer] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        url = self.app.database_url
        execute(url, TABLE)
        formation = self._open.enter_context(Formation(self.app))
        self.writers += [Worker(f"worker.{n}", url, formation) for n in range(1, self.workers + 1)]
        self.writers += [Runner(f"runner.{n}", url) for n in range(1, self.runners + 1)]
        self.writers += [Client(f"client.{n}", url) for n in range(1, self.clients + 1)]
        for each in self.writers:
            self._open.enter_context(each)
        await_(lambda: all(each.accepted for each in self.writers), within=BEFORE)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, *, after: float = AFTER) -> None:
        """They go home, so many seconds later; whoever has done so does not mind."""
        time.sleep(after)
        self._open.close()

    @property
    def accepted(self) -> set[str]:
        """Tokens of all rows that the server has acknowledged."""
        return {token for each in self.writers for token in each.accepted}

    @property
    def failed(self) -> list[str]:
        """Requests and writes that failed, with their writer."""
        return [f"{each.name}: {error}" for each in self.writers for error in each.failed]

    @property
    def slowest(self) -> float:
        """Seconds that the longest write took."""
        return max(each.slowest for each in self.writers)

    @property
    def reconnected(self) -> list[str]:
        """Who keeps a session and had to open another one."""
        return [each.name for each in self.writers if isinstance(each, Runner) and each.sessions > 1]


def await_(what: Callable[[], object], *, within: float) -> None:
    """Waits until something is so. Raises AssertionError when it takes too long."""
    ends = time.monotonic() + within
    while not what():
        assert time.monotonic() < ends, f"not so within {within} s"
        time.sleep(0.01)


def present(superuser: str) -> set[str]:
    """The tokens in the database."""
    if query(superuser, "SELECT to_regclass('public.jobs') IS NULL") == [(True,)]:
        return set()
    return {str(token) for (token,) in query(superuser, "SELECT token FROM public.jobs")}


def copied(dumps: Iterable[Path]) -> set[str]:
    """The tokens in some backups and salvages."""
    return {row for file in dumps for row in rows_in(file, "jobs")}


def fences(requests: list[dict[str, object]]) -> list[str]:
    """The requests that changed what people get to see: maintenance mode, and the formation."""
    return [f"{each['method']} {each['path']}" for each in requests if each["method"] == "PATCH"]
