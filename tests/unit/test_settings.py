"""From an environment to settings, or to every error at once."""

from __future__ import annotations

import shlex

import msgspec
import pytest

from release.errors import Misconfigured, Reason
from release.settings.model import (
    VARIABLES,
    Backup,
    FenceMode,
    Guard,
    OnAhead,
    Restore,
    Secret,
    Settings,
    Switch,
    Words,
    description,
    example,
)
from release.settings.reading import read
from release.settings.urls import is_heroku

KEY = "HRKU-AAbbCCddEE-ff_00112233445566778899"
URL = "postgres://u7f:p0c4a5d0e1@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d9"
ENOUGH = {"HEROKU_API_KEY": KEY, "HEROKU_APP_NAME": "shop", "DATABASE_URL": URL}


def _errors(**environ: str) -> list[str]:
    """What is wrong with an environment that is otherwise enough."""
    with pytest.raises(Misconfigured) as caught:
        read({**ENOUGH, **environ})
    assert caught.value.reason is Reason.SETTINGS_INVALID
    errors = caught.value.facts["errors"]
    assert isinstance(errors, list)
    assert caught.value.detail == "; ".join(errors)
    return errors


def test_key_app_and_database_are_enough_and_all_else_has_the_documented_default() -> None:
    assert read(ENOUGH) == Settings(heroku_api_key=Secret(KEY), heroku_app_name="shop", database_url=Secret(URL))


def test_every_variable_is_read_into_its_type() -> None:
    settings = read(
        {
            **ENOUGH,
            "HEROKU_APP_ID": "0123",
            "RELEASE_DATABASE": "BLUE_URL",
            "BLUE_URL": "postgresql://localhost/blue",
            "RELEASE_MIGRATE_COMMAND": "sh -c 'a && b'",
            "RELEASE_RESTORE": "if-changed",
            "RELEASE_FENCE": "release",
            "RELEASE_SALVAGE": "off",
            "RELEASE_PROBE_TIMEOUT": "1.5",
            "RELEASE_TIME_LIMIT": " 1800 ",
            "RELEASE_MIGRATE_ATTEMPTS": "3",
            "RELEASE_LOCK_TIMEOUT": "5s",
            "RELEASE_ON_DATABASE_AHEAD": "refuse",
            "RELEASE_ALLOW": "shared-database, large-database,",
        }
    )

    assert settings.app == "0123"
    assert settings.database_url == Secret("postgresql://localhost/blue")
    assert settings.migrate_command == Words(("sh", "-c", "a && b"))
    assert (settings.restore, settings.fence, settings.salvage) == (Restore.IF_CHANGED, FenceMode.RELEASE, Switch.OFF)
    assert (settings.probe_timeout, settings.time_limit, settings.migrate_attempts) == (1.5, 1800, 3)
    assert (settings.lock_timeout, settings.on_database_ahead) == ("5s", OnAhead.REFUSE)
    assert settings.allow == {Guard.SHARED_DATABASE, Guard.LARGE_DATABASE}


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert read({**ENOUGH, "RELEASE_FENCE": "", "RELEASE_PROBE_SQL": "  "}) == read(ENOUGH)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        read(ENOUGH).backup = Backup.OFF  # type: ignore[misc]


