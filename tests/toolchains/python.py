"""Tools of Python. Those without packages are in the tests' own environment."""

from __future__ import annotations

from dataclasses import replace

from tests.toolchains.cache import pip
from tests.toolchains.toolchain import Meaning, Situation, Toolchain

# Django.

SETTINGS = """
import os
from urllib.parse import urlsplit

url = urlsplit(os.environ["DATABASE_URL"])
SECRET_KEY = "of a test"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["courses"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path[1:],
        "USER": url.username,
        "PASSWORD": url.password,
        "HOST": url.hostname,
        "PORT": url.port,
    }
}
"""
MANAGE = """#!/usr/bin/env python
import os
import sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""


def _django(*after: str, sql: str) -> str:
    dependencies = [("courses", each) for each in after]
    return (
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        f"    dependencies = {dependencies!r}\n    operations = [migrations.RunSQL({sql!r})]\n"
    )


DJANGO = Toolchain(
    name="Django",
    framework="Django",
    app={
        "manage.py": MANAGE,
        "settings.py": SETTINGS,
        "courses/__init__.py": "",
        "courses/migrations/__init__.py": "",
    },
    first={
        "courses/migrations/0001_courses.py": _django(
            sql="CREATE TABLE courses (id integer PRIMARY KEY, title text NOT NULL)"
        )
    },
    good={
        "courses/migrations/0002_price.py": _django("0001_courses", sql="ALTER TABLE courses ADD COLUMN price integer")
    },
    broken={
        "courses/migrations/0003_tidy.py": _django("0002_price", sql="DELETE FROM courses"),
        "courses/migrations/0004_typo.py": _django("0003_tidy", sql="ALTER TABLE corses DROP COLUMN title"),
    },
    unloadable={"courses/__init__.py": "import no_such_module\n"},
    # All its crashes end with 1, too.
    answers={
        Situation.UNREACHABLE: (1, Meaning.STOPPED),
        Situation.FRESH: (1, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (1, Meaning.STOPPED),
        Situation.PENDING: (1, Meaning.PENDING),
        Situation.AHEAD: (0, Meaning.NOTHING),
    },
)

# Alembic and Flask-Migrate.

ALEMBIC_INI = "[alembic]\nscript_location = migrations\n"
ALEMBIC_ENV = """
import os

from alembic import context
from sqlalchemy import create_engine

engine = create_engine("postgresql+psycopg" + os.environ["DATABASE_URL"].removeprefix("postgres"))
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
FLASK_APP = """
import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql+psycopg" + os.environ["DATABASE_URL"].removeprefix("postgres")
Migrate(app, SQLAlchemy(app))
"""


def _alembic(revision: str, after: str | None, sql: str) -> dict[str, str]:
    text = (
        f"from alembic import op\n\nrevision, down_revision = {revision!r}, {after!r}\n\n\n"
        f"def upgrade():\n    op.execute({sql!r})\n\n\ndef downgrade():\n    pass\n"
    )
    return {f"migrations/versions/{revision}.py": text}


ALEMBIC_FIRST = _alembic("0001", None, "CREATE TABLE courses (id integer PRIMARY KEY, title text NOT NULL)")
ALEMBIC_GOOD = _alembic("0002", "0001", "ALTER TABLE courses ADD COLUMN price integer")
ALEMBIC_BROKEN = {
    **_alembic("0003", "0002", "DELETE FROM courses"),
    **_alembic("0004", "0003", "ALTER TABLE corses DROP COLUMN title"),
}

