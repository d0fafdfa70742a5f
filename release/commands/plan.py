"""The plan: everything that a release would check and decide. It changes nothing, not even the journal.

The checks are the release's own. Every guard is let pass here and noted, so that one plan names them all. What refuses
without a guard ends the plan there, and the rest stays unknown. A plan is a value: nothing is printed here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, LiteralString

import msgspec
from msgspec.structs import replace

from release.app import migrations
from release.app.answers import without_log
from release.app.command import Commands, find_commands
from release.clock import Interrupted
from release.commands.backups import name_in
from release.database.comparison import compare
from release.database.entry import Entry, State
from release.database.evidence import Evidence
from release.database.fingerprint import Fingerprint
from release.database.outset import Outset
from release.edge import Edge, opened, stopped
from release.errors import Outcome, Reason, Refused, ReleaseError
from release.log.events import Event
from release.log.logger import Log, open_log
from release.log.redact import secrets_in
from release.log.shorten import plain
from release.output.plan import Plan
from release.probes.built_in import BUILT_IN
from release.probes.check import described
from release.probes.configured import CONFIGURED
from release.program import named
from release.protected import lock
from release.protected.before import take_fingerprint
from release.protected.changes import proved_untouched
from release.protected.target import Target
from release.run import Run
from release.settings.model import (
    VARIABLES,
    Backup,
    FenceMode,
    Guard,
    Restore,
    Secret,
    Settings,
    Switch,
    Words,
)
from release.settings.reading import read
from release.steps import prepare, recover
from release.steps.rehearse import find_stage

SHOWN_LINES = 40
"""Lines of the framework's own words that are shown."""

FACTS: Final[LiteralString] = "SELECT pg_database_size(current_database()), current_setting('server_version')"

MARGIN_OF_RESTORE = 1.5
"""How much longer than its backup a restore is taken to last when there was none yet."""


def plan(edge: Edge) -> Plan:
    """Finds out what a release would do, and the exit code that it would refuse with. Nothing in it is secret."""
    draft = Plan()

    def observe(event: Mapping[str, Any]) -> None:
        hear(draft, event)

    log = open_log(fd=2, secrets=secrets_in(edge.environ), clock=edge.clock, render=lambda _: "", observe=observe)
    try:
        _draw_up(draft, edge, log)
    except (ReleaseError, Interrupted) as error:
        _stop(draft, error)
    if draft.refusing and not draft.exit_code:
        draft.exit_code = Outcome.REFUSED.exit_code
    return msgspec.convert(plain(msgspec.to_builtins(draft), log.redactor.text), Plan)


def hear(draft: Plan, event: Mapping[str, Any]) -> None:
    """Takes note of what the checks have to say."""
    match event["event"]:
        case Event.WARNING_RAISED:
            draft.warnings.append({"warning": str(event["warning"]), "detail": str(event["detail"])})
        case Event.GUARD_OVERRIDDEN:
            draft.guards.append({name: str(event[name]) for name in ("guard", "reason", "detail")})


def _stop(draft: Plan, error: ReleaseError | Interrupted) -> None:
    """Ends the plan with what ends the release."""
    if isinstance(error, Interrupted):
        error = Refused(Reason.INTERRUPTED, str(error))
    draft.stopped = {"reason": error.reason.slug, "error": named(str(error)), "hint": named(error.reason.hint)}
    draft.exit_code = stopped(error).exit_code


def _draw_up(draft: Plan, edge: Edge, log: Log) -> None:
    settings = read(edge.environ)
    draft.settings = sources(settings, edge.environ)
    draft.on_failure = on_failure(settings)
    open_to_all = replace(settings, allow=frozenset(Guard), lock_wait=0)
    try:
        with opened(edge, open_to_all, log, os.urandom(6).hex()) as run:
            _check_everything(draft, run)
    finally:
        for guard in draft.guards:
            guard["overridden"] = guard["guard"] in settings.allow


def _check_everything(draft: Plan, run: Run) -> None:
    commands = find_commands(run)
    draft.commands = {
        "framework": commands.asked.name if commands.asked else None,
        "migrate": " ".join(commands.migrate),
        "pending": " ".join(commands.pending or ()) or None,
    }
    draft.probes = described(CONFIGURED, run.settings)
    lock.examine(run)
    (size, version), name = run.database.one(FACTS), run.settings.database
    draft.database = {"variable": name, "bytes": size, "postgres": version, "addon": None, "plan": None}
    look_for_others(run)
    decision = prepare.pending(run, commands)
    draft.pending, draft.decided = decision.pending, {"by": decision.by, "differs": list(decision.differs)}
    if not draft.pending:
        draft.steps = ["Nothing is to be migrated: no request to Heroku, no backup.", _probing(draft)]
        return
    draft.pending_words = in_its_own_words(run, commands)
    target = prepare.restorable_target(run)
    if target:
        _describe(draft, run, target)
        if half := recover.half_restored(run, target):
            run.guard(Guard.UNFINISHED_RESTORE, Refused(Reason.UNFINISHED_RESTORE, f"{half.name} did not succeed"))
        stage = find_stage(run, target)
        draft.rehearsal = stage.target.addon.name if stage else None
    draft.steps = _steps(draft, run.settings, target)


def look_for_others(run: Run) -> None:
    """Warns of what a release would wait for, or finish first; it is only named here."""
    if holder := run.database.lock_holder():
        run.warn("locked", f"{holder.application_name} has held the lock since {holder.since}; a release would wait")
    if run.database.being_restored():
        run.warn("being_restored", "this database is being restored at this moment; a release would wait")
    if entry := run.journal.unfinished(run.settings.heroku_app_id):
        _judge_unfinished(run, entry)


