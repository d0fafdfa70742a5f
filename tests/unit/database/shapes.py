"""Shapes of databases: each with something that a restore may not bring back, or with what only looks like it.

A statement that begins with `SUPERUSER` is run by the superuser, any other by the database's owner.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
HEROKUS = ("extension_before_drop", "log_create_ext", "log_drop_ext", "validate_extension")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A database, and what must be found in it: the findings' kinds and names; none for a harmless one."""

    statements: tuple[str, ...]
    found: tuple[str, ...] = ()
    why: str = ""
    """Part of what the first finding says."""


def lost(found: str | tuple[str, ...], why: str, *statements: str) -> Shape:
    """A shape that does not come back."""
    return Shape(statements=statements, found=(found,) if isinstance(found, str) else found, why=why)


def fine(*statements: str) -> Shape:
    """A shape that comes back as it is."""
    return Shape(statements=statements)


LOST = {
    "event trigger": lost(
        "event trigger audit",
        "only a superuser",
        "SUPERUSER CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$",
        "SUPERUSER CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION audit()",
    ),
    "operator class": lost(
        "operator class public.by_length USING btree",
        "only a superuser",
        "CREATE FUNCTION shorter(text, text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT length($1) - length($2)'",
        "SUPERUSER CREATE OPERATOR CLASS by_length FOR TYPE text USING btree AS OPERATOR 1 <, OPERATOR 3 =,"
        " OPERATOR 5 >, FUNCTION 1 shorter(text, text)",
    ),
    "operator family": lost(
        "operator family public.lengths USING hash",
        "only a superuser",
        "SUPERUSER CREATE OPERATOR FAMILY lengths USING hash",
    ),
    "foreign-data wrapper": lost(
        "foreign-data wrapper elsewhere", "only a superuser", "SUPERUSER CREATE FOREIGN DATA WRAPPER elsewhere"
    ),
    "publication of all tables": lost(
        "publication everything FOR ALL TABLES",
        "such a publication",
        "SUPERUSER CREATE PUBLICATION everything FOR ALL TABLES",
    ),
    "publication of a schema": lost(
        "publication shop FOR TABLES IN SCHEMA",
        "such a publication",
        "SUPERUSER CREATE PUBLICATION shop FOR TABLES IN SCHEMA public",
    ),
    "cast between others' types": lost(
        "cast text AS integer",
        "owner of one of its types",
        "CREATE FUNCTION number(text) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT length($1)'",
        "SUPERUSER CREATE CAST (text AS integer) WITH FUNCTION number(text)",
    ),
    "cast without a function": lost(
        "cast public.mood AS public.temper",
        "owner of one of its types",
        "CREATE TYPE mood AS ENUM ('a')",
        "CREATE DOMAIN unused AS text",
        "CREATE TYPE temper AS (t text)",
        "CREATE TYPE humour AS ENUM ('a')",
        "CREATE FUNCTION convert(mood) RETURNS temper IMMUTABLE LANGUAGE sql AS $$ SELECT ROW('a')::temper $$",
        "CREATE CAST (mood AS temper) WITH FUNCTION convert(mood)",
        "SUPERUSER UPDATE pg_cast SET castmethod = 'b', castfunc = 0 WHERE castsource = 'mood'::regtype",
    ),
    "C function": lost(
        "function public.low(text) in language internal",
        "only a superuser",
        "SUPERUSER CREATE FUNCTION low(text) RETURNS text IMMUTABLE STRICT LANGUAGE internal AS 'lower'",
    ),
    "leakproof function": lost(
        "function public.safe(integer) with LEAKPROOF",
        "only a superuser",
        "CREATE FUNCTION safe(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
        "SUPERUSER ALTER FUNCTION safe(integer) LEAKPROOF",
    ),
    "function with a protected setting": lost(
        "function public.quiet() with SET session_replication_role",
        "may not set",
        "CREATE FUNCTION quiet() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "SUPERUSER ALTER FUNCTION quiet() SET session_replication_role = replica",
    ),
    "aggregate with internal state": lost(
        "aggregate public.gather(anynonarray) with the state type internal",
        "only a superuser",
        "SUPERUSER CREATE AGGREGATE gather(anynonarray)"
        " (SFUNC = array_agg_transfn, STYPE = internal, FINALFUNC = array_agg_finalfn, FINALFUNC_EXTRA)",
    ),
    "base type": lost("type public.shell", "only a superuser", "SUPERUSER CREATE TYPE shell"),
    "text search template": lost(
        "text search template public.plain",
        "only a superuser",
        "SUPERUSER CREATE TEXT SEARCH TEMPLATE plain (INIT = dsimple_init, LEXIZE = dsimple_lexize)",
    ),
    "forced row security": lost(
        "table public.secrets",
        "FORCE ROW LEVEL SECURITY",
        "CREATE TABLE secrets (id int)",
        "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    ),
    "table in heroku_ext": lost(
        ("sequence heroku_ext.numbers", "table heroku_ext.invoices"),
        "leave the schema heroku_ext out",
        "CREATE SCHEMA IF NOT EXISTS heroku_ext",
        "CREATE TABLE heroku_ext.invoices (id serial)",
        "CREATE SEQUENCE heroku_ext.numbers",
    ),
    "view and function in heroku_ext": lost(
        (
            "function heroku_ext.two()",
            "materialized view heroku_ext.kept",
            "type heroku_ext.mood",
            "view heroku_ext.seen",
        ),
        "leave the schema heroku_ext out",
        "CREATE SCHEMA IF NOT EXISTS heroku_ext",
        "CREATE VIEW heroku_ext.seen AS SELECT 1 AS one",
        "CREATE MATERIALIZED VIEW heroku_ext.kept AS SELECT 1 AS one",
        "CREATE FUNCTION heroku_ext.two() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "CREATE TYPE heroku_ext.mood AS ENUM ('calm')",
    ),
    "check by a function that names a table": lost(
        "CHECK constraint entry_word_check of public.entry",
        'relation "dictionary" does not exist',
        "CREATE TABLE dictionary (word text PRIMARY KEY)",
        "INSERT INTO dictionary VALUES ('a')",
        "CREATE FUNCTION known(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RETURN EXISTS (SELECT FROM dictionary WHERE word = w); END $$",
        "CREATE TABLE entry (id int, word text CHECK (known(word)))",
        "INSERT INTO entry VALUES (1, 'a'), (2, 'a')",
    ),
    "check by a function on a late row": lost(
        "CHECK constraint parcel_weight_check of public.parcel",
        "function helper(integer) does not exist",
        "CREATE FUNCTION helper(integer) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0'",
        "CREATE FUNCTION heavy(w integer) RETURNS boolean IMMUTABLE STRICT LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN helper(w); END $$",
        "CREATE TABLE parcel (id int, weight int, CHECK (weight < 10 OR heavy(weight)))",
        "INSERT INTO parcel SELECT n, CASE WHEN n > 40 THEN 20 END FROM generate_series(1, 50) n",
    ),
    "check that reads a table loaded later": lost(
        "CHECK constraint a_orders_customer_check of public.a_orders",
        "reads public.customers, which a restore fills after",
        "CREATE TABLE customers (id int PRIMARY KEY)",
        "INSERT INTO customers VALUES (1)",
        "CREATE FUNCTION there(c int) RETURNS boolean LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RETURN EXISTS (SELECT FROM public.customers WHERE id = c); END $$",
        "CREATE TABLE a_orders (customer int CHECK (there(customer)))",
        "INSERT INTO a_orders VALUES (1)",
    ),
    "check that time has overtaken": lost(
        "CHECK constraint ahead of public.meetings",
        "rows that are there violate it",
        "CREATE TABLE meetings (at timestamptz, CONSTRAINT ahead CHECK (at > now()))",
        "INSERT INTO meetings VALUES (clock_timestamp() + '0.05 s')",
        "SELECT pg_sleep(0.1)",
    ),
    "check whose function became stricter": lost(
        "CHECK constraint fits of public.boxes",
        "rows that are there violate it",
        "CREATE FUNCTION fits(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 < 10'",
        "CREATE TABLE boxes (size int, CONSTRAINT fits CHECK (fits(size)))",
        "INSERT INTO boxes VALUES (7)",
        "CREATE OR REPLACE FUNCTION fits(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 < 5'",
    ),
    "check that answers otherwise": lost(
        "CHECK constraint listed of public.goods",
        "fail it under the empty search path",
        "CREATE FUNCTION listed(text) RETURNS boolean STABLE LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN to_regclass($1) IS NOT NULL; END $$",
        "CREATE TABLE goods (name text, CONSTRAINT listed CHECK (listed(name)))",
        "INSERT INTO goods VALUES ('goods')",
    ),
    "generated column by an extension's function": lost(
        "generated column slug of public.article",
        "function unaccent(text) does not exist",
        "CREATE EXTENSION unaccent SCHEMA public",
        "CREATE FUNCTION slug(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
        " $$ BEGIN RETURN lower(unaccent(v)); END $$",
        "CREATE TABLE article (title text, slug text GENERATED ALWAYS AS (slug(title)) STORED)",
        "INSERT INTO article VALUES ('x'), ('y')",
    ),
    "index by an extension's function": lost(
        "index public.article_plain",
        "does not exist",
        "CREATE EXTENSION unaccent SCHEMA public",
        "CREATE TABLE article (title text)",
        "CREATE FUNCTION plain(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN unaccent(v); END $$",
        "CREATE INDEX article_plain ON article (plain(title))",
        "INSERT INTO article VALUES ('x')",
    ),
    "partial index": lost(
        "index public.article_short",
        "does not exist",
        "CREATE FUNCTION inner_short(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT length($1) < 5'",
        "CREATE FUNCTION short(v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS"
        " $$ BEGIN RETURN inner_short(v); END $$",
        "CREATE TABLE article (title text)",
        "CREATE INDEX article_short ON article (title) WHERE short(title)",
        "INSERT INTO article VALUES ('x')",
    ),
    "exclusion constraint": lost(
        "index public.room_excl",
        "does not exist",
        "CREATE FUNCTION inner_span(int) RETURNS int4range IMMUTABLE LANGUAGE sql AS 'SELECT int4range($1, $1 + 5)'",
        "CREATE FUNCTION span(v int) RETURNS int4range LANGUAGE plpgsql IMMUTABLE AS"
        " $$ BEGIN RETURN inner_span(v); END $$",
        "CREATE TABLE room (start int, CONSTRAINT room_excl EXCLUDE USING gist (span(start) WITH &&))",
        "INSERT INTO room VALUES (1)",
    ),
    "domain by a function": lost(
        "domain public.slug in column slug of public.pages",
        "does not exist",
        "CREATE TABLE words (word text)",
        "INSERT INTO words VALUES ('a')",
        "CREATE FUNCTION listed(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RETURN EXISTS (SELECT FROM words WHERE word = w); END $$",
        "CREATE DOMAIN slug AS text CHECK (listed(VALUE))",
        "CREATE TABLE pages (slug slug)",
        "INSERT INTO pages VALUES ('a')",
    ),
    "array of a domain by a function": lost(
        "domain public.positive[] in column sizes of public.racks",
        "does not exist",
        "CREATE FUNCTION over(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0'",
        "CREATE FUNCTION okay(v int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN over(v); END $$",
        "CREATE DOMAIN positive AS int CHECK (okay(VALUE))",
        "CREATE TABLE racks (sizes positive[])",
        "INSERT INTO racks VALUES (ARRAY[1, 2]::positive[])",
    ),
    "partition key by a function": lost(
        "partition key of public.events",
        "does not exist",
        "CREATE FUNCTION inner_bucket(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 % 2'",
        "CREATE FUNCTION bucket(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        " $$ BEGIN RETURN inner_bucket(v); END $$",
        "CREATE TABLE events (id int) PARTITION BY LIST (bucket(id))",
        "CREATE TABLE events_even PARTITION OF events FOR VALUES IN (0)",
        "INSERT INTO events VALUES (2)",
    ),
    "materialized view": lost(
        "materialized view public.totals",
        "does not exist",
        "CREATE TABLE sales (n int)",
        "INSERT INTO sales VALUES (1)",
        "CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT sum(n) FROM sales); END $$",
        "CREATE FUNCTION shown() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN public.total(); END $$",
        "ALTER FUNCTION total() SET search_path = public",
        "CREATE MATERIALIZED VIEW totals AS SELECT shown() AS total",
        "ALTER FUNCTION total() RESET search_path",
    ),
    "materialized view over a view": lost(
        "materialized view public.copy",
        "does not exist",
        "CREATE TABLE sales (n int)",
        "CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN 0; END $$",
        "CREATE VIEW between_them AS SELECT total() AS total",
        "CREATE MATERIALIZED VIEW copy AS SELECT total FROM between_them",
        "CREATE OR REPLACE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN (SELECT count(*) FROM sales); END $$",
    ),
    "trigger condition over ltree": lost(
        "trigger path_moved on public.region",
        "operator does not exist",
        "CREATE EXTENSION ltree SCHEMA public",
        "CREATE TABLE region (id int PRIMARY KEY, path ltree)",
        NOTHING,
        "CREATE TRIGGER path_moved BEFORE UPDATE ON region FOR EACH ROW"
        " WHEN (OLD.path IS DISTINCT FROM NEW.path) EXECUTE FUNCTION nothing()",
    ),
    "trigger condition of an insert over citext": lost(
        "trigger named on public.person",
        "looked up anew",
        "CREATE EXTENSION citext SCHEMA public",
        "CREATE TABLE person (name citext, nick citext)",
        NOTHING,
        "CREATE TRIGGER named BEFORE INSERT ON person FOR EACH ROW"
        " WHEN (NULLIF(NEW.name, NEW.nick) IS NULL) EXECUTE FUNCTION nothing()",
    ),
    "view with JOIN USING over citext": lost(
        "view public.joined",
        "looked up anew",
        "CREATE EXTENSION citext SCHEMA public",
        "CREATE TABLE person (name citext, age int)",
        "CREATE TABLE place (name citext, town text)",
        "CREATE VIEW joined AS SELECT name, age, town FROM person JOIN place USING (name)",
    ),
    "view with CASE over hstore": lost(
        "view public.cased",
        "operator does not exist",
        "CREATE EXTENSION hstore SCHEMA public",
        "CREATE TABLE bag (v hstore)",
        "CREATE VIEW cased AS SELECT CASE v WHEN 'a=>1' THEN 1 END AS x FROM bag",
    ),
    "check with IS DISTINCT FROM over an empty table": lost(
        "CHECK constraint moved of public.region",
        "operator does not exist",
        "CREATE EXTENSION ltree SCHEMA public",
        "CREATE TABLE region (path ltree, other ltree, CONSTRAINT moved CHECK (path IS DISTINCT FROM other))",
    ),
    "default with NULLIF": lost(
        "default tags of public.post",
        "operator does not exist",
        "CREATE EXTENSION hstore SCHEMA public",
        "CREATE TABLE post (tags hstore DEFAULT NULLIF('a=>1'::hstore, 'b=>2'::hstore))",
    ),
    "domain with IS DISTINCT FROM": lost(
        "domain public.spot CHECK elsewhere",
        "operator does not exist",
        "CREATE EXTENSION ltree SCHEMA public",
        "CREATE DOMAIN spot AS ltree CONSTRAINT elsewhere CHECK (VALUE IS DISTINCT FROM 'a.b'::ltree)",
    ),
    "policy with CASE": lost(
        "policy own on public.region",
        "operator does not exist",
        "CREATE EXTENSION ltree SCHEMA public",
        "CREATE TABLE region (path ltree)",
        "CREATE POLICY own ON region USING (CASE path WHEN 'a'::ltree THEN true ELSE false END)",
    ),
    "function of the standard with NULLIF": lost(
        "function public.same(public.citext,public.citext)",
        "looked up anew",
        "CREATE EXTENSION citext SCHEMA public",
        "CREATE FUNCTION same(a citext, b citext) RETURNS boolean LANGUAGE sql RETURN NULLIF(a, b) IS NULL",
    ),
    "rule with IS DISTINCT FROM": lost(
        "rule kept on public.region",
        "looked up anew",
        "CREATE EXTENSION ltree SCHEMA public",
        "CREATE TABLE region (path ltree)",
        "CREATE RULE kept AS ON UPDATE TO region WHERE NEW.path IS DISTINCT FROM OLD.path DO NOTHING",
    ),
    "index over IS NOT DISTINCT FROM": lost(
        "index public.region_root",
        "operator does not exist",
        "CREATE EXTENSION ltree SCHEMA public",
        "CREATE TABLE region (path ltree)",
        "CREATE INDEX region_root ON region ((path IS NOT DISTINCT FROM 'root'::ltree))",
    ),
    "statistics over NULLIF": lost(
        "statistics public.odd",
        "operator does not exist",
        "CREATE EXTENSION ltree SCHEMA public",
        "CREATE TABLE region (path ltree, other ltree)",
        "CREATE STATISTICS odd ON (NULLIF(path, other)) FROM region",
    ),
}

FINE = {
    "nothing": fine(),
    "Heroku's own": fine(
        "SUPERUSER CREATE SCHEMA _heroku",
        "SUPERUSER CREATE FUNCTION _heroku.noted() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$",
        *(
            f"SUPERUSER CREATE EVENT TRIGGER {name} ON ddl_command_end EXECUTE FUNCTION _heroku.noted()"
            for name in HEROKUS
        ),
        "CREATE SCHEMA IF NOT EXISTS heroku_ext",
        "SUPERUSER CREATE EXTENSION pg_stat_statements SCHEMA heroku_ext",
        "SUPERUSER CREATE FUNCTION heroku_ext.herokus() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ),
    "extensions": fine(
        "CREATE SCHEMA IF NOT EXISTS heroku_ext",
        "CREATE EXTENSION hstore SCHEMA heroku_ext",
        "CREATE EXTENSION citext SCHEMA public",
        "CREATE EXTENSION btree_gist",
        "SUPERUSER CREATE EXTENSION dblink",
        "CREATE TABLE things (name citext UNIQUE, attributes heroku_ext.hstore)",
        "INSERT INTO things VALUES ('a', 'b=>1')",
        "CREATE INDEX things_gist ON things USING gist (attributes)",
        "CREATE VIEW named AS SELECT name, count(*) AS n FROM things WHERE name = 'A'::citext AND name IN ('b', 'c')"
        " GROUP BY name ORDER BY name",
        "CREATE VIEW nested AS SELECT name FROM things WHERE name IN (SELECT name FROM things)",
    ),
    "row security that is not forced": fine(
        "CREATE TABLE secrets (id int)",
        "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON secrets USING (id > 0)",
        "CREATE TABLE loose (id int)",
        "ALTER TABLE loose FORCE ROW LEVEL SECURITY",
        "INSERT INTO secrets VALUES (1)",
    ),
    "a publication of tables": fine(
        "CREATE TABLE shown (id int PRIMARY KEY)",
        "CREATE PUBLICATION few FOR TABLE shown",
        "CREATE PUBLICATION nothing",
    ),
    "casts of one's own": fine(
        "CREATE TYPE mood AS ENUM ('calm', 'cross')",
        "CREATE CAST (mood AS integer) WITH INOUT",
        "CREATE CAST (text AS mood) WITH INOUT AS ASSIGNMENT",
        "CREATE TYPE span AS RANGE (subtype = int)",
        "CREATE AGGREGATE longest(int) (SFUNC = int4larger, STYPE = int)",
    ),
    "functions that name everything": fine(
        "CREATE TABLE dictionary (word text PRIMARY KEY)",
        "INSERT INTO dictionary VALUES ('a')",
        "CREATE FUNCTION known(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RETURN EXISTS (SELECT FROM public.dictionary WHERE word = w); END $$",
        "CREATE TABLE entry (id int, word text CHECK (known(word)))",
        "INSERT INTO entry VALUES (1, 'a')",
    ),
    "functions with a path of their own": fine(
        "CREATE EXTENSION unaccent SCHEMA public",
        "CREATE FUNCTION plain(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql SET search_path = public AS"
        " $$ BEGIN RETURN unaccent(v); END $$",
        "CREATE TABLE article (title text, slug text GENERATED ALWAYS AS (plain(title)) STORED)",
        "CREATE INDEX article_plain ON article (plain(title))",
        "INSERT INTO article VALUES ('x')",
    ),
    "functions that fail on no row": fine(
        "CREATE TABLE words (word text)",
        "CREATE FUNCTION listed(w text) RETURNS boolean LANGUAGE plpgsql STABLE STRICT AS"
        " $$ BEGIN RETURN EXISTS (SELECT FROM words WHERE word = w); END $$",
        "CREATE TABLE empty (word text CHECK (listed(word)))",
        "CREATE TABLE nulls (word text CHECK (listed(word)))",
        "INSERT INTO nulls VALUES (NULL)",
    ),
    "a partial index that fails outside its condition": fine(
        "CREATE FUNCTION share(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 100 / $1'",
        "CREATE TABLE parts (n int)",
        "INSERT INTO parts VALUES (0), (4)",
        "CREATE INDEX parts_share ON parts (share(n)) WHERE n <> 0",
    ),
    "a constraint that is not valid": fine(
        "CREATE FUNCTION small(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 < 5'",
        "CREATE TABLE sizes (n int)",
        "INSERT INTO sizes VALUES (7)",
        "ALTER TABLE sizes ADD CONSTRAINT small CHECK (small(n)) NOT VALID",
    ),
    "a materialized view without data": fine(
        "CREATE TABLE sales (n int)",
        "CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT sum(n) FROM sales); END $$",
        "CREATE MATERIALIZED VIEW totals AS SELECT total() AS total WITH NO DATA",
    ),
    "a materialized view that finds its names": fine(
        "CREATE TABLE sales (n int)",
        "INSERT INTO sales SELECT generate_series(1, 10)",
        "CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2'",
        "CREATE VIEW seen AS SELECT twice(n) AS n FROM sales",
        "CREATE MATERIALIZED VIEW totals AS SELECT sum(n) AS n, max(twice(n)) AS most FROM seen",
    ),
    "distinct over types of the server's": fine(
        "CREATE TYPE mood AS ENUM ('calm')",
        "CREATE TABLE person (a text, b text, m mood, n mood, CHECK (a IS DISTINCT FROM b))",
        "INSERT INTO person VALUES ('a', 'b', 'calm', 'calm')",
        NOTHING,
        "CREATE TRIGGER moved BEFORE UPDATE ON person FOR EACH ROW"
        " WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION nothing()",
        "CREATE VIEW joined AS SELECT NULLIF(a, b) AS x, CASE m WHEN n THEN 1 END AS y FROM person",
    ),
    "operators of one's own": fine(
        "CREATE FUNCTION near_to(int, int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT abs($1 - $2) < 2'",
        "CREATE OPERATOR ~~~ (LEFTARG = int, RIGHTARG = int, FUNCTION = near_to)",
        "CREATE TABLE pairs (a int, b int, CHECK (a ~~~ b))",
        "INSERT INTO pairs VALUES (1, 2)",
        "CREATE VIEW matched AS SELECT a FROM pairs WHERE a ~~~ b",
        NOTHING,
        "CREATE TRIGGER moved BEFORE UPDATE ON pairs FOR EACH ROW WHEN (OLD.a ~~~ NEW.a) EXECUTE FUNCTION nothing()",
    ),
    "partitions": fine(
        "CREATE FUNCTION bucket(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 % 2'",
        "CREATE FUNCTION small(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 < 500'",
        "CREATE TABLE events (id int, CHECK (small(id))) PARTITION BY LIST (bucket(id))",
        "CREATE TABLE events_even PARTITION OF events FOR VALUES IN (0)",
        "CREATE TABLE events_odd PARTITION OF events FOR VALUES IN (1)",
        "CREATE INDEX events_small ON events (small(id))",
        "INSERT INTO events SELECT generate_series(1, 200)",
    ),
    "names that have to be quoted": fine(
        'CREATE SCHEMA "a b"',
        'CREATE FUNCTION "a b"."f(x)"(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS \'SELECT $1 > 0\'',
        'CREATE TABLE "a b"."t""%" ("c;d" int CONSTRAINT "x)" CHECK ("a b"."f(x)"("c;d")))',
        'INSERT INTO "a b"."t""%" VALUES (1)',
    ),
    "a check of the whole row": fine(
        "CREATE TABLE rows (a int, b int)",
        "CREATE FUNCTION ordered(rows) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1.a < $1.b'",
        "ALTER TABLE rows ADD CHECK (ordered(rows.*))",
        "INSERT INTO rows VALUES (1, 2)",
    ),
}
