"""The database as it is, seen from outside: a dump that the tests make themselves, never the hook's own word."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import psycopg

from tests.hook import POSTGRES_BIN

PLAIN = "allow"
"""`sslmode` of whoever looks from outside: without TLS where the server lets them, which costs a third less."""


def picture(superuser_url: str) -> str:
    """All of a database but the hook's own journal: structure, data, ownership and grants, sequences' positions."""
    dump = subprocess.run(
        [POSTGRES_BIN / "pg_dump", "--exclude-schema=release_phase", superuser_url],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PGSSLMODE": PLAIN},
    ).stdout
    # A dump made by PostgreSQL's newest minor releases brackets itself with a random word.
    return re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.MULTILINE)


Picture = dict[str, str]
"""A database from outside, by name: `TABLE DATA public.learners`, `database comment`, … with the whole text of each."""

_ENTRY = re.compile(r"^-- (?:Data for )?Name: (.*); Type: (.*); Schema: (.*); Owner: .*$")
_CAST = re.compile(
    r"::(?:character varying|double precision|bit varying|time(?:stamp)? with(?:out)? time zone"
    r'|(?:"[^"]+"|[\w]+)(?:\.(?:"[^"]+"|\w+))?)(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])*'
)
_OTHERWISE_TOLD = ("BLOB METADATA ", "ACL -.LARGE OBJECT ", "BLOBS ")
_LITERAL = ("TABLE DATA ", "FUNCTION ", "PROCEDURE ", "COMMENT ", "SEQUENCE SET ")
_USUAL_COMMENT = {"COMMENT ON SCHEMA public IS '';", "COMMENT ON SCHEMA public IS 'standard public schema';"}
_OF_THE_DUMP = ("\\restrict", "\\unrestrict", "SET default_", "-- PostgreSQL database dump complete")
_ROLE_OF_DATABASE = "(SELECT datdba FROM pg_database WHERE datname = current_database())"
_HEROKUS_TRIGGERS = "('extension_before_drop', 'log_create_ext', 'log_drop_ext', 'validate_extension')"
_NOT_THEIRS = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast', '_heroku', 'release_phase')"

_OUTSIDE_A_DUMP = {
    "setting": f"""
        SELECT CASE WHEN setdatabase = 0 THEN 'everywhere ' ELSE 'here ' END || coalesce(rolname, 'everybody'),
               (SELECT string_agg(each, ', ' ORDER BY each) FROM unnest(setconfig) AS each)
        FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
              OR (setdatabase = 0 AND setrole = {_ROLE_OF_DATABASE})""",
    "role": f"""
        SELECT 'attributes', concat_ws(' ', rolconnlimit, rolcanlogin, rolvaliduntil, rolinherit)
        FROM pg_roles WHERE oid = {_ROLE_OF_DATABASE}""",
    "database": """
        SELECT what, value FROM pg_database, LATERAL (VALUES
            ('grants', (SELECT string_agg(each::text, ', ' ORDER BY each::text) FROM unnest(datacl) AS each)),
            ('connection limit', datconnlimit::text), ('comment', shobj_description(oid, 'pg_database')),
            ('owner', datdba::regrole::text)) AS facts (what, value)
        WHERE datname = current_database()""",
    "event trigger": f"""
        SELECT evtname, concat_ws(' ', evtevent, evtenabled, evtfoid::regproc, evtowner::regrole, evttags)
        FROM pg_event_trigger WHERE evtname NOT IN {_HEROKUS_TRIGGERS}""",
    "publication": """
        SELECT pubname, concat_ws(' ', puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot,
            (SELECT string_agg(concat_ws(' ', schemaname, tablename,
                (SELECT array_agg(a ORDER BY a) FROM unnest(attnames) AS a), rowfilter), '; '
                               ORDER BY schemaname, tablename)
             FROM pg_publication_tables AS each WHERE each.pubname = pg_publication.pubname))
        FROM pg_publication""",
    "invalid index": "SELECT indexrelid::regclass::text, '' FROM pg_index WHERE NOT indisvalid",
    "large object": """
        SELECT oid::text, concat_ws(' ', lomowner::regrole, lomacl, md5(lo_get(oid))) FROM pg_largeobject_metadata""",
    "security label": "SELECT concat_ws(' ', objtype, objname, provider), label FROM pg_seclabels",
    "extension": """
        SELECT extname, concat_ws(' ', extversion, extnamespace::regnamespace, extowner::regrole) FROM pg_extension""",
    "user mapping": """
        SELECT concat_ws(' ', srvname, usename), (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(umoptions) o)
        FROM pg_user_mappings""",
    "prepared transaction": "SELECT gid, owner FROM pg_prepared_xacts WHERE database = current_database()",
    "means": """
        SELECT pg_describe_object(classid, objid, objsubid),
               string_agg(DISTINCT pg_describe_object(refclassid, refobjid, 0), ', '
                          ORDER BY pg_describe_object(refclassid, refobjid, 0))
        FROM pg_depend
        WHERE deptype = 'n' AND objid >= 16384 AND refclassid IN ('pg_operator'::regclass, 'pg_proc'::regclass)
              AND classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_attrdef'::regclass,
                              'pg_constraint'::regclass, 'pg_policy'::regclass, 'pg_class'::regclass)
        GROUP BY 1""",
}
"""Queries of a name and a text each: what a dump leaves out, and what names have been resolved to (`means`)."""

_VIEWS = f"""
    SELECT CASE relkind WHEN 'm' THEN 'rows of materialized view ' ELSE 'rows of view ' END || oid::regclass,
           format('SELECT md5(coalesce(string_agg(v::text, chr(10) ORDER BY v::text), %L)) FROM %s AS v',
                  '', oid::regclass)
    FROM pg_class
    WHERE relkind IN ('v', 'm') AND relnamespace::regnamespace::text {_NOT_THEIRS}
          AND (relkind = 'v' OR relispopulated)
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')"""
"""What views answer: after a restore they may print alike and mean something else."""


