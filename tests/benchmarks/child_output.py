"""How fast a child's output gets into the log, and in how much memory.

    python -m tests.benchmarks.child_output

The whole way is measured: child → pipe → lines → redaction → JSON → pipe → a reader that counts it. Memory has to be
flat whatever is printed.
"""

from __future__ import annotations

import os
import resource
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from release.child.process import Ended, start_command
from release.clock import Clock, Deadline, Signals
from release.log.logger import open_log
from tests.benchmarks.figure import Figure, at_least, at_most, peak, table

LINE = "2026-05-04 10:11:12,345 INFO app.models Applying timeline.{:07d}_add_milestone_index ... OK in 0.0123 s\n"
LONG = "import sys\nfor _ in range(100): sys.stdout.write('0123456789' * 100_000)\n"


def figures(*, lines: int = 500_000, known: int = 10) -> Iterator[Figure]:
    """Lines a second, with so many secrets to look for in them; and what one line of 100 MB needs."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.writelines(LINE.format(number) for number in range(lines))
        file.flush()
        ended, cpu = _measured(["cat", file.name], known, lines)
    beside = f"{lines / cpu:,.0f} by our own processor time"
    yield at_least("a command's output", lines / ended.duration, 50_000, "lines/s", beside=beside)
    before = peak()
    ended, _ = _measured([sys.executable, "-c", LONG], known, 1)
    more = peak() - before
    yield at_most("memory for one line of 100 MB", more, 5, "MB", beside=f"{ended.duration:.1f} s")


def _measured(argv: list[str], known: int, lines: int) -> tuple[Ended, float]:
    reader = subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdin
    assert reader.stdout
    with Signals() as signals:
        clock = Clock(signals)
        log = open_log(
            fd=reader.stdin.fileno(),
            secrets=[secrets.token_urlsafe(32) for _ in range(known)],
            clock=clock,
            run_id="0f3a9c",
            app="learning-timeline",
            release="v42",
        )
        start = resource.getrusage(resource.RUSAGE_SELF)
        command = start_command(argv, env=dict(os.environ), log=log.bind(step="migrate"), clock=clock, signals=signals)
        with command as running:
            ended = running.wait(Deadline(clock, None))
        end = resource.getrusage(resource.RUSAGE_SELF)
    reader.stdin.close()
    assert int(reader.stdout.read()) >= lines
    reader.wait()
    assert ended.ok
    assert log.dropped == 0
    return ended, end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime


if __name__ == "__main__":
    print(table(list(figures())))
