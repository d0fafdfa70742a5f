"""Validate the constraint, in a transaction of its own so that nobody waits for the scan."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0007_points_not_negative")]

    operations = [ValidateConstraint("milestone", "learning_points_not_negative")]