def whole_picture(superuser_url: str) -> Picture:
    """All that can be told of a database from outside, by name; the hook's journal and Heroku's own schema left out.

    A dump's entries, whole; what no dump holds (`_OUTSIDE_A_DUMP`); and what the views answer, or why they do not.
    """
    found = _dumped(superuser_url)
    with psycopg.connect(superuser_url, autocommit=True, sslmode=PLAIN) as connection:
        connection.execute("SET search_path = ''")
        for kind, statement in _OUTSIDE_A_DUMP.items():
            for name, text in connection.execute(statement.encode()):
                found[f"{kind} {name}"] = str(text)
        connection.execute("SET statement_timeout = '5s'")
        for name, statement in connection.execute(_VIEWS.encode()).fetchall():
            found[name] = _answer(connection, statement)
    return found


def differing(before: Picture, after: Picture) -> list[str]:
    """The names of what is not the same in two pictures."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _dumped(superuser_url: str) -> Picture:
    """The entries of a dump by type and name; entries of one name, such as overloaded functions, together."""
    found: Picture = {}
    argv = [str(POSTGRES_BIN / "pg_dump"), "--exclude-schema=release_phase", "--exclude-schema=_heroku", superuser_url]
    environ = {**os.environ, "PGSSLMODE": PLAIN}
    dump = subprocess.run(argv, check=True, capture_output=True, text=True, env=environ).stdout
    name, lines = "", dict[str, list[str]]()
    for line in dump.splitlines():
        if entry := _ENTRY.match(line):
            name = f"{entry[2]} {entry[3]}.{entry[1]}"
        elif name and line not in {"", "--"} and not line.startswith(_OF_THE_DUMP):
            lines.setdefault(name, []).append(line)
    for name, text in lines.items():
        whole = "\n".join(text)
        if whole not in _USUAL_COMMENT and not name.startswith(_OTHERWISE_TOLD):
            found[name] = whole if name.startswith(_LITERAL) else _plain(whole)
            if name.startswith(("ACL ", "DEFAULT ACL ")):
                found[name] = "; ".join(sorted(found[name].split(";")))
    return found


def _plain(text: str) -> str:
    """A definition less its casts and parentheses, with which an expression prints otherwise once it was loaded.

    What it means is told by `means` and by what the views answer.
    """
    return re.sub(r" ?([,;\[\]]) ?", r"\1", re.sub(r"[()\s]+", " ", _CAST.sub("", text)))


def _answer(connection: psycopg.Connection, statement: str) -> str:
    try:
        row = connection.execute(statement.encode()).fetchone()
    except psycopg.Error as error:
        return f"{error.sqlstate} {error}"
    return str(row and row[0])


def execute(url: str, *statements: str) -> None:
    """Runs statements, each its own transaction."""
    with psycopg.connect(url, autocommit=True, sslmode=PLAIN) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """The rows of a query."""
    with psycopg.connect(url, autocommit=True, sslmode=PLAIN) as connection:
        return connection.execute(statement.encode()).fetchall()


def running(url: str, words: str) -> bool:
    """Whether another session of this very database runs a statement with these words; a cluster has many tests'."""
    with psycopg.connect(url, autocommit=True, sslmode=PLAIN) as connection:
        found = connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND state = 'active' AND strpos(query, %s) > 0",
            [words],
        )
        return found.rowcount > 0


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found]
