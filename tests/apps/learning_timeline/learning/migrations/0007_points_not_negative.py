"""Add a constraint for new rows only: no scan under lock. The next migration looks at the old rows."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("learning", "0006_points_as_number")]

    operations = [
        AddConstraintNotValid(
            "milestone",
            models.CheckConstraint(condition=models.Q(points__gte=0), name="learning_points_not_negative"),
        ),
    ]
