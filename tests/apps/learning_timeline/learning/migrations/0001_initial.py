import django.db.models.deletion
from django.db import migrations, models


def primary_key():
    return models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Learner",
            fields=[
                ("id", primary_key()),
                ("first_name", models.CharField(max_length=60)),
                ("last_name", models.CharField(max_length=60)),
                ("email", models.CharField(max_length=254)),
                ("city", models.CharField(max_length=80)),
                ("joined", models.DateField()),
            ],
        ),
        migrations.CreateModel(
            name="Course",
            fields=[
                ("id", primary_key()),
                ("code", models.CharField(max_length=20, unique=True)),
                ("title", models.CharField(max_length=120)),
                ("hours", models.PositiveSmallIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Milestone",
            fields=[
                ("id", primary_key()),
                (
                    "learner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="milestones",
                        to="learning.learner",
                    ),
                ),
                (
                    "course",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="milestones",
                        to="learning.course",
                    ),
                ),
                ("label", models.CharField(max_length=120)),
                ("points", models.CharField(default="0", max_length=10)),
                ("reached", models.DateField()),
            ],
        ),
    ]
