#!/usr/bin/env python
"""Django's commands for the learning timeline; `migrate`, `seed` and `probe` are the ones a release needs."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "timeline.settings")
    execute_from_command_line(sys.argv)
