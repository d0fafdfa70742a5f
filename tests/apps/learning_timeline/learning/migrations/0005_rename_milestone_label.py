"""Rename a column: from here on the release that is still running cannot read milestones."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0004_drop_first_and_last_name")]

    operations = [migrations.RenameField("milestone", "label", "title")]
