"""Connection pooling by a real pgbouncer, where the machine has one: in transaction mode, as Heroku's.

One pgbouncer serves all databases of the sandbox that have a pooled attachment. It runs as the server's user does, on
a port of its own, and ends with the sandbox: a shell that reads from it notices the end, whatever that was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from heroku_sandbox import unprivileged
from heroku_sandbox.lookup import invalid
from heroku_sandbox.postgres import Server
from heroku_sandbox.state import Addon

POOLED = "connection-pooling:default"
"""The namespace of an attachment whose URL leads through the pool."""
SIZES = {
    "pgbouncer_default_pool_size": 20,
    "pgbouncer_max_client_conn": 1000,
    "pgbouncer_max_db_connections": 90,
    "pgbouncer_min_pool_size": 0,
    "pgbouncer_server_idle_timeout": 60,
}
"""The pool's settings, by their names in the Data API."""
_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/bin:/usr/local/bin"
_START_SECONDS = 10
_GUARD = '"$1" "$2" </dev/null & while read -r _; do kill -HUP $!; done; kill $!; wait'
"""Reloads on each line and stops at the end of its input."""
_SETTINGS = """
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
ignore_startup_parameters = extra_float_digits
client_tls_sslmode = prefer
client_tls_cert_file = {folder}/server.pem
client_tls_key_file = {folder}/server.pem
logfile = {folder}/pooler.log
"""


class Pooler:
    """The pool, if the machine has pgbouncer. It starts with the first database that is to be pooled."""

    def __init__(self, home: Path, server: Server) -> None:
        self._program = self.program()
        self._home = home
        self._server = server
        self._lock = threading.Lock()
        self._guard: subprocess.Popen[bytes] | None = None
        self.port = 0

    @staticmethod
    def program() -> str | None:
        """Returns the machine's pgbouncer, or None."""
        return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:{_PLACES}")

    @property
    def installed(self) -> bool:
        """Whether this machine has pgbouncer."""
        return self._program is not None

    def require(self) -> None:
        """Raises ApiError (422) on a machine without pgbouncer."""
        if not self.installed:
            raise invalid("This machine has no pgbouncer, which pools connections here: apt-get install pgbouncer")

    def url(self, addon: Addon) -> str:
        """Returns the URL of the default credential through the pool."""
        direct, own = f":{self._server.port}/", f":{self.port}/"
        url = self._server.url(addon.database, addon.default.role, addon.default.password)
        return own.join(url.rsplit(direct, 1))

    def serve(self, addons: list[Addon]) -> None:
        """Pools these databases with their passwords of today, and no other. Raises ApiError (422)."""
        if not addons and self._guard is None:
            return
        self.require()
        with self._lock:
            if self._guard is None:
                self.port = unprivileged.free_port()
            self._write(addons)
            if self._guard and self._guard.stdin:
                self._guard.stdin.write(b"\n")
                self._guard.stdin.flush()
            else:
                self._start()

    def stop(self) -> None:
        """Stops it, and deletes the passwords that it was given."""
        with self._lock:
            if self._guard and self._guard.stdin:
                self._guard.stdin.close()
                self._guard.wait(_START_SECONDS)
                shutil.rmtree(self._folder(), ignore_errors=True)
            self._guard = None

    def _folder(self) -> Path:
        """Returns a folder that the pool's user can read, and nobody else."""
        folder = unprivileged.place(self._home) / "pooler"
        folder.mkdir(mode=0o700, exist_ok=True)
        unprivileged.give(folder)
        return folder

    def _write(self, addons: list[Addon]) -> None:
        """Writes the settings, the passwords and the certificate, which is the one of the downloads."""
        folder = self._folder()
        at = f"host={self._server.host} port={self._server.port}"
        bases = "".join(f"{addon.database} = {at} dbname={addon.database}\n" for addon in addons)
        users = "".join(f'"{addon.default.role}" "{addon.default.password}"\n' for addon in addons)
        sizes = "".join(f"{name.removeprefix('pgbouncer_')} = {size}\n" for name, size in SIZES.items())
        settings = f"[databases]\n{bases}{_SETTINGS.format(port=self.port, folder=folder)}{sizes}"
        unprivileged.write_secret(folder / "users.txt", users.encode())
        unprivileged.write_secret(folder / "server.pem", (self._home / "server.pem").read_bytes())
        unprivileged.write_secret(folder / "pooler.ini", settings.encode())

    def _start(self) -> None:
        """Starts it and waits until it accepts connections. Raises ApiError (422) when it does not."""
        folder = self._folder()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(self._program), str(folder / "pooler.ini")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **unprivileged.identity(),
        )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise invalid(f"pgbouncer did not start. Its log is {folder}/pooler.log.")
