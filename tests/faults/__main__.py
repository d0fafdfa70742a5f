"""`python -m tests.faults` plays all cells and prints the figures; with `--last` or files of cells it only prints."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.faults.figures import read, table

ROOT = Path(__file__).parents[2]
LAST = ROOT / ".pytest_cache" / "d" / "faults"
"""Where the last test run has put its cells, a file for each worker."""


def main() -> int:
    """Prints the figures; exits as pytest did."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files of cells (JSON lines) to print the figures of")
    parser.add_argument("--last", action="store_true", help="print the figures of the last test run")
    parser.add_argument("--sweep", action="store_true", help="every fault at every place; takes hours")
    given = parser.parse_args()
    code = 0
    if not given.files and not given.last:
        for file in LAST.glob("*.jsonl"):
            file.unlink()
        workers = os.environ.get("TEST_WORKERS", "4")
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            workers,
            "--dist",
            "worksteal",
            "--whole",
            str(ROOT / "tests" / "faults"),
        ]
        code = subprocess.run([*argv, *(["--sweep"] if given.sweep else [])], cwd=ROOT, check=False).returncode
    print(table(read(given.files or sorted(LAST.glob("*.jsonl")))))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
