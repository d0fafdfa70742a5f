"""Secrets, in every form that somebody may print them in."""

from __future__ import annotations

import base64
import html
import json
import shlex
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from release.log.redact import Redactor, secrets_in

AWKWARD = 'p@ss/w+rd "quoted" \\back & <ünï> 100%=\n'.strip()
KEYS = [
    "HRKU-AAbbCCddEE-ff_00112233445566778899",
    "01234567-89ab-cdef-0123-456789abcdef",
    AWKWARD,
    "postgres://u7f:p0c4a5d0@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d9",
]


def _twice(text: str) -> str:
    return quote(quote(text, safe=""), safe="")


FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "url": lambda text: quote(text, safe=""),
    "url, slashes kept": quote,
    "url, lower case": lambda text: "".join(
        f"%{byte:02x}" if not chr(byte).isalnum() or byte > 127 else chr(byte) for byte in text.encode()
    ),
    "url, spaces as plus": quote_plus,
    "url, twice": _twice,
    "json": lambda text: json.dumps(text)[1:-1],
    "json, Unicode kept": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json in json": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "json, escaped slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "html": html.escape,
    "repr": lambda text: repr(text)[1:-1],
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, url-safe": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "basic authentication": lambda text: base64.b64encode(b":" + text.encode()).decode(),
    "basic authentication with a user": lambda text: base64.b64encode(b"me:" + text.encode() + b"\n").decode(),
    "base64 of something longer": lambda text: base64.b64encode(b"ab" + text.encode() + b"cde").decode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", KEYS)
def test_a_known_secret_is_found_in_every_form(secret: str, form: str) -> None:
    redactor = Redactor([secret])
    written = FORMS[form](secret)
    text = f"before {written} after"
    redacted = redactor.text(text)
    assert "[redacted]" in redacted
    left = redacted.replace("[redacted]", "").removeprefix("before ").removesuffix(" after")
    # Of base64 in something longer the neighbours' letters may stay.
    assert len(left) <= (8 if "b" in form else 0), left
    assert redactor.suspects(text.encode())
    assert redactor.leaks(text.encode())
    assert not redactor.leaks(redacted.encode())


@pytest.mark.parametrize("secret", KEYS)
def test_a_line_that_is_json_is_suspected_when_its_text_would_be(secret: str) -> None:
    redactor = Redactor([secret])
    for form in FORMS.values():
        assert redactor.suspects(json.dumps({"line": form(secret)}).encode())
        assert redactor.suspects(json.dumps({"line": form(secret)}, ensure_ascii=False).encode())


@pytest.mark.parametrize("quoted", [shlex.quote("it's-a-s3cret"), r"'it'\''s-a-s3cret'"])
def test_shell_quoting_hides_nothing(quoted: str) -> None:
    assert Redactor(["it's-a-s3cret"]).text(quoted) == "'[redacted]'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://u:pw@host:5432/db", "postgres://u:[redacted]@host:5432/db"),
        ("redis://:pw@host/0", "redis://:[redacted]@host/0"),
        ("see https://u:p%40w@h/x and amqps://a:b@c", "see https://u:[redacted]@h/x and amqps://a:[redacted]@c"),
        ("postgres://u:p@ss@host/db", "postgres://u:[redacted]@host/db"),
        ("postgres://u:p/w@host/db", "postgres://u:[redacted]@host/db"),
        (r'{"url":"postgres:\/\/u:pw@host\/db"}', r'{"url":"postgres:\/\/u:[redacted]@host\/db"}'),
        ("https://host:8080/path", "https://host:8080/path"),
        ("mail me@example.com, https://example.com", "mail me@example.com, https://example.com"),
        (
            "https://b.s3.amazonaws.com/x?X-Amz-Credential=AKIA%2F2&X-Amz-Signature=abc&v=1",
            "https://b.s3.amazonaws.com/x?X-Amz-Credential=[redacted]&X-Amz-Signature=[redacted]&v=1",
        ),
        (
            r"https://h/x?AWSAccessKeyId=AKIA\u0026Signature=a%3D\u0026Expires=17",
            r"https://h/x?AWSAccessKeyId=[redacted]\u0026Signature=[redacted]\u0026Expires=17",
        ),
        ("https://h/x?sig=abc&access_token=t0k", "https://h/x?sig=[redacted]&access_token=[redacted]"),
        ("Authorization: Bearer abcdef012345", "Authorization: Bearer [redacted]"),
        ("'Authorization': 'Basic OmFiY2RlZg=='", "'Authorization': 'Basic [redacted]'"),
        ("got Bearer abc.def-0123", "got Bearer [redacted]"),
        ("basic information about bearers", "basic information about bearers"),
        ("new key HRKU-abc_DEF-0123", "new key [redacted]"),
        ("host=h password=s3 dbname=d", "host=h password=[redacted] dbname=d"),
        ("password='two words' x", "password=[redacted] x"),
        ('{"password": "pw", "user": "u"}', '{"password": "[redacted]", "user": "u"}'),
        ("01234567-89ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdef"),
        ("password: this field is required", "password: this field is required"),
        ("Applying tokens.0001_initial... OK", "Applying tokens.0001_initial... OK"),
    ],
)
def test_unknown_secrets_are_found_where_secrets_stand_and_nothing_else_is(text: str, expected: str) -> None:
    redacted = Redactor([]).text(text)
    assert redacted.replace('"[redacted]"', "[redacted]") == expected.replace('"[redacted]"', "[redacted]")
    assert Redactor([]).text(redacted) == redacted


