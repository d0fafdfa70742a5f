"""What the witness costs: a round trip, COPY both ways, memory, sessions at once; each beside the same without it.

    python -m tests.benchmarks.witness [--tls] [--trips N] [--megabytes N]

The limits in DESIGN.md section 11 are 0.3 ms a round trip, 100 MB/s of COPY, 50 connections at once. The client is a
process of its own, as a migration is; all of them share this machine's processors.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

from heroku_sandbox.client import shared_postgres
from heroku_sandbox.postgres import server_at
from release.witness.relay import Entrance, Relay
from release.witness.tls import ServerTls
from release.witness.upstream import Upstream

CLIENT = r"""
import json, statistics, sys, time, psycopg
url, mode, trips, megabytes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
found = {}
with psycopg.connect(url, sslmode=mode, autocommit=True) as connection:
    took = []
    for _ in range(trips):
        begin = time.perf_counter()
        connection.execute("SELECT 1")
        took.append(time.perf_counter() - begin)
    found["ms a round trip"] = statistics.median(took) * 1000
    block = b"x" * 99 + b"\n"
    connection.execute("CREATE TEMP TABLE copied (line text)")
    begin = time.perf_counter()
    with connection.cursor().copy("COPY copied FROM STDIN") as copy:
        for _ in range(megabytes * 10):
            copy.write(block * 1000)
    found["MB/s of COPY in"] = megabytes / (time.perf_counter() - begin)
    for size in (99, 9999):
        begin, size_of_all = time.perf_counter(), 0
        rows = f"SELECT repeat('x', {size}) FROM generate_series(1, {megabytes * 1_000_000 // (size + 1)})"
        with connection.cursor().copy(f"COPY ({rows}) TO STDOUT") as copy:
            for each in copy:
                size_of_all += len(each)
        found[f"MB/s of COPY out, rows of {size + 1} bytes"] = size_of_all / 1e6 / (time.perf_counter() - begin)
print(json.dumps(found))
"""

AT_ONCE = """
import sys, time, psycopg
begin = time.perf_counter()
connections = [psycopg.connect(sys.argv[1], sslmode=sys.argv[2]) for _ in range(int(sys.argv[3]))]
for connection in connections:
    connection.execute("SELECT 1")
print(time.perf_counter() - begin)
for connection in connections:
    connection.close()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tls", action="store_true", help="on both sides of the witness, and without it")
    parser.add_argument("--trips", type=int, default=3000)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=50)
    options = parser.parse_args()
    mode = "require" if options.tls else "disable"
    with shared_postgres() as url, Relay() as relay:
        server = server_at(url)
        begin = time.perf_counter()
        upstream = Upstream(host=server.host, port=server.port, password=server.password, tls=ServerTls(mode=mode))
        entrance = relay.listen(upstream)
        print(f"ms to open an entrance  {(time.perf_counter() - begin) * 1000:.1f}")
        through = _url(entrance, server.user)
        before = _peak()
        beside = [_client(each, mode, options.trips, options.megabytes) for each in (url, through)]
        for name in beside[0]:
            print(f"{name:40} {beside[0][name]:8.3f} without, {beside[1][name]:8.3f} with the witness")
        print(f"MB of memory at most    {before:.1f} before, {_peak():.1f} after")
        _at_once(through, mode, options.sessions)
        print(f"MB of memory at most    {_peak():.1f} with {options.sessions} sessions at once")


def _url(entrance: Entrance, user: str) -> str:
    return f"postgres://{user}:{entrance.password}@{entrance.host}:{entrance.port}/postgres"


def _client(url: str, mode: str, trips: int, megabytes: int) -> dict[str, float]:
    command = [sys.executable, "-c", CLIENT, url, mode, str(trips), str(megabytes)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _at_once(url: str, mode: str, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, url, mode, str(count)], check=True, stdout=subprocess.PIPE, text=True
    )
    print(f"sessions at once        {count}, opened and asked in {float(done.stdout):.2f} s")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
