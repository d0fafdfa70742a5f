"""Restore by hand: the same fence, salvage, restore and proof as after a failed release, for any backup.

In the journal it is a run like others: its backup is the salvage, and what it does to the database is the restore. So
when it is cut off, the next run knows what to do, and its salvage can be restored and proved like any backup.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from release.clock import Deadline, Interrupted
from release.commands import backups
from release.commands.backups import Shelf
from release.database import evidence, repair
from release.database.comparison import Change, structural
from release.database.entry import Entry, State
from release.database.evidence import Evidence
from release.database.fingerprint import Fingerprint
from release.database.outset import Outset
from release.database.put_back import put_back_common
from release.database.session import translated
from release.errors import Outcome, Reason, Refused, ReleaseError, StepFailed
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer, moment
from release.log.events import Event
from release.output.words import seconds, size
from release.protected import fence, lock
from release.protected.before import BackedUp, take_fingerprint
from release.protected.judgement import LogRead
from release.protected.latecomers import Latecomers, latecomers
from release.protected.locate import find_target
from release.protected.proof import prove as prove_structure
from release.protected.taken_back import TakenBack
from release.protected.target import Target
from release.protected.transfers import capture, goes_on
from release.run import Ending, Run, ended
from release.settings.model import FenceMode, Switch
from release.steps import restore
from release.steps.backup import record_run
from release.steps.handover import restore_under_way
from release.steps.recover import half_restored

LIMIT = 12 * 3600.0
"""Seconds. Heroku's limit of an hour does not hold on somebody's own machine."""

LOCK_WAIT = 1.0
"""Seconds. While a release runs, a restore by hand is refused and does not wait for its end."""

Confirm = Callable[[str], None]
"""A function that is given the app's name. It raises Refused unless somebody confirms that it is meant."""


class RestorePlan(Struct, frozen=True, kw_only=True):
    """What is to be restored over what, as `restore_planned` says it.

    `earlier`: a run that was cut off; `half`: the last restore did not succeed; `why_no_salvage`: empty when there is
    to be a salvage.
    """

    target: Target
    source: Transfer
    earlier: Entry | None
    half: bool
    why_no_salvage: str

    @property
    def stood(self) -> Target:
        """The target with formation and maintenance mode as they stood before anybody raised a fence."""
        if self.earlier is None or self.earlier.formation is None:
            return self.target
        maintenance = self.target.app.maintenance if self.earlier.maintenance is None else self.earlier.maintenance
        app = replace(self.target.app, maintenance=maintenance)
        return replace(self.target, app=app, formation={**self.target.formation, **self.earlier.formation})


def restore_by_hand(run: Run, name: str, confirm: Confirm) -> Ending:
    """Shows what will be lost, asks, and restores the backup of that name.

    Raises what `plan_restore` raises, and Refused when it is not confirmed.
    """
    mode = FenceMode.OFF if run.settings.fence is FenceMode.OFF else FenceMode.RELEASE
    settings = replace(run.settings, lock_wait=LOCK_WAIT, fence=mode)
    run = replace(run, settings=settings, deadline=Deadline(run.clock, LIMIT))
    with run.step("prepare") as within:
        plan = plan_restore(within, name)
    confirm(plan.target.app.name)
    with run.step("restore") as within:
        return carry_out(within, plan)


def plan_restore(run: Run, name: str) -> RestorePlan:
    """Finds out everything that can be known before anything changes, and logs it as `restore_planned`.

    Raises Misconfigured, Refused or HerokuError.
    """
    lock.connect(run)
    target = find_target(run)
    shelf = Shelf(attached=target, source=target.source, transfers=target.transfers)
    source = backups.pick(shelf, name)
    plan = RestorePlan(
        target=target,
        source=source,
        earlier=run.journal.unfinished(target.app.id, target.addon.id, app=target.app.name),
        half=half_restored(run, target) is not None,
        why_no_salvage=_why_no_salvage(run, shelf, source),
    )
    _log_plan(run, plan)
    return plan


def _why_no_salvage(run: Run, shelf: Shelf, source: Transfer) -> str:
    if run.settings.salvage is Switch.OFF:
        return "RELEASE_SALVAGE=off"
    if source.uuid in shelf.next_out:
        return f"Heroku keeps {source.num_keep} backups; another one would rotate out {source.name}"
    return ""


