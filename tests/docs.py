"""The tables of the documentation, made from the code: `bin/docs tables` writes them, a test compares.

Each table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from release.errors import EXIT_CODES, Outcome, Reason
from release.settings.model import VARIABLES, description

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
LOG = ROOT / "docs" / "log.md"
FACTS = frozenset(
    {"HEROKU_RELEASE_VERSION", "HEROKU_BUILD_COMMIT", "HEROKU_BUILD_DESCRIPTION", "DYNO"}
    | {"HEROKU_SLUG_COMMIT", "HEROKU_SLUG_DESCRIPTION"}
)
"""Read, but set by Heroku and never by hand."""

NONE = "–"  # noqa: RUF001 -- a dash is meant

DATABASE = {
    Outcome.RELEASED: "migrated and probed, or nothing was pending",
    Outcome.UNTOUCHED: "as before: it failed before anything changed, or is proved unchanged",
    Outcome.RESTORED: "as before, proved",
    Outcome.REFUSED: "as before; a guard said no",
    Outcome.KEPT: "changed; a setting said to keep it",
    Outcome.HANDED_OVER: "being restored, in another dyno, by another run or at Heroku",
    Outcome.RESTORE_FAILED: "needs a person; the last line says what to do",
    Outcome.CRASHED: "unknown to the hook; the next run finds out",
}


@cache
def documented() -> Mapping[str, frozenset[str]]:
    """The fields that each event may have, as docs/log.md says: its own, and those that every line has."""
    always, _, table = LOG.read_text().partition("| --- |")
    always = always.partition("\n\n")[2].partition("\n\n")[0]
    found = {}
    for row in re.findall(r"^\| (`.*) \|$", table, re.MULTILINE):
        events, _, fields = (re.findall("`([a-z_]+)`", cell) for cell in row.split(" | "))
        found.update(dict.fromkeys(events, frozenset(fields) | frozenset(re.findall("`([a-z_]+)`", always))))
    return found


def tables() -> dict[str, str]:
    """All tables by name."""
    return {
        "settings": _table(
            ("variable", "default", "meaning"),
            [
                (f"`{name}`", _default(name), description(field))
                for name, field in VARIABLES.items()
                if name not in FACTS
            ],
        ),
        "outcomes": _table(
            ("outcome", "exit code", "the database"),
            [(f"`{outcome}`", str(EXIT_CODES[outcome]), DATABASE[outcome]) for outcome in Outcome]
            + [(NONE, "2", "as before: usage or settings are wrong, nothing was started")],
        ),
        "reasons": _table(
            ("reason", "what happened", "what to do"),
            [(f"`{reason.slug}`", reason.text, reason.hint.replace("|", r"\|")) for reason in Reason],
        ),
    }


def _default(name: str) -> str:
    default = VARIABLES[name].default
    if default is None or default == frozenset():
        return NONE
    return f"`{default:g}`" if isinstance(default, int | float) else f"`{default}`"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def written(text: str) -> str:
    """The text with all tables as they should be."""
    for name, table in tables().items():
        head, begin, rest = text.partition(f"<!-- table: {name} -->\n")
        if begin:
            text = f"{head}{begin}{table}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page.read_text()))
