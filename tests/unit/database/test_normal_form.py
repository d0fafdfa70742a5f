"""An expression that was printed and parsed again prints the same, once it is canonical; nothing else becomes equal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Rollback

from release.database.normal_form import normal_form, skeleton
from tests.unit.database.conftest import Database

TEXT = st.text(st.characters(codec="ascii", exclude_characters="\0\r\n%"), max_size=4).map(
    lambda text: "'" + text.replace("'", "''") + "'"
)
NUMBER = st.sampled_from(["n", "m", "n + m", "n * 2 + 1", "(n + 1) * 2", "-3", "7", "coalesce(n, m, 0)", "length(v)"])
STRING = st.sampled_from(["v", "t", "lower(v)", "v || t", '"Odd ""name"', "c"])
LEAF = st.one_of(
    st.builds("{} {} {}".format, NUMBER, st.sampled_from(["=", "<", ">=", "<>"]), NUMBER),
    st.builds("{} {} {} AND {}".format, NUMBER, st.sampled_from(["BETWEEN", "NOT BETWEEN"]), NUMBER, NUMBER),
    st.builds("{} BETWEEN SYMMETRIC {} AND {}".format, NUMBER, NUMBER, NUMBER),
    st.builds(
        "{} {} ({})".format,
        STRING,
        st.sampled_from(["IN", "NOT IN"]),
        st.lists(st.one_of(TEXT, STRING), min_size=1, max_size=4).map(", ".join),
    ),
    st.builds("{} IN ({})".format, NUMBER, st.lists(NUMBER, min_size=1, max_size=4).map(", ".join)),
    st.builds("{} LIKE {}".format, STRING, TEXT),
    st.builds("{} = ANY (ARRAY[{}, {}])".format, STRING, TEXT, TEXT),
    st.builds("{} IS NOT NULL".format, STRING),
    st.sampled_from(["b", "NOT b", "b IS TRUE", "a && ARRAY['x', 'y']::varchar[]", "n = ANY (ARRAY[1, m])"]),
    st.builds("CASE {} WHEN {} THEN b ELSE n > 1 END".format, STRING, TEXT),
)
EXPRESSION = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds("{} AND {}".format, inner, inner),
        st.builds("{} OR {}".format, inner, inner),
        st.builds("({})".format, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=6,
)
COLUMNS = 'n integer, m integer, v varchar(9), t text, c char(3), b boolean, a varchar(5)[], "Odd ""name" varchar'


@pytest.fixture(scope="module")
def owner(shared: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(shared.server.url(shared.name, shared.owner, "secret"), autocommit=True) as connection:
        yield connection


def printed(connection: psycopg.Connection[Any], check: str) -> str:
    """How the server prints a table's constraint."""
    connection.execute(f"CREATE TEMP TABLE printed ({COLUMNS}, CONSTRAINT it {check})".encode())
    query = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'printed'::regclass"
    ((definition,),) = connection.execute(query).fetchall()
    connection.execute("DROP TABLE printed")
    return str(definition)


@given(expression=EXPRESSION)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_expression_is_canonical_before_and_after_it_is_loaded_again(
    owner: psycopg.Connection[Any], expression: str
) -> None:
    with owner.transaction() as transaction:
        first = printed(owner, f"CHECK ({expression})")
        second = printed(owner, first)
        raise Rollback(transaction)
    assert normal_form(first) == normal_form(second)
    assert normal_form(normal_form(first)) == normal_form(first)
    assert skeleton(first) == skeleton(second)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("CHECK ((a > 1))", "CHECK ((a > 1))"),
        (
            "CHECK (((kind)::text = ANY ((ARRAY['a, ]'::character varying, 'it''s'::character varying])::text[])))",
            "CHECK (((kind)::text = ANY (ARRAY[('a, ]'::character varying)::text,"
            " ('it''s'::character varying)::text])))",
        ),
        ("(((a >= 1) AND (a <= 2)) AND b)", "((a >= 1) AND (a <= 2) AND b)"),
        ("((((a) OR b) OR c) OR d)", "((a) OR b OR c OR d)"),
        ("(a AND ((b) AND (c)))", "(a AND ((b) AND (c)))"),
        ("(((a) OR (b)) AND c)", "(((a) OR (b)) AND c)"),
        ("((((a) + b)) AND c)", "((((a) + b)) AND c)"),
        ("x = '((a) AND (b)) AND c'", "x = '((a) AND (b)) AND c'"),
        ('"((a) AND (b)) AND c" > ((1))', '"((a) AND (b)) AND c" > ((1))'),
        ("((a) AND (b]", "((a) AND (b]"),
        ("((a) AND (b)", "((a) AND (b)"),
        ("a)) AND ((b", "a)) AND ((b"),
        ('(ARRAY[(ARRAY[1, 2])::text[]])::x."y z"[]', 'ARRAY[(ARRAY[(1)::text, (2)::text])::x."y z"]'),
        ("(((a) OR (b)) OR\nCASE c WHEN 1 THEN b END)", "((a) OR (b) OR\nCASE c WHEN 1 THEN b END)"),
        ("(((a) OR (b)) OR\\nCASE c WHEN 1 THEN b END)", "((a) OR (b) OR\\nCASE c WHEN 1 THEN b END)"),
        ("(((a) ORDER (b)) ORDER c)", "(((a) ORDER (b)) ORDER c)"),
    ],
)
def test_what_changes_and_what_does_not(text: str, expected: str) -> None:
    assert normal_form(text) == expected


def test_a_difference_in_meaning_stays_a_difference() -> None:
    assert normal_form("(((a + b)) * c)") != normal_form("((a + (b * c)))")
    assert normal_form("((a AND b) OR (c))") != normal_form("(a AND (b OR (c)))")
    assert normal_form("((a IN (ARRAY['x'::text])::varchar[]))") != normal_form(
        "((a IN (ARRAY['y'::text])::varchar[]))"
    )


@given(st.text(st.sampled_from("()[]',\" ANDORYx:[]t")))
def test_any_text_can_be_made_canonical(text: str) -> None:
    assert normal_form(normal_form(text)) == normal_form(text) or "ARRAY" in text


def test_the_skeleton_keeps_literals_and_leaves_out_casts() -> None:
    assert skeleton("(('(a)'::character varying(10))::text = x)") == "'(a)'=x"
    assert skeleton("(a)::numeric(10,2)") == skeleton("a")
    assert skeleton("a = '('") != skeleton("a = ''")
