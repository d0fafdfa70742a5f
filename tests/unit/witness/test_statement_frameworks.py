"""What frameworks ask before they migrate is seen for what it is: reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from release.witness.verdict import Word
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import before, vocabulary

ALCHEMY = """
import os, sqlalchemy
engine = sqlalchemy.create_engine(os.environ["DATABASE_URL"].replace("postgres:", "postgresql+psycopg:"))
with engine.connect() as connection:
    connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))
    sqlalchemy.MetaData().reflect(connection, views=True)
    found = sqlalchemy.inspect(connection)
    for table in found.get_table_names():
        found.get_check_constraints(table), found.get_unique_constraints(table), found.get_table_comment(table)
    found.get_sequence_names(), found.get_enums(), found.get_schema_names()
    connection.commit()
"""

DJANGO = """
import os, django, dj_database_url
from django.conf import settings
settings.configure(
    DATABASES={"default": dj_database_url.parse(os.environ["DATABASE_URL"])},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
)
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
call_command("showmigrations", verbosity=0)
call_command("migrate", plan=True, verbosity=0)
with connection.cursor() as cursor:
    for table in connection.introspection.table_names(cursor):
        connection.introspection.get_table_description(cursor, table)
        connection.introspection.get_constraints(cursor, table)
        connection.introspection.get_sequences(cursor, table)
with transaction.atomic():
    connection.introspection.django_table_names()
"""


COMMANDS = {
    "SQLAlchemy": [sys.executable, "-c", ALCHEMY],
    "Django": [sys.executable, "-c", DJANGO],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_framework_asks_beforehand_is_a_read(database: Database, tmp_path: Path, name: str) -> None:
    database.execute(
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE TABLE t (id serial PRIMARY KEY, name text UNIQUE CHECK (name <> ''), mood mood DEFAULT 'good')",
        "CREATE TABLE child (t integer REFERENCES t, n numeric(10, 2), g int GENERATED ALWAYS AS IDENTITY)",
        "CREATE INDEX i ON t (lower(name)) WHERE id > 0",
        "CREATE VIEW v AS SELECT name FROM t",
        "CREATE TABLE alembic_version (version_num text)",
        "COMMENT ON TABLE t IS 'a table'",
    )
    for witnessed in before(database, vocabulary(database)):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATABASE_URL": witnessed.url()}
        done = subprocess.run(COMMANDS[name], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert witnessed.verdict().word is Word.NOTHING, witnessed.seen()
        assert witnessed.seen().statements > 5
