"""One module a table: its columns, how it reads as JSON, and its sample rows.

A release that changes a table replaces one of these files (see `overlays/`).
"""

from .course import Course
from .learner import Learner
from .milestone import Milestone

__all__ = ["Course", "Learner", "Milestone"]
