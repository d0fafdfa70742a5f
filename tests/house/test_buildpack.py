"""The buildpack: what bin/compile leaves in an app, and that a release runs from it where there is no other Python.

On Heroku it fetches the Python that `buildpack/python.txt` pins. Here it is a copy of the one that runs the tests, laid
out as that archive is.
"""

from __future__ import annotations

import ast
import fcntl
import gzip
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildpack.build import CannotBuild, Python, build, chosen, locked, needed, pack, pinned
from heroku_sandbox import App, Sandbox
from tests.hook import POSTGRES_BIN, SMALL_APP, small_app
from tests.judge import picture, query

ROOT = Path(__file__).parents[2]
GOOD = "ALTER TABLE learners ADD COLUMN nickname text;\n"
BROKEN = "ALTER TABLE learners DROP COLUMN points;\nSELECT 1 / 0;\n"
LIMIT = 28_000_000
"""Bytes that everything but the interpreter may take in an app.

Of 60 MB python-build-standalone's needs 29 to 33, by what is known of it: its libpython3.13.so has 29 MB without any
symbols, and `bin/python3.13`, which stays, is the same code with some of them. Its extension modules are in there, too.
"""

TOOLS = ["basename", "cat", "dirname", "ls", "readlink", "sed", "sh", "wc"]
"""What the small app and the hook's script use of a dyno's system."""

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that is made once for all workers of a run."""
    mine = factory.getbasetemp()
    place = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / name
    with place.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            half = place.with_name(f"{name}.half")
            half.mkdir()
            make(half)
            half.rename(place)
    return place


def _write_python(folder: Path) -> None:
    """Writes python.tar.gz: this machine's Python, without what python-build-standalone leaves out, too."""
    library = Path(sys.base_prefix) / "lib" / f"python{THIS}"
    pip = importlib.util.find_spec("pip")
    if not (library / "site-packages").is_dir() or pip is None or pip.origin is None:
        pytest.skip(f"the Python at {sys.base_prefix} cannot be copied: it has no folders of its own, or no pip")
    root = folder / "python"
    unwanted = shutil.ignore_patterns("test", "__pycache__", "config-*", "site-packages", "_test*", "*.a")
    shutil.copytree(library, root / "lib" / library.name, ignore=unwanted)
    for shared in library.parent.glob("libpython*.so*"):
        shutil.copy(shared, root / "lib")
    modules = [path for path in (root / "lib").rglob("*.so*") if path.is_file()]
    subprocess.run(["strip", *modules], check=False, stderr=subprocess.DEVNULL)  # as in `install_only_stripped`
    shutil.copytree(Path(pip.origin).parent, root / "lib" / library.name / "site-packages" / "pip", ignore=unwanted)
    (root / "bin").mkdir()
    interpreter = Path(shutil.copy(Path(sys.base_prefix) / "bin" / f"python{THIS}", root / "bin"))
    elsewhere = os.fsencode(library.parent) + b"\0"  # where it looks for its shared library; it has to find the copy
    interpreter.write_bytes(
        interpreter.read_bytes().replace(elsewhere, b"$ORIGIN/../lib".ljust(len(elsewhere), b"\0")[: len(elsewhere)])
    )
    for name in ("python", "python3"):
        (root / "bin" / name).symlink_to(f"python{THIS}")
    with tarfile.open(folder / "python.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(root, "python")
    shutil.rmtree(root)


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A buildpack, unpacked."""

    folder: Path

    def compile(self, app: Path, cache: Path, **changes: str) -> subprocess.CompletedProcess[str]:
        """Runs bin/compile in an environment that would lead a Python or a pip astray."""
        environ = {**ASTRAY, **changes}
        return subprocess.run(self.command(app, cache), check=False, env=environ, capture_output=True, text=True)

    def command(self, app: Path, cache: Path) -> list[Path]:
        """What Heroku starts."""
        return [self.folder / "bin" / "compile", app, cache, app / "no-config-vars"]

    def copy(self, folder: Path) -> Pack:
        """Another one to change."""
        shutil.copytree(self.folder, folder / "pack")
        return Pack(folder=folder / "pack")

    def pin(self, **changes: str) -> None:
        """Changes a part of the pinned Python."""
        machine, version, sha256, address = (self.folder / "python.txt").read_text().split()
        line = {"machine": machine, "version": version, "sha256": sha256, "address": address} | changes
        (self.folder / "python.txt").write_text(" ".join(line.values()) + "\n")


ASTRAY = {"PATH": "/usr/bin:/bin", "PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PIP_TARGET": "/nowhere"}


@pytest.fixture(scope="session")
def the_pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The buildpack for this machine."""
    if sys.platform != "linux":
        pytest.skip("it is for dynos, which have Linux")

    def make(folder: Path) -> None:
        _write_python(folder)
        archive = folder / "python.tar.gz"
        python = Python(
            machine=platform.machine(),
            version=platform.python_version(),
            sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
            address=_once_named(folder, "python.tar.gz").as_uri(),
        )
        try:
            made = build([python], folder / "pack.tgz")
        except CannotBuild as error:
            pytest.skip(f"no package index gave the wheels: {error}")
        with tarfile.open(made) as packed:
            packed.extractall(folder / "pack", filter="data")

    return Pack(folder=_once(tmp_path_factory, "buildpack", make) / "pack")


def _once_named(half: Path, name: str) -> Path:
    """Where a file of a folder will be when `_once` has made it."""
    return half.with_suffix("") / name


@pytest.fixture(scope="session")
def compiled(the_pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders: `app`, into which the buildpack has been compiled, and its `cache`."""

    def make(folder: Path) -> None:
        (folder / "app").mkdir()
        done = the_pack.compile(folder / "app", folder / "cache")
        assert (done.returncode, done.stderr) == (0, ""), done
        assert "cached" not in done.stdout

    return _once(tmp_path_factory, "compiled", make)


def _contents(folder: Path) -> dict[str, str]:
    """What is in a folder, by name."""
    files = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A PATH as on a dyno of an app in another language: no Python anywhere in it."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(str(shutil.which(name, path="/usr/bin:/bin")))
    (folder / "psql").symlink_to(POSTGRES_BIN / "psql")
    return str(folder)


def _push(compiled: Path, folder: Path, migrations: dict[str, str]) -> Path:
    """An app without Python, with what the buildpack left in it."""
    shutil.copytree(compiled / "app", folder, symlinks=True)
    small_app(folder, migrations)
    (folder / "Procfile").write_text("release: release-phase\nweb: true\nworker: true\n")
    return folder


def test_a_release_lands_and_another_is_undone_without_any_other_python(
    compiled: Path, app: App, sandbox: Sandbox, tools: str, tmp_path: Path
) -> None:
    app.set_config({**SMALL_APP, "PYTHONPATH": "/app"})
    good = _push(compiled, tmp_path / "good", {"001": GOOD})
    bad = _push(compiled, tmp_path / "bad", {"001": GOOD, "002": BROKEN})

    landed = app.release(good, path=tools)
    before = picture(sandbox.superuser_url(app))
    undone = app.release(bad, path=tools)

    assert landed.status == "succeeded", landed.output
    assert query(app.database_url, "SELECT count(nickname) FROM learners") == [(0,)]
    assert '"outcome":"restored"' in undone.output, undone.output
    assert undone.status == "failed"
    assert picture(sandbox.superuser_url(app)) == before


def test_people_have_the_command_with_nothing_but_config_vars(
    compiled: Path, app: App, tools: str, tmp_path: Path
) -> None:
    push = _push(compiled, tmp_path / "app", {"001": GOOD})
    shadow = push / "click.py"
    shadow.write_text("raise SystemExit('the app has shadowed an import')\n")
    environ = {"HOME": str(push), "PATH": tools, "PYTHONPATH": str(push), **app.environment(), **SMALL_APP}

    def run(command: str) -> str:
        line = f". .profile.d/release-phase.sh; exec {command}"
        done = subprocess.run(
            ["/bin/sh", "-c", line], check=False, cwd=push, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done
        return done.stdout

    assert re.fullmatch(r"release-phase, version \S+\n", run("release-phase --version"))
    assert SMALL_APP["RELEASE_MIGRATE_COMMAND"] in run("release-phase plan")


def test_a_dyno_gets_a_command_on_its_path_and_nothing_else(compiled: Path) -> None:
    app = compiled / "app"
    environ = {"HOME": str(app), "PATH": "/bin"}
    done = subprocess.run(
        ["/bin/sh", "-c", ". .profile.d/release-phase.sh; env"], check=True, cwd=app, env=environ, capture_output=True
    )
    said = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert {name: value for name, value in said.items() if name not in {"PWD", "_", "SHLVL"}} == {
        "HOME": str(app),
        "PATH": f"{app}/.heroku/release-phase/bin:/bin",
    }
    assert [path.name for path in (app / ".heroku" / "release-phase" / "bin").iterdir()] == ["release-phase"]
    assert {path.name for path in app.iterdir()} == {".heroku", ".profile.d"}
    assert [path.name for path in (app / ".heroku").iterdir()] == ["release-phase"]


def test_what_is_installed_is_small_and_ready_to_start(compiled: Path) -> None:
    place = compiled / "app" / ".heroku" / "release-phase"
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    interpreter = re.compile(r"python3\.\d+|libpython.*")
    counted = [path for path in files if not interpreter.fullmatch(path.name) and path.parent.name != "lib-dynload"]
    assert sum(path.stat().st_size for path in counted) < LIMIT
    [library] = (place / "python" / "lib").glob("python3.*")
    for name in ("site-packages/pip", "ensurepip", "tkinter", "idlelib", "site-packages/django"):
        assert not (library / name).exists()
    sources = {path.relative_to(library) for path in library.rglob("*.py")}
    assert {path.parts[:2] for path in sources} == {("site-packages", "release")}
    compiled_ones = [path for path in library.rglob("*.pyc") if "__pycache__" in path.parts]
    assert len(compiled_ones) == len(sources)
    assert all(path.read_bytes()[4:8] == b"\x01\0\0\0" for path in compiled_ones)  # never compared with its source


def _imported(source: bytes, package: str) -> set[str]:
    """All that a module imports, wherever in it; not for its types, and not where it is run as a program."""
    found = set[str]()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith(("TYPE_CHECKING", "__name__ == '__main__'")):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        waiting.extend(ast.iter_child_nodes(node))
    return found


def _sources(wheels: Path) -> dict[str, tuple[str, bytes]]:
    """The package and the text of each module that was installed, by its name."""
    found = {}
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as packed:
            for path in (Path(name) for name in packed.namelist() if name.endswith(".py")):
                parts = path.with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[name] = (".".join(parts[:-1]), packed.read(str(path)))
    return found


def _present(python: str | Path, names: Iterable[str]) -> set[str]:
    """Those of these modules that a Python has."""
    script = """
import sys
from importlib.util import find_spec
def has(name):
    package = name.rpartition(".")[0]
    try:
        return has(package) and find_spec(name) is not None if package else find_spec(name) is not None
    except ImportError:  # its package cannot be imported, as those for Windows
        return True
    except ValueError:
        return name in sys.modules
print(*filter(has, sys.stdin.read().split()))
"""
    command = [python, "-IBc", script]
    return set(
        subprocess.run(command, check=True, capture_output=True, text=True, input=" ".join(names)).stdout.split()
    )


def test_a_python_that_is_too_large_is_named_and_breaks_no_build(the_pack: Pack, tmp_path: Path) -> None:
    padded, pack_here = tmp_path / "padded", the_pack.copy(tmp_path)
    with tarfile.open(the_pack.folder.parent / "python.tar.gz") as archive:
        archive.extractall(padded, filter="data")
    (padded / "python" / "lib" / "padding").write_bytes(bytes(60_000_000))
    (padded / "python" / "lib" / f"python{THIS}" / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=no\n")
    with tarfile.open(tmp_path / "python.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(padded / "python", "python")
    sha256 = hashlib.sha256((tmp_path / "python.tar.gz").read_bytes()).hexdigest()
    pack_here.pin(sha256=sha256, address=(tmp_path / "python.tar.gz").as_uri())
    app = tmp_path / "app"
    app.mkdir()

    builds = [pack_here.compile(app, tmp_path / "cache") for _ in range(2)]

    place = app / ".heroku" / "release-phase"
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    size = round(sum(path.stat().st_size for path in files) / 1_000_000)
    assert size > 60
    for done in builds:  # one that installs and one from the cache
        assert done.returncode == 0
        assert f"is in .heroku/release-phase ({size} MB)" in done.stdout
        assert done.stderr.startswith(" !     That is more than the 60 MB that it should take.")
    assert subprocess.run([place / "bin" / "release-phase", "--version"], check=True, capture_output=True).stdout


def test_nothing_was_taken_away_that_what_is_left_imports(compiled: Path, the_pack: Pack) -> None:
    python = compiled / "app" / ".heroku" / "release-phase" / "python" / "bin" / "python3"
    sources = _sources(the_pack.folder / "wheels")
    standard = _present(sys.executable, sys.stdlib_module_names - {"this", "antigravity"})
    left = _present(python, standard | set(sources))
    gone = (standard | set(sources)) - left
    assert {"sqlite3", "xml", "click.testing", "pygments.lexers.php"} <= gone

    missed = {name: _imported(sources[name][1], sources[name][0]) & gone for name in left & set(sources)}
    assert {name: found for name, found in missed.items() if found} == {}


@pytest.fixture
def offline(tmp_path: Path) -> str:
    """A PATH on which curl ends as it does without a network."""
    folder = tmp_path / "offline"
    folder.mkdir()
    (folder / "curl").write_text("#!/bin/sh\nexit 6\n")
    (folder / "curl").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_a_second_build_needs_no_network_and_comes_to_the_same(
    compiled: Path, the_pack: Pack, offline: str, tmp_path: Path
) -> None:
    cache, app = shutil.copytree(compiled / "cache", tmp_path / "cache"), tmp_path / "app"
    app.mkdir()

    done = the_pack.compile(app, cache, PATH=offline)

    assert (done.returncode, done.stderr) == (0, "")
    assert "cached" in done.stdout
    assert _contents(app) == _contents(compiled / "app")


def _torn(cache: Path) -> None:
    [archive] = (cache / "release-phase").glob("*.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-100])


def _another(cache: Path) -> None:
    [archive] = (cache / "release-phase").glob("*.tar.gz")
    archive.write_bytes(gzip.compress(b"something else"))


def _without_a_sum(cache: Path) -> None:
    [name] = (cache / "release-phase").glob("*.sha256")
    name.unlink()


@pytest.mark.parametrize("damage", [_torn, _another, _without_a_sum], ids=lambda damage: damage.__name__[1:])
def test_a_damaged_cache_is_not_used(
    compiled: Path, the_pack: Pack, offline: str, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    cache, app = shutil.copytree(compiled / "cache", tmp_path / "cache"), tmp_path / "app"
    damage(cache)
    app.mkdir()

    done = the_pack.compile(app, cache, PATH=offline)

    assert done.returncode == 1
    assert "Python could not be fetched" in done.stderr
    assert _contents(app) == {}


UNPACKING, INSTALLING = "app/.heroku/release-phase.part", "tmp.*/python/bin"
"""What is there first at that moment; mktemp names the second one."""


@pytest.mark.thin(1)
@pytest.mark.parametrize(
    ("moment", "number"),
    [(UNPACKING, signal.SIGTERM), (UNPACKING, signal.SIGKILL), (INSTALLING, signal.SIGKILL)],
    ids=["stopped while unpacking", "killed while unpacking", "killed while installing"],
)
def test_a_build_after_one_that_was_killed_comes_to_the_same(
    compiled: Path, the_pack: Pack, tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    app, cache = tmp_path / "app", tmp_path / "cache"
    app.mkdir()
    if moment == UNPACKING:
        shutil.copytree(compiled / "cache", cache)
    command, environ = the_pack.command(app, cache), {**ASTRAY, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environ, start_new_session=True, stdout=subprocess.DEVNULL) as dying:
        while not any(tmp_path.glob(moment)):
            assert dying.poll() is None
            time.sleep(0.001)
        os.killpg(dying.pid, number)
    assert dying.returncode != 0
    assert not (app / ".heroku" / "release-phase").exists()

    done = the_pack.compile(app, cache)

    assert done.returncode == 0
    assert ("cached" in done.stdout) is (moment == UNPACKING)
    assert _contents(app) == _contents(compiled / "app")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"address": "file:///nowhere/python.tar.gz"}, "Python could not be fetched from file:///nowhere"),
        ({"sha256": "0" * 64}, "is not what this buildpack was built for: its SHA-256 is not 000"),
        ({"machine": "z80"}, f"This buildpack was not built for {platform.machine()}."),
    ],
    ids=["no network", "another archive", "another machine"],
)
def test_a_build_that_cannot_go_on_says_why_and_leaves_the_app(
    the_pack: Pack, tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    pack_here = the_pack.copy(tmp_path)
    pack_here.pin(**changes)
    app = tmp_path / "app"
    app.mkdir()
    (app / "package.json").write_text("{}")

    done = pack_here.compile(app, tmp_path / "cache")

    assert done.returncode == 1
    assert sentence in done.stderr
    assert all(line.startswith(" !     ") for line in done.stderr.splitlines() if not line.startswith("curl:"))
    assert set(_contents(app)) == {"package.json"}
    assert not (tmp_path / "cache" / "release-phase").exists()


def test_a_build_that_stops_unforeseen_names_the_buildpack_and_leaves_the_app(the_pack: Pack, tmp_path: Path) -> None:
    pack_here, app = the_pack.copy(tmp_path), tmp_path / "app"
    [wheel] = (pack_here.folder / "wheels").glob("tenacity-*")
    wheel.unlink()
    app.mkdir()

    done = pack_here.compile(app, tmp_path / "cache")

    assert done.returncode == 1
    assert "No matching distribution found for tenacity" in done.stderr
    sentence = " !     The release-phase buildpack stopped: what went wrong stands above. The app is as it was.\n"
    assert done.stderr.endswith(sentence)
    assert done.stderr.count(sentence) == 1
    assert _contents(app) == {}


def test_heroku_finds_the_buildpacks_scripts_and_none_of_the_repositorys(the_pack: Pack, tmp_path: Path) -> None:
    scripts = the_pack.folder / "bin"
    assert {path.name for path in scripts.iterdir()} == {"detect", "compile", "release"}
    said = [
        subprocess.run([scripts / name, tmp_path], check=True, capture_output=True, text=True).stdout
        for name in ("detect", "release")
    ]
    assert said == ["release-phase\n", "--- {}\n"]  # no process types, add-ons or config vars
    assert not {"detect", "compile"} & {path.name for path in (ROOT / "bin").iterdir()}


def test_every_wheel_is_the_locks_and_nothing_of_the_sample_app(the_pack: Pack) -> None:
    lock = (ROOT / "requirements.txt").read_text()
    pins = (the_pack.folder / "requirements.txt").read_text().splitlines()
    own = [pin for pin in pins if pin.startswith("heroku-release-phase==")]
    assert len(own) == 1
    for pin in set(pins) - set(own):
        name, sha256 = pin.split(" --hash=")
        [block] = re.findall(rf"^{re.escape(name)}\b(?:.*\\\n)+.*\n", lock, re.MULTILINE)
        assert sha256 in block
    assert not [pin for pin in pins if pin.startswith(("django", "gunicorn", "sqlparse", "trustme", "cryptography"))]
    assert len(list((the_pack.folder / "wheels").iterdir())) == len(pins)


def test_a_condition_of_the_lock_is_met_for_the_python_that_is_packed() -> None:
    old, new = (Python(machine="x86_64", version=version, sha256="", address="") for version in ("3.11.9", "3.13.15"))
    assert "typing-extensions" in needed(old) - needed(new)
    assert " ; " not in locked(needed(old))


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    made = []
    for name, mode in (("one", 0o700), ("two", 0o755)):
        (tmp_path / name / "bin").mkdir(parents=True)
        for each in ("compile", "detect")[:: 1 if name == "one" else -1]:
            (tmp_path / name / "bin" / each).write_text("#!/bin/sh\n")
            (tmp_path / name / "bin" / each).chmod(mode)
        os.utime(tmp_path / name / "bin" / "compile", (1, 1))
        pack(tmp_path / name, tmp_path / f"{name}.tgz")
        made.append((tmp_path / f"{name}.tgz").read_bytes())
    assert made[0] == made[1]


def test_what_heroku_fetches_is_pinned_by_its_hash_and_address() -> None:
    assert set(pinned()) == {"x86_64", "aarch64"}
    for python in pinned().values():
        assert re.fullmatch("[0-9a-f]{64}", python.sha256)
        assert python.address.startswith("https://")
        assert f"cpython-{python.version}%2B" in python.address
        assert python.address.endswith(f"-{python.machine}-unknown-linux-gnu-install_only_stripped.tar.gz")
    assert len({python.version for python in pinned().values()}) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--python", "https://example.com/p.tar.gz"],
        ["--python", "https://example.com/p.tar.gz", "--sha256", "0" * 64],
        ["--python", "http://example.com/p.tar.gz", "--sha256", "0" * 64, "--version", "3.13.1"],
        ["--python", "https://example.com/p.tar.gz", "--sha256", "0" * 63, "--version", "3.13.1"],
        ["--machine", "z80"],
    ],
    ids=["without a hash", "without a version", "in the open", "half a hash", "not pinned"],
)
def test_a_python_that_is_not_pinned_whole_is_no_choice(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        chosen(words)
    assert ended.value.code == 2
    assert "--python" in capsys.readouterr().err


def test_by_default_it_is_for_the_dynos_of_classic_buildpacks() -> None:
    pythons, output = chosen([])
    assert pythons == [pinned()["x86_64"]]
    assert output.suffix == ".tgz"
