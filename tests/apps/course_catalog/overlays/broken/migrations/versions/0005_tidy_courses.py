"""Destroys data, and commits: how codes were spelled and who teaches cannot be computed again."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade():
    op.execute("UPDATE course SET code = upper(code)")
    op.drop_column("course", "teacher")


def downgrade():
    raise NotImplementedError("there is no way back")
