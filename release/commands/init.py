"""Into an app: what it needs for the hook, found by its files. Nothing is written unless it is asked for.

Each part is found by a function, as text and, where a file is to be made or lengthened, as that file's new text.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from release import __version__
from release.app import frameworks, languages, procfile
from release.app.command import choice
from release.app.frameworks import Framework
from release.app.languages import Language
from release.output.init import Part
from release.program import NAME, name

SOURCE = "https://github.com/YOUR-ORG/release-phase"
PACKAGE = f"heroku-release-phase @ git+{SOURCE}@v{__version__}"
BUILDPACK = f"{SOURCE}/releases/download/v{__version__}/release-phase-buildpack-{__version__}.tgz"

RELEASE_LINE = f"release: {NAME}"
REVIEW = """\
{
  "addons": ["heroku-postgresql:essential-0"],
  "environments": {"review": {"env": {"RELEASE_BACKUP": "off"}}}
}
"""
"""What app.json needs, so that a review app has a database of its own and no key."""

SCRIPTS = ("migrate:deploy", "db:deploy", "db:migrate", "migrate", "migrate:up", "migration:run", "migrations:run")
"""Names that scripts of a package.json have which migrate, the surest first."""

_SHELL = re.compile(r"[;&|<>$`\\()]")
_REMOTE = re.compile(
    r"^\s*url\s*=\s*(?:https://git\.heroku\.com/|(?:ssh://)?git@heroku\.com[:/])([\w-]+?)(?:\.git)?\s*$",
    re.MULTILINE,
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the app's folder shows. `app` is the app's name on Heroku, where it is known."""

    folder: Path
    app: str | None
    frameworks: tuple[Framework, ...]
    languages: Mapping[Language, str]

    @property
    def to_app(self) -> str:
        """The words by which a command of Heroku's CLI names the app."""
        return f" --app {self.app}" if self.app else " --app my-app"

    @property
    def release_line(self) -> str | None:
        """What the Procfile runs as its release phase today."""
        return procfile.command(self.folder, "release")

    def read(self, name: str) -> str | None:
        """Reads a file of the app, so that it can be written again byte by byte; None when none can be read."""
        try:
            with (self.folder / name).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                return file.read()
        except OSError:
            return None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A part, and the file that goes with it: its name, and its whole text where it can be written.

    `new`: the file was not there, and is only made where that is still so.
    """

    part: Part
    file: str | None = None
    text: str | None = None
    new: bool = False


def look(folder: Path, app: str | None) -> Found | None:
    """Looks at the app in a folder; None when there is none."""
    spoken = languages.found(folder)
    marked = tuple(frameworks.marked(folder))
    files = ("Procfile", "app.json", *languages.IMAGE)
    if not spoken and not marked and not any((folder / name).is_file() for name in files):
        return None
    return Found(folder=folder, app=app or _app_of(folder), frameworks=marked, languages=spoken)


def _app_of(folder: Path) -> str | None:
    """Returns the app to which the folder's Git pushes, where that is one."""
    try:
        remotes = set(_REMOTE.findall((folder / ".git" / "config").read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return None
    return remotes.pop() if len(remotes) == 1 else None


def about(found: Found) -> list[str]:
    """Names what was found, each with the file that shows it."""
    return [
        *(f"{framework.name} ({framework.marker})" for framework in found.frameworks),
        *(f"{language.name} ({name})" for language, name in found.languages.items()),
        *(f"a Docker image ({name})" for name in languages.IMAGE if (found.folder / name).is_file()),
        *([f"the Heroku app {found.app}"] if found.app else []),
        *(["a Procfile"] if (found.folder / "Procfile").is_file() else ["no Procfile"]),
    ]


def wanted(found: Found, *, overwrite: bool = False) -> list[Wanted]:
    """Finds all that the app needs, in the order in which it is done."""
    image = (found.folder / "heroku.yml").is_file()
    starting = _image() if image else _procfile(found, overwrite=overwrite)
    return [_installed(found, image=image), starting, _migration(found), _review(found), _key(found), _last(found)]


def write(found: Found, parts: list[Wanted]) -> list[Wanted]:
    """Writes the files. Returns the parts, as now done. Raises OSError when a file cannot be written."""
    done = []
    for each in parts:
        if each.file is None or each.text is None:
            done.append(each)
            continue
        how = "x" if each.new else "w"
        with (found.folder / each.file).open(how, encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(each.text)
        done.append(Wanted(part=msgspec.structs.replace(each.part, done=True), file=each.file))
    return done


def _lengthened(text: str | None, line: str) -> str:
    """Returns a file's text with one line more at its end."""
    before = "" if not text or text.endswith("\n") else "\n"
    return f"{text or ''}{before}{line}\n"


def _installed(found: Found, *, image: bool) -> Wanted:
    text = found.read("requirements.txt")
    if text is not None and re.search(r"^heroku-release-phase\b", text, re.MULTILINE):
        return Wanted(part=Part(title="The hook stands in requirements.txt already."))
    if image:
        return Wanted(part=Part(title="Install the hook in your Dockerfile:", code=(f"RUN pip install '{PACKAGE}'",)))
    if text is not None and "--hash=" not in text and _plain_python(found):
        part = Part(title="Install the hook: one line more in requirements.txt.", code=(PACKAGE,))
        return Wanted(part=part, file="requirements.txt", text=_lengthened(text, PACKAGE))
    add = f"heroku buildpacks:add{found.to_app}"
    own = [language.buildpack for language in found.languages if language.buildpack]
    code = (f"{add} --index 1 {BUILDPACK}", *(f"{add} {buildpack}" for buildpack in own))
    title = "Install the hook: a buildpack before the app's own."
    return Wanted(part=Part(title=title, notes=tuple(_about_buildpacks(found)), code=code))


def _plain_python(found: Found) -> bool:
    return {language.name for language in found.languages} <= {"Python", "Node.js"}


def _about_buildpacks(found: Found) -> Iterator[str]:
    yield "It brings a Python of its own, apart from the app's packages."
    if any(language.buildpack for language in found.languages):
        yield "Leave out those that `heroku buildpacks` shows already; the app's own stays the last."
    for language in found.languages:
        if language.buildpack is None:
            yield f"Heroku has no buildpack for {language.name}: the one that you use comes after it."
    if (found.folder / ".buildpacks").is_file():
        yield "Put it first in .buildpacks, too."
    if '"buildpacks"' in (found.read("app.json") or ""):
        yield f'Put it first among the buildpacks of app.json, too: {{"url": "{BUILDPACK}"}}'


def _procfile(found: Found, *, overwrite: bool) -> Wanted:
    line, text = found.release_line, found.read("Procfile")
    if line is None:
        title = "Make a Procfile:" if text is None else "One line more in the Procfile:"
        as_before = ("What the buildpack starts by itself, it starts as before.",)
        part = Part(title=title, notes=as_before if text is None else (), code=(RELEASE_LINE,))
        return Wanted(part=part, file="Procfile", text=_lengthened(text, RELEASE_LINE), new=text is None)
    if procfile.starts_hook(line):
        return Wanted(part=Part(title=f"The Procfile starts the hook already: `release: {line}`."))
    notes = [f"`release: {line}` stands there now.", _what_becomes_of(found, line)]
    if not overwrite:
        notes.append("`--write --overwrite` replaces the line.")
    part = Part(title="Replace the release line in the Procfile:", notes=tuple(notes), code=(RELEASE_LINE,))
    if not overwrite:
        return Wanted(part=part)
    replaced = re.sub(r"^release:[^\r\n]*", RELEASE_LINE, text or "", flags=re.MULTILINE)
    return Wanted(part=part, file="Procfile", text=replaced)


def _what_becomes_of(found: Found, line: str) -> str:
    """Says what becomes of the command that the Procfile runs today."""
    if len(found.frameworks) != 1:
        return "The hook runs it as the migration, with the setting below."
    (framework,) = found.frameworks
    if _is_migration(framework, line):
        return f"The hook runs {framework.name}'s migration itself."
    return f"The hook runs `{' '.join(framework.migrate_command)}` itself; see below for what else it does."


def _is_migration(framework: Framework, line: str) -> bool:
    """Tells whether a shell line is the framework's migration, and nothing else."""
    known = None if _SHELL.search(line) else frameworks.recognise(_words(line))
    return known is not None and known.name == framework.name


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _image() -> Wanted:
    code = ("release:", "  image: web", "  command:", f"    - {NAME}")
    return Wanted(part=Part(title="The release phase of a Docker image stands in heroku.yml:", code=code))


def _migration(found: Found) -> Wanted:
    if len(found.frameworks) > 1:
        names = ", ".join(framework.name for framework in found.frameworks)
        code = tuple(choice(framework, found.app or "my-app") for framework in found.frameworks)
        title = f"Say which of them migrates ({names}), with one of:"
        return Wanted(part=Part(title=title, code=code))
    if found.frameworks:
        return Wanted(part=_known(found, found.frameworks[0]))
    line = found.release_line
    command = line if line and not procfile.starts_hook(line) else _script(found)
    title = "Say what migrates:" if command is None else "Say what migrates, which is perhaps this:"
    setting = _as_setting(command) if command else "'your-tool migrate'"
    notes = (
        "The app's files show no framework that the hook knows.",
        "RELEASE_PENDING_COMMAND can name a command that exits 0 when nothing is pending, and 1 when something is."
        " Without one, only a release of the code that landed last has nothing pending.",
    )
    code = (f"heroku config:set RELEASE_MIGRATE_COMMAND={setting}{found.to_app}",)
    return Wanted(part=Part(title=title, notes=notes, code=code))


def _known(found: Found, framework: Framework) -> Part:
    asked = "It cannot ask what is pending."
    if framework.question:
        asked = f"Whether something is pending, it asks with `{framework.question}`."
    elif framework.index:
        asked = f"Whether something is pending, it sees in `{framework.index.file}`."
    title = f"Nothing to set for {framework.name}: the hook runs `{' '.join(framework.migrate_command)}`."
    line = found.release_line
    if line and not procfile.starts_hook(line) and not _is_migration(framework, line):
        code = (f"heroku config:set RELEASE_MIGRATE_COMMAND={_as_setting(line)}{found.to_app}",)
        more = "Today's release line is another one. Where all of it belongs to the migration, keep it with:"
        return Part(title=title, notes=(asked, more), code=code)
    return Part(title=title, notes=(asked,))


def _as_setting(command: str) -> str:
    """Returns a command as the value of a setting, quoted for a shell. What needs a shell gets one."""
    value = shlex.join(["sh", "-c", command]) if _SHELL.search(command) else command
    return f'"{value}"' if "'" in value and not re.search(r'["$`\\\\!]', value) else shlex.quote(value)


def _script(found: Found) -> str | None:
    """Returns how to run the script of a package.json that seems to migrate."""
    try:
        scripts = json.loads(found.read("package.json") or "{}").get("scripts", {})
    except (ValueError, AttributeError):
        return None
    name = next((name for name in SCRIPTS if isinstance(scripts, dict) and name in scripts), None)
    return f"npm run --silent {name}" if name else None


def _review(found: Found) -> Wanted:
    text = found.read("app.json")
    lines = tuple(REVIEW.splitlines())
    notes = ("A key there would reach every pull request; a review app's database is disposable.",)
    if text is None:
        part = Part(
            title="Review apps run without a backup, and without a key. Make an app.json:", notes=notes, code=lines
        )
        return Wanted(part=part, file="app.json", text=REVIEW, new=True)
    if _is_ready(text):
        return Wanted(part=Part(title="Review apps run without a backup already, by app.json."))
    title = "Review apps run without a backup, and without a key. Put this into app.json, beside what is there:"
    return Wanted(part=Part(title=title, notes=notes, code=lines))


def _is_ready(text: str) -> bool:
    try:
        value = json.loads(text)["environments"]["review"]["env"]["RELEASE_BACKUP"]
        return bool(value == "off" or value["value"] == "off")
    except (ValueError, KeyError, TypeError):
        return False


def _key(found: Found) -> Wanted:
    notes = (
        "The key acts for the account that makes it: take one that reaches this app only.",
        "The lab tells the hook the app's name, the release and the commit.",
    )
    code = (
        'heroku authorizations:create --description "release phase" --scope read-protected,write-protected',
        f"heroku config:set HEROKU_API_KEY=HRKU-…{found.to_app}",
        f"heroku labs:enable runtime-dyno-metadata{found.to_app}",
    )
    return Wanted(part=Part(title="Give the app a key, and switch the lab on:", notes=notes, code=code))


def _last(found: Found) -> Wanted:
    code = (f"{name()} check{found.to_app}", "git push heroku main", f"heroku run {NAME} plan{found.to_app}")
    return Wanted(part=Part(title="See whether it is ready, deploy, and see what a release would do:", code=code))


def ending(parts: list[Wanted], *, writing: bool) -> str:
    """Says what was written, or could be."""
    files = [each.file for each in parts if each.file and (each.part.done or each.text is not None)]
    if writing:
        return f"Written: {', '.join(files)}." if files else "There was nothing to write."
    if not files:
        return "Nothing was changed, and there is nothing to write."
    return f"Nothing was changed. `{name()} init --write` writes {', '.join(files)}."
