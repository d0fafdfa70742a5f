"""Releases and the release phase.

A deploy, a rollback and a retry start at once, even beside another one: overlapping phases have been seen
on Heroku. A change of config, attachments or add-ons waits as `pending` while a phase of the app runs; until
it has succeeded, `GET config-vars` answers the old values. A failed release changes nothing. With several in
flight the newest version that succeeded is current, whichever ended last.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from heroku_sandbox import lookup
from heroku_sandbox.dynos import Dyno, Dynos, new_number
from heroku_sandbox.names import path_of_caller
from heroku_sandbox.options import Options
from heroku_sandbox.state import App, Formation, Release, ReleaseStatus, Slug, State, Store, now

_IGNORED = shutil.ignore_patterns(".git", ".venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache")


class Releases:
    """Makes releases, runs their phases one after the other or side by side, and starts one-off dynos."""

    def __init__(self, store: Store, dynos: Dynos, *, options: Callable[[], Options]) -> None:
        self._store = store
        self._dynos = dynos
        self._options = options
        self._running: set[str] = set()  # ids of releases whose phase runs
        self.hosts: dict[str, str] = {}  # HEROKU_HOST and HEROKU_DATA_HOST, known once the server listens

    def recover(self) -> None:
        """Makes pending releases failed ones after a restart, since their dynos are gone."""
        with self._store.change() as state:
            for app in state.apps.values():
                for release in app.releases:
                    if release.status is ReleaseStatus.PENDING:
                        release.status = ReleaseStatus.FAILED

    def slug(self, folder: Path, *, commit: str, description: str, path: str | None) -> Slug:
        """Copies a folder into a slug, without what git and builds leave behind, and without the sandbox's own home."""
        slug = Slug(commit=commit, description=description, path=path or path_of_caller({}), process_types={})
        target = self.folder(slug)
        shutil.copytree(folder, target, symlinks=True, ignore=self._left_out)
        slug.process_types = _procfile(target)
        with self._store.change() as state:
            state.slugs[slug.id] = slug
        return slug

    def _left_out(self, folder: str, names: list[str]) -> set[str]:
        home = self._store.home.resolve()
        return _IGNORED(folder, names) | {name for name in names if Path(folder, name).resolve() == home}

    def folder(self, slug: Slug) -> Path:
        """Returns the folder of a slug's files."""
        return self._store.home / "slugs" / slug.id

    def output(self, release: Release) -> Path:
        """Returns the file behind a release's output stream."""
        return self._store.home / "output" / release.id

    def deploy(self, app: App, slug: Slug) -> Release:
        """Makes a release from a git push that has been built."""
        return self._create(app, f"Deploy {slug.commit[:8]}", slug_id=slug.id, waits=False)

    def configure(self, app: App, config: Mapping[str, str | None], description: str) -> Release:
        """Makes a release that changes config vars; None removes one."""
        return self._create(app, description, config=config, waits=True)

    def update_silently(self, app: App, config: Mapping[str, str | None], description: str) -> None:
        """Makes a release without release phase: an add-on has changed its own config vars."""
        with self._store.change():
            release = Release(version=_next_version(app), description=description, new_config=dict(config))
            app.releases.append(release)
            _apply_changes(app, release)
            release.status = ReleaseStatus.SUCCEEDED

    def rollback(self, app: App, target: Release) -> Release:
        """Makes a release with the code and the config of an older one; add-ons' config vars stay as they are."""
        with self._store.change() as state:
            if target.status is not ReleaseStatus.SUCCEEDED or target.slug_id is None:
                raise lookup.invalid("Cannot rollback to a release that had no app deployed or has failed")
            attached = {attachment.variable for attachment in lookup.attachments(state, app_id=app.id)}
            wanted, present = target.config or {}, app.config
            config: dict[str, str | None] = {name: None for name in present if name not in wanted}
            config |= wanted
            config = {name: value for name, value in config.items() if name not in attached}
            return self._create(
                app, f"Rollback to v{target.version}", slug_id=target.slug_id, config=config, waits=False
            )

    def release_slug(self, app: App, slug: Slug, description: str) -> Release:
        """Makes a release through the API: `heroku releases:retry`, or code promoted from another app."""
        return self._create(app, description, slug_id=slug.id, waits=False)

    def _create(
        self,
        app: App,
        description: str,
        *,
        slug_id: str | None = None,
        config: Mapping[str, str | None] | None = None,
        waits: bool,
    ) -> Release:
        """Makes a release and starts it. One that `waits` is started once no other of the app is pending."""
        with self._store.change():
            release = Release(
                version=_next_version(app),
                description=description,
                new_slug_id=slug_id,
                new_config=dict(config or {}),
            )
            app.releases.append(release)
            if not waits or not any(self._is_pending(other) for other in app.releases[:-1]):
                self._start(app, release)
            return release

    def _is_pending(self, release: Release) -> bool:
        return release.status is ReleaseStatus.PENDING

    def _start(self, app: App, release: Release) -> None:
        """Starts a release phase. A release without one has succeeded at once."""
        _apply_changes(app, release)
        slug = self._store.state.slugs.get(release.slug_id or "")
        if slug is None or "release" not in slug.process_types:
            self._finish(app, release, ReleaseStatus.SUCCEEDED)
            return
        self._running.add(release.id)
        release.has_output = True
        dyno = self.dyno(app, release, type_="release", command=slug.process_types["release"])
        dyno.output = self.output(release)

        def ended(dyno: Dyno) -> None:
            with self._store.change():
                self._running.discard(release.id)
                status = ReleaseStatus.SUCCEEDED if dyno.code == 0 else ReleaseStatus.FAILED
                self._finish(app, release, status)

        self._dynos.start(
            dyno,
            folder=self.folder(slug),
            environment=self.environment(app, release, dyno),
            limit=self._options().release_limit,
            ended=ended,
        )

    def _finish(self, app: App, release: Release, status: ReleaseStatus) -> None:
        """Closes a release, and starts the next one that waits."""
        release.status = status
        release.updated_at = now()
        if app.current is release:
            self._fit_formation(app, release)
        if not any(other.id in self._running for other in app.releases):
            waiting = next((other for other in app.releases if self._is_pending(other)), None)
            if waiting:
                self._start(app, waiting)

    def _fit_formation(self, app: App, release: Release) -> None:
        """Fits the formation to the code that runs now: a new process type gets no dyno, the first `web` gets one."""
        slug = self._store.state.slugs.get(release.slug_id or "")
        types = slug.process_types if slug else {}
        for name in types:
            app.formation.setdefault(name, Formation(quantity=1 if name == "web" else 0))
        for name in [name for name in app.formation if name not in types]:
            del app.formation[name]

    def dyno(self, app: App, release: Release, *, type_: str, command: str, size: str = "Standard-1X") -> Dyno:
        """Makes a dyno of a release. It is not yet started."""
        dyno = Dyno(
            app_id=app.id,
            name=f"{type_}.{new_number()}",
            type=type_,
            command=command,
            size=size,
            release_id=release.id,
            release_version=release.version,
            output=self._store.home / "output",
        )
        dyno.output /= dyno.id
        return dyno

    def run(self, app: App, command: str, *, type_: str, size: str, extra: Mapping[str, str], limit: float) -> Dyno:
        """Starts a one-off dyno of the current release. Raises ApiError (422) for an app without code."""
        current = app.current
        slug = self._store.state.slugs.get((current.slug_id if current else None) or "")
        if current is None or slug is None:
            raise lookup.invalid("No code has been pushed to this app.")
        if command in slug.process_types:
            command = slug.process_types[command]
        dyno = self.dyno(app, current, type_=type_, command=command, size=size)
        environment = self.environment(app, current, dyno) | dict(extra)
        if app.stack == "cnb":
            dyno.command, environment["PATH"] = _launched(command, environment["PATH"])
        self._dynos.start(dyno, folder=self.folder(slug), environment=environment, limit=limit)
        return dyno

    def environment(self, app: App, release: Release, dyno: Dyno) -> dict[str, str]:
        """Returns what a dyno finds in its environment.

        The two hosts are no part of Heroku's dynos; they are how code in here finds the sandbox.
        """
        slug = self._store.state.slugs[release.slug_id or ""]
        environment = {
            "PATH": slug.path,
            "HOME": str(self.folder(slug)),
            "LANG": "C.UTF-8",
            "DYNO": dyno.name,
            **self.hosts,
        }
        if self._options().dyno_metadata:
            environment |= {
                "HEROKU_APP_ID": app.id,
                "HEROKU_APP_NAME": app.name,
                "HEROKU_RELEASE_VERSION": f"v{release.version}",
                "HEROKU_RELEASE_CREATED_AT": release.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "HEROKU_SLUG_COMMIT": slug.commit,
                "HEROKU_SLUG_DESCRIPTION": slug.description or f"Deploy {slug.commit[:8]}",
                "HEROKU_BUILD_COMMIT": slug.commit,
                "HEROKU_BUILD_DESCRIPTION": slug.description,
            }
        return environment | (release.config or {})


