"""All who are to hear of a run are told at once, each gets two attempts, and none of them can do any harm."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from release.log.logger import open_log
from release.notify import notifiers
from release.notify.notifiers import Audience, Notifier, find_audience
from release.notify.webhook import send
from tests.unit.heroku.server import replies, serving
from tests.unit.recording import Recording

ABOUT = {"run_id": "0f3a", "app": "shop", "release": "v7"}
RECORD = {"outcome": "released", "exit_code": 0, "steps": {"probe": 0.1}}
RESTORE = ({"event": "fence_raised", "mode": "restore"}, {"event": "transfer_started", "kind": "restore"})
BACKUP = ({"event": "fence_raised", "mode": "release"}, {"event": "transfer_started", "kind": "backup"})


class Receiver:
    """Somebody who is told: answers with each of `answers`, the last one again and again."""

    def __init__(self, *answers: tuple[str, bool], wait: Callable[[], object] = bool) -> None:
        self.heard: list[Mapping[str, Any]] = []
        self._answers = list(answers) or [("", False)]
        self._wait = wait

    def send(self, _: str, message: Mapping[str, Any], __: float) -> tuple[str, bool]:
        self.heard.append(message)
        self._wait()
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def audience(recording: Recording, **receivers: Receiver) -> Audience:
    rows = [
        Notifier(name=name, variable=f"RELEASE_{name.upper()}_URL", accepted=bool, send=each.send)
        for name, each in receivers.items()
    ]
    return Audience([(row, "https://example.com/") for row in rows], recording.log, ABOUT)


@pytest.fixture
def over() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_all_are_told_and_each_failure_is_a_warning_by_name(recording: Recording) -> None:
    fine, refusing, flaky = Receiver(), Receiver(("it answered 404", False)), Receiver(("it broke", True), ("", False))

    audience(recording, fine=fine, refusing=refusing, flaky=flaky).finish(RECORD, since_signal=None)

    assert [len(each.heard) for each in (fine, refusing, flaky)] == [1, 1, 2]
    assert fine.heard[0]["text"].startswith("✅ Release v7 of shop: released. ")
    assert {**ABOUT, **RECORD, "event": "release_finished"}.items() <= fine.heard[0].items()
    assert recording.events == [
        {
            "level": "warning",
            "event": "warning_raised",
            "warning": "refusing_failed",
            "detail": "it answered 404",
            "attempts": 1,
        }
    ]


def test_several_that_hang_cost_no_more_than_one(recording: Recording, over: threading.Event) -> None:
    hanging = {name: Receiver(wait=lambda: over.wait(10)) for name in ("one", "two", "three")}
    began = time.monotonic()

    audience(recording, **hanging).finish(RECORD, since_signal=22.0)  # one second is left

    assert time.monotonic() - began < 2.5
    assert [each["warning"] for each in recording.events] == ["one_failed", "two_failed", "three_failed"]
    assert {each["detail"] for each in recording.events} == {"no answer in time"}


def test_a_second_attempt_that_hangs_is_no_answer_in_time(recording: Recording, over: threading.Event) -> None:
    def second_hangs() -> None:
        if len(receiver.heard) > 1:
            over.wait(10)

    receiver = Receiver(("it answered 500", True), wait=second_hangs)
    audience(recording, slow=receiver).finish(RECORD, since_signal=25.0)

    assert [(each["detail"], each["attempts"]) for each in recording.events] == [("no answer in time", 2)]


def test_a_restore_is_told_once_at_its_first_sign_and_a_backup_never(recording: Recording) -> None:
    receiver = Receiver()
    told = audience(recording, one=receiver)

    for event in (*BACKUP, {"event": "step_started"}):
        told.observe(event)
    assert receiver.heard == []
    for event in RESTORE:
        told.observe(event)
    told.finish(RECORD, since_signal=None)

    assert [each["event"] for each in receiver.heard] == ["restore_begun", "release_finished"]
    assert receiver.heard[0]["text"].startswith("⏳ Release v7 of shop: a restore begins.")


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, []),
        ({"RELEASE_WEBHOOK_URL": " "}, []),
        ({"RELEASE_WEBHOOK_URL": "http://hooks.example.com/x"}, []),
        ({"RELEASE_WEBHOOK_URL": " https://hooks.example.com/x\n"}, [("webhook", "https://hooks.example.com/x")]),
    ],
)
def test_only_who_is_set_and_accepted_is_told(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], told: list[tuple[str, str]]
) -> None:
    heard: list[tuple[str, str]] = []

    def keep(row: Notifier, address: str, *_: object) -> Any:
        heard.append((row.name, address))
        return Delivered()

    monkeypatch.setattr(notifiers, "Delivery", keep)
    find_audience(environ, recording.log, ABOUT).finish(RECORD, since_signal=None)

    assert heard == told


class Delivered:
    """A delivery that needed no time."""

    problem = ""

    def wait(self, _: float) -> None:
        """No need to."""


def test_a_password_is_known_before_slacks_characters_are_escaped(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    log = open_log(fd=fd, secrets=["pass&word<1234>"])
    record = {**RECORD, "outcome": "untouched", "error": "login failed: pass&word<1234>, at <!channel>"}
    with serving(replies()) as server:
        row = Notifier(name="webhook", variable="RELEASE_WEBHOOK_URL", accepted=bool, send=send)
        Audience([(row, server.url)], log, ABOUT).finish(record, since_signal=None)
    os.close(fd)

    (asked,) = server.requests
    assert "word" not in asked.json["text"]
    assert "login failed: [redacted], at &lt;!channel&gt;" in asked.json["text"]
