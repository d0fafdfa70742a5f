"""An environment's ways to a database, and what a command gets in their place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from release.witness.environment import Destination, destinations, rewritten
from release.witness.relay import Entrance
from release.witness.tls import ServerTls

URL = "postgres://u:s%40cret@db.example.com:5433/d"
ROOT = Path("/witness.crt")
LIBPQ = {"PGHOST": "db.example.com", "PGPORT": "5433", "PGUSER": "u", "PGPASSWORD": "s@cret", "PGDATABASE": "d"}


def entered(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with an entrance for each destination, the first at port 7000."""
    found, _ = destinations(environ)
    entrances = {
        replace(each, upstream=replace(each.upstream, settings=(("lock_timeout", "7s"),))): Entrance(
            host="127.0.0.1", port=7000 + number, password="own"
        )
        for number, each in enumerate(found)
    }
    return rewritten(environ, entrances, lambda: ROOT)


def the(environ: Mapping[str, str]) -> Destination:
    """The only destination."""
    found, left = destinations(environ)
    assert left == []
    assert len(found) == 1
    return found[0]


def test_the_same_way_under_many_names_is_one_destination() -> None:
    java = "jdbc:postgresql://db.example.com:5433/d"
    environ = {
        "HEROKU_POSTGRESQL_TEAL_URL": URL,
        "DATABASE_URL": URL,
        **LIBPQ,
        "JDBC_DATABASE_URL": f"{java}?user=u&password=s%40cret",
        "JDBC_DATABASE_USERNAME": "u",
        "JDBC_DATABASE_PASSWORD": "s%40cret",
        "SPRING_DATASOURCE_URL": java,
        "SPRING_DATASOURCE_USERNAME": "u",
        "SPRING_DATASOURCE_PASSWORD": "s@cret",
        "REDIS_URL": "redis://h",
    }
    only = the(environ)
    assert set(only.names) == set(environ) - {"REDIS_URL"}
    assert list(only.names) == sorted(only.names)
    assert (only.user, only.database) == ("u", "d")
    assert (only.upstream.host, only.upstream.port, only.upstream.password) == ("db.example.com", 5433, "s@cret")
    after = entered(environ)
    assert [name for name in after if "cret" in after[name] or "example" in after[name]] == []
    assert after["REDIS_URL"] == "redis://h"
    assert after.keys() == environ.keys()


@pytest.mark.parametrize(
    "other",
    [
        URL.replace("u:", "v:"),
        URL.replace("cret", "ecret"),
        URL.replace("5433", "5432"),
        URL.replace("/d", "/e"),
        URL + "?sslmode=require",
    ],
)
def test_another_way_is_another_destination(other: str) -> None:
    found, left = destinations({"A_URL": URL, "B_URL": other})
    assert ([each.names for each in found], left) == ([("A_URL",), ("B_URL",)], [])


def test_what_a_url_leaves_out_is_taken_from_libpqs_variables() -> None:
    environ = {"DATABASE_URL": "postgres://db.example.com", **LIBPQ, "PGSSLMODE": "require"}
    only = the(environ)
    assert only.upstream.port == 5433
    assert only.upstream.tls == ServerTls(mode="require")
    assert entered(environ)["DATABASE_URL"] == "postgres://127.0.0.1:7000?password=own"


def test_libpqs_variables_without_a_host_are_left_as_they_are() -> None:
    environ = {"PGUSER": "u", "PGPASSWORD": "secret"}
    assert destinations(environ) == ([], [])
    assert entered(environ) == environ


def test_an_address_in_libpqs_variables_is_replaced_too() -> None:
    environ = {**LIBPQ, "PGHOSTADDR": "10.0.0.1"}
    assert the(environ).upstream.host == "10.0.0.1"
    assert "PGHOSTADDR" not in entered(environ)


def test_a_name_cannot_be_verified_where_the_address_is_another() -> None:
    environ = {**LIBPQ, "PGHOSTADDR": "10.0.0.1", "PGSSLMODE": "verify-full"}
    assert destinations(environ) == ([], sorted(environ))


