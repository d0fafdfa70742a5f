"""Fails, after 0005 was committed: in capitals some codes are there twice."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade():
    op.create_unique_constraint("course_code", "course", ["code"])


def downgrade():
    op.drop_constraint("course_code", "course")
