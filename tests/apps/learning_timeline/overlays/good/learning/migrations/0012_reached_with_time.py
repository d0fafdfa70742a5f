"""A day becomes a moment: the table and its index are rewritten under an exclusive lock."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("learning", "0011_rename_milestone_title")]

    operations = [migrations.AlterField("milestone", "reached", models.DateTimeField())]
