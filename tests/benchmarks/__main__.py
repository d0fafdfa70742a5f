"""All benchmarks, and one table: what, limit, measured, met.

    python -m tests.benchmarks [--latency SECONDS] [--heroku COMMAND] [--runs N] [--suite] [--docs] [SUBJECT …]

`--latency`: how long an answer of Heroku's APIs takes, beside answers at once. `--heroku`: how Heroku's own CLI is
started, to be measured beside the hook (`--heroku heroku`). `--suite` runs the tests, too, and times them. `--docs`
writes the table into the documentation. It takes about ten minutes on two cores that have nothing else to do; exits 1
when a limit is not kept.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.benchmarks import captures, child_output, fingerprint, limits, live, proof, witness
from tests.benchmarks.figure import Figure, at_most, machine, table
from tests.hook import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->"


def subjects(latency: float, heroku: Sequence[str], runs: int) -> dict[str, Callable[[], Iterable[Figure]]]:
    """What is measured, in the table's order."""
    return {
        "releases": lambda: limits.figures(latency=latency, heroku=heroku, runs=runs),
        "live": live.figures,
        "captures": lambda: captures.figures(latency=latency),
        "fingerprint": lambda: fingerprint.figures(runs=runs),
        "proof": proof.figures,
        "witness": witness.figures,
        "output": child_output.figures,
    }


def suite() -> Iterator[Figure]:
    """All tests on two cores, as everybody runs them."""
    began = time.monotonic()
    command = [str(ROOT / "bin" / "test")]
    subprocess.run(command, env={**os.environ, "TEST_WORKERS": "2"}, stdout=sys.stderr, check=True)
    yield at_most("the tests, two workers", (time.monotonic() - began) / 60, 7, "min")


def written(page: str, where: str, found: Sequence[Figure]) -> str:
    """The page with the machine and the table in their place."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}Measured on {where}:\n\n{table(found)}\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--heroku", type=shlex.split, default=[])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--suite", action="store_true")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT")
    given = parser.parse_args()
    if given.docs and given.subjects:
        parser.error("--docs is for all subjects: the page has one table")
    known = subjects(given.latency, given.heroku, given.runs) | ({"suite": suite} if given.suite else {})
    if unknown := set(given.subjects) - set(known):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    where, found = machine(), list[Figure]()
    for name in given.subjects or known:
        print(f"{name} …", file=sys.stderr, flush=True)
        found += known[name]()
    print(f"{where}\n\n{table(found)}")
    if given.docs:
        PAGE.write_text(written(PAGE.read_text(), where, found))
    return int(not all(each.met for each in found))


if __name__ == "__main__":
    raise SystemExit(main())
