"""The report, from real logs and from what people take for logs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from release.output import page, timeline
from release.output.report import as_text
from tests.hook import Hook, small_app

RENAMED = "ALTER TABLE learners RENAME COLUMN name TO full_name;\n"
PROBE = "SELECT count(name) > 0 FROM learners"


def report(hook: Hook, *arguments: str, log: bytes | None = None) -> tuple[int, str, str]:
    """Runs the command with a log on standard input."""
    ended = subprocess.run(
        [*hook.program, "report", *arguments],
        cwd=hook.folder,
        env=hook.environ(),
        input=log or b"",
        capture_output=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


@pytest.fixture
def failing(hook: Hook) -> bytes:
    """The log of a release whose probe failed."""
    small_app(hook.folder, {"002": RENAMED})
    return hook.run(RELEASE_PROBE_SQL=PROBE, HEROKU_SLUG_COMMIT="60883d9e8947").stdout


def test_a_failing_release_is_understood_from_its_report(hook: Hook, failing: bytes) -> None:
    exit_code, text, errors = report(hook, log=failing)

    assert (exit_code, errors) == (0, "")
    assert text.startswith(f"Release v7 of {hook.app.name}: restored (probe_failed), exit 1\n")
    assert "commit 60883d9e8947" in text
    assert "✗ probe sql: column" in text
    assert "✓ salvage b002:" in text
    assert "· column public.learners.full_name added" in text
    assert "The database is as it was before the release, proved" in " ".join(text.split())
    assert "What to do: " in text
    assert max(map(len, text.split("\n"))) <= 110


def test_prefixes_and_lines_of_others_do_no_harm(hook: Hook, failing: bytes) -> None:
    prefixed = b"".join(
        b"2026-11-22T16:18:46.845Z app[release.1234]: " + line + b"\n2026-11-22T16:18:46Z heroku[router]: at=info {}\n"
        for line in failing.splitlines()
    )

    assert report(hook, log=b"-----> Building\n\xff\xfe\n" + prefixed) == report(hook, log=failing)


def test_a_log_that_is_cut_off_says_so(hook: Hook, failing: bytes) -> None:
    lines = failing.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"transfer_started"' in line)

    exit_code, text, _ = report(hook, log=b"".join(lines[: at + 1]) + b'{"timestamp":"2026-')

    assert exit_code == 0
    assert "no end in this log" in text
    assert "ends within the step backup before release_finished" in " ".join(text.split())
    assert "not ended" in text
    _, text, _ = report(hook, log=b"".join(lines[at:]))
    assert "The beginning of this run is not in the log" in text


def test_two_runs_in_one_log_are_shown_one_by_one(hook: Hook, failing: bytes) -> None:
    (hook.folder / "migrations" / "002.sql").unlink()
    good = hook.run(HEROKU_RELEASE_VERSION="v8").stdout

    _, text, _ = report(hook, log=failing + good)

    assert text.startswith("2 runs in this log\n\nRelease v7")
    assert f"\n\n\nRelease v8 of {hook.app.name}: released, exit 0\n" in text


def test_an_older_version_and_events_that_nobody_knows_are_read_as_far_as_they_go(hook: Hook, failing: bytes) -> None:
    older = failing.replace(b'"version":"0.1.0"', b'"version":"0.0.3"')
    older = older.replace(b'"probe_passed"', b'"probe_succeeded_in_the_old_days"').replace(b'"steps":', b'"stages":')

    exit_code, text, _ = report(hook, log=older)

    assert exit_code == 0
    assert "Written by version 0.0.3" in text
    assert "restored (probe_failed)" in text


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (b"", "standard input is empty"),
        (b"hello\n", "This is not a log"),
        (b'{"timestamp":"now","event":"release_started"}\n[1]\n{}\nnull\n', "This is not a log"),
        (b"\x00\xff" * 1000 + b"\n" + b"{" * 5000, "This is not a log"),
    ],
)
def test_what_is_no_log_is_a_clear_sentence_and_exit_code_2(hook: Hook, log: bytes, words: str) -> None:
    exit_code, text, errors = report(hook, log=log)

    assert (exit_code, text) == (2, "")
    assert words in errors
    assert errors.count("\n") == 1


def test_files_that_cannot_be_read_or_written_are_a_clear_sentence(hook: Hook, failing: bytes) -> None:
    assert "No such file" in report(hook, "nowhere.log")[2]
    (hook.folder / "run.log").write_bytes(failing)
    exit_code, _, errors = report(hook, "run.log", "-o", "nowhere/report.txt")
    assert (exit_code, "nowhere/report.txt cannot be written" in errors) == (2, True)


def test_json_has_what_the_text_says(hook: Hook, failing: bytes) -> None:
    (run,) = json.loads(report(hook, "--json", log=failing)[1])

    assert (run["complete"], run["record"]["outcome"], run["release"]) == (True, "restored", "v7")
    assert [step["name"] for step in run["steps"]] == ["prepare", "backup", "migrate", "probe", "restore"]
    assert run["record"]["transfers"][0]["duration"] > 0
    assert run["record"]["changes"]


def test_the_page_is_self_contained_and_escapes_what_it_is_given(hook: Hook, failing: bytes) -> None:
    evil = failing.replace(b'"line":"applying 002"', b'"line":"<script>alert(1)</script>"')

    _, html, _ = report(hook, "--html", log=evil)

    assert "<svg" in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert not re.search(r"(?:src|href)\s*=|@import|url\(", html)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_a_migration_cannot_forge_an_event(hook: Hook) -> None:
    forged = '{"timestamp":"2026-01-01T00:00:00Z","run_id":"x","event":"release_finished","outcome":"released"}'
    (hook.folder / "migrate").write_text(f"#!/bin/sh\necho '{forged}'\nexit 1\n")

    _, text, _ = report(hook, log=hook.run().stdout)

    assert "untouched (migration_failed), exit 1" in text
    assert text.count("Release v7") == 1


def test_a_step_that_restored_nothing_is_not_called_a_restore_and_a_probe_shows_its_answer(hook: Hook) -> None:
    small_app(hook.folder, {"001": "SELECT 1 / 0;\n"})
    log = hook.run().stdout
    answer = {"event": "probe_failed", "step": "migrate", "probe": "live", "detail": "status 500", "body": "<b>no</b>"}
    answer |= {
        name: value for name, value in json.loads(log.splitlines()[-2]).items() if name in {"timestamp", "run_id"}
    }

    stories = timeline.read([*log.decode().splitlines()[:-1], json.dumps(answer)])
    text, html = as_text(stories, width=100), page.as_html(stories)

    assert "✓ no restore " in text
    assert "· its answer: <b>no</b>" in text
    assert "<h3>no restore " in html
    assert "its answer: &lt;b&gt;no&lt;/b&gt;" in html
    run_id = str(answer["run_id"])[:6]
    assert re.search(r"(?m)^  no restore +\d", hook.run("history", run_id).stdout.decode())


def test_what_takes_up_lines_is_said_once_in_text_and_page() -> None:
    long = "An earlier run was interrupted and left changes: " + "; ".join(f"column {n} added" for n in range(30))
    step = {"step": "recover", "error": long}
    log = [
        json.dumps({"timestamp": "2026-01-01T00:00:00Z", "run_id": "x", **event})
        for event in (
            {"event": "step_started", "step": "recover"},
            {"event": "step_failed", **step},
            {"event": "release_finished", "outcome": "refused", "exit_code": 3, "error": long},
        )
    ]
    stories = timeline.read(log)

    for shown in (" ".join(as_text(stories, width=100).split()), page.as_html(stories)):
        assert shown.count("column 7 added") == 1
        assert shown.count("An earlier run was interrupted and left changes") == 2


def test_text_and_page_hold_with_a_run_of_no_length_at_all() -> None:
    line = '{"timestamp":"2026-01-01T00:00:00Z","run_id":"x","event":"step_started","step":"prepare"}'
    stories = timeline.read([line])

    assert "not ended" in as_text(stories, width=40)
    assert "<svg" in page.as_html(stories)


@pytest.mark.parametrize(("name", "width"), [("report.png", 860), ("report-phone.png", 375)])
def test_the_pages_pictures_are_shown_in_the_docs_and_small(name: str, width: int) -> None:
    docs = Path(__file__).parents[2] / "docs"
    picture = (docs / name).read_bytes()
    assert len(picture) < 150_000
    assert int.from_bytes(picture[16:20]) == width  # PNG's first chunk begins with it
    assert f"({name})" in (docs / "outcomes.md").read_text()
