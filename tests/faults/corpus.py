"""Shapes of databases: SQL files that build what real databases hold, and what may become of it when a release fails.

A file in `shapes/` begins with its title, as a comment, and with what is said of it in more of them:

- `bare`: without the table `orders`, which all others have;
- `refused: not-restorable, …`: the guards that may rightly stop a release of it; without it none may;
- `names: word, …`: what the log has to mention when it is refused;
- `differs: PATTERN => WORD`: what a restore cannot give back, by its name in `judge.Picture`, and the word that the
  warning about it has to hold; `{other}` is the other credential's role;
- `settings: NAME=VALUE`: a setting of the hook.

Then come parts: the owner's, which is the first, the `superuser`'s, the `other` credential's; and the `migration`, what
it changes where that matters. psql runs them, each statement its own transaction, with the variables `owner`,
`other` and `database`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.hook import PATH, POSTGRES_BIN

FOLDER = Path(__file__).with_name("shapes")

ORDERS = """CREATE TABLE orders (id integer PRIMARY KEY, note text);
INSERT INTO orders VALUES (1, 'one'), (2, 'two'), (3, NULL);
"""
LEFT = """CREATE TABLE public.left_behind (n integer);
INSERT INTO public.left_behind VALUES (1);
CREATE SCHEMA left_schema;
CREATE FUNCTION left_schema.f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
"""
CHANGES = f"""{LEFT}ALTER TABLE public.orders DROP COLUMN note;
DELETE FROM public.orders WHERE id = 1;
"""
"""What a migration does where its shape does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One shape; `refused`, `names`, `differs` and `settings` as described above."""

    name: str
    title: str
    bare: bool
    refused: frozenset[str]
    names: tuple[str, ...]
    differs: Mapping[str, str]
    settings: Mapping[str, str]
    parts: Mapping[str, str]

    @property
    def needs_another(self) -> bool:
        """Whether another credential has a part in it."""
        return "other" in self.parts or any(':"other"' in text or ":'other'" in text for text in self.parts.values())

    @property
    def changes(self) -> str:
        """What the migration does before it fails."""
        return self.parts.get("migration") or (LEFT if self.bare else CHANGES)

    def word(self, name: str, other: str) -> str | None:
        """The word that a warning about a difference has to hold; None when nothing excuses that difference."""
        for pattern, word in self.differs.items():
            if re.fullmatch(pattern.replace("{other}", re.escape(other)), name):
                return word.replace("{other}", other)
        return None


@cache
def shapes() -> dict[str, Shape]:
    """All shapes by name."""
    return {file.stem: parse(file.stem, file.read_text()) for file in sorted(FOLDER.glob("*.sql"))}


def parse(name: str, text: str) -> Shape:
    """A shape from its file."""
    head = re.match(r"(?:-- (?!part:).*\n)+", text)
    assert head, f"{name} has no title"
    title, *facts = [line.removeprefix("-- ") for line in head[0].splitlines()]
    said = [fact.partition(": ")[::2] for fact in facts]
    assert {word for word, _ in said} <= {"bare", "refused", "names", "differs", "settings"}, facts

    def listed(word: str) -> list[str]:
        return [item.strip() for what, items in said if what == word for item in items.split(",")]

    kind, *others = re.split(r"^-- part: (\w+)\n", text[head.end() :], flags=re.MULTILINE)
    return Shape(
        name=name,
        title=title,
        bare=("bare", "") in said,
        refused=frozenset(listed("refused")),
        names=tuple(listed("names")),
        differs=dict(fact.split(" => ") for what, fact in said if what == "differs"),
        settings=dict(fact.split("=", 1) for what, fact in said if what == "settings"),
        parts={"owner": kind, **dict(zip(others[::2], others[1::2], strict=True))},
    )


def build(shape: Shape, *, owner: str, superuser: str, other: str = "", variables: Mapping[str, str]) -> None:
    """Builds a shape in an empty database; `owner`, `superuser` and `other` are URLs."""
    if not shape.bare:
        psql(owner, ORDERS, variables)
    urls = {"owner": owner, "superuser": superuser, "other": other}
    for part, text in shape.parts.items():
        if part in urls:
            psql(urls[part], text, variables)


def psql(url: str, text: str, variables: Mapping[str, str]) -> None:
    """Runs a script, each statement its own transaction; what it includes is found beside the shapes."""
    values = (f"--set={name}={value}" for name, value in variables.items())
    argv = [str(POSTGRES_BIN / "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", *values]
    script = "SET client_min_messages = error;\n" + text
    done = subprocess.run(
        [*argv, url], input=script, cwd=FOLDER, env={"PATH": PATH}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stderr}\n{text}"
