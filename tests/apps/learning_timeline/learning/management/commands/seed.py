from django.core.management.base import BaseCommand
from django.db import connection, transaction

from ...models import Learner, course, learner, milestone


class Command(BaseCommand):
    help = "Fills an empty database with sample rows, always the same; leaves any other as it is."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument(
            "--learners", type=int, default=500, help="each with ten milestones (default: 500)"
        )

    @transaction.atomic
    def handle(self, *, learners, **options):
        if Learner.objects.exists():
            self.stdout.write("There are learners already: nothing was inserted.")
            return
        with connection.cursor() as cursor:
            for table in (learner, course, milestone):  # milestones last: they refer to both
                cursor.execute(table.SEED, {"learners": learners})
                self.stdout.write(f"{table.__name__.rpartition('.')[2]}: {cursor.rowcount} rows")
