"""`python -m release`, and the file that bin/release runs.

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

from release.cli import main  # noqa: E402 -- after what would slow it down

if __name__ == "__main__":
    # Nothing on stderr about objects that a signal has left half made, however late they go; what goes wrong otherwise
    # is in the log.
    sys.unraisablehook = lambda _: None
    # All is closed and flushed; taking the interpreter down in an orderly way would take a tenth of a second more.
    os._exit(main())
