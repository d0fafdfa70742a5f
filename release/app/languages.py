"""What an app is written in, by its files, and with which buildpack Heroku builds that."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class Language(Struct, frozen=True, kw_only=True):
    """A language: files of which one is there, and Heroku's buildpack for it; None where Heroku has none."""

    name: str
    files: tuple[str, ...]
    buildpack: str | None


LANGUAGES = (
    # Assets are built before the app that serves them, so Node.js comes first.
    Language(name="Node.js", files=("package.json",), buildpack="heroku/nodejs"),
    Language(
        name="Python",
        files=("requirements.txt", "Pipfile", "poetry.lock", "uv.lock", "setup.py"),
        buildpack="heroku/python",
    ),
    Language(name="Ruby", files=("Gemfile",), buildpack="heroku/ruby"),
    Language(name="PHP", files=("composer.json",), buildpack="heroku/php"),
    Language(name="Go", files=("go.mod",), buildpack="heroku/go"),
    Language(name="Java", files=("pom.xml",), buildpack="heroku/java"),
    Language(name="Gradle", files=("build.gradle", "build.gradle.kts", "gradlew"), buildpack="heroku/gradle"),
    Language(name="Scala", files=("build.sbt",), buildpack="heroku/scala"),
    Language(name="Clojure", files=("project.clj",), buildpack="heroku/clojure"),
    Language(name=".NET", files=("global.json",), buildpack="heroku/dotnet"),
    Language(name="Elixir", files=("mix.exs",), buildpack=None),
)
"""In the order in which their buildpacks run. Source: https://devcenter.heroku.com/articles/buildpacks"""

IMAGE = ("heroku.yml", "Dockerfile")
"""The files of an app that is a Docker image."""


def found(folder: Path) -> dict[Language, str]:
    """Returns the languages of the app in a folder, each with the file that shows it."""
    shown = {
        language: next((name for name in language.files if (folder / name).is_file()), None) for language in LANGUAGES
    }
    return {language: name for language, name in shown.items() if name}
