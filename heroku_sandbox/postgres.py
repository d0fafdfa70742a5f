"""The PostgreSQL under the sandbox: an embedded server from a package, or somebody else's.

The embedded one is tuned for speed (no fsync: it survives being killed, not a power cut), listens on loopback
only, speaks TLS as Heroku's does, and refuses wrong passwords. PostgreSQL refuses to run as root, so for root it
runs as `nobody`. Its files then live elsewhere, since the home is closed to `nobody`, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psycopg

from heroku_sandbox import unprivileged
from heroku_sandbox.programs import servers

_START_SECONDS = 60
_TRIES = 3
_EXTENSIONS = (
    "autoinc,bloom,btree_gin,btree_gist,citext,cube,dblink,dict_int,earthdistance,fuzzystrmatch,hstore,insert_username,"
    "intarray,isn,lo,ltree,moddatetime,pg_prewarm,pg_stat_statements,pg_trgm,pgcrypto,pgrowlocks,pgstattuple,plpgsql,"
    "postgis,postgis_raster,postgis_topology,postgres_fdw,refint,seg,sslinfo,tablefunc,tcn,tsm_system_rows,"
    "tsm_system_time,unaccent,uuid-ossp,vector,xml2"
)
"""Those that Heroku allows. `pg:extensions` asks for them by the names of its two kinds of servers."""
_SETTINGS = f"""
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 600
max_prepared_transactions = 10
shared_buffers = 32MB
fsync = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
autovacuum_naptime = 1min
scram_iterations = 4096
shared_preload_libraries = 'pg_stat_statements,auto_explain'
extwlist.extensions = '{_EXTENSIONS}'
rds.allowed_extensions = '{_EXTENSIONS}'
logging_collector = off
log_min_messages = warning
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
"""
_ACCESS = "host all all 127.0.0.1/32 scram-sha-256\n"


class PostgresError(Exception):
    """The server could not be started or is not usable."""


class _Ended(PostgresError):
    """The server ended at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running PostgreSQL and how to be its superuser."""

    host: str
    port: int
    user: str
    password: str
    database: str = "postgres"
    own: bool = False
    """Whether it is the sandbox's, who may change its settings."""
    _idle: list[psycopg.Connection[Any]] = field(default_factory=list, compare=False, repr=False)

    def url(self, database: str, user: str, password: str) -> str:
        """Makes a URL as Heroku's: always with `postgres://`, user, password and port."""
        return f"postgres://{quote(user, safe='')}:{quote(password, safe='')}@{self.host}:{self.port}/{quote(database)}"

    @property
    def superuser_url(self) -> str:
        """The URL of the maintenance database, as the superuser."""
        return self.url(self.database, self.user, self.password)

    @contextlib.contextmanager
    def session(self, database: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        """Opens an autocommit session as the superuser."""
        with self._connect(database or self.database) as connection:
            yield connection

    @contextlib.contextmanager
    def maintenance(self) -> Iterator[psycopg.Connection[Any]]:
        """Gives an autocommit session as the superuser on the maintenance database, which no app has.

        One that nobody uses is kept for the next: opening one costs several times as much as most of what it is for.
        """
        connection = self._kept() or self._connect(self.database)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        """Ends the sessions that were kept."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> psycopg.Connection[Any] | None:
        """Returns a session that was kept and still answers; None where there is none."""
        while self._idle:
            with contextlib.suppress(psycopg.Error, IndexError):  # another thread was quicker, or somebody has ended it
                connection = self._idle.pop()
                connection.execute("")
                return connection
        return None

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
            sslmode="allow",  # without TLS, where the server lets us: it is on this machine
            application_name=unprivileged.NAME,
        )


def server_at(url: str) -> Server:
    """Returns the server behind a superuser's URL."""
    parts = urlsplit(url)
    return Server(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        user=unquote(parts.username or "postgres"),
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/") or "postgres",
    )


def variables(url: str) -> dict[str, str]:
    """Returns libpq's environment variables for a URL.

    An argument list can be read by everybody on the machine, and a URL has a password in it; an environment cannot.
    """
    server = server_at(url)
    return {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.user,
        "PGPASSWORD": server.password,
        "PGDATABASE": server.database,
    }


class Embedded:
    """A server of the sandbox's own, with its data in `<home>/postgres`, or behind a link of that name.

    A server that a killed sandbox has left behind is stopped first.
    """

    def __init__(self, home: Path, *, certificate: bytes, key: bytes, programs: str | None = None) -> None:
        """Makes a server that is not yet started; `programs` names the folder of PostgreSQL's, else see programs.py."""
        self._identity = unprivileged.identity()
        self._place = unprivileged.place(home)
        self._data = self._place / "postgres"
        if self._place != home:
            _link(home / "postgres", self._data)
        self._log = home / "postgres.log"
        self._binaries = servers(programs)
        self._process: subprocess.Popen[bytes] | None = None
        self._certificate = certificate
        self._key = key

    def start(self) -> Server:
        """Starts it, with new data the first time. Returns once it accepts connections; raises PostgresError."""
        if not (self._data / "PG_VERSION").exists():
            self._create()
        self._configure()
        password = (self._data / "superuser").read_text()
        self.stop(hard=True)
        port = self._spawn_somewhere()
        return Server(host="127.0.0.1", port=port, user="postgres", password=password, own=True)

    def stop(self, *, hard: bool = False) -> None:
        """Stops it: sessions are ended, then (unless `hard`) the data is written out."""
        pid = self._pid()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT if hard else signal.SIGINT)
        if self._process:
            self._process.wait()
        deadline = time.monotonic() + _START_SECONDS
        while self._pid() == pid and time.monotonic() < deadline:
            time.sleep(0.02)

    def remove(self) -> None:
        """Deletes the data. To be called only after stop()."""
        shutil.rmtree(self._place if self._identity else self._data, ignore_errors=True)

    def _create(self) -> None:
        """Makes the data folder. Raises PostgresError when initdb fails."""
        shutil.rmtree(self._data, ignore_errors=True)
        password = secrets.token_hex(16)
        with tempfile.NamedTemporaryFile("w", dir=self._data.parent) as secret:
            secret.write(password)
            secret.flush()
            if self._identity:
                self._data.mkdir(parents=True, mode=0o700)
                unprivileged.give(Path(secret.name))
                unprivileged.give(self._data)
            done = subprocess.run(
                [
                    self._binaries / "initdb",
                    *("-D", self._data, "-U", "postgres", "--pwfile", secret.name),
                    *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
                    *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
                    *("--no-sync", "--no-instructions"),
                    # For the superuser's password only, which nobody guesses: each of a sandbox's many sessions costs
                    # half as much. `_SETTINGS` has what all others get.
                    *("--set", "scram_iterations=1"),
                ],
                check=False,
                capture_output=True,
                text=True,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                **self._identity,
            )
        if done.returncode != 0:
            raise PostgresError(f"PostgreSQL's initdb failed: {done.stderr.strip()}")
        (self._data / "pg_hba.conf").write_text(_ACCESS)
        unprivileged.write_secret(self._data / "superuser", password.encode())

    def _configure(self) -> None:
        """Appends the settings, unless they are the last already: an older home may have had others."""
        file = self._data / "postgresql.conf"
        if not file.read_text().endswith(_SETTINGS):
            with file.open("a") as settings:
                settings.write(_SETTINGS)

    def _spawn_somewhere(self) -> int:
        """Starts the server and returns its port. A port that was free may be somebody's a moment later."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(_Ended):
                return self._spawn()
        return self._spawn()

    def _spawn(self) -> int:
        """Starts the server and returns its port once it accepts connections. Raises PostgresError."""
        unprivileged.write_secret(self._data / "server.pem", self._certificate)
        unprivileged.write_secret(self._data / "server.key", self._key)
        port = unprivileged.free_port()
        self._log.touch(mode=0o600)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-c", f"port={port}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                # The server must not outlive a sandbox that was killed. Runs before any thread exists.
                preexec_fn=_end_with_parent,  # noqa: PLW1509 -- see above
                **self._identity,
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise _Ended(f"PostgreSQL ended at once. The end of {self._log}: {self._log.read_text()[-2000:]}")
            if self._status().endswith("ready"):
                return port
            time.sleep(0.01)
        raise PostgresError(f"PostgreSQL did not start within {_START_SECONDS} s. Its log is {self._log}.")

    def _lines(self) -> list[str]:
        # Lines: pid, data folder, start time, port, socket folder, address, shared memory, status.
        with contextlib.suppress(FileNotFoundError):
            return (self._data / "postmaster.pid").read_text().splitlines()
        return []

    def _status(self) -> str:
        lines = self._lines()
        return lines[7].strip() if len(lines) > 7 else ""  # noqa: PLR2004 -- see _lines

    def _pid(self) -> int | None:
        """Returns the server's process id. None: there is no server, or another process has that id by now."""
        lines = self._lines()
        pid = int(lines[0]) if lines else None
        return pid if pid and str(self._data) in _command_line(pid) else None


def _link(link: Path, data: Path) -> None:
    """Puts a link to the data into the home."""
    if link.is_dir() and not link.is_symlink():  # where it was when homes were open
        link.rename(data)
    link.unlink(missing_ok=True)
    link.symlink_to(data)


def _command_line(pid: int) -> str:
    """Returns the command line of a process, or an empty text if there is none with this id."""
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        return ""
    asked = ["/bin/ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(asked, check=False, capture_output=True, text=True).stdout


def _end_with_parent() -> None:
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGQUIT)
