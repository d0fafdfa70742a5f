"""Tools that Debian has."""

from __future__ import annotations

from tests.toolchains.toolchain import Toolchain

TOOLCHAINS: tuple[Toolchain, ...] = ()
