"""What the failed migration added goes, and nothing else ever does."""

from __future__ import annotations

import psycopg
import pytest

from release.database import fingerprint, repair
from release.database.comparison import between, compare
from tests.unit.database.conftest import Database, added

KNOWN = """
CREATE TABLE learners (id integer PRIMARY KEY, name text);
CREATE TABLE courses (id integer PRIMARY KEY, learner integer REFERENCES learners);
CREATE VIEW happy AS SELECT id FROM learners;
CREATE SEQUENCE counter;
INSERT INTO learners VALUES (1, 'a');
"""


def test_nothing_unknown_nothing_done(database: Database) -> None:
    database.execute(KNOWN)
    connection = database.connect()
    before = fingerprint.take(connection)

    assert repair.remove_added(connection, before, added(connection, before)) == []


def test_whatever_a_failed_migration_left_is_removed(database: Database) -> None:
    database.execute(KNOWN)
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(
        "CREATE SCHEMA more",
        "CREATE TYPE more.kind AS ENUM ('a')",
        "CREATE DOMAIN more.stars AS integer",
        "CREATE TYPE span AS RANGE (subtype = integer)",
        "CREATE TABLE badges (id serial PRIMARY KEY, kind more.kind, other integer)",
        "CREATE TABLE more.others (id integer PRIMARY KEY, badge integer REFERENCES badges)",
        "ALTER TABLE badges ADD FOREIGN KEY (other) REFERENCES more.others",  # a circle
        "CREATE TABLE events (at date) PARTITION BY RANGE (at)",
        "CREATE TABLE events_1 PARTITION OF events DEFAULT",
        "CREATE VIEW upon AS SELECT * FROM badges",
        "CREATE MATERIALIZED VIEW upon_that AS SELECT * FROM upon",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE PROCEDURE act(n integer) LANGUAGE sql AS ''",
        "CREATE AGGREGATE most(integer) (sfunc = int4larger, stype = integer)",
        "CREATE TRIGGER touch BEFORE INSERT ON learners FOR EACH ROW EXECUTE FUNCTION touch()",
        "CREATE RULE quiet AS ON DELETE TO courses DO INSTEAD NOTHING",
        "CREATE POLICY mine ON courses USING (true)",
        "ALTER TABLE learners ADD COLUMN kind more.kind, ADD CONSTRAINT named CHECK (name <> '')",
        "CREATE INDEX by_name ON learners (name)",
        "ALTER TABLE courses ADD CONSTRAINT once UNIQUE (learner)",
        "CREATE SEQUENCE later",
        "CREATE EXTENSION hstore",
        "CREATE STATISTICS how ON id, name FROM learners",
        'CREATE COLLATION plain FROM "C"',
        "CREATE TEXT SEARCH DICTIONARY plain (template = simple)",
        "CREATE TEXT SEARCH CONFIGURATION words (copy = simple)",
        "CREATE OPERATOR === (leftarg = integer, rightarg = integer, function = int4eq)",
        "CREATE CAST (span AS text) WITH INOUT",
        "CREATE PUBLICATION outside FOR TABLE learners",
        'CREATE TABLE "Odd "".table" (id integer)',
    )

    removed = repair.remove_added(connection, before, added(connection, before))

    assert fingerprint.take(connection).digest() == before.digest()
    assert 'table public."Odd "".table"' in removed
    assert "column public.learners.kind" in removed
    assert "schema more" in removed
    assert connection.execute("SELECT count(*) FROM learners").fetchall() == [(1,)]


def test_a_known_thing_that_depends_on_an_unknown_one_is_kept_and_so_is_that(database: Database) -> None:
    database.execute(KNOWN)
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(
        "CREATE TABLE badges (id integer PRIMARY KEY)",
        "CREATE OR REPLACE VIEW happy AS SELECT learners.id FROM learners, badges",
        "CREATE TABLE free (id integer)",
    )

    assert repair.remove_added(connection, before, added(connection, before)) == ["table public.free"]

    assert [str(each) for each in compare(before, fingerprint.take(connection)).differences] == [
        "table public.badges added",
        "view public.happy changed",
    ]


def test_a_known_table_is_not_dropped_with_the_unknown_one_it_was_attached_to(database: Database) -> None:
    database.execute("CREATE TABLE learners (id integer NOT NULL)", "INSERT INTO learners VALUES (1)")
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(
        "CREATE TABLE everybody (id integer NOT NULL) PARTITION BY LIST (id)",
        "ALTER TABLE everybody ATTACH PARTITION learners DEFAULT",
    )

    assert repair.remove_added(connection, before, added(connection, before)) == []

    assert connection.execute("SELECT count(*) FROM learners").fetchall() == [(1,)]


