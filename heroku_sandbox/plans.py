"""What a database's plan allows: connections, disk, backups that are kept, forks.

Connections and disk are those of Heroku's documentation. `num_keep` was observed as 2 on the smallest old plan and as
25 on standard-0.
"""

from __future__ import annotations

from dataclasses import dataclass

from heroku_sandbox.state import SERVICE

DEFAULT = "essential-0"
MOST_CONNECTIONS = 500
"""Of the largest plans."""
_ESSENTIAL = {
    "mini": (20, 1),
    "basic": (20, 10),
    "hobby-dev": (20, 1),
    "hobby-basic": (20, 10),
    "essential-0": (20, 1),
    "essential-1": (20, 10),
    "essential-2": (40, 32),
}
_SIZES = {0: (120, 64), 2: (400, 256), 3: (500, 512), 4: (500, 768), 5: (500, 1024), 6: (500, 1536), 7: (500, 2048)}
_LARGEST = (MOST_CONNECTIONS, 4096)
_KEPT = {"standard": 25, "premium": 50, "private": 50, "shield": 50}
_KEPT_OF_ESSENTIAL = 2
_KEPT_OTHERWISE = 25
_TIERS = ("standard", "premium", "private", "shield", "advanced", "performance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan of Heroku Postgres, `standard-0` for one."""

    tier: str
    connections: int
    gigabytes: int
    num_keep: int
    essential: bool
    """Whether it is one of those that cannot be forked, followed, nor brought back to an earlier moment."""

    @property
    def full_name(self) -> str:
        """The name in the Platform API: `heroku-postgresql:standard-0`."""
        return f"{SERVICE}:{self.tier}"


def known(tier: str) -> bool:
    """Tells whether Heroku has or had such a plan."""
    return tier in _ESSENTIAL or tier.partition("-")[0] in _TIERS


def of(tier: str) -> Plan:
    """Returns what a plan allows."""
    essential = tier in _ESSENTIAL
    family, _, size = tier.rpartition("-")
    connections, gigabytes = _ESSENTIAL.get(tier) or _SIZES.get(int(size) if size.isdigit() else 0, _LARGEST)
    return Plan(
        tier=tier,
        connections=connections,
        gigabytes=gigabytes,
        num_keep=_KEPT_OF_ESSENTIAL if essential else _KEPT.get(family, _KEPT_OTHERWISE),
        essential=essential,
    )


OFFERED = tuple(
    of(tier)
    for tier in (
        *("essential-0", "essential-1", "essential-2"),
        *(f"{family}-{size}" for family in ("standard", "premium") for size in (0, 2, 3, 4, 5, 6, 7)),
    )
)
"""Those that can be chosen today (`heroku addons:plans heroku-postgresql`)."""
