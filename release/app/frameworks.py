"""What is known of migration frameworks: one table, in which all that differs between them is a column.

A framework is recognised by the names of its files, or by the words of a configured command; the hook reads none of its
files but an index (index.py). A new one is a row in `rows/`, and an entry of its real tool in `tests/toolchains/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

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
    """Returns the framework whose own migration command was configured word for word.

    That is how one of several is chosen.
    """
    return next((found for each in FRAMEWORKS if (found := each.configured(migrate))), None)


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
