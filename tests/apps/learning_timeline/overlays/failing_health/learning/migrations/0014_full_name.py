"""Lands, and breaks every read: SQL by hand that the model was not told of.

`makemigrations --check` compares models with migrations, not with the database: it sees nothing.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0013_latest_of_a_course")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE learning_learner RENAME COLUMN name TO full_name",
            "ALTER TABLE learning_learner RENAME COLUMN full_name TO name",
        ),
    ]
