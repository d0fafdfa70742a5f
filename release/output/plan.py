"""A plan: what a release would do and why, and what stands in the way; as facts, and as text for people."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from release.errors import MISCONFIGURED_EXIT_CODE
from release.output.words import seconds, size

LABEL = 12
"""Columns of a fact's label."""

_BEFORE = re.compile(rf"  (?:\d+\. |[A-Z]\w+ +(?<=^.{{{LABEL + 2}}}))?")
"""What stands before a fact: two columns, and a number or a label."""


class Plan(Struct, kw_only=True):
    """What would happen. `pending` is None when it could not be found out; `stopped` is what ended the plan early.

    `decided` says by what `pending` was decided, as the event `pending_decided` does: `by`, and what `differs` from the
    release that landed last.

    It is filled in as it is found out, and what is not known stays empty. Sizes are bytes, durations are seconds.
    """

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    app: dict[str, Any] | None = None
    database: dict[str, Any] | None = None
    commands: dict[str, Any] | None = None
    pending: bool | None = None
    decided: dict[str, Any] | None = None
    pending_words: list[str] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    rehearsal: str | None = None
    time: dict[str, Any] | None = None
    steps: list[str] = field(default_factory=list)
    on_failure: list[str] = field(default_factory=list)
    guards: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    stopped: dict[str, Any] | None = None
    exit_code: int = 0

    @property
    def refusing(self) -> list[dict[str, Any]]:
        """The guards that would refuse."""
        return [guard for guard in self.guards if not guard["overridden"]]


def as_text(plan: Plan, *, width: int) -> str:
    """Returns the plan as text, one fact a line, or more where it does not fit into `width` columns."""
    return "\n".join(piece for line in _lines(plan) for piece in _wrapped(line, width)) + "\n"


def _wrapped(line: str, width: int) -> list[str]:
    """Wraps a line behind its label or its number."""
    begin = _BEFORE.match(line)
    hang = " " * min(len(begin[0]) if begin else 0, width // 3)
    return textwrap.wrap(
        line, width, subsequent_indent=hang, break_on_hyphens=False, replace_whitespace=False, drop_whitespace=True
    ) or [""]


def verdict(plan: Plan) -> str:
    """Says in a sentence what would become of a release."""
    if plan.stopped and plan.exit_code == MISCONFIGURED_EXIT_CODE:
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
    yield from _block("Warnings", [f"{warning['warning']}: {warning['detail']}" for warning in plan.warnings])
    yield from _block(
        "Guards",
        [
            f"{guard['guard']} {'is overridden' if guard['overridden'] else 'REFUSES'}: {guard['detail']}"
            for guard in plan.guards
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
    if plan.decided:
        yield _fact("Pending", _why(plan, plan.decided["by"], plan.decided["differs"]))
    if time := plan.time:
        yield _fact("Backup", f"about {seconds(time['backup'])}" if time["backup"] is not None else "not known")
        yield _fact("Restore", f"about {seconds(time['restore'])}" if time["restore"] is not None else "not known")
        if time["migration_at_most"] is not None:
            yield _fact("Room", f"{seconds(time['migration_at_most'])} of {seconds(time['limit'])} for the migration")
        yield _fact("Estimated", f"from {time['estimated_from']}")


def _why(plan: Plan, by: str, differs: list[str]) -> str:
    """Says whether something is pending, and who says so."""
    asked = plan.commands["pending"] if plan.commands else None
    told = f"`{asked}` says so" if asked else "the app's list of migrations and the database's history say so"
    match by:
        case "same_code":
            return "nothing: this code landed last, and nothing has changed since"
        case "database_ahead":
            return "nothing is migrated: the database has migrations that this code does not have"
        case "always":
            return "taken to be so: RELEASE_PENDING=always"
        case "assumed":
            changed = f", and not all is as when it landed last ({', '.join(differs)})" if differs else ""
            return f"taken to be so: nothing can tell{changed}"
        case _:
            return f"{'yes' if plan.pending else 'nothing'}: {told}"


def _fact(label: str, text: str) -> str:
    return f"  {label:{LABEL}}{text}"


def _block(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)
