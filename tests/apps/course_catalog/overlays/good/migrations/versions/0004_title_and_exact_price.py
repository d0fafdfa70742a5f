"""Rename a column and change the type of another, which rewrites the table."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade():
    op.alter_column("course", "name", new_column_name="title")
    op.alter_column("course", "price", type_=sa.Numeric(8, 2))


def downgrade():
    op.alter_column("course", "price", type_=sa.Integer)
    op.alter_column("course", "title", new_column_name="name")
