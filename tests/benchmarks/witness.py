"""What the witness costs: a round trip, COPY both ways, sessions at once; each beside the same without it.

    python -m tests.benchmarks.witness

TLS is on both sides of the witness, and without it. The client is a process of its own, as a migration is; all of them
share this machine's processors, and with COPY client and server are slower than the witness. So what counts there is
how much it passes on in a second of its own processor time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from heroku_sandbox.client import shared_postgres
from heroku_sandbox.postgres import server_at
from release.witness.relay import Relay
from release.witness.tls import ServerTls
from release.witness.upstream import Upstream
from tests.benchmarks.figure import Figure, at_least, at_most, table
from tests.judge import execute

CLIENT = r"""
import json, statistics, sys, time, psycopg
url, trips, megabytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with psycopg.connect(url, sslmode="require", autocommit=True) as connection:
    took = []
    for _ in range(trips):
        begin = time.perf_counter()
        assert connection.execute("SELECT 1").fetchone() == (1,)
        took.append(time.perf_counter() - begin)
    block = (b"x" * 999 + b"\n") * 100
    connection.execute("CREATE TEMP TABLE copied (line text)")
    begin = time.perf_counter()
    with connection.cursor().copy("COPY copied FROM STDIN") as copy:
        for _ in range(megabytes * 10):
            copy.write(block)
    into = time.perf_counter() - begin
    begin, size = time.perf_counter(), 0
    with connection.cursor().copy("COPY copied TO STDOUT") as copy:
        for each in copy:
            size += len(each)
    assert size == megabytes * 1_000_000
    out = time.perf_counter() - begin
print(json.dumps([statistics.median(took) * 1000, megabytes / into, megabytes / out]))
"""

AT_ONCE = """
import sys, time, psycopg
begin = time.perf_counter()
connections = [psycopg.connect(sys.argv[1], sslmode='require') for _ in range(int(sys.argv[2]))]
for connection in connections:
    assert connection.execute("SELECT 1").fetchone() == (1,)
print([time.perf_counter() - begin])
for connection in connections:
    connection.close()
"""


def figures(*, trips: int = 3000, megabytes: int = 200, sessions: int = 50) -> Iterator[Figure]:
    """All of it, side by side."""
    with shared_postgres() as own_url, Relay() as relay:
        url = _role(own_url)
        server = server_at(url)
        tls = ServerTls(mode="require")
        entrance = relay.listen(Upstream(host=server.host, port=server.port, password=server.password, tls=tls))
        through = f"postgres://{server.user}:{entrance.password}@{entrance.host}:{entrance.port}/postgres"
        trip, into, out = _client(CLIENT, url, trips, megabytes)
        its_trip, *_ = _client(CLIENT, through, trips, 0)
        began = time.process_time()
        _, its_into, its_out = _client(CLIENT, through, 1, megabytes)
        rate = 2 * megabytes / (time.process_time() - began)
        yield at_most("a round trip through the witness", its_trip, 0.3, "ms", beside=f"{trip:.2f} ms without")
        seen = f"in {its_into:.0f}, out {its_out:.0f} MB/s for the client; {into:.0f}, {out:.0f} without"
        yield at_least("COPY through it, by its own processor time", rate, 100, "MB/s", beside=seen)
        (took,) = _client(AT_ONCE, through, sessions)
        yield at_most(f"{sessions} sessions at once, opened and answered", took, 10)


def _role(url: str) -> str:
    """The URL of a role whose password is hashed as on Heroku; the sandbox's own is hashed in a hurry."""
    execute(url, "DROP ROLE IF EXISTS measured", "CREATE ROLE measured LOGIN PASSWORD 'measured'")
    parts = urlsplit(url)
    return parts._replace(netloc=f"measured:measured@{parts.hostname}:{parts.port}").geturl()


def _client(text: str, url: str, *numbers: int) -> list[float]:
    command = [sys.executable, "-c", text, url, *map(str, numbers)]
    found: list[float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


if __name__ == "__main__":
    print(table(list(figures())))
