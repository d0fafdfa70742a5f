"""Stand-ins for what libraries import and the hook never uses: a tenth of the start-up, and 5 MB."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def standing_in(name: str, **attributes: object) -> Iterator[None]:
    """Has a module with these attributes stand in for another while the block imports a library.

    Where the real one is loaded already, that one is used. Afterwards, whoever imports it gets the real one.
    """
    if name in sys.modules:
        yield
        return
    module = ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module
    try:
        yield
    finally:
        sys.modules.pop(name, None)
