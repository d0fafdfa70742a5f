"""Probe: checks the new code and the new schema together. All probes must pass.

The built-in probes run only after a migration. The configured ones run in every release, after them. What each of them
does is said in two tables, `probes/built_in.py` and `probes/configured.py`.
"""

from __future__ import annotations

from msgspec.structs import replace

from release.app.command import Commands
from release.probes.built_in import BUILT_IN, Migrated
from release.probes.check import run_probes
from release.probes.configured import run_configured
from release.protected.before import Before
from release.run import Run


def probe(run: Run, commands: Commands, backup: Before) -> None:
    """Runs the probes of a migration, then those of every release. Raises StepFailed."""
    run = replace(run, witnessing=True)
    run_probes(run, BUILT_IN, Migrated(run=run, commands=commands, backup=backup))
    run_configured(run)
