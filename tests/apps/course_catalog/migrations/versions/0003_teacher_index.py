"""Build an index concurrently, outside a transaction."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("course_teacher", "course", ["teacher"], postgresql_concurrently=True)


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("course_teacher", "course", postgresql_concurrently=True)
