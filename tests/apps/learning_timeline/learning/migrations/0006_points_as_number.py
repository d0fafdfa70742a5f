"""Change a type: the table is rewritten under an exclusive lock, and one row without a number ends it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("learning", "0005_rename_milestone_label")]

    operations = [migrations.AlterField("milestone", "points", models.IntegerField(default=0))]
