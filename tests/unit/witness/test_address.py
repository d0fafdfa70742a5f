"""URLs as apps have them: where each leads, how safely, and what is left of it with another address."""

from __future__ import annotations

import itertools
from urllib.parse import quote

import pytest

from release.witness.address import Safety, Unreplaceable, parsed, replaced, safety, told
from release.witness.authentication import WAYS, Demands
from release.witness.tls import ServerTls

ROOT = "/tmp/a folder/root.crt"


def url(query: str, start: str = "postgres://u:secret@db.example.com:5433/d") -> str:
    return f"{start}?{query}" if query else start


def elsewhere(value: str, root: str | None = None) -> str:
    """The URL with the witness's address."""
    found = parsed(value)
    assert found is not None
    return replaced(found, host="127.0.0.1", port=7000, password="own", root=root)


def safe(value: str) -> Safety:
    """How safely a URL is to be reached."""
    found = parsed(value)
    assert found is not None
    return safety(told(found), java=found.java)


SURVIVE = ["pool=5", "options=-c%20search_path%3Da%2Cb", "application_name=x+y", "schema=public", "pgbouncer=true", ""]
SCHEMES = ["postgres", "postgresql", "postgis", "postgresql+psycopg", "postgres+pool", "ecto", "PostgreSQL", "pgsql"]
USERS = ["u", "u%40x", "", None]
HOSTS = ["db.example.com", "[::1]", "%2Fvar%2Frun%2Fpostgresql"]
PATHS = ["", "/", "/d", "/d%2Fe"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_but_the_address_survives_byte_for_byte(scheme: str) -> None:
    for user, host, port, path in itertools.product(USERS, HOSTS, ["", ":", ":6000"], PATHS):
        for query in ["", *(f"?{'&'.join(SURVIVE[:count])}" for count in range(1, len(SURVIVE) + 1))]:
            whom = "" if user is None else f"{user}:secret@"
            given = elsewhere(f"{scheme}://{whom}{host}{port}{path}{query}")
            if user is None:
                assert given == f"{scheme}://127.0.0.1:7000{path}{query}{'&' if query else '?'}password=own"
            else:
                assert given == f"{scheme}://{user}:own@127.0.0.1:7000{path}{query}"


PLAIN = {
    "sslmode=require": "sslmode=disable",
    "a=1&sslmode=prefer&b=2": "a=1&sslmode=disable&b=2",
    "sslmode=no-verify": "sslmode=disable",
    "ssl=true&a=1": "sslmode=disable&a=1",
    "ssl=1": "sslmode=disable",
    "sslmode=require&ssl=true": "sslmode=disable",
    "sslmode=require&channel_binding=require": "sslmode=disable",
    "sslmode=require&sslnegotiation=direct&require_auth=scram-sha-256": "sslmode=disable",
    "sslmode=require&sslaccept=strict&pgbouncer=true": "sslmode=disable&pgbouncer=true",
    "sslmode=verify-full&a=1": "sslmode=disable&a=1",
    "channel_binding=require": "",
    "": "",
}


@pytest.mark.parametrize("query", PLAIN)
def test_a_client_that_names_no_authority_needs_no_tls(query: str) -> None:
    assert elsewhere(url(query)) == url(PLAIN[query], "postgres://u:own@127.0.0.1:7000/d")


VERIFYING = {
    "sslmode=verify-full&sslrootcert=/theirs.crt&a=1": "sslmode=verify-full&sslrootcert={}&a=1",
    "sslmode=verify-ca&a=1&sslrootcert=system": "sslmode=verify-ca&a=1&sslrootcert={}",
    "sslrootcert=/theirs.crt&sslmode=require": "sslrootcert={}&sslmode=require",
    "sslmode=verify-full&channel_binding=require&sslrootcert=/r": "sslmode=verify-full&sslrootcert={}",
    "sslrootcert=/theirs.crt": "sslrootcert={}",
}


@pytest.mark.parametrize("query", VERIFYING)
def test_a_client_that_names_an_authority_goes_on_verifying(query: str) -> None:
    assert safe(url(query)).verifies
    expected = VERIFYING[query].format(quote(ROOT))
    assert elsewhere(url(query), ROOT) == url(expected, "postgres://u:own@127.0.0.1:7000/d")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql+asyncpg://u:p@h/d?ssl=require", "postgresql+asyncpg://u:own@127.0.0.1:7000/d?ssl=disable"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql+asyncpg://u:own@127.0.0.1:7000/d"),
        ("ecto://u:p@h/d?ssl=true&pool_size=2", "ecto://u:own@127.0.0.1:7000/d?pool_size=2"),
        ("jdbc:postgresql://h/d?user=u&password=p&ssl", "jdbc:postgresql://127.0.0.1:7000/d?user=u&password=own&sslmode=disable"),
        ("jdbc:postgresql://h:1/d?currentSchema=a", "jdbc:postgresql://127.0.0.1:7000/d?currentSchema=a"),
        (
            "jdbc:postgresql://h/d?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory&user=u&password=p",
            "jdbc:postgresql://127.0.0.1:7000/d?sslmode=disable&user=u&password=own",
        ),
        ("r2dbc:postgresql://u:p@h/d?sslMode=require", "r2dbc:postgresql://u:own@127.0.0.1:7000/d?sslMode=disable"),
        ("postgres:///d?host=/run/pg&port=6&user=u&password=p", "postgres://127.0.0.1:7000/d?user=u&password=own"),
        ("postgres://u@/d?host=%2Frun%2Fpg", "postgres://u:own@127.0.0.1:7000/d"),
    ],
)  # fmt: skip
def test_a_drivers_own_words_are_known(given: str, expected: str) -> None:
    assert elsewhere(given) == expected


