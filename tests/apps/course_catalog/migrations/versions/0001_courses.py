"""Create a table with an enumerated type."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

LEVEL = sa.Enum("beginner", "advanced", name="level")


def upgrade():
    op.create_table(
        "course",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("code", sa.String(20), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("teacher", sa.String(120), nullable=False),
        sa.Column("price", sa.Integer, nullable=False),
        sa.Column("level", LEVEL, nullable=False, server_default="beginner"),
    )


def downgrade():
    op.drop_table("course")
    LEVEL.drop(op.get_bind())
