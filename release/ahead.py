"""Imports ahead: what a release needs only once something is pending is loaded while the app itself is asked.

The app's own command takes longer than the imports, and meanwhile this process has nothing to do. Where the answer is
that nothing is pending, no more is loaded. Modules are given by their names, one after the other, each small enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Event, Thread

AFTER = 0.05
"""Seconds until it begins. Two threads hold each other up, and a command that is quicker than this leaves no time."""


@contextmanager
def loading(modules: Sequence[str]) -> Iterator[None]:
    """Imports modules in a thread while the block runs. What is not begun at its end is left to whoever needs it."""
    enough = Event()
    Thread(target=_load, args=(modules, enough), daemon=True).start()
    try:
        yield
    finally:
        enough.set()


def _load(modules: Sequence[str], enough: Event) -> None:
    enough.wait(AFTER)
    for module in modules:
        if enough.is_set():
            return
        with suppress(Exception):  # whoever needs it imports it again, and there the error counts
            import_module(module)
