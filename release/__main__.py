"""`python -m release`, and the file that a checkout's bin/release runs.

Nothing in the app's folder may shadow an import of the hook: on Heroku PYTHONPATH is the app's folder, and an app may
well have a `json.py` or a `release/` of its own. So Python runs isolated (-I: no PYTHONPATH, no current folder), and
when this package is not installed, the folder above it comes last.
"""

import gc
import os
import sys

if not sys.flags.isolated:
    os.execv(sys.executable, [sys.executable, "-I", __file__, *sys.argv[1:]])  # noqa: S606 -- itself

if not __package__:
    sys.path.append(__file__.rpartition("/release/")[0])

gc.set_threshold(100_000)  # the imports' objects stay; looking for garbage among them takes a tenth of the start-up

try:
    if sys.version_info < (3, 11):  # noqa: UP036 -- bin/release takes whatever python3 there is
        raise ModuleNotFoundError("Python 3.11 or newer is needed", name="python")
    from release.cli import main
except ModuleNotFoundError as error:
    if str(error.name).partition(".")[0] == "release":
        raise
    # There is no log yet, and nothing to write one with.
    why, python = str(error), "Python " + sys.version.split()[0] + " at " + sys.executable
    advice = "On your own machine run bin/setup once; on a dyno, install heroku-release-phase or its buildpack."
    sys.stderr.write("release-phase cannot start: " + why + " (" + python + "). " + advice + "\n")
    sys.exit(2)

if __name__ == "__main__":
    # Nothing on stderr about objects that a signal has left half made, however late they go; what goes wrong otherwise
    # is in the log.
    sys.unraisablehook = lambda _: None
    # All is closed and flushed; taking the interpreter down in an orderly way would take a tenth of a second more.
    os._exit(main())
