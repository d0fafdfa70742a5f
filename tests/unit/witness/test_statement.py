"""The table of statements: what is said of each, and whether the database agrees when it is asked from outside.

A case's statements run one after the other in autocommit mode, by the simple protocol, whatever the server says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from release.witness.lexer import SHOWN
from release.witness.statement import shape, statements
from release.witness.verdict import Word
from release.witness.vocabulary import Vocabulary
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import Witnessed, before, vocabulary

NOTHING, COMMITTED, UNKNOWN = Word.NOTHING, Word.COMMITTED, Word.UNKNOWN

SETUP = """
CREATE TABLE t (id serial PRIMARY KEY, name text UNIQUE);
INSERT INTO t (name) VALUES ('one');
CREATE TABLE child (t integer REFERENCES t DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS $$ INSERT INTO t (name) VALUES ('by f') RETURNING id $$;
CREATE FUNCTION "Writes"() RETURNS int LANGUAGE sql AS $$ SELECT writes() $$;
CREATE FUNCTION looks() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT count(*) FROM t $$;
CREATE FUNCTION fails() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t (name) VALUES ('p'); COMMIT; RAISE 'no'; END $$;
CREATE PROCEDURE quiet() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t (name) VALUES ('q'); END $$;
"""

ADD = "INSERT INTO t (name) VALUES ('new')"
TWICE = "INSERT INTO t (name) VALUES ('one')"  # fails: it is there

TABLE: dict[str, tuple[Word, tuple[str, ...]]] = {
    # Reads
    "a select": (NOTHING, ("SELECT 1",)),
    "a select of a table": (NOTHING, ("SELECT name FROM t WHERE id IN (1, 2)",)),
    "a select with functions": (NOTHING, ("SELECT count(*), max(lower(name)), now(), version() FROM t",)),
    "a window": (NOTHING, ("SELECT row_number() OVER (ORDER BY id) FROM t",)),
    "aliases with columns": (
        NOTHING,
        (
            "SELECT a FROM unnest(ARRAY[1]) WITH ORDINALITY x(a, b)",
            "SELECT a FROM (SELECT 1) AS x(a)",
            "WITH RECURSIVE x(a) AS MATERIALIZED (SELECT 1) SELECT a FROM x",
        ),
    ),
    "a select with a WITH": (NOTHING, ("WITH x AS (SELECT 1 AS a) SELECT a FROM x",)),
    "values": (NOTHING, ("VALUES (1), (2)",)),
    "a table": (NOTHING, ("TABLE t",)),
    "a select in parentheses": (NOTHING, ("(SELECT 1) UNION (SELECT 2)",)),
    "words of writes in texts": (NOTHING, ("SELECT 'INSERT INTO', $$UPDATE$$, \"name\" /* DELETE */ FROM t -- INTO",)),
    "settings": (
        NOTHING,
        ("SET search_path = public", "SHOW search_path", "RESET ALL", "SELECT set_config('a.b','c',false)"),
    ),
    "an advisory lock": (NOTHING, ("SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)")),
    "explain": (NOTHING, ("EXPLAIN SELECT * FROM t", "EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM t")),
    "a cursor": (NOTHING, ("BEGIN", "DECLARE c CURSOR FOR SELECT * FROM t", "FETCH ALL FROM c", "CLOSE c", "COMMIT")),
    "a transaction of reads": (NOTHING, ("BEGIN", "SELECT 1", "LOCK TABLE t", "COMMIT")),
    "listen": (NOTHING, ("LISTEN a", "UNLISTEN a")),
    "nothing at all": (NOTHING, ("", ";", "-- nothing")),
    "a prepared read": (NOTHING, ("PREPARE p AS SELECT 1", "DEALLOCATE p")),
    "a failing read": (NOTHING, ("SELECT 1/0", "SELECT nothing_of_this_name", "SELEC")),
    "copy out": (NOTHING, ("COPY t TO STDOUT", "COPY (SELECT name FROM t) TO STDOUT WITH (FORMAT csv)")),
    "copy out as pg_dump says it": (
        NOTHING,
        ("COPY public.t (id, name) TO stdout", "COPY t(id) TO stdout (FORMAT csv)"),
    ),
    "copy out of a query with functions": (
        NOTHING,
        ("COPY (SELECT count(*) FROM t) TO STDOUT (FORCE_QUOTE (count), FORMAT csv)",),
    ),
    "copy out, the other word for it": (NOTHING, ("COPY t TO STDIN",)),
    # Writes that stay
    "an insert": (COMMITTED, (ADD,)),
    "a select into": (COMMITTED, ("SELECT 1 AS a INTO b",)),
    "create table as": (COMMITTED, ("CREATE TABLE b AS SELECT 1 AS a",)),
    "a WITH that inserts": (COMMITTED, (f"WITH x AS ({ADD} RETURNING id) SELECT id FROM x",)),
    "a function that writes": (COMMITTED, ("SELECT writes()",)),
    "a quoted function": (COMMITTED, ('SELECT "Writes"()',)),
    "a function in a FROM": (COMMITTED, ("SELECT * FROM writes()",)),
    "a function behind an alias": (COMMITTED, ("SELECT 1 FROM (SELECT 1) AS x(a), writes()",)),
    "a function in a table": (COMMITTED, ("SELECT name FROM t WHERE id = writes()",)),
    "explain analyze of a write": (COMMITTED, (f"EXPLAIN ANALYZE {ADD}",)),
    "explain analyze of a function": (COMMITTED, ("EXPLAIN ANALYZE SELECT writes()",)),
    "do": (COMMITTED, (f"DO $$ BEGIN {ADD}; END $$",)),
    "a call": (COMMITTED, ("CALL quiet()",)),
    "a call that commits inside and fails": (UNKNOWN, ("CALL commits()",)),
    "do that commits inside and fails": (UNKNOWN, (f"DO $$ BEGIN {ADD}; COMMIT; RAISE 'no'; END $$",)),
    "a prepared transaction": (COMMITTED, ("BEGIN", ADD, "PREPARE TRANSACTION 'x'")),
    "a prepared transaction of reads": (COMMITTED, ("BEGIN", "SELECT 1", "PREPARE TRANSACTION 'x'")),
    "a large object": (COMMITTED, ("SELECT lo_create(0)",)),
    "nextval": (COMMITTED, ("SELECT nextval('t_id_seq')",)),
    "setval": (COMMITTED, ("SELECT setval('t_id_seq', 9)",)),
    "setval in a rolled back transaction": (UNKNOWN, ("BEGIN", "SELECT setval('t_id_seq', 9)", "ROLLBACK")),
    "setval in a DO that is rolled back": (
        UNKNOWN,
        ("BEGIN", "DO $$ BEGIN PERFORM setval('t_id_seq', 9); END $$", "ROLLBACK"),
    ),
    "for update": (COMMITTED, ("SELECT * FROM t FOR UPDATE",)),
    "for share": (COMMITTED, ("SELECT * FROM t FOR KEY SHARE",)),
    "copy of a function that writes": (COMMITTED, ("COPY (SELECT writes()) TO STDOUT (FORMAT csv)",)),
    "copy of a write": (COMMITTED, (f"COPY ({ADD} RETURNING id) TO STDOUT",)),
    "many in one string": (COMMITTED, (f"SELECT 1; {ADD}; SELECT 2",)),
    "many with a COMMIT in the middle, then an error": (COMMITTED, (f"{ADD}; COMMIT; SELECT 1/0",)),
    "many with a COMMIT in the end": (COMMITTED, (f"BEGIN; {ADD}; COMMIT",)),
    "a transaction": (COMMITTED, ("BEGIN", ADD, "COMMIT")),
    "a transaction ended with END": (COMMITTED, ("START TRANSACTION", ADD, "END")),
    "a savepoint rolled back to": (COMMITTED, ("BEGIN", ADD, "SAVEPOINT a", TWICE, "ROLLBACK TO a", "COMMIT")),
    "a savepoint alone was rolled back": (COMMITTED, ("BEGIN", "SAVEPOINT a", ADD, "ROLLBACK TO a", "COMMIT")),
    "commit and chain": (COMMITTED, ("BEGIN", ADD, "COMMIT AND CHAIN", "SELECT 1", "ROLLBACK")),
    "rollback and chain, then a commit": (COMMITTED, ("BEGIN", "ROLLBACK AND CHAIN", ADD, "COMMIT")),
    "an execute": (COMMITTED, ("PREPARE p AS SELECT writes()", "EXECUTE p")),
    "a cursor that writes": (COMMITTED, ("BEGIN", "DECLARE c CURSOR FOR SELECT writes()", "FETCH c", "COMMIT")),
    "vacuum": (COMMITTED, ("VACUUM t",)),
    "an index built concurrently": (COMMITTED, ("CREATE INDEX CONCURRENTLY i ON t (id)",)),
    "an index that fails midway": (
        UNKNOWN,
        ("BEGIN", "ROLLBACK", "CREATE UNIQUE INDEX CONCURRENTLY i ON t ((1 / (id - 1)))"),
    ),
    "a notification": (COMMITTED, ("NOTIFY a",)),
    "a comment": (COMMITTED, ("COMMENT ON TABLE t IS 'x'",)),
    "a refresh": (COMMITTED, ("CREATE MATERIALIZED VIEW v AS SELECT 1", "REFRESH MATERIALIZED VIEW v")),
    "a setting of the role": (COMMITTED, ("ALTER ROLE CURRENT_USER SET work_mem = '5MB'",)),
    "a temporary table": (COMMITTED, ("CREATE TEMP TABLE x (a int)",)),
    "an insert with odd strings": (COMMITTED, ("SET standard_conforming_strings = off", r"SELECT '\'', writes() --'")),
    # Writes that are undone
    "a rollback": (NOTHING, ("BEGIN", ADD, "ROLLBACK")),
    "an abort": (NOTHING, ("BEGIN", ADD, "ABORT")),
    "a rolled back DO": (NOTHING, ("BEGIN", f"DO $$ BEGIN {ADD}; END $$", "ROLLBACK")),
    "a rolled back function": (NOTHING, ("BEGIN", "SELECT writes()", "SELECT nextval('t_id_seq')", "ROLLBACK")),
    "a commit that answers rollback": (NOTHING, ("BEGIN", ADD, TWICE, "COMMIT")),
    "a prepare that answers rollback": (NOTHING, ("BEGIN", ADD, TWICE, "PREPARE TRANSACTION 'x'")),
    "a failing statement": (NOTHING, (TWICE,)),
    "a failing function": (NOTHING, ("SELECT fails()",)),
    "many in one string, the last of which fails": (NOTHING, (f"{ADD}; CREATE TABLE b (); {TWICE}",)),
    "many with a ROLLBACK in the end": (NOTHING, (f"{ADD}; ROLLBACK",)),
    "a block in one string that fails": (NOTHING, (f"BEGIN; {ADD}; {TWICE}; COMMIT", "ROLLBACK")),
    "a deferred constraint that fails at COMMIT": (NOTHING, ("BEGIN", "INSERT INTO child VALUES (99)", "COMMIT")),
    "a deferred constraint that fails by itself": (NOTHING, ("INSERT INTO child VALUES (99)",)),
    "a call in a block, rolled back": (NOTHING, ("BEGIN", "CALL quiet()", "ROLLBACK")),
    "a call that may not commit in a block": (NOTHING, ("BEGIN", "CALL commits()", "ROLLBACK")),
    "left open": (NOTHING, ("BEGIN", ADD)),
    "rollback and chain": (NOTHING, ("BEGIN", ADD, "ROLLBACK AND CHAIN", "SELECT 1", "COMMIT")),
    "a nested savepoint in what is rolled back": (NOTHING, ("BEGIN", "SAVEPOINT a", ADD, "RELEASE a", "ROLLBACK")),
}

CONTENT = """
SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM child), (SELECT last_value FROM t_id_seq),
       (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
       (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_prepared_xacts),
       (SELECT setconfig FROM pg_db_role_setting WHERE setrole = current_user::regrole)
"""


@pytest.fixture
def known(database: Database) -> Iterator[Witnessed]:
    """A witness that has asked the server about its functions, before a database with some tables."""
    database.execute(SETUP)
    yield from before(database, vocabulary(database))


@pytest.fixture
def unasked(database: Database) -> Iterator[Witnessed]:
    """A witness that knows only PostgreSQL's usual functions."""
    database.execute(SETUP)
    yield from before(database)


def content(witnessed: Witnessed) -> tuple[Any, ...]:
    with psycopg.connect(
        witnessed.database.server.url(witnessed.database.name, witnessed.database.owner, "secret")
    ) as c:
        found = c.execute(CONTENT).fetchone()
    assert found is not None
    return found


def run(witnessed: Witnessed, texts: tuple[str, ...]) -> None:
    """Each text as it is, by the simple protocol, errors and all."""
    with closing(witnessed.connect()) as connection:  # not `with connection`, which commits
        for text in texts:
            result = connection.pgconn.exec_(text.encode())
            while result.status == psycopg.pq.ExecStatus.COPY_OUT:
                if connection.pgconn.get_copy_data(0)[0] == -1:
                    result = connection.pgconn.get_result() or result
                    break
            while connection.pgconn.get_result():
                pass


def roll_back_prepared(witnessed: Witnessed) -> None:
    with witnessed.database.server.session(witnessed.database.name) as session:
        if session.execute("SELECT FROM pg_prepared_xacts WHERE gid = 'x'").fetchall():
            session.execute("ROLLBACK PREPARED 'x'")


@pytest.mark.parametrize("case", TABLE)
def test_what_is_said_of_a_statement_is_what_the_database_shows(known: Witnessed, case: str) -> None:
    word, texts = TABLE[case]
    was = content(known)
    run(known, texts)
    assert known.verdict().word is word, known.seen()
    now = content(known)
    roll_back_prepared(known)
    if word is NOTHING:  # sequences apart, which every rolled back insert moves
        assert [*was[:2], *was[3:]] == [*now[:2], *now[3:]]


@pytest.mark.parametrize("case", [case for case, (word, _) in TABLE.items() if word is COMMITTED])
def test_a_witness_that_has_not_asked_calls_nothing_a_read_that_is_none(unasked: Witnessed, case: str) -> None:
    run(unasked, TABLE[case][1])
    assert unasked.verdict().word is COMMITTED
    roll_back_prepared(unasked)


def test_a_stable_function_of_the_app_is_a_read_only_when_the_server_says_so(known: Witnessed) -> None:
    run(known, ("SELECT looks()",))
    assert known.verdict().word is NOTHING


def test_a_stable_function_is_a_write_when_nobody_was_asked(unasked: Witnessed) -> None:
    run(unasked, ("SELECT looks()",))
    assert unasked.verdict().word is COMMITTED


HIDDEN = {
    "a view": ("CREATE VIEW v AS SELECT writes() AS id", "SELECT id FROM v"),
    "a column that is a function": (
        "CREATE FUNCTION f(t) RETURNS int LANGUAGE sql AS 'SELECT writes()'",
        "SELECT t.f FROM t",
    ),
    "an operator": (
        "CREATE FUNCTION o(t) RETURNS int LANGUAGE sql AS 'SELECT writes()';"
        "CREATE OPERATOR !! (RIGHTARG = t, FUNCTION = o)",
        "SELECT !! t FROM t",
    ),
    "a namesake": ("CREATE FUNCTION lower(t) RETURNS int LANGUAGE sql AS 'SELECT writes()'", "SELECT lower(t) FROM t"),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_a_function_called_without_its_name_makes_no_read(database: Database, case: str) -> None:
    made, text = HIDDEN[case]
    database.execute(SETUP, made)
    for witnessed in before(database, vocabulary(database)):
        run(witnessed, (text,))
        assert witnessed.verdict().word is COMMITTED


LASTING = {
    "a function that calls setval": "SELECT moves()",
    "a function that calls that one": "SELECT calls()",
    "a DO that calls it": "DO $$ BEGIN PERFORM moves(); END $$",
}
MOVES = "CREATE FUNCTION moves() RETURNS bigint LANGUAGE sql AS $$ SELECT setval('t_id_seq', 9) $$"
CALLS = "CREATE FUNCTION calls() RETURNS bigint LANGUAGE sql AS $$ SELECT moves() $$"
FIRES = (
    "CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN PERFORM SetVal('t_id_seq', 9); RETURN new; END $$",
    "CREATE TRIGGER fires BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fires()",
)


@pytest.mark.parametrize("case", LASTING)
def test_a_function_whose_work_outlasts_a_rollback_leaves_a_doubt(database: Database, case: str) -> None:
    database.execute(SETUP, MOVES, CALLS)
    for witnessed in before(database, vocabulary(database)):
        run(witnessed, ("BEGIN", LASTING[case], "ROLLBACK"))
        assert witnessed.verdict().word is UNKNOWN


@pytest.mark.parametrize(("made", "word"), [((), NOTHING), ((MOVES,), NOTHING), (FIRES, UNKNOWN)])
def test_a_rolled_back_insert_is_nothing_unless_a_trigger_may_last(
    database: Database, made: tuple[str, ...], word: Word
) -> None:
    database.execute(SETUP, *made)
    for witnessed in before(database, vocabulary(database)):
        run(witnessed, ("BEGIN", ADD, "ROLLBACK"))
        assert witnessed.verdict().word is word


SHAPES = {
    "SELECT  a,b FROM t\nWHERE c = 'x' AND d=-1.5e3": "SELECT a, b FROM t WHERE c = ? AND d = - ?",
    r"SELECT E'it\'s a secret', $$secret$$, $x$secret$x$, U&'secret'": "SELECT ?, ?, ?, ?",
    "INSERT INTO t VALUES ('it''s', NULL, $1) -- secret": "INSERT INTO t VALUES (?, NULL, $1)",
    '/* secret */ UPDATE "Some Table" SET a=\'secret': 'UPDATE "Some Table" SET a = ?',
    "DO $$ secret": "DO ?",
}


@pytest.mark.parametrize("text", SHAPES)
def test_a_shape_has_no_value_and_no_comment_in_it(text: str) -> None:
    assert shape(text.encode()) == SHAPES[text]


def test_a_long_shape_is_cut() -> None:
    found = shape(b"SELECT " + b"a, " * 1000)
    assert (found[:12], found[-1], len(found)) == ("SELECT a, a,", "…", SHOWN + 1)


@pytest.mark.parametrize(
    ("text", "count"),
    [("SELECT 1; SELECT 2", 2), (";;SELECT ';' ; ", 1), ("CREATE RULE r AS ON INSERT TO t DO (A; B); SELECT 1", 2)],
)
def test_a_string_is_split_where_the_server_splits_it(text: str, count: int) -> None:
    assert len(statements(text.encode(), whole=True, plain=True, vocabulary=Vocabulary())) == count


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 /* a /* b */ ; SELECT 2 */",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 1",
    ],
)
def test_what_may_be_split_wrongly_is_no_read(text: str) -> None:
    judged = statements(text.encode(), whole=True, plain=True, vocabulary=Vocabulary())
    assert [statement.tag for statement in judged] == [None]


def test_a_text_that_was_not_seen_whole_is_no_read() -> None:
    assert statements(b"SELECT 1", whole=False, plain=True, vocabulary=Vocabulary())[0].tag is None


def test_the_server_has_its_own_word_about_its_functions(database: Database) -> None:
    asked = vocabulary(database)
    assert {"lower", "count", "pg_get_constraintdef", "generate_series"} <= asked.harmless
    assert asked.harmless.isdisjoint({"nextval", "setval", "lo_create", "pg_notify", "set_config"})
    assert not asked.hidden
