"""A plan for people: what would happen, why, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from release.output.words import seconds, size

if TYPE_CHECKING:
    from release.commands.plan import Plan

LABEL = 12


def as_text(plan: Plan) -> str:
    """The plan as text, at most one fact a line."""
    return "\n".join(_lines(plan))


def verdict(plan: Plan) -> str:
    """What would become of a release, in a sentence."""
    if plan.stopped and plan.exit_code == 2:  # noqa: PLR2004 -- MISCONFIGURED_EXIT_CODE
        return "A release would not start: settings are wrong."
    if plan.stopped or plan.refusing:
        return f"A release would end before anything changes, with exit code {plan.exit_code}."
    return "A release would migrate." if plan.pending else "A release would migrate nothing and run the probes."


def _lines(plan: Plan) -> Iterator[str]:
    yield verdict(plan)
    yield ""
    yield from _facts(plan)
    yield from _block("Pending, in the framework's own words", plan.pending_words)
    yield from _block("What would happen", [f"{place}. {step}" for place, step in enumerate(plan.steps, 1)])
    yield from _block("If it failed", plan.on_failure if plan.pending else [])
    yield from _block(
        "Settings that are not the defaults",
        [
            f"{name} = {setting['value']}"
            for name, setting in plan.settings.items()
            if setting["source"] == "environment"
        ],
    )
    yield from _block("Warnings", [f"{each['warning']}: {each['detail']}" for each in plan.warnings])
    yield from _block(
        "Guards",
        [
            f"{each['guard']} {'is overridden' if each['overridden'] else 'REFUSES'}: {each['detail']}"
            for each in plan.guards
        ],
    )
    if plan.stopped:
        yield from _block("In the way", [plan.stopped["error"], plan.stopped["hint"]])


def _facts(plan: Plan) -> Iterator[str]:
    if plan.app:
        yield _fact("App", plan.app["name"] + (", in maintenance mode" if plan.app["maintenance"] else ""))
    if database := plan.database:
        addon = f"{database['addon']} ({database['plan']}), " if database["addon"] else ""
        yield _fact(
            "Database", f"{database['variable']}: {addon}{size(database['bytes'])}, PostgreSQL {database['postgres']}"
        )
    if plan.commands:
        yield _fact("Migration", plan.commands["migrate"])
        yield _fact("Framework", plan.commands["framework"] or "not known")
    if time := plan.time:
        yield _fact("Backup", f"about {seconds(time['backup'])}" if time["backup"] is not None else "not known")
        yield _fact("Restore", f"about {seconds(time['restore'])}" if time["restore"] is not None else "not known")
        if time["migration_at_most"] is not None:
            yield _fact("Room", f"{seconds(time['migration_at_most'])} of {seconds(time['limit'])} for the migration")
        yield _fact("Estimated", f"from {time['estimated_from']}")


def _fact(label: str, text: str) -> str:
    return f"  {label:{LABEL}}{text}"


def _block(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)