def test_without_a_database_url_settings_are_complete() -> None:
    assert read({"RELEASE_BACKUP": "off"}).database_url is None


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("RELEASE_BACKUP", "yes", "expected one of capture, off; for example RELEASE_BACKUP=capture"),
        ("RELEASE_FENCE", "maybe", "expected one of restore, release, off; for example RELEASE_FENCE=restore"),
        ("RELEASE_PROBE_TIMEOUT", "-1", "expected a number > 0.0; for example RELEASE_PROBE_TIMEOUT=60"),
        ("RELEASE_PROBE_TIMEOUT", "nan", "expected a number > 0.0; for example RELEASE_PROBE_TIMEOUT=60"),
        ("RELEASE_PROBE_TIMEOUT", "1e9", "expected a number <= 86400.0; for example RELEASE_PROBE_TIMEOUT=60"),
        ("RELEASE_TIME_LIMIT", "soon", "expected a number; for example RELEASE_TIME_LIMIT=3600"),
        ("RELEASE_MIGRATE_ATTEMPTS", "1.5", "expected a whole number; for example RELEASE_MIGRATE_ATTEMPTS=1"),
        ("RELEASE_MIGRATE_ATTEMPTS", "0", "expected a whole number >= 1; for example RELEASE_MIGRATE_ATTEMPTS=1"),
        (
            "RELEASE_MIGRATE_COMMAND",
            "sh -c 'oops",
            "No closing quotation; for example RELEASE_MIGRATE_COMMAND=python manage.py migrate --noinput",
        ),
        *(
            (
                "RELEASE_PROBE_COMMAND",
                f"./check {operator} ./more",
                f"`{operator}` needs a shell, and commands are run without one; "
                "for example RELEASE_PROBE_COMMAND=sh -c 'first-command && second-command'",
            )
            for operator in ("&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1")
        ),
        *(
            (
                "RELEASE_MIGRATE_COMMAND",
                f"psql {variable} -f up.sql",
                "a `$VARIABLE` needs a shell, and commands are run without one; "
                "for example RELEASE_MIGRATE_COMMAND=sh -c 'first-command && second-command'",
            )
            for variable in ("$DATABASE_URL", "${DATABASE_URL}", '"$DATABASE_URL"')
        ),
        ("RELEASE_PROBE_PATH", "healthz", "must begin with a slash; for example RELEASE_PROBE_PATH=/healthz"),
        (
            "RELEASE_REHEARSAL_DATABASE",
            "DATABASE_URL",
            "must not be the protected database itself",
        ),
        (
            "HEROKU_API_KEY",
            "HRKU-0123 4567",
            "holds spaces or letters that no key has; for example HRKU-01234567-…",
        ),
    ],
)  # fmt: skip
def test_an_error_says_the_name_what_is_wrong_and_an_example(name: str, value: str, wrong: str) -> None:
    assert _errors(**{name: value}) == [f"{name}: {wrong}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELEASE_LOCK_TIMEOUT", "5 parsecs"),
        ("RELEASE_ALLOW", "shared-database,everything"),
        ("RELEASE_PROBE_URL", "ftp://shop.example"),
        ("RELEASE_PROBE_URL", "https://[::1"),
        ("RELEASE_PROBE_URL", "https:///healthz"),
        ("RELEASE_WEBHOOK_URL", "http://hooks.example"),
        ("HEROKU_API_KEY", "HRKU-76543210-ä"),
        ("DATABASE_URL", "mysql://u:p0c4a5d0e1@host/name"),
        ("DATABASE_URL", "postgres://u:p0c4a5d0e1@[::1/name"),
        ("DATABASE_URL", "postgres://u:p0c4a5d0e1@host:port/name"),
        ("DATABASE_URL", "a sentence"),
    ],
)
def test_a_value_that_cannot_be_is_named_but_never_shown(name: str, value: str) -> None:
    (error,) = _errors(**{name: value})
    assert error.startswith(f"{name}: ")
    assert value not in error
    assert "p0c4a5d0e1" not in error


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(Misconfigured) as caught:
        read(
            {
                "HEROKU_HOST": "https://[::1",
                "HEROKU_DATA_HOST": "https://evil.example",
                "RELEASE_PROB_SQL": "SELECT true",
                "RELEASE_FENCE": "maybe",
                "RELEASE_SALVAGE": "perhaps",
            }
        )
    names = [error.split()[0].rstrip(":") for error in caught.value.facts["errors"]]  # type: ignore[attr-defined]
    assert names == [
        "RELEASE_PROB_SQL",
        "RELEASE_FENCE",
        "RELEASE_SALVAGE",
        "HEROKU_API_KEY",
        "HEROKU_APP_NAME",
        "HEROKU_HOST",
        "HEROKU_DATA_HOST",
    ]


def test_a_name_one_typo_away_is_named_and_others_are_left_alone() -> None:
    assert _errors(RELEASE_MIGRATE_COMAND="x", RELEASE_PROBESQL="y") == [
        "RELEASE_MIGRATE_COMAND is not a setting; did you mean RELEASE_MIGRATE_COMMAND?",
        "RELEASE_PROBESQL is not a setting; did you mean RELEASE_PROBE_SQL?",
    ]
    read({**ENOUGH, "RELEASE_ID": "1", "RELEASE_VERSION": "2", "RELEASE_NOTES_EMAIL": "x@example.com", "RELEASE": "y"})


@pytest.mark.parametrize("environ", [{"RELEASE_FENCE": "release"}, {"RELEASE_REHEARSAL_DATABASE": "OTHER_URL"}])
def test_what_needs_a_backup_is_refused_without_one(environ: dict[str, str]) -> None:
    (error,) = _errors(RELEASE_BACKUP="off", **environ)
    assert error.startswith(next(iter(environ)))


# Where the key may go.


