"""What a release loads: with nothing pending it is a part of the hook, and all of it before anything is changed."""

from __future__ import annotations

import sys

import pytest

from tests.hook import ROOT, Hook, small_app

LOADED = """
import sys
sys.path.append(sys.argv.pop(1))
import release.ahead
release.ahead.AFTER = 60
from release.cli import main
code = main()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""
"""The hook as a process that says which modules it has loaded, less those that a slow app would leave it time for."""

WHEN = """
import sys
sys.path.append(sys.argv.pop(1))
import release.database.journal as journal
begin = journal.Journal.begin_migration
def noted(*args, **more):
    global before
    before = {name for name in sys.modules if name.startswith("release.")}
    return begin(*args, **more)
journal.Journal.begin_migration = noted
from release.cli import main
code = main()
print(*sorted({name for name in sys.modules if name.startswith("release.")} - before), file=sys.stderr)
sys.exit(code)
"""
"""The hook as a process that says which of its modules it has loaded after the migration began."""

SPARED = {
    *("click", "rich", "pygments", "trustme", "cryptography", "scramp", "twisted"),  # libraries
    *("importlib.metadata", "zipfile", "email", "csv"),
    *("requests", "urllib3", "heroku3", "idna", "charset_normalizer", "dateutil", "http.client", "http.cookiejar"),
    *("release.steps.change", "release.witness", "release.app.witnessed", "release.app.memory", "release.child.beside"),
    *("release.database.fingerprint", "release.database.evidence", "release.database.grants"),
    *("release.database.restorable", "release.heroku.http", "release.heroku.platform", "release.probes.built_in"),
    *("release.protected.before", "release.protected.fence", "release.protected.locate", "release.protected.target"),
    *("release.protected.transfers", "release.steps.backup", "release.steps.migrate", "release.steps.recover"),
    *("release.steps.rehearse", "release.steps.restore", "release.output.show", "release.output.live"),
    "release.commands",
}
"""Modules that a release with nothing pending needs nothing of. Each costs time, memory or both."""


def test_a_release_with_nothing_pending_loads_nothing_that_only_a_change_needs(hook: Hook) -> None:
    hook.run()
    hook.program = (sys.executable, "-I", "-c", LOADED, str(ROOT))

    result = hook.run()

    assert (result.last["outcome"], result.last["backup"]) == ("released", None)
    loaded = set(result.stderr.decode().split())
    assert "release.phase" in loaded
    assert loaded & SPARED == set()


@pytest.mark.parametrize(
    "text", ["ALTER TABLE learners ADD COLUMN a int;", "ALTER TABLE learners ADD a int; SELECT 1/0"]
)
def test_all_that_a_change_needs_is_loaded_before_the_migration_begins(hook: Hook, text: str) -> None:
    small_app(hook.folder, {"001": text})
    hook.program = (sys.executable, "-I", "-c", WHEN, str(ROOT))

    result = hook.run()

    assert result.last["outcome"] in {"released", "restored"}
    # The journal drops what is old after the commit, when nothing can be lost any more.
    assert set(result.stderr.decode().split()) <= {"release.database.pruning"}
