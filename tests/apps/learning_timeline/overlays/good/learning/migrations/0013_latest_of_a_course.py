"""One more index, concurrently."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("learning", "0012_reached_with_time")]

    operations = [
        AddIndexConcurrently(
            "milestone", models.Index(fields=["course", "-reached"], name="learning_latest")
        ),
    ]
