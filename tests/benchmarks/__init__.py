"""What the hook costs, held against the limits that it has to keep; `python -m tests.benchmarks` prints all of it."""
