"""How fast a child's output gets into the log, and in how much memory.

    python -m tests.benchmarks.child_output [--lines N] [--secrets N] [--gigabyte]

The whole way is measured: child → pipe → lines → redaction → JSON → pipe → a reader that throws it away. The limit in
DESIGN.md section 11 is 50,000 lines a second; memory has to be flat whatever is printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from release.child.process import Ended, start_command
from release.clock import Clock, Deadline, Signals
from release.log.logger import open_log

LINE = "2026-05-04 10:11:12,345 INFO app.models Applying timeline.{:07d}_add_milestone_index ... OK in 0.0123 s\n"
GIGABYTE = "import sys\nfor _ in range(1024): sys.stdout.write('0123456789abcdef' * 65536)\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--secrets", type=int, default=10)
    parser.add_argument("--gigabyte", action="store_true", help="one line of a gigabyte as well")
    options = parser.parse_args()
    known = [secrets.token_urlsafe(32) for _ in range(options.secrets)]
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "output"
        with text.open("w") as file:
            file.writelines(LINE.format(number) for number in range(options.lines))
        before = _peak()
        ended, cpu = _measured(["cat", str(text)], known)
        rate = options.lines / ended.duration
        print(f"lines            {options.lines:,} of {len(LINE.format(0))} bytes, {options.secrets} secrets")
        print(f"lines a second   {rate:,.0f} ({options.lines / cpu:,.0f} a second of our own CPU)")
        print(f"peak memory      {before:.1f} MB before, {_peak():.1f} MB after")
    if options.gigabyte:
        before = _peak()
        ended, _ = _measured([sys.executable, "-c", GIGABYTE], known)
        print(f"one line of 1 GB {ended.duration:.1f} s; {before:.1f} MB before, {_peak():.1f} MB after")


def _measured(argv: list[str], known: list[str]) -> tuple[Ended, float]:
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert reader.stdin is not None
    with Signals() as signals:
        clock = Clock(signals)
        log = open_log(
            fd=reader.stdin.fileno(),
            secrets=known,
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
    reader.wait()
    assert ended.ok
    assert log.dropped == 0
    return ended, end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
