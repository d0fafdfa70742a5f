"""Environment → Settings: every error at once, in words, and never the value itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, get_args

import msgspec

from release.errors import Misconfigured, Reason, Refused
from release.settings.model import (
    PREFIX,
    SHELL_EXAMPLE,
    VARIABLES,
    Backup,
    FenceMode,
    Guard,
    Secret,
    Settings,
    Words,
    example,
)
from release.settings.urls import is_heroku, is_postgres, is_web, is_webhook

SET_BY_PLATFORM: Final = frozenset({"RELEASE_ID", "RELEASE_VERSION", "RELEASE_NAME", "RELEASE_SHA"})
"""RELEASE_ names that platforms and other tools are known to set. They are not taken for typos of a setting."""

DATABASE: Final = "DATABASE_URL"
"""The config var that Heroku sets for an app's database, and the default of RELEASE_DATABASE."""

TYPO: Final = 0.85
"""Similarity to a setting (difflib's ratio) from which a name is taken for a typo of it: a letter or two differ."""

OPERATORS: Final = frozenset(
    {
        "&&",
        "||",
        "|",
        "|&",
        ";",
        ";;",
        "&",
        ">",
        ">>",
        "<",
        "<<",
        "<<<",
        "2>",
        "2>>",
        "&>",
        "&>>",
        "2>&1",
        "1>&2",
        ">&2",
    }
)
"""Words that mean something to a shell, and to no program."""
_WORD: Final = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)
"""A word as it was typed, with its quotes; shlex would only give what it means."""
_EXPANDED: Final = re.compile(r'("?)\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})\1')
"""A variable that a shell would fill in, alone or between double quotes."""


class NeedsShell(ValueError):
    """A command that holds what only a shell understands."""


def read(environ: Mapping[str, str]) -> Settings:
    """Reads all settings.

    Raises Misconfigured with every problem at once: `facts["errors"]` is a list of sentences.
    """
    errors = _typos(environ)
    values: dict[str, Any] = {}
    for name, field in VARIABLES.items():
        text = environ.get(name, "").strip()
        if not text:
            continue
        try:
            values[field.name] = msgspec.convert(_split(field, text), field.type, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError) as error:
            # msgspec raises its own error and keeps that of `_decode` as the cause.
            better = SHELL_EXAMPLE if isinstance(error.__cause__, NeedsShell) else example(field)
            errors.append(f"{name}: {_what_is_wrong(field, error)}; for example {name}={better}")
    settings = Settings(**values)
    url = environ.get(settings.database, "").strip()
    if url:
        settings = msgspec.structs.replace(settings, database_url=Secret(url))
        if not is_postgres(url):
            errors.append(f"{settings.database}: must be a Postgres URL; for example postgres://user:…@host/name")
    errors += _cross_checks(settings)
    if errors:
        raise Misconfigured(Reason.SETTINGS_INVALID, "; ".join(errors), errors=errors)
    return settings


def without_database(settings: Settings, environ: Mapping[str, str]) -> Refused:
    """Returns the refusal of a run whose database has no URL: there is none, or RELEASE_DATABASE names it wrongly."""
    name = settings.database
    if name == DATABASE:
        return Refused(Reason.NO_DATABASE, f"{name} is not set")
    if "://" in name:
        return Refused(Reason.DATABASE_NOT_NAMED, "it is no name of a config var, but a URL")
    there = [other for other, value in sorted(environ.items()) if is_postgres(value.strip())]
    near = get_close_matches(name, there, n=1)
    meant = f"; did you mean {near[0]}?" if near else "."
    held = f" These hold the URL of a Postgres database: {', '.join(there)}" if there else ""
    return Refused(Reason.DATABASE_NOT_NAMED, f"{name}{meant}{held}".removesuffix("."))


def _typos(environ: Mapping[str, str]) -> list[str]:
    """Finds RELEASE_ names one typo away from a known one. Other unknown names are the platform's or the app's own."""
    known = [name for name in VARIABLES if name.startswith(PREFIX)]
    errors = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in VARIABLES or name in SET_BY_PLATFORM:
            continue
        near = get_close_matches(name, known, n=1, cutoff=TYPO)
        if near:
            errors.append(f"{name} is not a setting; did you mean {near[0]}?")
    return errors


