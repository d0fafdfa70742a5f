"""The help of the commands, with the program's name as it is where somebody reads it."""

from __future__ import annotations

import click

from release.program import named


class Command(click.Command):
    """A command whose help names this program as it is called here."""

    def get_help(self, ctx: click.Context) -> str:
        """Returns the help."""
        return named(super().get_help(ctx))


class Group(click.Group):
    """The group of all commands; its own help and theirs name this program as it is called here."""

    command_class = Command

    def get_help(self, ctx: click.Context) -> str:
        """Returns the help."""
        return named(super().get_help(ctx))
