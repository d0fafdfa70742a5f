"""`python -m heroku_sandbox`, and `python -I <this file>`, which needs nothing installed and no PYTHONPATH."""

import sys
from pathlib import Path

if not __package__:  # run by its path: make the checkout importable
    sys.path.insert(0, str(Path(__file__).parents[1]))

from heroku_sandbox.cli import main

if __name__ == "__main__":
    main(prog_name="sandbox")
