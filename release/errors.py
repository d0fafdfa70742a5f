"""Every way in which a release can end: outcomes with exit codes, reasons with texts, and the errors that carry them.

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
"""The exit code when usage or settings are wrong. Nothing was started, so there is no outcome."""


class Reason(Enum):
    """Why a run ended as it did: a slug, what happened, and what to do now.

    The hint of one reason may be shown with several outcomes. So it says nothing about the database that is not true
    after all of them.
    """

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
        "Check its spelling, and with `heroku run which NAME` that the dyno has it; or name another command in the "
        "variable. A shell is only used where the variable asks for one (`sh -c '…'`). An app that migrates with "
        "something else than its framework's command sets RELEASE_MIGRATE_COMMAND.",
    )
    NO_FRAMEWORK = (
        "no_framework",
        "No migration command is set and no known framework was found",
        "Set the command, for example with `heroku config:set RELEASE_MIGRATE_COMMAND='python manage.py migrate "
        "--noinput'`.",
    )
    SEVERAL_FRAMEWORKS = (
        "several_frameworks",
        "Several migration frameworks were found, and the app may mean any of them",
        "Set RELEASE_MIGRATE_COMMAND to one of the commands above. An app that migrates with more than one of them "
        "sets it to `sh -c 'FIRST && SECOND'`. It also sets RELEASE_PENDING_COMMAND to a command that exits with 1 "
        "while either of them has something pending, and with 0 otherwise.",
    )

    # A guard said no.
    NO_DATABASE = (
        "no_database",
        "The app has no database",
        "Attach a database with `heroku addons:create heroku-postgresql`. In the Detach release of a promotion there "
        "is nothing to do.",
    )
    DATABASE_NOT_NAMED = (
        "database_not_named",
        "RELEASE_DATABASE names a config var that is not set",
        "Correct it with `heroku config:set RELEASE_DATABASE=NAME`, where NAME is the config var that holds the "
        "database's URL. `heroku config:unset RELEASE_DATABASE` goes back to DATABASE_URL. In the Detach release of a "
        "promotion there is nothing to do.",
    )
    POOLED_URL = (
        "pooled_url",
        "The database URL leads through a connection pooler",
        "Set RELEASE_DATABASE to the config var of the direct URL, usually with `heroku config:set "
        "RELEASE_DATABASE=DATABASE_URL`.",
    )
    DATABASE_READ_ONLY = (
        "database_read_only",
        "The database is read-only",
        "It is a follower or in recovery; `heroku pg:info` tells. Set RELEASE_DATABASE to the config var of the "
        "leader, or make this database one of its own with `heroku pg:unfollow DATABASE`.",
    )
    LOCKED = (
        "locked",
        "Another run holds the lock on this database",
        "Wait for it to end, or end its session: run the statement in the detail in `heroku pg:psql`. Then release "
        "again.",
    )
    KEY_REJECTED = (
        "key_rejected",
        "Heroku does not accept the API key",
        "Make a new one with `heroku authorizations:create --scope read-protected,write-protected`, and set "
        "HEROKU_API_KEY to it.",
    )
    KEY_FORBIDDEN = (
        "key_forbidden",
        "The API key may not do this",
        "Give the key's account access to the app with `heroku access:add EMAIL`. The key needs the scopes "
        "read-protected and write-protected; `heroku authorizations:create --scope read-protected,write-protected` "
        "makes one that has them.",
    )
    APP_NOT_FOUND = (
        "app_not_found",
        "Heroku knows no such app, or the key's account cannot see it",
        "Check HEROKU_APP_NAME (or HEROKU_APP_ID). The key's account has to be a collaborator of the app: `heroku "
        "access` lists them, `heroku access:add EMAIL` adds one.",
    )
    NOT_ATTACHED = (
        "not_attached",
        "The database is on no Heroku Postgres add-on of this app",
        "`heroku addons` lists what is attached. Set RELEASE_DATABASE to the config var of one of these add-ons, or, "
        "for a disposable database, set RELEASE_BACKUP=off.",
    )
    OTHER_APP = (
        "other_app",
        "The add-on belongs to another app",
        "Run the release phase in the app that owns the add-on. A restore undoes that app's writes, too; if you "
        "accept this, set RELEASE_ALLOW=other-app.",
    )
    SHARED_DATABASE = (
        "shared_database",
        "The add-on is attached to other apps as well",
        "A restore would undo their writes, too. Detach it there with `heroku addons:detach NAME --app OTHER`, or set "
        "RELEASE_ALLOW=shared-database.",
    )
    FOLLOWER = (
        "follower",
        "The add-on is a follower",
        "A follower can be neither migrated nor restored. Set RELEASE_DATABASE to the config var of its leader, which "
        "`heroku pg:info` names.",
    )
    UNSUPPORTED_TIER = (
        "unsupported_tier",
        "The add-on's plan has no logical backups",
        "This tool needs them. Use a classic plan (essential, standard, premium), or set RELEASE_BACKUP=off and make "
        "a fork of your own before you release.",
    )
    DATABASE_MISMATCH = (
        "database_mismatch",
        "The database that is connected is not the add-on's",
        "Check with `heroku addons` that RELEASE_DATABASE names the config var that Heroku sets for the add-on.",
    )
    LARGE_DATABASE = (
        "large_database",
        "Backup and restore would not fit into the time limit",
        "Raise RELEASE_TIME_LIMIT if your platform allows it. Otherwise set RELEASE_ALLOW=large-database, and have "
        "another way back (a fork, or Heroku's rollback) in case the restore takes too long.",
    )
    OTHER_CREDENTIALS = (
        "other_credentials",
        "Objects in the database belong to other credentials",
        "A restore could not give them back to their owners. Give them to this credential in `heroku pg:psql` (`ALTER "
        "TABLE … OWNER TO …`), or set RELEASE_ALLOW=other-credentials. A restore then makes them this credential's "
        "own, and does not count that as a failure.",
    )
    NOT_RESTORABLE = (
        "not_restorable",
        "A restore could not bring everything back",
        "`release-phase plan` lists all of it; change what it names. You can also set RELEASE_REHEARSAL_DATABASE: a "
        "rehearsal restores the backup elsewhere before anything is changed, and shows what is missing. "
        "RELEASE_ALLOW=not-restorable releases without either.",
    )
    NO_CREATE_PRIVILEGE = (
        "no_create_privilege",
        "The database role may not create schemas",
        "The hook keeps its journal in the schema release_phase, and a restore makes schemas anew. Run the statement "
        "in the detail in `heroku pg:psql`, or set RELEASE_DATABASE to the config var of the default credential's "
        "URL.",
    )
    FOREIGN_TRANSFER = (
        "foreign_transfer",
        "Another transfer is running on this database",
        "Wait until `heroku pg:backups` says that it has finished, then release again.",
    )
    UNFINISHED_RUN = (
        "unfinished_run",
        "An earlier run was interrupted and left changes",
        "Look at what is listed, then decide. `release-phase recover --restore` takes the database back to its backup. "
        "`release-phase recover --keep` accepts the database as it is.",
    )
    UNFINISHED_RESTORE = (
        "unfinished_restore",
        "The last restore of this database did not succeed",
        "The database may be half full. Restore it with `release-phase restore BACKUP`; `release-phase backups` lists "
        "what there is. If the database is right as it is, set RELEASE_ALLOW=unfinished-restore.",
    )
    DATABASE_AHEAD = (
        "database_ahead",
        "The database knows migrations that this code does not",
        "This code is older than the database. Release newer code, or set RELEASE_ON_DATABASE_AHEAD=warn. If this "
        "code has migrations of its own to run as well, RELEASE_ALLOW=database-ahead runs them all the same.",
    )
    MISSING_MIGRATIONS = (
        "missing_migrations",
        "Models were changed without a migration",
        "Make the migration (in Django with `python manage.py makemigrations`) and commit it, or set "
        "RELEASE_ON_MISSING_MIGRATIONS=warn.",
    )

    REHEARSAL_OCCUPIED = (
        "rehearsal_occupied",
        "The rehearsal database holds data that no rehearsal has put there",
        "Every rehearsal overwrites it. Set RELEASE_REHEARSAL_DATABASE to another one, empty this one with `heroku "
        "pg:reset DATABASE`, or set RELEASE_ALLOW=occupied-rehearsal for one release.",
    )
    REHEARSAL_UNSAFE = (
        "rehearsal_unsafe",
        "The rehearsal could reach the protected database",
        "Set RELEASE_REHEARSAL_DATABASE to the config var of a database that serves nothing else. The app must find "
        "its database through one URL only.",
    )
    NOT_CONFIRMED = (
        "not_confirmed",
        "The command writes to the database, and nobody has confirmed it",
        "On a terminal, type the app's name when you are asked. In a script, add --yes: `release-phase restore BACKUP "
        "--yes`.",
    )
    BACKUP_UNKNOWN = (
        "backup_unknown",
        "There is no such backup",
        "`release-phase backups` lists them. You can name one as b012, as 12, or by its uuid.",
    )
    RUN_UNKNOWN = (
        "run_unknown",
        "The journal knows no such run",
        "`release-phase history` lists the runs. You can name one by its id, by the beginning of its id, or by a "
        "release such as v42.",
    )
    OTHER_BACKUP = (
        "other_backup",
        "The backup is of another database",
        "Name one of this database; `release-phase backups` lists them. `release-phase download BACKUP "
        "--from-any-database` downloads it all the same.",
    )

    # Bringing back what others wrote.
    NO_SALVAGE = (
        "no_salvage",
        "There is no salvage to bring rows back from",
        "`release-phase history` lists the runs, with the outcome and the salvage of each. Only a run that was "
        "restored has taken anything back.",
    )
    NOT_A_SALVAGE = (
        "not_a_salvage",
        "The backup is no salvage of a run that was restored",
        "`release-phase backups` says what each backup is. `release-phase reconcile` without a name takes the salvage "
        "of the newest run that was restored.",
    )
    NO_PG_RESTORE = (
        "no_pg_restore",
        "No pg_restore is at hand that can read the salvage",
        "It has to be at least as new as the database's server. Heroku's run images have one: `heroku run "
        "release-phase reconcile`. On your own machine, install PostgreSQL's client programs.",
    )
    TABLE_UNKNOWN = (
        "table_unknown",
        "There is no such table to bring rows back into",
        "Name it as the list of `release-phase reconcile` does, with its schema, as in `--table public.orders`. "
        "Of a partitioned table, name the partitions.",
    )
    TABLES_NOT_NAMED = (
        "tables_not_named",
        "It is not known which tables the migration left alone",
        "Look at the list, and name the tables whose rows are to come back: `--table public.orders`, as often as it "
        "takes. A table that the migration wrote holds its rows in the salvage, too.",
    )
    TABLE_NOT_COMPARABLE = (
        "table_not_comparable",
        "Rows cannot be brought back into a table",
        "Leave the table out. Its rows are in the salvage: `release-phase download SALVAGE`, then `pg_restore "
        "--data-only --table=NAME --file=rows.sql SALVAGE.dump` writes them to a file.",
    )
    COLUMNS_DIFFER = (
        "columns_differ",
        "A table has other columns in the salvage than in the database",
        "Add --common-columns to bring back the columns that both have. The others get their defaults, or stay as "
        "they are.",
    )
    ROWS_CONFLICT = (
        "rows_conflict",
        "Rows of the salvage conflict with what the database holds, so nothing was written",
        "Look at the files. Change what is in the way, name the tables that are referred to as well, or add "
        "--skip-conflicts, which writes all other rows.",
    )

    # Failed before anything changed.
    DATABASE_UNREACHABLE = (
        "database_unreachable",
        "The database cannot be reached",
        "`heroku pg:info` says how it is, and `heroku logs -p postgres` shows its log. When it answers, release again.",
    )
    DATABASE_FAILED = (
        "database_failed",
        "The database answered with an error",
        "Its message is in the detail, and `heroku logs -p postgres` shows its log. When the cause is gone, release "
        "again.",
    )
    HEROKU_UNAVAILABLE = (
        "heroku_unavailable",
        "Heroku's API cannot be used at the moment",
        "`heroku status` tells of incidents. When they are over, release again.",
    )
    HEROKU_SHAPE_UNKNOWN = (
        "heroku_shape_unknown",
        "Heroku's answers have a shape that this version does not know",
        "The field that is named is not what it was. A newer version of this tool may know it: put that version into "
        "the app's requirements, then release again.",
    )
    HEROKU_REFUSED = (
        "heroku_refused",
        "Heroku's API refused the request",
        "Heroku's message is in the detail. Correct what it names, then release again.",
    )
    PENDING_CHECK_FAILED = (
        "pending_check_failed",
        "The app could not say whether migrations are pending",
        "Run the pending command by hand with `heroku run COMMAND`, and look at its output. Correct what it names, "
        "then release again.",
    )
    APP_DOES_NOT_START = (
        "app_does_not_start",
        "The app does not start, so it cannot say whether migrations are pending",
        "Its error is in the detail. Try the command with `heroku run COMMAND`, correct what it says, then release "
        "again.",
    )
    BACKUP_FAILED = (
        "backup_failed",
        "The backup failed",
        "`heroku pg:backups:info BACKUP` shows its log. When the cause is gone, release again.",
    )
    BACKUP_UNUSABLE = (
        "backup_unusable",
        "The backup finished but cannot be trusted",
        "`heroku pg:backups:info BACKUP` shows its log. When the cause is gone, release again.",
    )
    OUTCOME_UNKNOWN = (
        "outcome_unknown",
        "Heroku's answer was lost and the transfer list does not tell what became of the request",
        "`heroku pg:backups` shows whether a transfer was begun. When none is running, release again.",
    )
    REHEARSAL_FAILED = (
        "rehearsal_failed",
        "The rehearsal failed",
        "Production was not touched. The events with `rehearsal: true` say what happened; correct that, then release "
        "again.",
    )
    NO_TIME_LEFT = (
        "no_time_left",
        "Too little of the time limit is left to migrate and still be able to restore",
        "Release again. If it stays so, the database is too large for RELEASE_TIME_LIMIT; raise it if your platform "
        "allows it.",
    )

    # A step failed after the migration began.
    MIGRATION_FAILED = (
        "migration_failed",
        "The migration failed",
        "Mend the migration; its output is in the log of this run.",
    )
    MIGRATION_TIMED_OUT = (
        "migration_timed_out",
        "The migration used up its time",
        "Split the migration, or move its slow part out of the release into a job that runs afterwards (`heroku "
        "run:detached COMMAND`).",
    )
    ERRORS_SWALLOWED = (
        "errors_swallowed",
        "The migration ended well, but the database had answered it with errors",
        "Let the command fail at the first error (`psql --set ON_ERROR_STOP=1`). If the errors are expected, set "
        "RELEASE_ON_SWALLOWED_ERRORS=warn.",
    )
    SESSIONS_LEFT = (
        "sessions_left",
        "Sessions of the migration were still open after it had ended",
        "The migration leaves work running in the background. Change it so that this work ends before the command "
        "exits.",
    )
    PROBE_FAILED = (
        "probe_failed",
        "A probe failed on the migrated database",
        "The event probe_failed says which probe it was and what it saw. Correct that, then release again.",
    )
    EMPTIED_TABLES = (
        "emptied_tables",
        "Tables that held rows are empty after the migration",
        "If that is meant, set RELEASE_ALLOW=emptied-tables for this release. If not, correct the migration, then "
        "release again.",
    )
    WEB_NOT_FOUND = (
        "web_not_found",
        "The web process cannot be started",
        "Check the `web` line of the Procfile. It is run with `sh -c` in the release dyno; `heroku run COMMAND` tries "
        "it there.",
    )
    WEB_CRASHED = (
        "web_crashed",
        "The web process ended before it answered",
        "Its output is in the log of this run. It ran with the new code on the migrated database; correct either, then "
        "release again.",
    )
    WEB_NOT_LISTENING = (
        "web_not_listening",
        "The web process never opened its port",
        "It has to listen on $PORT within RELEASE_PROBE_TIMEOUT. If it needs longer to start, raise that.",
    )
    WEB_SILENT = (
        "web_silent",
        "The web process opened its port but did not answer",
        "A request hangs, on a lock or on something that the release dyno cannot reach. RELEASE_PROBE_PATH names a "
        "page that needs less.",
    )
    WEB_UNHEALTHY = (
        "web_unhealthy",
        "The web process answered, but not with 2xx",
        "The event probe_failed has the status and the body of the answer. A redirect counts as a failure, too; "
        "RELEASE_PROBE_PATH names a page that answers with 2xx.",
    )
    INTERRUPTED = (
        "interrupted",
        "The run was told to stop",
        "Release again: `git commit --allow-empty -m 'Release again'`, and push it.",
    )
    CUT_OFF = (
        "cut_off",
        "A run was cut off: it was killed, or its dyno was lost",
        "That run is finished now. Release again.",
    )
    LOCK_LOST = (
        "lock_lost",
        "The session that holds the lock was lost and another run took over",
        "Wait until the other run has ended, then release again. `release-phase history` lists the runs.",
    )

    # The restore.
    RESTORE_OFF = (
        "restore_off",
        "The database was changed and RELEASE_RESTORE says to keep it",
        "The event database_compared lists what has changed. Undo that by hand in `heroku pg:psql`, or restore the "
        "backup with `release-phase restore BACKUP`.",
    )
    NO_BACKUP = (
        "no_backup",
        "The database was changed and there is no backup, as RELEASE_BACKUP=off asked",
        "The event database_compared lists what has changed. Undo that by hand: in `heroku pg:psql`, or with your "
        "framework's command for the way back (in Django `heroku run python manage.py migrate APP NAME`).",
    )
    RESTORE_FAILED = (
        "restore_failed",
        "The restore failed",
        "The database is not usable. Restore it with `release-phase restore BACKUP`, then lift maintenance mode with "
        "`heroku maintenance:off`.",
    )
    RESTORE_UNFINISHED = (
        "restore_unfinished",
        "The restore was still running when the time ran out",
        "It goes on at Heroku. `release-phase recover`, or the next release, waits for it and proves it.",
    )
    RESTORE_UNPROVED = (
        "restore_unproved",
        "The restore ended, but the database is not proved to be as it was",
        "Look at the differences in the detail. If they do not matter, lift maintenance mode with `heroku "
        "maintenance:off`. If they do, restore again with `release-phase restore BACKUP`.",
    )
    BACKUP_GONE = (
        "backup_gone",
        "The backup is no longer there",
        "Restore another one: `release-phase backups` lists them, `release-phase restore BACKUP` restores one.",
    )
    DOWNLOAD_FAILED = (
        "download_failed",
        "The backup could not be downloaded",
        "Run the same command again. What has arrived is kept, and the download goes on from there.",
    )
    DUMP_UNREADABLE = (
        "dump_unreadable",
        "The downloaded file is no whole dump",
        "Remove the file that is named and run the same command again, which downloads it anew.",
    )
    NO_ROOM = (
        "no_room",
        "The database has no room to compare a table",
        "The rows of the salvage are held in a temporary table meanwhile. Make room, or leave the table out: name the "
        "others with --table.",
    )
    FILE_NOT_WRITTEN = (
        "file_not_written",
        "The file cannot be written",
        "Name another place with -o FILE, or make room on the disk.",
    )
    NOT_A_LOG = (
        "not_a_log",
        "This is not a log of a release phase",
        "Give it the JSON lines of a run: `heroku releases:output | release-phase report`.",
    )
    NOTHING_TO_RECOVER = (
        "nothing_to_recover",
        "No run is unfinished",
        "There is nothing to do.",
    )
    UNEXPECTED_ERROR = (
        "unexpected_error",
        "The hook itself failed",
        "Please report it with the log (`heroku releases:output`). `release-phase recover` finishes what is "
        "unfinished.",
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
    """An error in usage or settings. Nothing was started."""


class Refused(ReleaseError):
    """The refusal of a guard, before anything was changed."""


class StepFailed(ReleaseError):
    """The failure of a step. What it means for the database depends on the step, and is decided in phase.py."""


class RestoreUnderWay(ReleaseError):
    """A signal that came while a restore of the database goes on at Heroku. Nothing may be called untouched then."""


class ProbeFailed(StepFailed):
    """The failure of a probe. Its facts are what the probe saw."""