@pytest.mark.parametrize(
    "url",
    [
        "https://api.heroku.com",
        "https://API.HEROKU.COM/",
        "https://api.data.heroku.com:443",
        "https://api.staging.herokudev.com",
        "http://localhost:5000",
        "http://127.0.0.1:5000",
        "https://[::1]:5000",
    ],
)
def test_heroku_and_this_machine_may_be_sent_the_key(url: str) -> None:
    assert is_heroku(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.heroku.com",
        "https://heroku.com.evil.example",
        "https://evilheroku.com",
        "https://evil.example\\.heroku.com",
        "https://evil.example/.heroku.com",
        "https://evil.example?.heroku.com",
        "https://evil.example#.heroku.com",
        "https://evil.example%2f.heroku.com",
        "https://evil.example\t.heroku.com",
        "https://evil.example\uff0f.heroku.com",
        "https://api.heroku.com@evil.example",
        "https://someone@api.heroku.com",
        "https://api..heroku.com",
        "https://api.heroku.com:0x50",
        "https://api.heroku.com:99999",
        "https://[::1",
        "https://0.0.0.0",
        "file://localhost/etc",
        "localhost",
        "",
    ],
)
def test_nobody_else_may_be_sent_the_key(url: str) -> None:
    assert not is_heroku(url)


@pytest.mark.parametrize(
    ("host", "data_host", "api_url", "data_url"),
    [
        (None, None, "https://api.heroku.com", "https://api.data.heroku.com"),
        ("staging.heroku.com", None, "https://api.staging.heroku.com", "https://api.data.heroku.com"),
        ("http://127.0.0.1:5000", "127.0.0.1", "http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://localhost", "localhost", "https://localhost", "https://localhost"),
        ("http://localhost:1", "http://localhost:2", "http://localhost:1", "http://localhost:2"),
        ("http://localhost:99999", "localhost", "http://localhost:99999", "https://localhost"),
    ],
)
def test_hosts_mean_what_they_mean_for_herokus_own_cli(
    host: str | None, data_host: str | None, api_url: str, data_url: str
) -> None:
    settings = Settings(heroku_host=host, heroku_data_host=data_host)
    assert (settings.api_url, settings.data_url) == (api_url, data_url)


# What is shown.


def test_the_log_gets_what_differs_from_the_defaults_without_secrets() -> None:
    settings = read({**ENOUGH, "RELEASE_MIGRATE_COMMAND": "./migrate --now", "RELEASE_TIME_LIMIT": "60"})
    assert {name: str(value) for name, value in settings.public().items()} == {
        "HEROKU_API_KEY": "[redacted]",
        "HEROKU_APP_NAME": "shop",
        "RELEASE_MIGRATE_COMMAND": "./migrate --now",
        "RELEASE_TIME_LIMIT": "60.0",
    }


def test_a_secret_cannot_be_printed() -> None:
    secret = Secret("hunter2")
    assert f"{secret} {secret!r} {[secret]} {read({**ENOUGH, 'HEROKU_API_KEY': 'hunter2'})}".count("hunter2") == 0
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
    assert secret.reveal() == "hunter2"
    assert (secret == Secret("hunter2"), secret == "hunter2", bool(Secret(""))) == (True, False, False)


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_has_a_meaning_and_an_example(name: str) -> None:
    assert description(VARIABLES[name]).endswith(".")
    assert example(VARIABLES[name])


@pytest.mark.parametrize("name", [name for name in VARIABLES if not example(VARIABLES[name]).endswith("…")])
def test_every_example_is_accepted(name: str) -> None:
    read({**ENOUGH, name: example(VARIABLES[name])})


@pytest.mark.parametrize(
    "command",
    [
        "sh -c './a && ./b | tee c > d; echo $HOME'",
        'bash -lc "./a && ./b"',
        "psql -c 'SELECT 1; SELECT 2'",
        "grep '|' file",
        'cut -d ";" -f 1',
        "find . -exec rm {} \\;",
        "run --price=$5 --url=$HOME a&&b a;b 'a' --pattern=<x>",
        "run '$HOME' \\$HOME $5 # not a comment",
        "run it's' a quoted word",
        "run it\\'s",
        "env ALL='a && b' OTHER=\"x | y\" ./run",
    ],
)
def test_what_looks_like_a_shells_word_may_be_an_argument(command: str) -> None:
    settings = read({**ENOUGH, "RELEASE_MIGRATE_COMMAND": command})

    assert settings.migrate_command == Words(shlex.split(command))


@pytest.mark.parametrize(
    ("given", "commit"),
    [
        ({"HEROKU_BUILD_COMMIT": "new", "HEROKU_SLUG_COMMIT": "old"}, "new"),
        ({"HEROKU_BUILD_COMMIT": "", "HEROKU_SLUG_COMMIT": "old"}, "old"),
        ({"HEROKU_BUILD_COMMIT": "new"}, "new"),
        ({}, None),
    ],
)
def test_the_newer_name_of_a_fact_wins_where_both_are_told(given: dict[str, str], commit: str | None) -> None:
    described = {name.replace("COMMIT", "DESCRIPTION"): value for name, value in given.items()}

    settings = read({**ENOUGH, **given, **described})

    assert (settings.commit, settings.description) == (commit, commit)
