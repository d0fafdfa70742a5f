"""What is known of migration frameworks: one table, in which all that differs between them is a column.

A framework is recognised by the names of its files, or by the words of a configured command; the hook reads none of its
files but an index (index.py). A new one is a row in `rows/`, and an entry of its real tool in `tests/toolchains/`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from release.app.framework import Framework
from release.app.rows.node import HISTORIES, NODE
from release.app.rows.others import OTHERS
from release.app.rows.python import PYTHON
from release.database.history import HistoryTable

__all__ = ["FRAMEWORKS", "Framework", "chosen", "histories", "marked", "recognise", "runnable"]

FRAMEWORKS = (*PYTHON, *OTHERS, *NODE)


def histories() -> tuple[HistoryTable, ...]:
    """Returns every table that holds a migration history, whichever framework the app has: it may have had another."""
    known = (history for framework in FRAMEWORKS for history in framework.histories)
    return tuple(dict.fromkeys([*known, *HISTORIES]))


def marked(folder: Path) -> list[Framework]:
    """Returns the frameworks of which a file is in the app's folder, each with the first one that is there."""
    return [
        framework.at(str(found.relative_to(folder)))
        for framework in FRAMEWORKS
        if (found := next((path for path in _marks(folder, framework) if path.is_file()), None))
    ]


def _marks(folder: Path, framework: Framework) -> Iterator[Path]:
    return (path for marker in framework.markers for path in sorted(folder.glob(marker)))


def chosen(migrate: Sequence[str]) -> Framework | None:
    """Returns the framework whose own migration command was configured, or another spelling of it.

    That is how one of several is chosen. A word more, and the command may be meant for a part of the migrations only.
    """
    own = next((found for each in FRAMEWORKS if (found := each.configured(migrate))), None)
    return own or next((found for each in FRAMEWORKS if (found := _spelled(each, tuple(migrate)))), None)


def _spelled(framework: Framework, migrate: tuple[str, ...]) -> Framework | None:
    runner, rows = next(
        ((words, rows) for words, rows in _RUNNERS.items() if migrate[: len(words)] == words), ((), None)
    )
    words = migrate[len(runner) :]
    verb = next((form for form in (framework.migrate, *framework.also) if words[-len(form) :] == form), None)
    if verb is None or (rows is not None and framework not in rows):
        return None
    tool = words[: -len(verb)]
    if not _is_tool(tool, framework):
        return None
    if rows is NODE:  # which hands no options on; it is asked by the program that this starts
        return framework
    asks_otherwise = framework.pending is not None and framework.pending.whole
    return None if asks_otherwise else replace(framework, tool=(*runner, *tool))


def _is_tool(words: Sequence[str], framework: Framework) -> bool:
    """Tells whether words are the framework's tool, with or without the row's options."""
    own, *rest = (word for word in framework.tool if not word.startswith("-"))
    first, *more = [word for word in words if not (word.startswith("-") and word in framework.tool)] or [""]
    if own == "python":
        return (re.fullmatch(r"python3?(\.\d+)?", first) is not None and more == rest) or [first, *more] == [
            f"./{word}" for word in rest
        ]
    name = Path(own).name
    return more == rest and first in ({own, f"./{own}", name, name.removesuffix("-cli")} if "/" in own else {own})


_RUNNERS: Mapping[tuple[str, ...], tuple[Framework, ...]] = {
    tuple(words.split()): rows
    for words, rows in {
        **dict.fromkeys(("poetry run", "uv run", "pipenv run", "pdm run"), PYTHON),
        "bundle exec": OTHERS,
        **dict.fromkeys(("npx --no --", "npx --no-install", "npx --no", "npx", "npm exec --", "pnpm exec"), NODE),
    }.items()
}
"""What starts a program of the app's own packages and changes nothing about it; longer ones before their beginnings."""


def recognise(migrate: Sequence[str]) -> Framework | None:
    """Returns the framework behind a configured migration command, with its words before the verb as the tool.

    `python src/manage.py migrate` is Django's, `poetry run alembic upgrade head` Alembic's. It is asked what it knows
    of its migrations, but not whether one is pending: the command may be meant for a part of them only.
    """
    for framework in FRAMEWORKS:
        names, verb = framework.called, framework.migrate[0]
        for place, word in enumerate(migrate[:-1]):
            if Path(word).name in names and verb in migrate[place + 1 :]:
                end = migrate.index(verb, place + 1)
                return replace(framework, tool=tuple(migrate[:end]))
    return None


def runnable(argv: Sequence[str], *, folder: Path, environ: Mapping[str, str]) -> bool:
    """Tells whether the command's first word can be started in `folder`.

    The word is a path, or a name on the environment's PATH.
    """
    word = argv[0]
    if "/" in word:
        return shutil.which(str(folder / word)) is not None
    return shutil.which(word, path=environ.get("PATH", "")) is not None