def _split(field: msgspec.structs.FieldInfo, text: str) -> Any:
    """Returns the text as msgspec wants it: a list where the type is a set."""
    if field.name == "allow":
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret:
        return Secret(value)
    if kind is Words:
        words = shlex.split(value)
        if not words:
            raise ValueError("the command is empty")
        if word := _word_for_a_shell(value):
            raise NeedsShell(f"{word} needs a shell, and commands are run without one")
        return Words(words)
    raise NotImplementedError  # as msgspec asks of a hook that does not know the type


def _word_for_a_shell(command: str) -> str | None:
    """Returns a word of the command that only a shell understands, if there is one.

    Within quotes it is an argument like others.
    """
    for word in _WORD.findall(command):
        if word in OPERATORS:
            return f"`{word}`"
        if _EXPANDED.fullmatch(word):
            return "a `$VARIABLE`"
    return None


def _what_is_wrong(field: msgspec.structs.FieldInfo, error: Exception) -> str:
    """Says what is wrong, and never the value itself: it may be a secret that was typed into the wrong place."""
    choices = get_args(field.type)[0]
    if field.name == "allow":
        choices = Guard
    if isinstance(choices, type) and issubclass(choices, StrEnum):
        return f"expected one of {', '.join(choices)}"
    text = str(error).split(" - at `$", maxsplit=1)[0]  # msgspec's words, less the place
    if "matching regex" in text:
        return "expected a number with one of the units us, ms, s, min, h, d"
    for name, word in (("`float`", "a number"), ("`int`", "a whole number")):
        text = text.replace(name, word)
    return text.replace("Expected", "expected").removesuffix(", got `str`")


def _access_checks(settings: Settings) -> list[str]:
    errors = []
    if settings.backup is Backup.CAPTURE:
        if not settings.heroku_api_key:
            errors.append(
                "HEROKU_API_KEY is not set; make one with `heroku authorizations:create -s "
                "read-protected,write-protected` and `heroku config:set HEROKU_API_KEY=…` "
                "(or RELEASE_BACKUP=off for a disposable database)"
            )
        elif not re.fullmatch(r"[!-~]+", settings.heroku_api_key.reveal()):
            errors.append("HEROKU_API_KEY: holds spaces or letters that no key has; for example HRKU-01234567-…")
        if not settings.app:
            errors.append(
                "HEROKU_APP_NAME is not set; switch on dyno metadata with `heroku labs:enable runtime-dyno-metadata` "
                "or `heroku config:set HEROKU_APP_NAME=my-app`"
            )
    return errors


def _cross_checks(settings: Settings) -> list[str]:
    errors = _access_checks(settings)
    if settings.fence is FenceMode.RELEASE and settings.backup is Backup.OFF:
        errors.append("RELEASE_FENCE=release needs a backup to protect; for example RELEASE_FENCE=restore")
    for name, url in (("HEROKU_HOST", settings.api_url), ("HEROKU_DATA_HOST", settings.data_url)):
        if not is_heroku(url):
            errors.append(
                f"{name}: only Heroku's domains (https) and loopback are accepted; for example {name}=heroku.com"
            )
    errors += _probe_checks(settings)
    if settings.rehearsal_database and settings.backup is Backup.OFF:
        errors.append("RELEASE_REHEARSAL_DATABASE: a rehearsal needs a backup, and RELEASE_BACKUP is off")
    if settings.webhook_url and not is_webhook(settings.webhook_url.reveal()):
        errors.append("RELEASE_WEBHOOK_URL: must be an https URL; for example https://hooks.slack.com/…")
    if settings.rehearsal_database == settings.database:
        errors.append("RELEASE_REHEARSAL_DATABASE: must not be the protected database itself")
    return errors


def _probe_checks(settings: Settings) -> list[str]:
    errors = []
    if settings.probe_path and not settings.probe_path.startswith("/"):
        errors.append("RELEASE_PROBE_PATH: must begin with a slash; for example RELEASE_PROBE_PATH=/healthz")
    if settings.probe_url and not is_web(settings.probe_url):
        errors.append("RELEASE_PROBE_URL: must be a URL; for example RELEASE_PROBE_URL=https://my-app.herokuapp.com/")
    if settings.probe_url and settings.fence is FenceMode.RELEASE:
        errors.append(
            "RELEASE_PROBE_URL: with RELEASE_FENCE=release the live app answers with its maintenance page (503); "
            "for example RELEASE_PROBE_PATH=/healthz instead"
        )
    return errors
