import logging

from django.db import Error
from django.http import JsonResponse

from .models import Course, Learner, Milestone

logger = logging.getLogger(__name__)
PAGE = 50


def healthz(request):
    """200 when this code can read the database as it is: a row of each table, with every column it knows."""
    try:
        for model in (Learner, Course, Milestone):
            model.objects.first()
    except Error as error:
        logger.error("The database does not fit this code: %s", error)
        # Only the error's class for the public: its text names hosts, roles and columns.
        return JsonResponse({"status": "failing", "error": type(error).__name__}, status=503)
    return JsonResponse({"status": "ok"})


def learners(request):
    """The learners in the order of their ids, a page at a time: `?after=` the last id seen."""
    after = request.GET.get("after", "0")
    if not after.isdecimal():
        return JsonResponse({"error": "after: a learner's id is expected"}, status=400)
    page = Learner.objects.filter(pk__gt=int(after)).order_by("pk")[:PAGE]
    return JsonResponse({"learners": [learner.as_json() for learner in page]})


def timeline(request, learner_id):
    """A learner and all milestones, oldest first."""
    learner = Learner.objects.filter(pk=learner_id).first()
    if learner is None:
        return JsonResponse({"error": f"there is no learner {learner_id}"}, status=404)
    milestones = learner.milestones.select_related("course").order_by("reached", "pk")
    return JsonResponse({"learner": learner.as_json(), "timeline": [each.as_json() for each in milestones]})
