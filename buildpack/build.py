"""Makes the buildpack: one archive with its own `bin/`, the wheels of the hook and of all that it needs, and two pins.

    bin/build-buildpack [--machine aarch64] [--python ADDRESS --sha256 SUM --version 3.13.15] [--output FILE]

The wheels are in the archive, since they are a third of its installed size and an app's build then needs no package
index; each is checked against the hashes of requirements.txt here, and once more where it is installed. Only the Python
is fetched by bin/compile, from the address and with the SHA-256 that python.txt or these options say.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement

HERE = Path(__file__).parent
ROOT = HERE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OUTPUT = ROOT / "dist" / f"release-phase-buildpack-{PROJECT['version']}.tgz"

PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""What wheels may ask of a stack's C library: heroku-22, the oldest stack, has 2.35."""

MACHINES = ("x86_64",)
"""What is built for unless somebody says otherwise: every dyno that runs classic buildpacks."""


class CannotBuild(Exception):
    """The buildpack cannot be made of what was given."""


LEFT_OUT = frozenset({"trustme"})
"""Packages that are not put in, with all that only they need: the openssl of Heroku's images makes the certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """A Python for one kind of machine (`uname -m`): an archive with a folder `python/`, which has pip."""

    machine: str
    version: str
    sha256: str
    address: str

    @property
    def minor(self) -> str:
        """The version for which extension modules are compiled, as 3.13."""
        return ".".join(self.version.split(".")[:2])

    def __str__(self) -> str:
        """The line of python.txt."""
        return f"{self.machine} {self.version} {self.sha256} {self.address}"


def pinned() -> dict[str, Python]:
    """The Pythons of python.txt, by machine."""
    lines = [line.split() for line in (HERE / "python.txt").read_text().splitlines() if line[:1] not in {"#", ""}]
    found = [Python(machine=line[0], version=line[1], sha256=line[2], address=line[3]) for line in lines]
    return {python.machine: python for python in found}


def needed(python: Python) -> set[str]:
    """The names of all packages that the hook needs on that Python, those that the sample app adds left out.

    The environment that runs this has them installed, in the versions of the lock.
    """
    environment = {"python_version": python.minor, "python_full_version": python.version, "sys_platform": "linux"}
    found: set[str] = set()
    waiting = [each for text in PROJECT["dependencies"] if _name(each := Requirement(text)) not in LEFT_OUT]
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        found.add(name)
        waiting += [each for each in _requirements(name, requirement.extras, environment) if _name(each) not in found]
    return found


def _name(requirement: Requirement) -> str:
    return requirement.name.lower().replace("_", "-")


def _requirements(name: str, extras: Iterable[str], environment: Mapping[str, str]) -> list[Requirement]:
    """What an installed package needs, with these extras; one that is not installed here needs nothing."""
    try:
        found = [Requirement(text) for text in metadata.requires(name) or ()]
    except metadata.PackageNotFoundError:
        return []
    return [each for each in found if any(_holds(each.marker, environment, extra) for extra in ["", *extras])]


def _holds(marker: Marker | None, environment: Mapping[str, str], extra: str) -> bool:
    return marker is None or marker.evaluate({**environment, "extra": extra})


def locked(names: set[str]) -> str:
    """The blocks of requirements.txt that are about these packages, without the conditions: `names` has met them."""
    blocks = re.split(r"^(?=\w)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)[1:]
    kept = [re.sub(r" ;[^\n\\]*", "", block, count=1) for block in blocks if block.partition("==")[0] in names]
    return "".join(kept)


def download(lock: Path, python: Python, folder: Path) -> None:
    """Downloads the wheels that a lock names, for that Python and machine. Raises CannotBuild."""
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", folder, "-r", lock]
    options += [word for name in PLATFORMS for word in ("--platform", f"{name}_{python.machine}")]
    _pip("download", *options, "--python-version", python.minor, "--implementation", "cp")


def _pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *map(str, words)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise CannotBuild(f"pip {words[0]} ended with {done.returncode}: {done.stdout.strip()[-2000:]}")


def own_wheel(folder: Path) -> None:
    """Makes the hook's own wheel."""
    _pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT)


def requirements(wheels: Path) -> str:
    """A line for each wheel, with its version and its hash: what bin/compile lets pip install, and nothing else."""
    lines: dict[str, list[str]] = {}
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        pin = f"{name.lower().replace('_', '-')}=={version}"
        lines.setdefault(pin, []).append(f"--hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    return "".join(f"{pin} {' '.join(hashes)}\n" for pin, hashes in sorted(lines.items()))


def pack(folder: Path, output: Path) -> None:
    """Writes a folder as an archive whose bytes depend on nothing but what is in it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    half = output.with_name(f"{output.name}.part")
    with half.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as zipped:  # noqa: SIM117
        with tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.add(path, str(path.relative_to(folder)), filter=_plain)
    half.replace(output)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member without owner and time, and with one of two modes."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member


def build(pythons: Sequence[Python], output: Path) -> Path:
    """Makes the buildpack for these Pythons, one for each machine, and returns where it is. Raises CannotBuild."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "buildpack"
        shutil.copytree(HERE / "bin", folder / "bin")
        shutil.copy(ROOT / "LICENSE", folder)
        for python in pythons:
            lock = Path(temporary) / "locked.txt"
            lock.write_text(locked(needed(python)))
            download(lock, python, folder / "wheels")
        own_wheel(folder / "wheels")
        (folder / "requirements.txt").write_text(requirements(folder / "wheels"))
        (folder / "python.txt").write_text("".join(f"{python}\n" for python in pythons))
        pack(folder, output)
    return output


def chosen(words: Sequence[str]) -> tuple[list[Python], Path]:
    """Reads the command line: for which Pythons to build, and where to write the archive."""
    parser = argparse.ArgumentParser(prog="bin/build-buildpack", description="Makes the buildpack, as one archive.")
    parser.add_argument("--machine", action="append", help="as `uname -m` says it; may be repeated (default: x86_64)")
    parser.add_argument("--python", metavar="ADDRESS", help="another archive of Python, with --sha256 and --version")
    parser.add_argument("--sha256", help="its SHA-256, from whoever published it")
    parser.add_argument("--version", help="its version, as 3.13.15")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    options = parser.parse_args(words)
    machines, pins = options.machine or MACHINES, pinned()
    if options.python:
        if not (options.sha256 and options.version and len(machines) == 1):
            parser.error("--python needs --sha256, --version, and one --machine at most")
        if not re.match("https://|file://", options.python) or not re.fullmatch("[0-9a-fA-F]{64}", options.sha256):
            parser.error("--python is an https address, and --sha256 has 64 hexadecimal digits")
        python = Python(
            machine=machines[0], version=options.version, sha256=options.sha256.lower(), address=options.python
        )
        return [python], options.output
    if unknown := [machine for machine in machines if machine not in pins]:
        parser.error(f"there is no pinned Python for {', '.join(unknown)}: give one with --python")
    return [pins[machine] for machine in machines], options.output


def main(words: Sequence[str]) -> int:
    """Makes what the command line asks for. Returns the exit code."""
    pythons, output = chosen(words)
    try:
        made = build(pythons, output)
    except CannotBuild as error:
        sys.stderr.write(f"bin/build-buildpack: {error}\n")
        return 1
    size, sum256 = made.stat().st_size / 1e6, hashlib.sha256(made.read_bytes()).hexdigest()
    sys.stdout.write(f"{made} ({size:.1f} MB, SHA-256 {sum256}), for {', '.join(map(str, pythons))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
