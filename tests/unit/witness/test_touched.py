"""The tables to which statements may write, beside those to which they have written on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from release.database.reach import reach
from release.database.session import Database as Session
from release.witness.statement import statements
from release.witness.touched import ANY, Touched
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import Witnessed, before, vocabulary

SETUP = """
CREATE TABLE a (id serial PRIMARY KEY, name text UNIQUE);
CREATE TABLE b (id serial PRIMARY KEY, a integer REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE, note text);
CREATE TABLE c (id serial PRIMARY KEY, b integer REFERENCES b ON DELETE SET NULL);
CREATE TABLE plain (id serial PRIMARY KEY, "Odd Name" text, word text);
CREATE TABLE "Insert" (id integer);
CREATE TABLE alone (id serial PRIMARY KEY, amount numeric(10, 2));
CREATE TABLE audit (id serial PRIMARY KEY, what text);
CREATE TABLE audited (id serial PRIMARY KEY, name text);
CREATE TABLE ruled (id serial PRIMARY KEY);
CREATE TABLE measured (at integer NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM (0) TO (10);
CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM (10) TO (20);
CREATE TABLE loose (at integer NOT NULL);
CREATE VIEW seen AS SELECT id, name FROM a;
CREATE SCHEMA tenant;
CREATE TABLE tenant.alone (id serial PRIMARY KEY, amount numeric);
CREATE FUNCTION writes() RETURNS integer LANGUAGE sql AS
  $$ INSERT INTO audit (what) VALUES ('f') RETURNING id $$;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO audit (what) VALUES (TG_OP); RETURN NEW; END $$;
CREATE TRIGGER noted AFTER INSERT ON audited FOR EACH ROW EXECUTE FUNCTION noted();
CREATE RULE too AS ON INSERT TO ruled DO ALSO INSERT INTO audit (what) VALUES ('rule');
CREATE TABLE numbered (id integer DEFAULT writes(), name text);
CREATE DOMAIN odd AS integer;
INSERT INTO a (name) VALUES ('one'), ('two'), ('three');
INSERT INTO b (a, note) VALUES (1, 'x'), (2, 'y');
INSERT INTO c (b) VALUES (1), (2);
INSERT INTO plain ("Odd Name") VALUES ('x');
INSERT INTO alone (amount) VALUES (1);
INSERT INTO tenant.alone (amount) VALUES (1);
INSERT INTO measured VALUES (1), (11);
INSERT INTO audited (name) VALUES ('x');
"""

EVERYTHING = None

TABLE: dict[str, tuple[tuple[str, ...], set[str] | None]] = {
    "a read": (("SELECT count(*) FROM a JOIN b ON b.a = a.id",), set()),
    "an insert": (("INSERT INTO alone (amount) VALUES (2.5), (3)",), {"public.alone", "tenant.alone"}),
    "an insert into a schema": (("INSERT INTO tenant.alone (amount) VALUES (2)",), {"tenant.alone"}),
    "an insert as Django writes it": (
        ('INSERT INTO "plain" ("Odd Name") VALUES (\'y\') RETURNING "plain"."id"',),
        {"public.plain"},
    ),
    "odd names": (
        ('INSERT INTO public."Insert" VALUES (1)', 'UPDATE "plain" SET word = 1'),
        {
            'public."Insert"',
            "public.plain",
        },
    ),
    "an upsert": (
        ("INSERT INTO a (name) VALUES ('one') ON CONFLICT (name) DO UPDATE SET name = lower(excluded.name)",),
        {"public.a", "public.b", "public.c"},
    ),
    "an update": (
        ("UPDATE ONLY alone AS x SET (id, amount) = (x.id, 7) WHERE x.id IN (1)",),
        {
            "public.alone",
            "tenant.alone",
        },
    ),
    "a delete that cascades": (("DELETE FROM a WHERE id = 1",), {"public.a", "public.b", "public.c"}),
    "an update that cascades": (("UPDATE a SET id = id + 100",), {"public.a", "public.b", "public.c"}),
    "writes in a WITH": (
        ("WITH gone AS (DELETE FROM c RETURNING id) INSERT INTO plain (word) SELECT id::text FROM gone",),
        {"public.c", "public.plain"},
    ),
    "a merge": (
        (
            "MERGE INTO plain p USING alone x ON p.id = x.id WHEN MATCHED THEN UPDATE SET word = 'm'"
            " WHEN NOT MATCHED THEN INSERT (word) VALUES ('n')",
        ),
        {"public.plain"},
    ),
    "a truncate": (
        ("TRUNCATE TABLE alone, plain RESTART IDENTITY",),
        {
            "public.alone",
            "tenant.alone",
            "public.plain",
        },
    ),
    "a truncate that cascades": (("TRUNCATE a CASCADE",), EVERYTHING),
    "partitions": (
        ("INSERT INTO measured VALUES (2)",),
        {
            "public.measured",
            "public.measured_1",
            "public.measured_2",
        },
    ),
    "one partition": (("INSERT INTO measured_2 VALUES (12)",), {"public.measured_2"}),
    "a partition that is attached": (
        (
            "ALTER TABLE measured ATTACH PARTITION loose FOR VALUES FROM (20) TO (30)",
            "INSERT INTO measured VALUES (21)",
            "ALTER TABLE measured DETACH PARTITION loose",
        ),
        EVERYTHING,
    ),
    "a trigger": (("INSERT INTO audited (name) VALUES ('y')",), EVERYTHING),
    "an update where a trigger stands": (("UPDATE audited SET name = 'y'",), EVERYTHING),
    "a rule": (("INSERT INTO ruled DEFAULT VALUES",), EVERYTHING),
    "a view": (("UPDATE seen SET name = name || '!'",), EVERYTHING),
    "a default that writes": (("INSERT INTO numbered (name) VALUES ('x')",), EVERYTHING),
    "a function that writes": (("SELECT writes()",), EVERYTHING),
    "a function in an insert": (("INSERT INTO plain (word) SELECT writes()::text",), EVERYTHING),
    "a function by another way to write its name": (
        ('INSERT INTO plain (word) SELECT U&"writes"()::text',),
        EVERYTHING,
    ),
    "a block": (("DO $$ BEGIN INSERT INTO plain (word) VALUES ('x'); END $$",), EVERYTHING),
    "a prepared statement": (
        ("PREPARE p AS INSERT INTO plain (word) VALUES ('x')", "EXECUTE p"),
        EVERYTHING,
    ),
    "a new table": (
        (
            "CREATE TABLE fresh (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a integer REFERENCES a (id))",
            "INSERT INTO fresh (a) VALUES (1)",
        ),
        {"public.fresh"},
    ),
    "a new table as Rails makes it": (
        (
            'CREATE TABLE "posts" ("id" bigserial primary key, "title" character varying(20) DEFAULT \'x\' NOT NULL,'
            ' "price" decimal(8,2), "created_at" timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP)',
        ),
        {"public.posts"},
    ),
    "a table of a query": (
        ("CREATE TABLE copy AS SELECT * FROM a", "SELECT id INTO second FROM copy"),
        {
            "public.copy",
            "public.second",
        },
    ),
    "a temporary table": (
        (
            "CREATE TEMP TABLE t (id integer)",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO plain (word) SELECT id FROM t",
            "DROP TABLE t",
        ),
        {"public.plain"},
    ),
    "a table that is altered": (
        ("ALTER TABLE plain ADD COLUMN more integer DEFAULT 7", "ALTER TABLE plain DROP COLUMN word CASCADE"),
        {"public.plain"},
    ),
    "a foreign key that cascades": (
        (
            "ALTER TABLE alone ADD COLUMN a integer REFERENCES a ON DELETE CASCADE",
            "UPDATE public.alone SET a = 3",
            "DELETE FROM a WHERE id = 3",
            "ALTER TABLE alone DROP COLUMN a",
        ),
        {"public.a", "public.b", "public.c", "public.alone", "tenant.alone"},
    ),
    "a table that is rebuilt": (
        (
            "CREATE TABLE new_plain (id integer, word text)",
            "INSERT INTO new_plain SELECT id, word FROM plain",
            "DROP TABLE plain",
            "ALTER TABLE new_plain RENAME TO plain",
        ),
        {"public.plain"},
    ),
    "a table that is written and dropped": (("DELETE FROM a", "DROP TABLE a CASCADE"), EVERYTHING),
    "a table that is written, renamed and made anew": (
        ("DELETE FROM a WHERE id = 1", "ALTER TABLE a RENAME TO b2", "CREATE TABLE a (id integer)"),
        EVERYTHING,
    ),
    "a table that is dropped": (("DROP TABLE plain",), set()),
    "a table that is renamed and written": (
        ("ALTER TABLE plain RENAME TO renamed", "UPDATE renamed SET word = 'x'"),
        {"public.renamed"},
    ),
    "a view that was made over another table": (
        ("CREATE VIEW fresh AS SELECT * FROM plain", "UPDATE fresh SET word = 'x'", "DROP VIEW fresh"),
        EVERYTHING,
    ),
    "a trigger that was there meanwhile": (
        (
            "CREATE TRIGGER n AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION noted()",
            "INSERT INTO plain (word) VALUES ('x')",
            "DROP TRIGGER n ON plain",
        ),
        EVERYTHING,
    ),
    "a function that was replaced": (
        (
            "CREATE OR REPLACE FUNCTION lower(integer) RETURNS integer LANGUAGE sql AS 'SELECT writes()'",
            "INSERT INTO plain (id) SELECT lower(70)",
            "DROP FUNCTION lower(integer)",
        ),
        EVERYTHING,
    ),
    "what writes no rows": (
        (
            "CREATE INDEX CONCURRENTLY i ON plain (lower(word))",
            "COMMENT ON TABLE plain IS 'x'",
            "ANALYZE plain",
            "GRANT SELECT, UPDATE, DELETE ON plain TO CURRENT_USER",
            "CREATE TYPE mood AS ENUM ('x')",
            "ALTER TYPE mood ADD VALUE 'y'",
            "CREATE SEQUENCE s",
            "SELECT setval('s', 7), nextval('s')",
            "DROP INDEX i",
            "CREATE SCHEMA other",
            "DROP TYPE mood",
        ),
        set(),
    ),
    "what was rolled back": (("BEGIN", "UPDATE plain SET word = 'x'", "ROLLBACK", "DELETE FROM c"), {"public.c"}),
    "a commit that failed": (("BEGIN", "UPDATE plain SET word = 'x'", "SELECT 1/0", "COMMIT"), set()),
    "a table that was made and taken back": (
        ("BEGIN", "SAVEPOINT s", "CREATE TABLE alone (id integer)", "ROLLBACK TO s", "DELETE FROM plain", "COMMIT"),
        {"public.plain"},  # the CREATE fails: there is one
    ),
    "a savepoint's table that was taken back": (
        (
            "BEGIN",
            "SAVEPOINT s",
            "DROP TABLE c",
            "CREATE TABLE c (id integer)",
            "ROLLBACK TO s",
            "DELETE FROM c",
            "COMMIT",
        ),
        EVERYTHING,
    ),
    "a prepared transaction": (
        ("BEGIN", "UPDATE plain SET word = 'x'", "PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'"),
        EVERYTHING,
    ),
    "a column with the name of a command": (
        ('INSERT INTO plain ("Odd Name") SELECT update FROM plain, (SELECT 1 AS update) x',),
        EVERYTHING,
    ),
    "several in one text": (("DELETE FROM c; UPDATE plain SET word = 'x'; SELECT 1",), {"public.c", "public.plain"}),
    "settings and locks": (("SET search_path = tenant", "LOCK TABLE alone", "RESET ALL"), set()),
    "a schema in the search path": (
        ("SET search_path = tenant", "DELETE FROM alone"),
        {"public.alone", "tenant.alone"},
    ),
}


@pytest.fixture
def known(database: Database) -> Iterator[Witnessed]:
    with database.connect() as session:
        session.execute(SETUP)
    yield from before(database, vocabulary(database))


def content(session: psycopg.Connection[Any]) -> dict[str, str]:
    """What each table holds, by its name."""
    names = session.execute(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname IN ('public', 'tenant')"
    ).fetchall()
    rows = "SELECT coalesce(string_agg(t::text, '|' ORDER BY t::text), '') FROM "
    return {name: session.execute(f"{rows}{name} t").fetchall()[0][0] for (name,) in names}


def reached(database: Database, touched: Touched) -> tuple[str, ...] | None:
    session = Session(database.server.url(database.name, database.owner, "secret"), application_name="test")
    try:
        return None if touched.unclear else reach(session, written=touched.rows, shaped=touched.shaped)
    finally:
        session.close()


@pytest.mark.parametrize("case", TABLE)
def test_every_table_that_was_written_is_told(known: Witnessed, case: str) -> None:
    texts, expected = TABLE[case]
    with known.database.connect() as outside:
        was = content(outside)
        client = known.connect()
        for text in texts:
            try:
                client.execute(text, prepare=False)
            except psycopg.Error:
                continue
        client.close()
        now = content(outside)
    changed = {name for name in was.keys() | now.keys() if name in now and was.get(name) != now[name]}

    told = reached(known.database, known.seen().touched)

    assert (None if told is None else set(told)) == expected
    assert told is None or changed <= set(told)


def test_a_function_that_runs_a_text_may_write_to_any_table(known: Witnessed) -> None:
    text = b"SELECT query_to_xml('INSERT INTO audit (what) VALUES (1)', true, false, '')"
    (judged,) = statements(text, whole=True, plain=True, vocabulary=vocabulary(known.database))

    assert judged.touched == ANY


def test_a_session_that_named_too_many_tables_may_have_written_any() -> None:
    many = Touched(rows=frozenset(("", f"t{n}") for n in range(2001)))

    assert Touched().then(many) == ANY
