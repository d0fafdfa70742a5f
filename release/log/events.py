"""The events of the log: constants whose fields are data."""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    """All events. Each is called `noun_participle` and has its data in fields."""

    RELEASE_STARTED = "release_started"
    RELEASE_FINISHED = "release_finished"
    STEP_STARTED = "step_started"
    STEP_FINISHED = "step_finished"
    STEP_FAILED = "step_failed"
    RETRY_SCHEDULED = "retry_scheduled"
    LOCK_WAITED = "lock_waited"
    FRAMEWORK_DETECTED = "framework_detected"
    PENDING_DECIDED = "pending_decided"
    TRANSFER_AWAITED = "transfer_awaited"
    TRANSFER_STARTED = "transfer_started"
    TRANSFER_PROGRESSED = "transfer_progressed"
    TRANSFER_FINISHED = "transfer_finished"
    COMMAND_STARTED = "command_started"
    COMMAND_OUTPUT = "command_output"
    COMMAND_FINISHED = "command_finished"
    PROBE_PASSED = "probe_passed"
    PROBE_FAILED = "probe_failed"
    MIGRATION_BLOCKED = "migration_blocked"
    MIGRATION_WITNESSED = "migration_witnessed"
    BACKUP_BLOCKED = "backup_blocked"
    REHEARSAL_FINISHED = "rehearsal_finished"
    FENCE_RAISED = "fence_raised"
    FENCE_LOWERED = "fence_lowered"
    DATABASE_COMPARED = "database_compared"
    RESTORE_COMPLAINED = "restore_complained"
    RESTORE_PLANNED = "restore_planned"
    RESTORE_SKIPPED = "restore_skipped"
    HANDOVER_STARTED = "handover_started"
    SIGNAL_RECEIVED = "signal_received"
    GUARD_OVERRIDDEN = "guard_overridden"
    WARNING_RAISED = "warning_raised"


OWN_WORDS = frozenset(
    {"timestamp", "level", "event", "run_id", "app", "release", "step", "info", "warning", "error"}
    | {"stream", "stdout", "stderr", "line", "part", "continued"}
    | {"postgres", "postgresql", "database", "localhost", "heroku"}
    | set(Event)
)
"""Words that are never taken for a secret: else a password like "release" would black out every line of the log."""