def _judge_unfinished(run: Run, entry: Entry) -> None:
    """Warns that a release would finish what a cut-off run left.

    It would refuse where that run left changes that others may have built upon: then this raises Refused.
    """
    cut_off = f"the run {entry.run_id} of release {entry.release or '?'} was cut off in {entry.state}"
    if entry.state in {State.BACKING_UP, State.FINISHED}:
        run.warn("unfinished_run", f"{cut_off}; a release would finish that first")
        return
    earlier = replace(run, id=entry.run_id)
    since = Outset.from_json(run.journal.outset(entry.run_id)).evidence
    if proved_untouched(earlier, since):
        run.warn("unfinished_run", f"{cut_off} and has changed nothing; a release would close it first")
    elif entry.fence == FenceMode.RELEASE and run.settings.restore is not Restore.NEVER:
        run.warn("unfinished_run", f"{cut_off}; a release would undo it first, if its fence has held until now")
    else:
        raise Refused(Reason.UNFINISHED_RUN, _what_is_left(earlier, entry, since) or cut_off)


def _what_is_left(run: Run, entry: Entry, since: Evidence) -> str | None:
    """Says what a run has changed that was cut off; None where its fingerprint is gone."""
    document = run.journal.fingerprint(entry.run_id)
    if document is None:
        return None
    comparison = compare(Fingerprint.from_json(document), take_fingerprint(run), since=since)
    record = next((record for other, record in run.journal.history(1000) if other.run_id == entry.run_id), {})
    return recover.what_is_left(entry, name_in(record, "backup") or "of no known name", comparison)


def _describe(draft: Plan, run: Run, target: Target) -> None:
    assert draft.database  # noqa: S101 -- _check_everything has set it
    plan_name = target.addon.plan.name if target.addon.plan else None
    draft.app = {"name": target.app.name, "maintenance": target.app.maintenance, "formation": target.formation}
    draft.database |= {"addon": target.addon.name, "plan": plan_name}
    draft.time = estimate(run, target)


def sources(settings: Settings, environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Returns every setting with its value, secrets left out, and its source: the environment, or the default."""
    listed = {}
    for name, spec in VARIABLES.items():
        value = getattr(settings, spec.name)
        shown = " ".join(value) if isinstance(value, Words) else str(value) if isinstance(value, Secret) else value
        given = bool(environ.get(name, "").strip())
        listed[name] = {"value": shown, "source": "environment" if given else "default"}
    return listed


def estimate(run: Run, target: Target) -> dict[str, Any]:
    """Estimates the seconds that backup and restore will take, and says how that is known.

    Values are None where there is nothing to go by.
    """
    backup, restore = target.expected(restores=False), target.expected(restores=True)
    based_on = "the latest backup and restore of this database"
    if backup is None:
        based_on = "nothing: this database has no earlier backup to go by"
    elif restore is None:
        based_on = f"its latest backup; a restore is taken to last {MARGIN_OF_RESTORE} times as long"
        restore = backup * MARGIN_OF_RESTORE
    left = run.deadline.left()
    reserve = None if backup is None or restore is None else backup * 2 + restore
    return {
        "limit": run.settings.time_limit,
        "backup": backup,
        "restore": restore,
        "migration_at_most": None if reserve is None else max(0.0, round(left - reserve, 1)),
        "estimated_from": based_on,
    }


def in_its_own_words(run: Run, commands: Commands) -> list[str]:
    """Returns what the framework says is pending; nothing where it cannot be asked."""
    framework = commands.asked
    if framework is None or framework.shown is None:
        return []
    answer = migrations.ask_framework(run, framework.tool + framework.shown)
    lines = [line.rstrip() for line in without_log(answer.lines)]
    more = [f"… {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
    return lines[:SHOWN_LINES] + more


def _probing(draft: Plan) -> str:
    return f"Probe: {'; '.join(draft.probes)}." if draft.probes else "Probe: none is configured."


def _steps(draft: Plan, settings: Settings, target: Target | None) -> list[str]:
    fence = "Raise the fence (maintenance mode, other processes to 0, other sessions ended)."
    sealed = settings.fence is FenceMode.RELEASE and target is not None
    assert draft.commands  # noqa: S101 -- _check_everything has set it
    steps = [
        fence if sealed else "",
        f"Back up {target.addon.name}." if target else "No backup: RELEASE_BACKUP=off.",
        f"Rehearse on {draft.rehearsal}: restore the backup, migrate and probe there." if draft.rehearsal else "",
        f"Migrate: {draft.commands['migrate']}",
        f"Check that {', '.join(described(BUILT_IN, settings))}.",
        _probing(draft),
        "Lower the fence." if sealed else "",
    ]
    return [step for step in steps if step]


def on_failure(settings: Settings) -> list[str]:
    """Says what would happen to the database if the migration or a probe failed."""
    if settings.backup is Backup.OFF:
        return ["Nothing is undone: RELEASE_BACKUP=off. A database that is proved unchanged ends as `untouched`."]
    if settings.restore is Restore.NEVER:
        return ["The database is kept as the failure left it: RELEASE_RESTORE=never. The backup is there."]
    only = " when schema or history differ" if settings.restore is Restore.IF_CHANGED else ""
    steps = [f"Unless the database is proved unchanged, it is restored{only}:"]
    if settings.fence is not FenceMode.OFF:
        steps.append("keep others out (maintenance mode, other processes to 0, other sessions ended)")
    if settings.salvage is Switch.ON:
        steps.append("back up the failed state first, so that what others wrote is not lost")
    return [*steps, "restore this release's own backup, and prove that the database is as it was"]
