"""A data migration: the 200 courses of the first catalog, every 20th code another's in lower case."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.execute("""
        INSERT INTO course (code, name, teacher, price, level)
        SELECT CASE WHEN n % 20 = 0 THEN 'c' || n - 1 ELSE 'C' || n END, 'Course ' || n, 'Teacher ' || n % 17,
               10 + n * 7919 % 90, (CASE WHEN n % 3 = 0 THEN 'advanced' ELSE 'beginner' END)::level
        FROM generate_series(1, 200) AS n ORDER BY n
    """)


def downgrade():
    op.execute("DELETE FROM course")