def _log_plan(run: Run, plan: RestorePlan) -> None:
    """Logs what is to be restored, and what will be lost by it."""
    source = plan.source
    taken = moment(source.started_at or source.created_at)
    age = f"taken {seconds((run.clock.now() - taken).total_seconds())} ago, " if taken else ""
    runs = run.journal.history(1000)
    written, notes = _written_since(run, plan)
    since = [
        entry.release or entry.run_id
        for entry, _ in runs
        if entry.outcome == "released"
        and entry.belongs(plan.target.app.id, plan.target.addon.id)
        and ((entry.baseline or 0) >= source.number or entry.backup == source.uuid)
    ]
    if since:
        notes.append(
            f"released since then: {', '.join(since)}. Their migrations are undone, and their code stays until"
            " `heroku rollback`"
        )
    if plan.why_no_salvage:
        notes.append(f"the present state will not be kept: {plan.why_no_salvage}")
    run.log.info(
        Event.RESTORE_PLANNED,
        backup=source.name,
        detail=f"{age}{size(source.size)}, made by {backups.made_by(source, backups.makers(runs))}",
        taken_at=taken.isoformat().replace("+00:00", "Z") if taken else None,
        bytes=source.size,
        written=written,
        notes=notes,
    )


def _written_since(run: Run, plan: RestorePlan) -> tuple[dict[str, str], list[str]]:
    """Returns the tables with rows written since the backup, and notes.

    The tables are known where the backup's counters are; else a note says why they are not.
    """
    document = run.journal.evidence(plan.source.uuid)
    if document is None:
        return {}, [f"what was written since {plan.source.name} is not known: no run of this tool made it"]
    with translated():
        traces = evidence.compare(Evidence.from_json(document), evidence.take(run.database.connection))
    notes = [f"what was written since is not known for certain: {traces.unproved}"] if traces.unproved else []
    written = {table: str(rows) for table, rows in traces.written.items() if str(rows)}
    if not written and not notes:
        notes = ["no table was written since"]
    return written, notes


def carry_out(run: Run, plan: RestorePlan) -> Ending:
    """Raises the fence, salvages, restores and proves.

    A failure before the restore was asked for leaves all as it was.
    """
    present = take_fingerprint(run)
    backup = BackedUp(
        uuid=plan.source.uuid,
        name=plan.source.name,
        seconds=plan.source.seconds or 0.0,
        before=present,
        outset=Outset(evidence=present.evidence),
        sealed=False,
        target=plan.target,
    )
    kept = None
    try:
        _raise_fence(run, plan)
        with latecomers(run, holding=run.settings.fence is not FenceMode.OFF) as late:
            kept = secure(run, plan, late)
            transfer, problem = restore.load_and_prove(
                run, backup, lambda log_read: prove(run, plan, backup, log_read=log_read), late
            )
    except (ReleaseError, Interrupted) as failure:
        return _broken_off(run, plan, backup, kept, failure)
    if problem is not None or transfer is None:
        problem = problem or StepFailed(Reason.RESTORE_FAILED)
        return restore.not_restored(run, backup, problem, problem, kept, transfer)
    ending = replace(
        ended(
            Outcome.RESTORED,
            backup=backup.name,
            salvage=kept.name if kept else None,
            restore=transfer.name,
        ),
        exit_code=0,
    )
    ending = restore.with_others(run, ending, TakenBack(), late)
    with run.signals.shield():
        return settle(run, plan, ending, transfer, kept)


def _raise_fence(run: Run, plan: RestorePlan) -> None:
    """Records the run and raises the fence. Raises ReleaseError."""
    if plan.earlier is None:
        record_run(run, plan.stood)
    elif run.settings.fence is not FenceMode.OFF:
        fence.put_up(run, plan.target, FenceMode.RESTORE)


def secure(run: Run, plan: RestorePlan, late: Latecomers) -> Transfer | None:
    """Keeps the present state. What others write afterwards is held, or counted. Raises ReleaseError."""
    if plan.why_no_salvage:
        run.warn("not_salvaged", plan.why_no_salvage)
        return None

    def begun(started: Transfer) -> None:
        if plan.earlier is None:
            run.journal.announce(run.id, State.BACKING_UP, salvage=started.uuid)

    began = late.read()
    try:
        taken = capture(run, plan.target, kind="salvage", deadline=run.deadline, begun=begun, meanwhile=late.stay)
    except (HerokuError, StepFailed) as error:
        run.warn("not_salvaged", f"{error}; the present state will be lost, as it was confirmed")
        return None
    if plan.earlier is None:
        run.journal.announce(run.id, State.MIGRATING, backup=taken.uuid, salvage=taken.uuid)
    late.began = began
    return taken


