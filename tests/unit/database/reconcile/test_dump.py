"""A dump's rows as pg_restore writes them: cut wherever the stream may be cut, and what is at hand to read them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from release.database.reconcile import dump
from release.errors import Reason, Refused, StepFailed

WRITTEN = b"""--
-- PostgreSQL database dump
--

SET client_encoding = 'LATIN1';
SET search_path = '';

COPY public.empty (id) FROM stdin;
\\.


COPY public.similar (id) FROM stdin;
1
\\.


COPY public."We ""ird"", (x)" (id, "a, b", note) FROM stdin;
1\tone\t\\N
2\ttwo \\\\.\t\\\\.
\\.


SELECT pg_catalog.setval('public.a', 3, true);
"""
EMPTY, WEIRD = ("public", "empty"), ("public", 'We "ird", (x)')


class Dripping(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self._step = step

    def read(self, _size: int | None = -1, /) -> bytes:
        """Gives the next bytes."""
        return super().read(self._step)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 17, 10_000])
def test_rows_are_the_same_wherever_the_stream_is_cut(step: int) -> None:
    found = [
        (each.name, each.columns, each.encoding, b"".join(each.pieces))
        for each in dump._tables(Dripping(WRITTEN, step), frozenset({EMPTY, WEIRD}))
    ]

    assert found == [
        (EMPTY, ("id",), "LATIN1", b""),
        (WEIRD, ("id", "a, b", "note"), "LATIN1", b"1\tone\t\\N\n2\ttwo \\\\.\t\\\\.\n"),
    ]


def test_a_table_that_nobody_reads_is_read_past() -> None:
    found = [each.name for each in dump._tables(io.BytesIO(WRITTEN), frozenset({EMPTY, WEIRD}))]

    assert found == [EMPTY, WEIRD]


def test_rows_that_end_early_are_an_error() -> None:
    (weird,) = [next(dump._tables(io.BytesIO(WRITTEN[:-60]), frozenset({WEIRD})))]

    with pytest.raises(StepFailed, match="in the middle of a table"):
        list(weird.pieces)


@pytest.mark.parametrize("dripping", [False, True])
def test_memory_stays_flat_however_long_a_table_is(dripping: bool) -> None:
    rows = b"x" * 99 + b"\n"
    stream = Dripping(b"COPY public.empty (id) FROM stdin;\n" + rows * 100_000 + b"\\.\n", 4096 if dripping else 65536)
    (largest,) = [max(map(len, each.pieces)) for each in dump._tables(stream, frozenset({EMPTY}))]

    assert largest <= 2 * 65536


def test_where_there_is_no_pg_restore_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "OTHER_PLACES", tmp_path)

    with pytest.raises(Refused) as refused:
        dump.programs(str(tmp_path))

    assert refused.value.reason is Reason.NO_PG_RESTORE


def program(path: Path, script: str) -> Path:
    """A program that does what the script says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


TOO_OLD = "echo 'pg_restore: error: unsupported version (1.99) in file header' >&2; exit 1"
LISTS = "echo '3440; 0 16386 TABLE DATA public learners owner'"


def test_the_newest_one_is_taken_where_that_on_path_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "OTHER_PLACES", tmp_path)
    program(tmp_path / "9.6/bin/pg_restore", TOO_OLD)
    newest = program(tmp_path / "18/bin/pg_restore", LISTS)
    program(tmp_path / "bin/pg_restore", TOO_OLD)

    opened = dump.open_dump(tmp_path, dump.programs(str(tmp_path / "bin")))

    assert opened.program == newest
    assert opened.holds(("public", "learners"))
    assert not opened.holds(("public", "learn"))
    assert opened.without([("public", "learners")]) == []
    assert opened.without([]) == ["public.learners"]


def test_where_all_are_too_old_that_is_said(tmp_path: Path) -> None:
    old = program(tmp_path / "pg_restore", TOO_OLD)

    with pytest.raises(Refused, match="each of them is older than the server"):
        dump.open_dump(tmp_path, [old])


def test_what_is_no_dump_is_an_error_of_its_own(tmp_path: Path) -> None:
    broken = program(tmp_path / "pg_restore", "echo 'pg_restore: error: input file is too short' >&2; exit 1")

    with pytest.raises(StepFailed, match=r"is no whole dump: .*input file is too short"):
        dump.open_dump(tmp_path, [broken])
