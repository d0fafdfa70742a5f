"""The release phase of a Heroku app with a database: back up, migrate, probe, and restore when a step fails.

cli.py edge.py      arguments and environment in, exit code out; the only broad `except`
settings.py         environment → frozen Settings
phase.py            the recipe, on one screen; run.py one run and how it ended
steps/              prepare backup rehearse migrate probe restore recover, and what they share
heroku/             Platform API and Data API · database/ session, journal, fingerprint · child/ a child process
people/             the commands for people · reading/ what they see: live, as a report, as a page
log.py stream/      events · their bytes: secrets replaced, lines fitted · record.py webhook.py what a run came to
frameworks.py procfile.py retry.py errors.py clock.py           tables and rules that all of them use
sandbox/            Heroku on this machine; the hook imports nothing from it
"""

__version__ = "0.1.0"
