"""Every way a release can end: outcomes with exit codes, reasons with texts, and the errors that carry them.

An operator reads three parts: what happened (the reason's text), the detail, what to do now (the hint). The slugs are
fixed: people script against them, and the table in docs/outcomes.md is compared with this file by a test.
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Outcome(StrEnum):
    """How a run ended. The value is what `release_finished` says."""

    RELEASED = "released"
    UNTOUCHED = "untouched"
    RESTORED = "restored"
    REFUSED = "refused"
    KEPT = "kept"
    HANDED_OVER = "handed_over"
    RESTORE_FAILED = "restore_failed"
    CRASHED = "crashed"

    @property
    def exit_code(self) -> int:
        """The process's exit code; only `released` is 0, so Heroku keeps the old release after all others."""
        return EXIT_CODES[self]


EXIT_CODES = {
    Outcome.RELEASED: 0,
    Outcome.UNTOUCHED: 1,
    Outcome.RESTORED: 1,
    Outcome.REFUSED: 3,
    Outcome.KEPT: 4,
    Outcome.HANDED_OVER: 4,
    Outcome.RESTORE_FAILED: 4,
    Outcome.CRASHED: 70,
}
MISCONFIGURED_EXIT_CODE = 2
"""Usage or settings are wrong; nothing was started, so there is no outcome."""