def test_libpqs_words_about_tls_are_made_true_of_the_witness() -> None:
    environ = {
        **LIBPQ,
        "PGSSLMODE": "require",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGSSLNEGOTIATION": "direct",
    }
    assert the(environ).upstream.direct
    assert entered(environ) == {
        **LIBPQ,
        "PGHOST": "127.0.0.1",
        "PGPORT": "7000",
        "PGPASSWORD": "own",
        "PGSSLMODE": "disable",
    }


def test_a_client_that_verifies_by_libpqs_variables_gets_the_witnesss_authority() -> None:
    environ = {"DATABASE_URL": URL, "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/theirs.crt"}
    assert the(environ).upstream.tls == ServerTls(mode="verify-full", root="/theirs.crt")
    after = entered(environ)
    assert (after["PGSSLMODE"], after["PGSSLROOTCERT"]) == ("verify-full", str(ROOT))
    assert after["DATABASE_URL"] == "postgres://u:own@127.0.0.1:7000/d"


def test_no_certificate_is_made_that_nobody_needs() -> None:
    found, _ = destinations({"DATABASE_URL": URL + "?sslmode=require", **LIBPQ})

    def never() -> Path:
        raise AssertionError

    entrances = {each: Entrance(host="127.0.0.1", port=7000, password="own") for each in found}
    assert rewritten({"DATABASE_URL": URL + "?sslmode=require", **LIBPQ}, entrances, never)


@pytest.mark.parametrize(
    "value",
    [
        "postgres:///d",
        "postgres://u:p@a,b/d",
        "postgres://u@db.example.com/d",
        "postgres://:p@db.example.com/d",
        URL + "?sslcert=/c&sslkey=/k",
        "host=h dbname=d",
    ],
)
def test_what_cannot_be_replaced_is_named_and_left(value: str) -> None:
    environ = {"DATABASE_URL": URL, "OTHER_URL": value}
    found, left = destinations(environ)
    assert ([each.names for each in found], left) == ([("DATABASE_URL",)], ["OTHER_URL"])
    assert entered(environ)["OTHER_URL"] == value


@pytest.mark.parametrize("demand", [{"PGCHANNELBINDING": "require"}, {"PGSSLMODE": "verify-full"}, LIBPQ])
def test_what_all_connections_must_meet_is_changed_for_all_or_none(demand: dict[str, str]) -> None:
    environ = {"DATABASE_URL": URL, "OTHER_URL": "postgres://u:p@a,b/d", **demand}
    found, left = destinations(environ)
    assert found == []
    assert {"DATABASE_URL", "OTHER_URL"} <= set(left)
    assert entered(environ) == environ


def test_tls_is_not_switched_off_for_those_that_are_left() -> None:
    environ = {"DATABASE_URL": URL, "OTHER_URL": "postgres://u:p@a,b/d", "PGSSLMODE": "require"}
    assert entered(environ)["PGSSLMODE"] == "require"


def test_a_destination_without_an_entrance_is_left_as_it_is() -> None:
    environ = {"A_URL": URL, "B_URL": URL.replace("/d", "/e")}
    found, _ = destinations(environ)
    after = rewritten(environ, {found[0]: Entrance(host="127.0.0.1", port=7000, password="own")}, lambda: ROOT)
    assert after == {"A_URL": "postgres://u:own@127.0.0.1:7000/d", "B_URL": environ["B_URL"]}


@pytest.mark.parametrize(
    "value",
    [
        URL,
        "postgres://u%2F:p%3F@[::1]:5/d%20d?sslmode=verify-full&sslrootcert=/a%20b&sslnegotiation=direct",
        "postgres://u:@%2Frun%2Fpg/d?sslmode=disable",
    ],
)
def test_a_destinations_own_url_leads_there(value: str) -> None:
    destination = the({"DATABASE_URL": value})
    assert the({"DATABASE_URL": destination.url}) == destination


def test_no_password_is_in_what_is_printed_or_raised() -> None:
    assert "cret" not in repr(destinations({"DATABASE_URL": URL, **LIBPQ, "JDBC_URL": f"{URL}?sslmode=s%40cret"}))
