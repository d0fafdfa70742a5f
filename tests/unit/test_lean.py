"""Stand-ins while a library is imported: the library does without, and nobody else notices."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.hook import ROOT


def said(program: str) -> str:
    """What a program says that can import the hook."""
    start = f"import sys; sys.path.append({str(ROOT)!r})\n"
    run = subprocess.run([sys.executable, "-I", "-c", start + program], check=True, capture_output=True, text=True)
    assert run.stderr == ""
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("ours", "library"),
    [
        ("release.database", "importlib.metadata"),
        ("release.heroku.library", "charset_normalizer"),
    ],
)
def test_what_a_library_does_without_can_be_imported_afterwards(ours: str, library: str) -> None:
    program = f"import {ours}; print({library!r} in sys.modules); import {library} as real; print(real.__file__)"

    loaded, where = said(program).split()

    assert loaded == "False"
    assert where.endswith("__init__.py")


def test_where_the_real_one_is_loaded_it_is_used() -> None:
    program = "import charset_normalizer as real, release.heroku.library as our\nfrom requests import compat\n"

    assert said(program + "print(compat.chardet is real, sys.modules['charset_normalizer'] is real)") == "True True"


def test_psycopg_works_without_its_version() -> None:
    assert said("import release.database, psycopg; print(psycopg.conninfo.make_conninfo(host='h'))") == "host=h"
