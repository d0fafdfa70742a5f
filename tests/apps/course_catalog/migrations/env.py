"""Run by every `alembic` command: connects, and runs the migrations, each in its own transaction."""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, make_url, pool

LOOPBACK = {None, "localhost", "127.0.0.1", "::1"}


def database():
    """The engine for DATABASE_URL. Heroku writes `postgres://`, which SQLAlchemy does not know."""
    url = make_url(os.environ["DATABASE_URL"].replace("postgres://", "postgresql://", 1))
    url = url.set(drivername="postgresql+psycopg")
    if url.host not in LOOPBACK:  # Heroku's Postgres insists on TLS; one on this machine may not speak it
        url = url.update_query_dict({"sslmode": "require"})
    return create_engine(url, poolclass=pool.NullPool)


if context.is_offline_mode():
    raise SystemExit("These migrations look at the data: they cannot be written out as a script.")

fileConfig(context.config.config_file_name, disable_existing_loggers=False)
with database().connect() as connection:
    # A concurrent index needs to leave the transaction, and so commits what came before it: better that every
    # migration stands for itself, and a failure of one is never mistaken for a rollback of all.
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
