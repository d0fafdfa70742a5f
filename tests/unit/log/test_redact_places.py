"""Secrets that nobody has named: found by where they stand, and only there."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from release.errors import Misconfigured, Reason
from release.log.redact import Redactor, secrets_in
from release.settings.model import VARIABLES, description, example
from release.settings.reading import read
from tests.hook import ROOT

SECRET = "hunter2-Xq9"

PLACES = [
    # Options of a command, as it is typed, quoted, and as a list of words.
    "psql --password hunter2-Xq9 -h db",
    "tool --password=hunter2-Xq9",
    "tool --db-password 'hunter2-Xq9' --port 5432",
    'tool --passwd="hunter2-Xq9"',
    "tool --passphrase hunter2-Xq9",
    "tool --api-key hunter2-Xq9 --secret=x",
    "tool --auth-token hunter2-Xq9",
    "run ['tool', '--password', 'hunter2-Xq9', '-v']",
    'exec: ["tool", "--password", "hunter2-Xq9"]',
    # YAML, INI, TOML, Ruby, a mapping on one line.
    "password: hunter2-Xq9",
    "    password: hunter2-Xq9",
    "  db_password: hunter2-Xq9  # of production",
    "spring.datasource.password: hunter2-Xq9",
    "{adapter: postgresql, password: hunter2-Xq9, host: db}",
    "{adapter: postgresql, password: hunter2-Xq9}",
    'password: "hunter2-Xq9 with spaces"',
    "password = hunter2-Xq9",
    "password : hunter2-Xq9",
    "  secret_key_base: hunter2-Xq9",
    "dbPassword: hunter2-Xq9;",
    "access_token: hunter2-Xq9",
    "api_key: hunter2-Xq9",
    ":passphrase: hunter2-Xq9",
    "2026-01-01 INFO loaded config, password: hunter2-Xq9",
    '{"password":"hunter2-Xq9"}',
    "{'password': 'hunter2-Xq9', 'user': 'u'}",
    '"dbPassword" : "hunter2-Xq9"',
    # SQL.
    "CREATE ROLE app LOGIN PASSWORD 'hunter2-Xq9'",
    "ALTER USER app WITH ENCRYPTED PASSWORD 'hunter2-Xq9';",
    "ALTER ROLE app PASSWORD E'hunter2-Xq9' VALID UNTIL 'infinity'",
    "ALTER ROLE app PASSWORD $$hunter2-Xq9$$",
    "ALTER ROLE app PASSWORD $x$hunter2-Xq9$x$",
    "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'u', password 'hunter2-Xq9')",
    "CREATE USER u IDENTIFIED BY 'hunter2-Xq9'",
    "CREATE USER u IDENTIFIED BY PASSWORD 'hunter2-Xq9'",
    "ALTER USER u@localhost IDENTIFIED WITH caching_sha2_password BY 'hunter2-Xq9'",
    "GRANT ALL ON *.* TO 'u'@'%' IDENTIFIED BY 'hunter2-Xq9'",
    "ALTER ROLE app PASSWORD 'it''s hunter2-Xq9 it is'",
    "STATEMENT:  ALTER ROLE app PASSWORD 'hunter2-Xq9",
    "SET password = 'hunter2-Xq9'",
    # Key words of libpq, ODBC, ADO.NET; variables of an environment.
    "host=db user=u password=hunter2-Xq9 dbname=d",
    "dblink_connect('host=db password=hunter2-Xq9')",
    "Server=db;Uid=u;Pwd=hunter2-Xq9;",
    "PGPASSWORD=hunter2-Xq9 psql",
    "export DB_PASSWORD='hunter2-Xq9'",
    "PASSPHRASE=hunter2-Xq9",
]

WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": lambda text: text.replace(SECRET, "\0").upper().replace("\0", SECRET),
    "lower case": lambda text: text.replace(SECRET, "\0").lower().replace("\0", SECRET),
    "json": lambda text: json.dumps({"line": text}),
    "json in json": lambda text: json.dumps({"line": json.dumps(text)}),
    "json of .NET": lambda text: json.dumps({"line": text}).replace("'", "\\u0027"),
    "in a sentence": lambda text: f"\x1b[31mDEBUG\x1b[0m {text}",
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("text", PLACES)
def test_a_secret_is_found_by_its_place(text: str, form: str) -> None:
    written = WRITTEN[form](text)
    redactor = Redactor([])
    redacted = redactor.text(written)
    assert "hunter2" not in redacted
    assert "Xq9" not in redacted
    assert redactor.text(redacted) == redacted
    assert redactor.suspects(written.encode())
    assert redactor.suspects(json.dumps({"line": written}).encode())


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2-Xq9 host=db",
        "--password hunter2-Xq9",
        "--password=hunter2-Xq9",
        '{"password": "hunter2-Xq9"}',
        "ALTER ROLE a PASSWORD 'hunter2-Xq9'",
        "CREATE USER u IDENTIFIED BY 'hunter2-Xq9'",
    ],
)
@pytest.mark.parametrize("safe", ["", " ", "= "])
def test_a_url_hides_no_place(text: str, safe: str) -> None:
    assert "hunter2" not in Redactor([]).text(f"GET /log?line={quote(text, safe=safe)}")


@pytest.mark.parametrize("text", PLACES)
def test_a_line_that_is_cut_anywhere_shows_no_half_of_it(text: str) -> None:
    redactor = Redactor([])
    data = f"{'z' * 20} {text}".encode()
    for at in range(1, len(data)):
        head, cut = redactor.head(data + b"\n" + b"y" * redactor.reach, at)
        both = (head + redactor.data(data[cut:])).decode()
        assert not re.search(r"unter2|Xq9|hunter|r2-X", both), (at, both)


@pytest.mark.parametrize(
    "text",
    [
        "password: this field is required",
        "password: required",
        "Password: invalid.",
        "password: string",
        "  password: String;",
        "password: text NOT NULL",
        "password: [FILTERED]",
        "password=********",
        '{"password": "[redacted]"}',
        "password: null",
        "password: ",
        "t.string :password, null: false",
        "password = get_password()",
        "self.password = Column(String)",
        "Unexpected token: }",
        "SyntaxError: Unexpected token: export",
        "usage: tool [--password PASSWORD] [--token TOKEN]",
        "use --password to set one, or --token if you have it",
        "give --password-file /run/secret",
        "the option --password is required",
        "--password -W",
        "HEROKU_API_KEY=… DATABASE_URL=…",
        "HEROKU_API_KEY=$(heroku auth:token)",
        "PGPASSWORD=$PGPASSWORD psql",
        "PGPASSWORD=${PGPASSWORD} psql",
        "new key HRKU-01234567-…",
        "password=<password>",
        "--password <your password>",
        "ALTER TABLE users ADD COLUMN password text",
        "ALTER TABLE users RENAME password TO password_digest",
        "CREATE TABLE tokens (secret text, token uuid)",
        "add column password: varchar",
        "identified by its primary key",
        "Can't locate revision identified by '0002'",
        "sqlalchemy: no column identified by 'name'",
        "PWD=/app OLDPWD=/",
        "Creating index index_users_on_reset_password_token",
        "add_column :users, :encrypted_password, :string",
        "connect -p 5432 -p 80",
        "secrets: 3, tokens: 12",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor([]).text(text) == text


def test_the_projects_own_words_stay() -> None:
    redactor = Redactor([])
    texts = [path.read_text() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "app.json")]
    texts += [f"{reason.text}\n{reason.hint}" for reason in Reason]
    texts += [f"{name}={example(field)}\n{description(field)}" for name, field in VARIABLES.items()]
    lines = [line for text in texts for line in text.splitlines()]
    # A password in a URL is hidden in any case: examples spell it as a word.
    changed = [line for line in lines if redactor.text(line) != re.sub(r"(://\w+):[^@\s]+@", r"\1:[redacted]@", line)]
    assert changed == []


def test_the_examples_of_wrong_settings_stay_also_where_one_was_taken_literally() -> None:
    for environ in (
        {},
        {"DATABASE_URL": "mysql://x/y", "RELEASE_WEBHOOK_URL": "ftp://x"},
        {"HEROKU_API_KEY": "HRKU-0123 4567", "DATABASE_URL": "postgres://x/y"},
        {"HEROKU_API_KEY": "HRKU-…", "RELEASE_PROBE_PATH": "x"},
        {"HEROKU_API_KEY": "HRKU-01234567-…", "HEROKU_HOST": "evil.example"},
    ):
        with pytest.raises(Misconfigured) as wrong:
            read(environ)
        hints = (
            f"heroku config:set HEROKU_API_KEY=… HEROKU_API_KEY=HRKU-… HEROKU_API_KEY=HRKU-01234567-…; {wrong.value}"
        )

        assert Redactor(secrets_in(environ)).text(hints) == hints


def test_hostile_text_of_places_takes_no_time() -> None:
    start = time.monotonic()
    for text in (
        "password " * 6_000 + "'",
        "password: " * 6_000,
        "password = " * 6_000,
        "--password " * 6_000,
        "password '" * 6_000,
        "identified by " * 4_000 + "'",
        "password $a$" * 5_000,
        'password: \\"' * 5_000,
        "password%20%27" * 4_000,
        "secret" * 10_000 + ": ",
        "-" * 60_000 + "password x",
        "a" * 60_000 + "_token: ",
        "password:" + " " * 60_000,
        "password: '" + "\\" * 60_000,
        ";pwd=" * 10_000,
    ):
        Redactor([]).text(text)
        Redactor([]).head(text.encode(), 30_000)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "name",
    ["PASS", "DB_PASS", "DBPASS", "SMTP_PASS_2", "PASSWD", "MYSQL_PWD", "DBPWD", "Pwd_x_pwd", "GPG_PASSPHRASE",
     "PASSWORD", "REDIS_PASSWORD_1", "db_password"],
)  # fmt: skip
def test_a_variable_that_is_called_a_password_is_a_secret_of_six_characters(name: str) -> None:
    assert secrets_in({name: "hunter"}) == ["hunter"]
    assert secrets_in({name: "hunte"}) == []
    assert secrets_in({name: "123456"}) == []


@pytest.mark.parametrize(
    "name", ["SECRET", "APP_SECRET", "TOKEN", "GH_TOKEN", "KEY", "STRIPE_KEY", "CREDENTIAL", "AWS_CREDENTIALS"]
)
def test_a_variable_that_is_called_a_key_is_a_secret_of_eight(name: str) -> None:
    assert secrets_in({name: "hunter-2"}) == ["hunter-2"]
    assert secrets_in({name: "hunter2"}) == []


@pytest.mark.parametrize("name", ["PWD", "OLDPWD", "COMPASS", "BYPASS", "TRESPASS", "PASSENGER_APP", "PASSES", "HOME"])
def test_other_variables_are_none(name: str) -> None:
    assert secrets_in({name: "/var/lib-app dir"}) == []


def test_options_of_a_real_command_line_are_found_as_a_shell_quotes_them() -> None:
    for value in ("hunter2 Xq9", "hunter2'Xq9", 'hunter2"Xq9', "hunter2$Xq9"):
        text = shlex.join(["tool", "--password", value, "--verbose"])
        redacted = Redactor([]).text(text)
        assert "hunter2" not in redacted
        assert "--verbose" in redacted
