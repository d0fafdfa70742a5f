"""As little Django as an API needs: every release waits for these imports, even with nothing to migrate."""

import os
from urllib.parse import urlsplit

import dj_database_url

# Django wants one; nothing is signed with it, as there are no sessions and no forms.
SECRET_KEY = os.environ.get("SECRET_KEY", "for-development-only")
ALLOWED_HOSTS = ["*"]  # Heroku's router answers only for the app's own domains

INSTALLED_APPS = ["learning"]
MIDDLEWARE = []
ROOT_URLCONF = "timeline.urls"
WSGI_APPLICATION = "timeline.wsgi.application"

# Heroku's Postgres insists on TLS; one on this machine may not speak it. Without DATABASE_URL (the first of
# a promotion's two releases, a build) Django says so itself as soon as a database is needed.
LOOPBACK = {None, "localhost", "127.0.0.1", "::1"}
DATABASE_URL = os.environ.get("DATABASE_URL")
DATABASES = {}
if DATABASE_URL:
    DATABASES["default"] = dj_database_url.parse(
        DATABASE_URL,
        conn_max_age=60,
        conn_health_checks=True,
        ssl_require=urlsplit(DATABASE_URL).hostname not in LOOPBACK,
    )
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "root": {"handlers": ["stdout"], "level": "INFO"},
}
