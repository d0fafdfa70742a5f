"""Probe: the new code and the new schema, checked together. All probes must pass.

Built in, after a migration: nothing is pending any more, no index became invalid, no constraint lost its validation, no
table that held rows is empty, no sequence fell behind its column. Then those that are configured: command, SQL, boot,
live.
"""

from __future__ import annotations

from release.app.command import Commands
from release.probes.built_in import check_built_in
from release.probes.check import checked
from release.probes.configured import check_boot, check_command, check_live, check_sql
from release.run import Run
from release.target.before import Before


def probe(run: Run, commands: Commands, backup: Before | None) -> None:
    """Runs the built-in probes (with `backup`: after a migration), then the configured ones. Raises StepFailed."""
    settings = run.settings
    if backup is not None:
        check_built_in(run, commands, backup)
    deadline = run.deadline.within(settings.probe_timeout)
    if command := settings.probe_command:
        checked(run, "command", lambda: check_command(run, command, deadline))
    if query := settings.probe_sql:
        checked(run, "sql", lambda: check_sql(run, query, deadline))
    if path := settings.probe_path:
        checked(run, "boot", lambda: check_boot(run, path, deadline))
    if url := settings.probe_url:
        checked(run, "live", lambda: check_live(run, url, deadline))
