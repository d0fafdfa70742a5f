"""The sample apps in every version that a release can ship, from one source.

A version is the app's folder with overlays copied over it: the files that a release adds or replaces, and
nothing else. `python -m tests.apps.ship` lists the versions; with a version and a folder it puts it there.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

APPS = Path(__file__).resolve().parent
OVERLAYS = "overlays"


@dataclass(frozen=True, slots=True)
class Version:
    """`overlays` in the order in which they are laid on; `about` in one line."""

    about: str
    overlays: tuple[str, ...] = ()


VERSIONS = {
    "learning_timeline": {
        "base": Version("ten migrations of every difficult kind; it is released"),
        "good": Version("0011-0013: a rename, a type change, a concurrent index; it is released", ("good",)),
        "unchanged": Version("`good` once more: nothing is pending", ("good",)),
        "broken": Version(
            "0014 drops a column, rewrites data and is committed; 0015 fails on the data",
            ("good", "tidy", "broken"),
        ),
        "broken_at_once": Version(
            "0014 fails inside its transaction: nothing has changed",
            ("good", "broken_at_once"),
        ),
        "broken_index": Version(
            "0014 fails and leaves an invalid index behind",
            ("good", "broken_index"),
        ),
        "failing_probe": Version(
            "the migration ends well, and nothing can be written any more: only `manage.py probe` sees it",
            ("good", "failing_probe"),
        ),
        "failing_health": Version(
            "the migration ends well, and the code cannot read the new schema: `/healthz` and `manage.py probe` see it",
            ("good", "failing_health"),
        ),
        "slow": Version(
            "0014 drops a column, rewrites data and is committed; 0015 takes TIMELINE_SLOW_SECONDS (60)",
            ("good", "tidy", "slow"),
        ),
        "forgotten": Version(
            "a new column without a migration: nothing is pending, `/healthz` and `manage.py probe` fail",
            ("good", "forgotten"),
        ),
    },
    "course_catalog": {
        "base": Version("three migrations on Alembic, which bring 200 rows; it is released"),
        "good": Version("0004: a rename and a type change; it is released", ("good",)),
        "unchanged": Version("`good` once more: nothing is pending", ("good",)),
        "broken": Version(
            "0005 drops a column, rewrites data and is committed; 0006 fails on the data",
            ("good", "broken"),
        ),
    },
}


def assemble(version: str, into: Path, *, app: str = "learning_timeline") -> Path:
    """Put a version of an app into `into`, which must be new or empty, and return it.

    Raises KeyError for an unknown app or version, and FileExistsError when there is something in the folder
    already: a migration left over from another version would be shipped with this one.
    """
    overlays = VERSIONS[app][version].overlays
    if into.exists() and any(into.iterdir()):
        raise FileExistsError(f"{into} is not empty")
    source = APPS / app
    _copy(source, into, leave_out=(OVERLAYS,))
    for overlay in overlays:
        _copy(source / OVERLAYS / overlay, into)
    return into


def _copy(source: Path, into: Path, *, leave_out: tuple[str, ...] = ()) -> None:
    shutil.copytree(source, into, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", *leave_out), dirs_exist_ok=True)


def main(arguments: list[str]) -> int:
    match arguments:
        case []:
            for app, versions in VERSIONS.items():
                print(app)
                for name, version in versions.items():
                    print(f"  {name:15} {version.about}")
            return 0
        case [version, into] if version in VERSIONS["learning_timeline"]:
            assemble(version, Path(into))
            return 0
        case [app, version, into] if version in VERSIONS.get(app, {}):
            assemble(version, Path(into), app=app)
            return 0
    print("usage: python -m tests.apps.ship [[APP] VERSION FOLDER]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
