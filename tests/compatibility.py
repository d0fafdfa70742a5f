"""The hook beside the pins of other people's apps: does it resolve, install, and still do its work?

    .venv/bin/python -m tests.compatibility [APP …]

Makes the wheel, and for each app a virtual environment in a temporary folder, with the Python that runs this. Installs
the app's pins and the wheel in one go, as the app's build does; then lets the installed hook be judged by real tests.
The app `sandbox` is no app: it is the sandbox's own wheel with the oldest versions that it allows, and its tests.
Needs a package index. Ends with 1 when an app fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
SANDBOX = ROOT / "heroku_sandbox"


def ranges(project: Path) -> list[str]:
    """What the pyproject.toml in a folder says that its package needs."""
    dependencies: list[str] = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    return dependencies


def oldest(project: Path) -> list[str]:
    """The lower end of every one of these ranges, as pins."""
    return [re.sub(r">=([0-9.]+).*", r"==\1", requirement) for requirement in ranges(project)]


APPS: dict[str, list[str]] = {
    "oldest": oldest(ROOT),
    "sandbox": oldest(SANDBOX),
    "django-4.2": [
        "django==4.2.*",
        "click==8.1.7",
        "psycopg[binary]==3.1.18",
        "requests==2.28.2",
        "rich==13.7.1",
        "scramp==1.4.5",
        "structlog==23.3.0",
        "tenacity==8.2.3",
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

PYTHONS = {
    "oldest": ["3.11"],
    "sandbox": ["3.11"],
    "django-4.2": ["3.11", "3.12"],
    "django-6.0": ["3.12", "3.13", "3.14"],
}
"""For which Pythons there are wheels of those pins; of the app that is not here for all."""

TOOLS = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "jsonschema", *ranges(SANDBOX)]
SAMPLE = ["dj-database-url", "gunicorn"]
"""What the tests, and the sample app that some of them release, need beside it."""

TESTS = [
    "tests/phase/test_release.py",
    "tests/phase/test_plan.py",
    "tests/commands/test_report.py",
    "tests/unit/test_retry.py",
    "tests/unit/log",
    "tests/unit/heroku/test_http.py",
    "tests/unit/witness/test_authentication.py",  # with scramp
    "tests/unit/witness/test_scram.py",
    "tests/unit/witness/test_session.py",  # with trustme
]
DJANGO = ["tests/phase/test_frameworks.py", "-k", "django"]

Command = tuple[object, ...]
"""The beginning of a command line."""


def run(*argv: object, folder: Path = ROOT, **environ: str) -> None:
    """Runs a command that has to succeed; what it prints is shown."""
    subprocess.run([str(each) for each in argv], check=True, cwd=folder, env={**os.environ, **environ})


def wheel(project: Path, package: str, script: str, folder: Path) -> Path:
    """The wheel of the hook or of the sandbox, in which there is its whole package, its script and nothing else."""
    source = folder / f"{package}-source"  # a build leaves folders behind, which a checkout should not get
    shutil.copytree(project, source, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / package, source)
    [made] = (folder / package).glob("*.whl")
    names = ZipFile(made).namelist()
    kept = re.compile(rf"{package}/.*\.(py|sql|typed)$|[^/]+\.dist-info/|[^/]+\.data/scripts/{script}$")
    assert [name for name in names if not kept.match(name)] == []
    files = [path for kind in ("*.py", "*.sql", "py.typed") for path in (ROOT / package).rglob(kind)]
    assert {str(path.relative_to(ROOT)) for path in files} <= set(names)
    assert any(name.endswith(f".data/scripts/{script}") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    return made


def try_beside(pins: Sequence[str], hook: Path, folder: Path) -> None:
    """Installs and tests in a folder of its own. Raises CalledProcessError at the first command that fails."""
    pip, pytest = installed([hook, *pins], folder)
    script = folder / "bin" / "release-phase"
    run(script, "--help", folder=folder)
    django = any(pin.startswith(("django==5", "django==6")) for pin in pins)  # the sample app needs 5.1
    run(*pip, "install", *pins, *TOOLS, *(SAMPLE if django else []))
    run(*pytest, *TESTS, RELEASE_TEST_HOOK=str(script))
    if django:
        run(*pytest, *DJANGO, RELEASE_TEST_HOOK=str(script))


def try_sandbox(pins: Sequence[str], hook: Path, sandbox: Path, folder: Path) -> None:
    """Installs the sandbox alone and starts it; then tests it, for which the hook has to be there, too."""
    pip, pytest = installed([sandbox, *pins], folder)
    script, home = folder / "bin" / "heroku-sandbox", str(folder / "home")
    for words in (["up", "--detach"], ["create", "shop"], ["psql", "shop", "-c", "SELECT 1"], ["down"]):
        run(script, *words, folder=folder, RELEASE_SANDBOX_HOME=home)
    run(*pip, "install", hook, *pins, *TOOLS)
    run(*pytest, "tests/sandbox")


def installed(packages: Sequence[object], folder: Path) -> tuple[Command, Command]:
    """Makes a virtual environment with these packages. Returns its pip and its pytest."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", *packages)
    run(*pip, "check")
    return pip, (python, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider")


def main(names: Sequence[str]) -> int:
    """Tries the apps named, or all."""
    failed, this = [], f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # root's PostgreSQL runs as another user, from there
        hook = wheel(ROOT, "release", "release-phase", Path(folder))
        sandbox = wheel(SANDBOX, "heroku_sandbox", "heroku-sandbox", Path(folder))
        for name in names or APPS:
            if this not in PYTHONS.get(name, [this]):
                print(f"== {name}: not with Python {this}", flush=True)
                continue
            print(f"== {name}: {' '.join(APPS[name])}", flush=True)
            try:
                if name == "sandbox":
                    try_sandbox(APPS[name], hook, sandbox, Path(folder) / name)
                else:
                    try_beside(APPS[name], hook, Path(folder) / name)
            except subprocess.CalledProcessError as error:
                print(f"== {name}: {error}", flush=True)
                failed.append(name)
    print("failed: " + ", ".join(failed) if failed else "all of them work", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