def test_what_others_have_made_meanwhile_stays(database: Database) -> None:
    database.execute(KNOWN)
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute("CREATE TABLE badges (id integer)", "ALTER TABLE learners ADD COLUMN kind integer")
    ours = added(connection, before)
    database.execute("CREATE TABLE theirs (id integer)", "CREATE INDEX quick ON learners (name)")

    removed = repair.remove_added(connection, before, ours)

    assert removed == ["column public.learners.kind", "table public.badges"]
    assert list(map(str, added(connection, before))) == ["table public.theirs added", "index public.quick added"]


def test_without_a_list_of_what_was_added_nothing_is_removed(database: Database) -> None:
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute("CREATE TABLE badges (id integer)")

    assert repair.remove_added(connection, before, ()) == []

    assert list(map(str, added(connection, before))) == ["table public.badges added"]


THEIRS = {
    "a view": ("CREATE VIEW theirs AS SELECT id FROM badges",),
    "a foreign key": ("CREATE TABLE theirs (badge integer REFERENCES badges)",),
    "a child": ("CREATE TABLE theirs () INHERITS (badges)",),
    "a column's type": ("CREATE TABLE theirs (row badges)",),
    "a default": ("CREATE TABLE theirs (id integer DEFAULT nextval('badges_id_seq'))",),
    "a policy": (
        "CREATE TABLE theirs (id integer)",
        "CREATE POLICY mine ON theirs USING (id IN (SELECT id FROM badges))",
    ),
    "a function": ("CREATE FUNCTION theirs(badges) RETURNS integer LANGUAGE sql AS 'SELECT 1'",),
    "a rule on a known table": ("CREATE RULE theirs AS ON INSERT TO courses DO ALSO DELETE FROM badges",),
}


@pytest.mark.parametrize("statements", THEIRS.values(), ids=THEIRS.keys())
def test_what_could_only_go_with_something_of_others_stays(database: Database, statements: tuple[str, ...]) -> None:
    database.execute(KNOWN)
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute("CREATE TABLE badges (id serial PRIMARY KEY)", "CREATE TABLE free (id integer)")
    ours = added(connection, before)
    database.execute(*statements)
    present = fingerprint.take(connection).schema

    assert repair.remove_added(connection, before, ours) == ["table public.free"]

    gone = [str(each) for each in between(present, fingerprint.take(connection).schema)]
    assert gone == ["table public.free removed"]


def test_an_index_of_others_on_an_added_column_keeps_that_column(database: Database) -> None:
    database.execute(KNOWN)
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute("ALTER TABLE learners ADD COLUMN kind integer")
    ours = added(connection, before)
    database.execute("CREATE INDEX theirs ON learners (kind)")

    assert repair.remove_added(connection, before, ours) == []

    assert {str(each) for each in added(connection, before)} == {
        "column public.learners.kind added",
        "index public.theirs added",
    }


def test_an_added_table_goes_with_all_that_was_added_around_it(database: Database) -> None:
    database.role("reader")
    database.execute(KNOWN, "CREATE PUBLICATION warehouse FOR TABLE learners")
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(
        "CREATE TABLE badges (id serial PRIMARY KEY)",
        "COMMENT ON TABLE badges IS 'x'",
        "GRANT SELECT ON badges TO reader",
        "ALTER PUBLICATION warehouse ADD TABLE badges",
        "ALTER TABLE courses ALTER learner SET DEFAULT nextval('badges_id_seq')",
    )

    assert "table public.badges" in repair.remove_added(connection, before, added(connection, before))

    assert fingerprint.take(connection).digest() == before.digest()


def test_what_belongs_to_somebody_else_stays(database: Database) -> None:
    other = database.role(f"other_{database.name}")
    connection = database.connect()
    before = fingerprint.take(connection)
    database.superuser("CREATE SCHEMA theirs", f"ALTER SCHEMA theirs OWNER TO {other}")

    assert repair.remove_added(connection, before, added(connection, before)) == []


def test_the_journal_stays(database: Database) -> None:
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute("CREATE SCHEMA release_phase", "CREATE TABLE release_phase.runs (id integer)")

    assert repair.remove_added(connection, before, added(connection, before)) == []


def test_analyze_gives_the_planner_its_statistics_back(database: Database) -> None:
    database.execute(KNOWN)
    connection = database.connect()
    connection.execute("SET statement_timeout = '9s'")

    repair.analyze(connection)

    assert connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'learners'").fetchall() == [(1.0,)]
    assert connection.execute("SELECT current_setting('statement_timeout')").fetchall() == [("9s",)]


def test_analyze_ends_in_time(database: Database) -> None:
    database.execute(KNOWN)
    connection = database.connect()
    connection.execute("SET lock_timeout = 0")
    locker = database.connect()
    with locker.transaction():
        locker.execute("LOCK TABLE learners IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.QueryCanceled):
            repair.analyze(connection, seconds=1)

    assert connection.execute("SELECT current_setting('statement_timeout')").fetchall() == [("0",)]
