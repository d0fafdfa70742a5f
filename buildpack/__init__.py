"""The buildpack that brings the hook, with a Python of its own, into apps of every language. `build.py` makes it."""
