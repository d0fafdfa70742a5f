from django.urls import path

from learning import views

urlpatterns = [
    path("healthz", views.healthz),
    path("learners", views.learners),
    path("learners/<int:learner_id>/timeline", views.timeline),
]