def _launched(command: str, path: str) -> tuple[str, str]:
    """Returns what a one-off dyno of Fir runs, and its PATH: the one that the build made only with `launcher`."""
    words = command.removeprefix("launcher ")
    return words, path if words != command else "/usr/local/bin:/usr/bin:/bin"


def new_app(state: State, name: str) -> App:
    """Makes an app as Heroku does, with its first two releases. Raises ApiError (422) for a name that is taken."""
    if any(app.name == name for app in state.apps.values()):
        raise lookup.invalid(f"Name {name} is already taken")
    app = App(name=name)
    for version, description in enumerate(("Initial release", "Enable Logplex"), start=1):
        app.releases.append(
            Release(version=version, description=description, status=ReleaseStatus.SUCCEEDED, config={})
        )
    state.apps[app.id] = app
    return app


def _next_version(app: App) -> int:
    return max((release.version for release in app.releases), default=0) + 1


def _apply_changes(app: App, release: Release) -> None:
    """Applies what a release changes to what is current at this moment."""
    current = app.current
    release.slug_id = release.new_slug_id or (current.slug_id if current else None)
    config = app.config
    for name, value in release.new_config.items():
        if value is None:
            config.pop(name, None)
        else:
            config[name] = value
    release.config = config


def _procfile(folder: Path) -> dict[str, str]:
    """Reads the process types and their commands from a folder's Procfile; none where there is none."""
    file = folder / "Procfile"
    types = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        name, separator, command = line.partition(":")
        if separator and not name.lstrip().startswith("#"):
            types[name.strip()] = command.strip()
    return types
