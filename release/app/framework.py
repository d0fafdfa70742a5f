"""A migration framework: what differs between them, a column each. The rows are in `rows/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from release.app.answers import Entry, Question
from release.app.crashes import Reader
from release.app.index import Index
from release.database.history import HistoryTable

T = TypeVar("T")


class Framework(Struct, frozen=True, kw_only=True):
    """A row of the table. All words follow `tool`; a question is None where the framework has no such command.

    markers: the files, or patterns of them, by any of which it is recognised; none where it is known by its command
    only. also: other words that migrate in the same way. program: what has to be there, where that is not the tool's
    first word. pending: whether something is to be migrated; its answer is None where it does not tell. crashed: how
    its tool says that the app does not start. shown: prints what is pending, for people. missing: which models were
    changed without a migration; `missing_at_head`: it can tell only when nothing is pending. known: all migrations that
    the code has. unknown, in its place where the history is the newest revisions only: asked of each of them (`{}`),
    those that the code does not have; without a `{}` it is asked once. index: the file that lists what the code has,
    where no command does. file: the end of a migration's path, by which one is seen without asking. histories: the
    tables of what has been migrated; `known` and `unknown` are about the first. measured: the versions of the tool
    whose answers were measured; None: they are as documented. sources: where that is.
    """

    name: str
    markers: tuple[str, ...] = ()
    tool: tuple[str, ...]
    migrate: tuple[str, ...]
    also: tuple[tuple[str, ...], ...] = ()
    pending: Question[bool | None] | None = None
    crashed: Reader | None = None
    shown: tuple[str, ...] | None = None
    missing: Question[list[str] | None] | None = None
    missing_at_head: bool = False
    known: Question[set[Entry]] | None = None
    unknown: Question[set[Entry]] | None = None
    index: Index | None = None
    file: str | None = None
    histories: tuple[HistoryTable, ...] = ()
    program: str | None = None
    measured: str | None = None
    sources: tuple[str, ...]

    @property
    def marker(self) -> str:
        """The files by which it is recognised, for people."""
        return " or ".join(self.markers)

    def at(self, marker: str) -> Framework:
        """Returns the row for an app that has this file, which takes the place of `{marker}` among the tool's words."""
        tool = tuple(marker if word == "{marker}" else word for word in self.tool)
        return replace(self, tool=tool, markers=(marker,))

    def configured(self, migrate: Sequence[str]) -> Framework | None:
        """Returns the row, with its file, where a command is its own migration word for word; else None."""
        own = self.migrate_command
        if "{marker}" not in own:
            return self if own == tuple(migrate) else None
        found = self.at(dict(zip(own, migrate, strict=False)).get("{marker}", ""))
        return found if found.migrate_command == tuple(migrate) else None

    @property
    def called(self) -> set[str]:
        """The names of the tool's program, by which a configured command is recognised: `sequelize-cli` has two."""
        words = [word for word in self.tool if not word.startswith(("-", "{"))]
        name = Path(words[-1]).name
        return {name, name.removesuffix("-cli")}

    @property
    def needed(self) -> str:
        """The program without which it is not used."""
        return self.program or self.tool[0]

    @property
    def migrate_command(self) -> tuple[str, ...]:
        """The migration."""
        return self.tool + self.migrate

    @property
    def pending_command(self) -> tuple[str, ...] | None:
        """The command that asks whether a migration is pending; None: it cannot be asked."""
        return self.asking(self.pending) if self.pending else None

    @property
    def question(self) -> str | None:
        """How it asks whether a migration is pending, for people."""
        name = self.pending.name if self.pending else None
        return name or " ".join(self.pending_command or ()) or None

    def asking(self, question: Question[T], entry: Entry = ()) -> tuple[str, ...]:
        """Returns the command that asks a question, in which an entry of the history takes the place of `{}`."""
        words = tuple(word.format(*entry) for word in question.words) if entry else question.words
        return words if question.whole else self.tool + words
