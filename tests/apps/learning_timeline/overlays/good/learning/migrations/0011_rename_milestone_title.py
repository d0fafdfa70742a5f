"""Rename a column that the running release reads."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0010_timeline_index")]

    operations = [migrations.RenameField("milestone", "title", "achievement")]