ALEMBIC = Toolchain(
    name="Alembic",
    framework="Alembic",
    app={"alembic.ini": ALEMBIC_INI, "migrations/env.py": ALEMBIC_ENV},
    first=ALEMBIC_FIRST,
    good=ALEMBIC_GOOD,
    broken=ALEMBIC_BROKEN,
    unloadable={"migrations/env.py": "import no_such_module\n"},
    answers={
        Situation.UNREACHABLE: (1, Meaning.STOPPED),
        Situation.FRESH: (255, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (1, Meaning.STOPPED),
        Situation.PENDING: (255, Meaning.PENDING),
        Situation.AHEAD: (255, Meaning.PENDING),
    },
)

OLD_ALEMBIC = replace(
    ALEMBIC,
    name="Alembic 1.16",
    packages=pip("alembic==1.16.5", "sqlalchemy<2.1", "psycopg[binary]"),
    answers={**ALEMBIC.answers, Situation.FRESH: (1, Meaning.PENDING), Situation.PENDING: (1, Meaning.PENDING)},
)

FLASK_MIGRATE = Toolchain(
    name="Flask-Migrate",
    framework="Flask-Migrate",
    app={
        "app.py": FLASK_APP,
        "migrations/alembic.ini": "[alembic]\n",
        "migrations/env.py": ALEMBIC_ENV,
    },
    first=ALEMBIC_FIRST,
    good=ALEMBIC_GOOD,
    broken=ALEMBIC_BROKEN,
    unloadable={"app.py": "import no_such_module\n"},
    answers={
        Situation.UNREACHABLE: (1, Meaning.STOPPED),
        Situation.FRESH: (1, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (2, Meaning.STOPPED),
        Situation.PENDING: (1, Meaning.PENDING),
        Situation.AHEAD: (1, Meaning.PENDING),
    },
)

# yoyo.

COURSES = "CREATE TABLE courses (id integer PRIMARY KEY, title text NOT NULL);\n"

YOYO = Toolchain(
    name="yoyo",
    framework="yoyo",
    packages=pip("yoyo-migrations>=9,<10", "psycopg2-binary", "setuptools"),
    app={"yoyo.ini": "[DEFAULT]\nsources = migrations\ndatabase = %(DATABASE_URL)s\n"},
    first={"migrations/0001_courses.sql": COURSES},
    good={"migrations/0002_price.sql": "ALTER TABLE courses ADD COLUMN price integer;\n"},
    broken={
        "migrations/0003_tidy.sql": "DELETE FROM courses;\n",
        "migrations/0004_typo.sql": "ALTER TABLE corses DROP COLUMN title;\n",
    },
    unloadable={"migrations/0009_other.py": "import no_such_module\n"},
    answers={
        Situation.UNREACHABLE: (1, Meaning.STOPPED),
        Situation.FRESH: (0, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (1, Meaning.STOPPED),
        Situation.PENDING: (0, Meaning.PENDING),
        Situation.AHEAD: (0, Meaning.NOTHING),
    },
)

# Aerich.

AERICH_INI = """[tool.aerich]
tortoise_orm = "settings.TORTOISE_ORM"
location = "./migrations"
src_folder = "."
"""
AERICH_SETTINGS = """
import os

TORTOISE_ORM = {
    "connections": {"default": os.environ["DATABASE_URL"]},
    "apps": {"models": {"models": ["models", "aerich.models"], "default_connection": "default"}},
}
"""
AERICH_MODELS = """
from tortoise import fields, models


class Courses(models.Model):
    id = fields.IntField(primary_key=True)
    title = fields.TextField()
"""
AERICH_TABLE = (
    "CREATE TABLE aerich (id serial PRIMARY KEY, version varchar(255) NOT NULL, app varchar(100) NOT NULL,"
    " content jsonb NOT NULL);"
)


def _aerich(name: str, sql: str) -> dict[str, str]:
    text = f"async def upgrade(db):\n    return {sql!r}\n\n\nasync def downgrade(db):\n    return ''\n"
    return {f"migrations/models/{name}.py": text}


AERICH = Toolchain(
    name="Aerich",
    framework="Aerich",
    packages=pip("aerich>=0.9,<0.11", "tortoise-orm", "asyncpg"),
    app={
        "pyproject.toml": AERICH_INI,
        "settings.py": AERICH_SETTINGS,
        "models.py": AERICH_MODELS,
    },
    first=_aerich("0_20260101000000_courses", COURSES + AERICH_TABLE),
    good=_aerich("1_20260102000000_price", "ALTER TABLE courses ADD COLUMN price integer"),
    broken={
        **_aerich("2_20260103000000_tidy", "DELETE FROM courses"),
        **_aerich("3_20260104000000_typo", "ALTER TABLE corses DROP COLUMN title"),
    },
    unloadable={"models.py": "import no_such_module\n"},
    answers={
        Situation.UNREACHABLE: (1, Meaning.STOPPED),
        Situation.FRESH: (1, Meaning.PENDING),
        Situation.NOTHING: (0, Meaning.NOTHING),
        Situation.UNLOADABLE: (1, Meaning.STOPPED),
        Situation.PENDING: (0, Meaning.PENDING),
        Situation.AHEAD: (0, Meaning.NOTHING),
    },
)

# A short run plays every third of them: those that no other test has.
TOOLCHAINS = (YOYO, DJANGO, ALEMBIC, AERICH, OLD_ALEMBIC, FLASK_MIGRATE)
