"""What an operator reads: every reason has three parts, and every command that a hint names exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from release.commands.command_line import cli
from release.errors import EXIT_CODES, MISCONFIGURED_EXIT_CODE, Misconfigured, Outcome, Reason, Refused, StepFailed
from release.settings.model import VARIABLES, Guard

ROOT = Path(__file__).parents[2]


def test_exit_codes_are_as_documented_and_only_a_landed_release_is_0() -> None:
    assert {str(outcome): outcome.exit_code for outcome in Outcome} == {
        "released": 0,
        "untouched": 1,
        "restored": 1,
        "refused": 3,
        "kept": 4,
        "handed_over": 4,
        "restore_failed": 4,
        "crashed": 70,
    }
    assert set(EXIT_CODES) == set(Outcome)
    assert MISCONFIGURED_EXIT_CODE == 2


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_a_reason_says_what_happened_and_what_to_do_under_a_name_that_scripts_can_use(reason: Reason) -> None:
    assert reason.slug == reason.name.lower()
    assert reason.text[0].isupper()
    assert not reason.text.endswith(".")
    assert reason.hint.endswith(".")
    assert str(StepFailed(reason)) == f"{reason.text}."
    assert str(StepFailed(reason, "b012 is empty")) == f"{reason.text}: b012 is empty"


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_what_a_hint_names_exists(reason: Reason) -> None:
    assert isinstance(cli, click.Group)
    assert set(re.findall(r"release-phase (\w+)", reason.hint)) <= set(cli.list_commands(click.Context(cli)))
    assert set(re.findall(r"RELEASE_ALLOW=([\w-]+)", reason.hint)) <= set(Guard)
    assert set(re.findall(r"\bRELEASE_\w+", reason.hint)) <= set(VARIABLES)


def test_no_two_reasons_share_a_slug_and_each_is_used() -> None:
    assert len({reason.slug for reason in Reason}) == len(list(Reason))
    code = "".join(path.read_text() for path in (ROOT / "release").rglob("*.py"))
    assert [reason.name for reason in Reason if f"Reason.{reason.name}" not in code] == []


def test_an_error_carries_its_facts() -> None:
    error = Refused(Reason.SHARED_DATABASE, "also attached to blog", apps=["blog"])
    assert (error.reason, error.detail, error.facts) == (
        Reason.SHARED_DATABASE,
        "also attached to blog",
        {"apps": ["blog"]},
    )
    assert str(error) == "The add-on is attached to other apps as well: also attached to blog"
    assert not isinstance(error, Misconfigured)