def test_several_secrets_in_a_line_are_all_found_the_longest_first() -> None:
    redactor = Redactor(["secret-one", "secret-one-and-more", "number-two"])
    assert redactor.text("secret-one-and-more, secret-one number-two") == "[redacted], [redacted] [redacted]"


def test_short_values_are_no_secrets() -> None:
    assert Redactor(["app", "12345", ""]).text("app 12345") == "app 12345"


def test_a_word_of_the_log_itself_is_no_secret_but_stays_hidden_in_a_url() -> None:
    redactor = Redactor(["postgres"], spare=["postgres"])
    assert redactor.text("postgres://postgres:postgres@h/d") == "postgres://postgres:[redacted]@h/d"


def test_each_line_of_a_private_key_is_a_secret() -> None:
    key = (
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7\n-----END PRIVATE KEY-----"
    )
    redactor = Redactor([key])
    assert redactor.text("1 MIIEvQIBADANBgkqhkiG9w0BAQEF") == "1 [redacted]"
    assert redactor.text(key) == "[redacted]"


def test_text_that_is_no_unicode_stays_printable() -> None:
    assert Redactor([]).text("caf\udce9") == "caf?"


@pytest.mark.parametrize("secret", [*KEYS, "ünïcödé-überraschung"])
@pytest.mark.parametrize("form", FORMS)
def test_a_cut_never_goes_through_a_secret(secret: str, form: str) -> None:
    redactor = Redactor([secret])
    written = FORMS[form](secret).encode()
    data = b"ab" + written + b"z" * redactor.reach
    for at in range(1, len(written) + 4, 3):
        head, cut = redactor.head(data, at)
        rest = redactor.data(data[cut:])
        assert cut > 0
        both = head.replace(b"[redacted]", b"") + rest.replace(b"[redacted]", b"").rstrip(b"z")
        assert not redactor.leaks(both)
        assert len(both) <= 12, both


def test_a_cut_never_goes_through_a_character() -> None:
    for at in range(1, 12):
        head, cut = Redactor([]).head("aé€😀bé€😀".encode() + b"x" * 20, at)
        assert head.decode()
        assert cut <= at or cut == at


def test_hostile_text_takes_no_time() -> None:
    redactor = Redactor(KEYS)
    start = time.monotonic()
    for text in (
        "\\" * 60_000,
        "\r" * 60_000,
        "://:" * 15_000,
        "a" * 60_000 + "@://",
        "password=" * 6_000,
        "bearer " * 8_000,
        "authorization: " * 4_000,
        "?key=&" * 10_000 + "@",
        'password":' * 6_000,
        "%25" * 20_000 + AWKWARD,
    ):
        redactor.text(text)
        redactor.head(text.encode(), 30_000)
    assert time.monotonic() - start < 10


def test_the_secrets_of_an_environment() -> None:
    url = "postgres://u:p%40ss-word@h/d"
    environ = {
        "HEROKU_API_KEY": "short-key",
        "DATABASE_URL": url,
        "SECRET_KEY": "django-insecure-1",
        "AWS_SECRET_ACCESS_KEY": "/abc+defghij/klmnop",
        "RELEASE_WEBHOOK_URL": "https://hooks.example.com/T0/B0/xyz",
        "GOOGLE_CREDENTIALS": json.dumps({"type": "service_account", "private_key": "line-one\nline-two-is-longer"}),
        "DB_PASS": "eightchr",
        "API_TOKEN": "short",
        "TOKEN_TTL": "123456789012",
        "CSRF_TOKEN_ENABLED": "disabled",
        "KEY_COUNT": "12345678",
        "GOOGLE_APPLICATION_CREDENTIALS": "/app/credentials.json",
        "CACHE_KEY_PREFIX": "learning-timeline",
        "PATH": "/usr/bin:/bin",
        "HOMEPAGE": "https://example.com/a@b",
        "BROKEN": "http://[::1:x@",
        "DYNO": "release.1234",
    }
    assert secrets_in(environ) == [
        "short-key",
        url,
        "p%40ss-word",
        "p@ss-word",
        "django-insecure-1",
        "/abc+defghij/klmnop",
        "https://hooks.example.com/T0/B0/xyz",
        environ["GOOGLE_CREDENTIALS"],
        "line-one\nline-two-is-longer",
        "eightchr",
    ]
