"""What `heroku-sandbox` starts as a module, and `bin/sandbox` by its path, which needs no PYTHONPATH in a checkout."""

import sys
from pathlib import Path

if not __package__:  # run by its path: make the checkout importable
    sys.path.insert(0, str(Path(__file__).parents[1]))

from heroku_sandbox.cli import main

if __name__ == "__main__":
    main(prog_name="heroku-sandbox" if __package__ else "bin/sandbox")  # what the user has typed; messages name it