@pytest.mark.parametrize(
    ("query", "tls"),
    [
        ("", ServerTls(mode="prefer")),
        ("sslmode=disable&sslrootcert=/r", ServerTls(mode="disable")),
        ("sslmode=allow", ServerTls(mode="allow")),
        ("sslmode=require", ServerTls(mode="require")),
        ("sslmode=require&sslrootcert=/r", ServerTls(mode="require", root="/r")),
        ("sslmode=verify-ca&sslrootcert=/r%20s", ServerTls(mode="verify-ca", root="/r s")),
        ("sslrootcert=system", ServerTls(mode="verify-full", root="system")),
        ("sslmode=verify-full", ServerTls(mode="verify-full", root="system")),
        ("sslmode=no-verify", ServerTls(mode="require")),
        ("ssl=true", ServerTls(mode="require")),
        ("ssl=0", ServerTls(mode="disable")),
        ("ssl=verify-full&sslrootcert=/r", ServerTls(mode="verify-full", root="/r")),
        ("sslmode=require&sslaccept=strict", ServerTls(mode="verify-full", root="system")),
        ("sslmode=require&sslaccept=accept_invalid_certs", ServerTls(mode="require")),
    ],
)
def test_the_server_is_reached_as_strictly_as_the_url_says(query: str, tls: ServerTls) -> None:
    assert safe(url(query)).tls == tls


@pytest.mark.parametrize(
    ("query", "ways", "bound"),
    [
        ("a=1", WAYS, False),
        ("channel_binding=require", WAYS, True),
        ("channelBinding=require", WAYS, True),
        ("channel_binding=prefer&require_auth=", WAYS, False),
        ("require_auth=scram-sha-256", {"scram-sha-256"}, False),
        ("require_auth=scram-sha-256,md5,gss", {"scram-sha-256", "md5"}, False),
        ("require_auth=!password,!none", WAYS - {"password", "none"}, False),
        ("require_auth=gss", set(), False),
    ],
)
def test_the_server_has_to_prove_what_the_url_demands(query: str, ways: set[str], bound: bool) -> None:
    assert safe(url(query)).demands == Demands(ways=frozenset(ways), bound=bound)


def test_jdbc_takes_ssl_for_verifying() -> None:
    assert safe("jdbc:postgresql://h/d?ssl=true").tls == ServerTls(mode="verify-full", root="system")
    blind = "jdbc:postgresql://h/d?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory"
    assert safe(blind).tls == ServerTls(mode="require")


def test_tls_that_begins_at_once_is_known() -> None:
    assert safe(url("sslmode=require&sslnegotiation=direct")).direct
    assert not safe(url("sslmode=require")).direct


@pytest.mark.parametrize(
    "query",
    [
        "sslcert=/c&sslkey=/k",
        "sslidentity=/i&sslpassword=x",
        "service=main",
        "hostaddr=10.0.0.1",
        "gssencmode=require",
        "sslmode=verify-full&sslcrl=/l",
        "sslmode=secretmode",
        "sslmode=require&sslmode=disable",
        "host=other",
        "password=other",
        "sslfactory=com.example.Factory",
        "sslmode=%ff",
        "sslmode=%",
    ],
)
def test_what_the_witness_cannot_do_in_the_clients_place_is_not_replaced(query: str) -> None:
    with pytest.raises(Unreplaceable) as caught:
        safe(url(query))
    assert str(caught.value) == ""


@pytest.mark.parametrize(
    "value",
    [
        "postgres://u:p@ss@h/d",
        "postgres://u:p#ss@h/d",
        "postgres://u:p ss@h/d",
        "postgres://u:1/2@h/d",
        "postgres://u:p@h:port/d",
        "postgres://u:p@h1:1,h2:2/d",
        "postgres://u:p@h\\@x/d",
        "postgres://u:\udcff@h/d",
        "postgres://u:1?2@h/d",
        "postgres://u:p@h/d\n",
        '{"url": "postgres://u:p@h/d"}',
        "host=h dbname=d user=u password=p",
        "Host=h;Database=d;Username=u;Password=p",
        "jdbc:postgresql:d",
        "service=main",
    ],
)
def test_what_two_readers_would_read_differently_is_not_replaced(value: str) -> None:
    with pytest.raises(Unreplaceable):
        parsed(value)


@pytest.mark.parametrize("value", ["", "x", "mysql://u:p@h/d", "ecto://u:p@h:3306/d", "redis://h", "jdbc:mysql://h/d"])
def test_what_leads_to_no_postgresql_is_none_of_its_business(value: str) -> None:
    assert parsed(value) is None


def test_no_password_is_in_what_is_printed() -> None:
    assert "secret" not in repr(parsed(url("password=secret")))