def prove(run: Run, plan: RestorePlan, backup: BackedUp, *, log_read: LogRead) -> None:
    """Proves the database against the fingerprint that the dump itself carries; says so where it carries none.

    Then owners, grants and settings, which no dump carries, become what they were right before the restore.
    """
    lock.reconnect(run)
    if _still_there(run, plan):
        raise StepFailed(
            Reason.RESTORE_UNPROVED, "the journal still knows this run, so the restore did not reset the database"
        )
    made = run.journal.in_the_dump()
    document = run.journal.fingerprint(made.run_id) if made else None
    if made is None or document is None:
        run.warn(
            "structure_unproved",
            f"{backup.name} carries no fingerprint of this tool; "
            + ("its log names no table that was not loaded" if log_read() else "its log could not be read either")
            + "; owners, grants and settings are put back as they were right before the restore",
        )
        with translated():
            for problem in put_back_common(run.database.connection, backup.before):
                run.warn("not_put_back", problem)
            repair.analyze(run.database.connection)
        return
    dump = Fingerprint.from_json(document)
    dumped = replace(backup, before=dump, outset=Outset(), sealed=made.fence == FenceMode.RELEASE)
    # What there was beyond the dump was to be overwritten: whoever chose the dump has chosen that.
    differences = structural(dump.structure, backup.before.structure)
    beyond = [difference for difference in differences if difference.change is Change.ADDED]
    prove_structure(replace(run, id=made.run_id), dumped, beyond, log_read=log_read)


def _still_there(run: Run, plan: RestorePlan) -> bool:
    """Tells whether the journal is still that of the database which was to be overwritten."""
    if plan.earlier is None:
        return run.journal.entry(run.id) is not None
    entry = run.journal.entry(plan.earlier.run_id)
    return entry is not None and entry.state is plan.earlier.state is not State.BACKING_UP


def settle(run: Run, plan: RestorePlan, ending: Ending, transfer: Transfer, kept: Transfer | None) -> Ending:
    """Closes the journal as the restore brought it back, writes this run into it, and lowers the fence."""
    made = run.journal.in_the_dump()
    stood = plan.stood
    if made:
        run.journal.announce(made.run_id, State.RESTORING, backup=plan.source.uuid)
    while left := run.journal.unfinished(stood.app.id, stood.addon.id, app=stood.app.name):
        _close_what_came_back(run, left, transfer, known=made)
    formation = made.formation if made and plan.half and plan.earlier is None else stood.formation
    maintenance = made.maintenance if made and plan.half and plan.earlier is None else stood.app.maintenance
    run.journal.open(
        run_id=run.id,
        app=stood.app.name,
        release=run.settings.heroku_release_version,
        commit=run.settings.commit,
        maintenance=maintenance,
        formation=formation,
        baseline=transfer.number,
        app_id=stood.app.id,
        addon_id=stood.addon.id,
    )
    salvage = kept.uuid if kept else None
    run.journal.announce(run.id, State.RESTORING, backup=plan.source.uuid, salvage=salvage)
    ending = restore.close(run, plan.target, ending)
    return replace(ending, facts={**ending.facts, "proof": "fingerprint" if made else "none"})


def _close_what_came_back(run: Run, left: Entry, transfer: Transfer, *, known: Entry | None) -> None:
    """Closes a run that was under way when the dump was made.

    Whoever chose the dump has chosen the state it was in.

    Left open, the next release would ask what to do about it, or undo what was just restored.
    """
    if left.state is not State.FINISHED:
        outcome = Outcome.RESTORED if known and known.run_id == left.run_id else Outcome.KEPT
        run.journal.close(left.run_id, outcome=outcome, reason=None, restore=transfer.name)
    run.journal.fenced(left.run_id, None)


def _broken_off(
    run: Run, plan: RestorePlan, backup: BackedUp, kept: Transfer | None, failure: ReleaseError | Interrupted
) -> Ending:
    """Ends a restore early: with a restore under way at Heroku, or with nothing done but a fence, which is lowered."""
    run.signals.acknowledge()
    names = {"backup": backup.name, "salvage": kept.name if kept else None}
    try:
        running = restore_under_way(run, backup)
    except ReleaseError as error:
        return restore.not_restored(run, backup, error, failure, kept)
    if running is not None:
        return ended(
            Outcome.HANDED_OVER,
            failure,
            restore=running.name,
            hint=goes_on(running),
            **names,
        )
    ending = restore.close(run, plan.target, ended(Outcome.UNTOUCHED, failure, **names))
    if plan.earlier is None or plan.earlier.fence is not None:
        return ending
    try:
        fence.lower_by_row(run, plan.target.site, plan.earlier)
    except (HerokuError, StepFailed) as error:
        run.warn("fence_not_lowered", str(error))
        return restore.still_fenced(run, ending, plan.target)
    return ending


def confirmed(app: str, typed: str) -> None:
    """Raises Refused unless the app's name was typed."""
    if typed.strip() != app:
        raise Refused(Reason.NOT_CONFIRMED, f"{app} was not typed; nothing was changed")
