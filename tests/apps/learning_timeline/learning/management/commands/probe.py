from django.core.management.base import BaseCommand, CommandError
from django.db import Error, transaction
from django.utils import timezone

from ...models import Course, Learner, Milestone


class Command(BaseCommand):
    """For RELEASE_PROBE_COMMAND.

    Reading is what `/healthz` does; this writes, because triggers, defaults and constraints show their faults
    only then. Everything is rolled back; the ids that were used for it are skipped, as after any rollback.
    """

    help = "Exits 0 when this code and the database work together, writes included. Leaves no row behind."
    requires_system_checks = []

    def handle(self, **options):
        try:
            with transaction.atomic():
                self._write()
                transaction.set_rollback(True)
        except Error as error:
            raise CommandError(f"{type(error).__name__}: {error}".strip()) from error
        self.stdout.write("A milestone can be written, and its learner gets the points.")

    def _write(self):
        now = timezone.now()
        someone = Learner.objects.create(name="Probe", email="probe@example.com", joined=now)
        something = Course.objects.create(code="probe", title="Probe", hours=1)
        Milestone.objects.create(learner=someone, course=something, points=3, reached=now)
        counted = Learner.objects.get(pk=someone.pk).as_json()["points"]
        if counted != 3:
            raise CommandError(f"a milestone of 3 points gave its learner {counted}")