class Reason(Enum):
    """Why: slug, what happened, what to do now."""

    def __init__(self, slug: str, text: str, hint: str) -> None:
        self.slug = slug
        self.text = text
        self.hint = hint

    # Nothing was started.
    SETTINGS_INVALID = (
        "settings_invalid",
        "Settings are wrong",
        "Correct the variables named above with `heroku config:set NAME=value`, then release again.",
    )
    COMMAND_NOT_FOUND = (
        "command_not_found",
        "A command cannot be started",
        "Check its spelling and that it is part of the slug, or name another one in the variable; a shell is only used "
        "when you ask for one (`sh -c '…'`). RELEASE_MIGRATE_COMMAND is for an app that migrates with something else.",
    )
    NO_FRAMEWORK = (
        "no_framework",
        "No migration command is set and no known framework was found",
        "Set RELEASE_MIGRATE_COMMAND, for example RELEASE_MIGRATE_COMMAND='python manage.py migrate --noinput'.",
    )
    SEVERAL_FRAMEWORKS = (
        "several_frameworks",
        "Several migration frameworks were found, and the app may mean any of them",
        "Set RELEASE_MIGRATE_COMMAND with one of the commands above. An app that migrates with more than one of them "
        "sets it to `sh -c 'FIRST && SECOND'`, and RELEASE_PENDING_COMMAND to a command that exits with 1 while either "
        "of them has something pending, and with 0 otherwise.",
    )

    # A guard said no.
    NO_DATABASE = (
        "no_database",
        "The app has no database",
        "Nothing to do in the Detach release of a promotion; otherwise attach a database: "
        "`heroku addons:create heroku-postgresql`.",
    )
    POOLED_URL = (
        "pooled_url",
        "The database URL leads through a connection pooler",
        "Set RELEASE_DATABASE to the config var of the direct URL, usually DATABASE_URL.",
    )
    DATABASE_READ_ONLY = (
        "database_read_only",
        "The database is read-only",
        "It is a follower or in recovery. Promote it or point RELEASE_DATABASE at the leader.",
    )
    LOCKED = (
        "locked",
        "Another run holds the lock on this database",
        "Wait for it to end, or end its session with the statement in the detail, then release again.",
    )
    KEY_REJECTED = (
        "key_rejected",
        "Heroku does not accept the API key",
        "Make a new one: `heroku authorizations:create -s read-protected,write-protected`, and set HEROKU_API_KEY.",
    )
    KEY_FORBIDDEN = (
        "key_forbidden",
        "The API key may not do this",
        "Give the key's account access to the app and the key the scopes read-protected and write-protected.",
    )
    APP_NOT_FOUND = (
        "app_not_found",
        "Heroku knows no such app, or the key's account cannot see it",
        "Check HEROKU_APP_NAME (or HEROKU_APP_ID), and that the key's account is a collaborator of the app.",
    )
    NOT_ATTACHED = (
        "not_attached",
        "The database is on no Heroku Postgres add-on of this app",
        "Point RELEASE_DATABASE at an attached add-on's config var, or set RELEASE_BACKUP=off for a disposable one.",
    )
    OTHER_APP = (
        "other_app",
        "The add-on belongs to another app",
        "Run the release phase in the app that owns the add-on, or set RELEASE_ALLOW=other-app if you accept that a "
        "restore undoes that app's writes too.",
    )
    SHARED_DATABASE = (
        "shared_database",
        "The add-on is attached to other apps as well",
        "A restore would undo their writes too. Detach it there, or set RELEASE_ALLOW=shared-database.",
    )
    FOLLOWER = (
        "follower",
        "The add-on is a follower",
        "Point RELEASE_DATABASE at the leader: a follower can be neither migrated nor restored.",
    )
    UNSUPPORTED_TIER = (
        "unsupported_tier",
        "The add-on's plan has no logical backups",
        "This tool needs them. Use a classic plan (essential, standard, premium), or RELEASE_BACKUP=off with a fork of "
        "your own.",
    )
    DATABASE_MISMATCH = (
        "database_mismatch",
        "The database that is connected is not the add-on's",
        "Check that RELEASE_DATABASE names the config var that Heroku sets for the add-on.",
    )
    LARGE_DATABASE = (
        "large_database",
        "Backup and restore would not fit into the time limit",
        "Raise RELEASE_TIME_LIMIT if your platform allows it, or set RELEASE_ALLOW=large-database and restore by other "
        "means (fork, rollback).",
    )
    OTHER_CREDENTIALS = (
        "other_credentials",
        "Objects in the database belong to other credentials",
        "A restore could not give them back to their owners. Reassign them, or set RELEASE_ALLOW=other-credentials: "
        "then they come back as this credential's own, and that is no failure.",
    )
    NOT_RESTORABLE = (
        "not_restorable",
        "A restore could not bring everything back",
        "Mend what is named (`bin/release plan` lists it all), or let a rehearsal tell (RELEASE_REHEARSAL_DATABASE): "
        "it restores the backup elsewhere before anything happens. RELEASE_ALLOW=not-restorable goes on without.",
    )
    NO_CREATE_PRIVILEGE = (
        "no_create_privilege",
        "The database role may not create schemas",
        "The hook keeps its journal in the schema release_phase, and a restore makes schemas anew. Grant it with the "
        "statement in the detail, or point RELEASE_DATABASE at the default credential's URL.",
    )
    FOREIGN_TRANSFER = (
        "foreign_transfer",
        "Another transfer is running on this database",
        "Wait until it has finished (`heroku pg:backups`), then release again.",
    )
    UNFINISHED_RUN = (
        "unfinished_run",
        "An earlier run was interrupted and left changes",
        "Look at what is listed, then either `bin/release recover --restore` (back to its backup) or "
        "`bin/release recover --keep` (accept the database as it is).",
    )
    UNFINISHED_RESTORE = (
        "unfinished_restore",
        "The last restore of this database did not succeed",
        "The database may be half full. Restore it: `bin/release restore BACKUP`; when it is right as it is: "
        "`RELEASE_ALLOW=unfinished-restore`.",
    )
    DATABASE_AHEAD = (
        "database_ahead",
        "The database knows migrations that this code does not",
        "This code is older than the database. Release newer code, or set RELEASE_ON_DATABASE_AHEAD=warn; where this "
        "code has migrations of its own, too, RELEASE_ALLOW=database-ahead migrates all the same.",
    )
    MISSING_MIGRATIONS = (
        "missing_migrations",
        "Models were changed without a migration",
        "Make the migration and commit it, or set RELEASE_ON_MISSING_MIGRATIONS=warn.",
    )

    REHEARSAL_OCCUPIED = (
        "rehearsal_occupied",
        "The rehearsal database holds data that no rehearsal has put there",
        "Every rehearsal overwrites it. Name another one, empty it (`heroku pg:reset`), or set "
        "RELEASE_ALLOW=occupied-rehearsal for one release.",
    )
    REHEARSAL_UNSAFE = (
        "rehearsal_unsafe",
        "The rehearsal could reach the protected database",
        "Name a database of its own, and let the app find its database in one URL only.",
    )
    NOT_CONFIRMED = (
        "not_confirmed",
        "A restore by hand overwrites the database, and nobody has confirmed it",
        "On a terminal, type the app's name when asked; in a script, add --yes.",
    )
    BACKUP_UNKNOWN = (
        "backup_unknown",
        "There is no such backup",
        "`bin/release backups` lists them; b012, 12 and a uuid are names for one.",
    )
    RUN_UNKNOWN = (
        "run_unknown",
        "The journal knows no such run",
        "`bin/release history` lists the runs; a run's id, its beginning, or a release such as v42 names one.",
    )
    OTHER_BACKUP = (
        "other_backup",
        "The backup is of another database",
        "Name one of this database (`bin/release backups`); to download it all the same, add --from-any-database.",
    )

    # Failed before anything changed.
    DATABASE_UNREACHABLE = (
        "database_unreachable",
        "The database cannot be reached",
        "Look at `heroku pg:info` and the database's log, then release again.",
    )
    DATABASE_FAILED = (
        "database_failed",
        "The database answered with an error",
        "Read the detail; when it passes, release again.",
    )
    HEROKU_UNAVAILABLE = (
        "heroku_unavailable",
        "Heroku's API cannot be used at the moment",
        "Look at status.heroku.com; nothing was changed, release again later.",
    )
    HEROKU_SHAPE_UNKNOWN = (
        "heroku_shape_unknown",
        "Heroku's answers have a shape that this version does not know",
        "The field that is named is not what it was. A newer version of this tool may know it: put that into the app's "
        "requirements, then release again.",
    )
    HEROKU_REFUSED = (
        "heroku_refused",
        "Heroku's API refused the request",
        "Read Heroku's message in the detail.",
    )
    PENDING_CHECK_FAILED = (
        "pending_check_failed",
        "The app could not say whether migrations are pending",
        "Run the pending command by hand (`heroku run …`) and look at its output.",
    )
    BACKUP_FAILED = (
        "backup_failed",
        "The backup failed",
        "Look at `heroku pg:backups:info`; nothing was migrated. Release again.",
    )
    BACKUP_UNUSABLE = (
        "backup_unusable",
        "The backup finished but cannot be trusted",
        "Nothing was migrated. Look at `heroku pg:backups:info`, then release again.",
    )
    OUTCOME_UNKNOWN = (
        "outcome_unknown",
        "Heroku's answer was lost and the transfer list does not tell what became of the request",
        "Look at `heroku pg:backups`; then release again.",
    )
    REHEARSAL_FAILED = (
        "rehearsal_failed",
        "The rehearsal failed",
        "Production was not touched. The events with `rehearsal: true` say what happened; mend it, then release again.",
    )
    NO_TIME_LEFT = (
        "no_time_left",
        "Too little of the time limit is left to migrate and still be able to restore",
        "Release again; if it stays so, the database is too large for this limit.",
    )

    # A step failed after the migration began.
    MIGRATION_FAILED = (
        "migration_failed",
        "The migration failed",
        "Mend the migration; its output is above.",
    )
    MIGRATION_TIMED_OUT = (
        "migration_timed_out",
        "The migration used up its time",
        "Split it, or move the slow part out of the release (a job that runs afterwards).",
    )
    SESSIONS_LEFT = (
        "sessions_left",
        "Sessions of the migration were still open after it had ended",
        "The migration leaves work running in the background; end it before the command exits.",
    )
    PROBE_FAILED = (
        "probe_failed",
        "A probe failed on the migrated database",
        "The event probe_failed says which and what it saw.",
    )
    EMPTIED_TABLES = (
        "emptied_tables",
        "Tables that held rows are empty after the migration",
        "If that is meant, set RELEASE_ALLOW=emptied-tables for this release.",
    )
    WEB_NOT_FOUND = (
        "web_not_found",
        "The web process cannot be started",
        "Check the `web` line of the Procfile: it is run with `sh -c` in the release dyno.",
    )
    WEB_CRASHED = (
        "web_crashed",
        "The web process ended before it answered",
        "Its output is above; it ran on the migrated database.",
    )
    WEB_NOT_LISTENING = (
        "web_not_listening",
        "The web process never opened its port",
        "It has to listen on $PORT within RELEASE_PROBE_TIMEOUT.",
    )
    WEB_SILENT = (
        "web_silent",
        "The web process opened its port but did not answer",
        "A request hangs, on a lock or on something that the release dyno cannot reach.",
    )
    WEB_UNHEALTHY = (
        "web_unhealthy",
        "The web process answered, but not with 2xx",
        "The event probe_failed has status and body; a redirect counts as a failure, too.",
    )
    INTERRUPTED = (
        "interrupted",
        "The run was told to stop",
        "Release again.",
    )
    CUT_OFF = (
        "cut_off",
        "A run was cut off: killed, or its dyno lost",
        "It is finished now. Release again.",
    )
    LOCK_LOST = (
        "lock_lost",
        "The session that holds the lock was lost and another run took over",
        "Wait for the other run, then release again.",
    )

    # The restore.
    RESTORE_OFF = (
        "restore_off",
        "The database was changed and RELEASE_RESTORE says to keep it",
        "Mend it by hand, or restore: `bin/release restore BACKUP`.",
    )
    NO_BACKUP = (
        "no_backup",
        "The database was changed and there is no backup, as RELEASE_BACKUP=off asked",
        "Mend it by hand.",
    )
    RESTORE_FAILED = (
        "restore_failed",
        "The restore failed",
        "The database is not usable. Restore by hand, then lift maintenance mode.",
    )
    RESTORE_UNFINISHED = (
        "restore_unfinished",
        "The restore was still running when the time ran out",
        "It goes on at Heroku. `bin/release recover`, or the next release, waits for it and proves it.",
    )
    RESTORE_UNPROVED = (
        "restore_unproved",
        "The restore ended, but the database is not proved to be as it was",
        "Look at the differences. When they do not matter, lift maintenance mode; else restore by hand.",
    )
    BACKUP_GONE = (
        "backup_gone",
        "The backup is no longer there",
        "Restore another one: `heroku pg:backups`, then `bin/release restore BACKUP`.",
    )
    DOWNLOAD_FAILED = (
        "download_failed",
        "The backup could not be downloaded",
        "Run it again: what has arrived is kept, and it goes on from there.",
    )
    FILE_NOT_WRITTEN = (
        "file_not_written",
        "The file cannot be written",
        "Choose another place with -o FILE, or make room.",
    )
    NOT_A_LOG = (
        "not_a_log",
        "This is not a log of a release phase",
        "Give it the JSON lines of a run: `heroku releases:output | bin/release report`.",
    )
    NOTHING_TO_RECOVER = (
        "nothing_to_recover",
        "No run is unfinished",
        "Nothing to do.",
    )
    UNEXPECTED_ERROR = (
        "unexpected_error",
        "The hook itself failed",
        "Please report it with the log. `bin/release recover` finishes what is unfinished.",
    )


class ReleaseError(Exception):
    """The base of all errors that end a run or a step: a reason, a detail in one sentence, facts for the log."""

    def __init__(self, reason: Reason, detail: str = "", **facts: object) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.reason.text}: {self.detail}" if self.detail else f"{self.reason.text}."


class Misconfigured(ReleaseError):
    """Usage or settings are wrong; nothing was started."""


class Refused(ReleaseError):
    """A guard said no, before anything changed."""


class StepFailed(ReleaseError):
    """A step failed. What that means for the database depends on the step; phase.py decides."""


class RestoreUnderWay(ReleaseError):
    """The run was told to stop while a restore of the database goes on at Heroku: nothing may be called untouched."""


class ProbeFailed(StepFailed):
    """A probe failed; the facts are what it saw."""
