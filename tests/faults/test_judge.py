"""Proof that the judge sees: each of many small changes makes another picture, and none makes none."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.faults import corpus
from tests.faults.corpus import shapes
from tests.faults.harness import Harness
from tests.faults.stage import LANDING
from tests.judge import differing, execute, whole_picture

BUILD = """
CREATE EXTENSION hstore VERSION '1.4';
CREATE EXTENSION citext;
CREATE SEQUENCE never_used;
CREATE TABLE things (id serial PRIMARY KEY, n integer, gone text, name citext, CHECK (n > 0) NOT VALID);
INSERT INTO things (n, name) VALUES (1, 'a');
CREATE UNLOGGED TABLE cache (n integer);
CREATE MATERIALIZED VIEW stale AS SELECT count(*) AS n FROM things;
INSERT INTO things (n, name) VALUES (2, 'b');
CREATE VIEW shown AS SELECT n, name = 'A' AS yes FROM things;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW WHEN (NEW.n > 1) EXECUTE FUNCTION f();
CREATE PUBLICATION p FOR TABLE things WHERE (id > 1);
SELECT lo_from_bytea(4711, 'large');
CREATE SCHEMA extra;
CREATE FUNCTION extra.eq(citext, citext) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR extra.= (leftarg = citext, rightarg = citext, function = extra.eq);
"""
CHANGES = (
    "SELECT setval('never_used', 1, true)",
    "SELECT setval('never_used', 1, false)",
    "ALTER TABLE things DROP COLUMN gone; ALTER TABLE things ADD COLUMN gone text DEFAULT 'x'",
    "UPDATE things SET gone = NULL WHERE n = 2",
    "INSERT INTO cache VALUES (1)",
    "REFRESH MATERIALIZED VIEW stale",
    "ALTER TABLE things DISABLE TRIGGER t",
    "ALTER PUBLICATION p SET TABLE things WHERE (id > 2)",
    "ALTER PUBLICATION p SET TABLE things (id)",
    "DROP PUBLICATION p",
    "SELECT lo_put(4711, 0, 'L')",
    "GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC",
    "ALTER EXTENSION hstore UPDATE TO '1.8'",
    "COMMENT ON EXTENSION hstore IS 'ours'",
    "ALTER TABLE things REPLICA IDENTITY FULL",
    "ALTER TABLE things ALTER COLUMN n SET STATISTICS 7",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "GRANT USAGE ON SCHEMA public TO pg_monitor",
    "ALTER DATABASE {database} SET default_transaction_read_only = off",
    "ALTER ROLE {owner} IN DATABASE {database} SET work_mem = '9MB'",
    "ALTER ROLE {owner} SET work_mem = '9MB'",
    "ALTER DATABASE {database} CONNECTION LIMIT 70",
    "COMMENT ON DATABASE {database} IS 'v2'",
    "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC",
    "CREATE TABLE heroku_ext.t (n integer)",
    "INSERT INTO heroku_ext.t VALUES (1)",
    "CREATE OR REPLACE VIEW shown AS SELECT n, name::text = 'A' AS yes FROM things",
    "CREATE OR REPLACE VIEW shown AS SELECT n, name OPERATOR(extra.=) 'A' AS yes FROM things",
    "UPDATE things SET name = 'A' WHERE n = 1",
    "DELETE FROM things WHERE n = 1",
)


def test_the_judge_sees_every_change(harness: Harness) -> None:
    place = harness.stage.fresh(LANDING)
    url = place.environment["DATABASE_URL"]
    names = {"database": urlsplit(url).path.lstrip("/"), "owner": place.owner}
    execute(url, BUILD)
    before = whole_picture(place.superuser)
    unseen = []
    for change in CHANGES:
        execute(url, change.format(**names))
        after = whole_picture(place.superuser)
        unseen += [] if differing(before, after) else [change]
        before = after
    assert unseen == []
    execute(url, "VACUUM ANALYZE")
    assert differing(before, whole_picture(place.superuser)) == []


def test_there_are_shapes_enough_and_each_can_be_read() -> None:
    assert len(shapes()) >= 40
    assert len({shape.title for shape in shapes().values()}) == len(shapes())
    assert corpus.parse("x", "-- Title\n-- refused: a, b\nSELECT 1;\n-- part: migration\nSELECT 2;\n").refused == {
        "a",
        "b",
    }
