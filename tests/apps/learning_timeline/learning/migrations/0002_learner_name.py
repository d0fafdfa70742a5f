"""Add a column: one name instead of two."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("learning", "0001_initial")]

    operations = [
        migrations.AddField(
            "learner", "name", models.CharField(default="", max_length=120), preserve_default=False
        ),
    ]
