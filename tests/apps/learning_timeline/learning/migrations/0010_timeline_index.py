"""Build an index concurrently: nobody waits, but no transaction undoes it when it fails half way."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("learning", "0009_count_points")]

    operations = [
        AddIndexConcurrently(
            "milestone", models.Index(fields=["learner", "reached"], name="learning_timeline")
        ),
    ]
