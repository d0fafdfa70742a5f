"""requests without the detection of character sets."""

from __future__ import annotations

from tests.unit.test_lean import said


def test_an_answer_whose_character_set_is_not_said_is_read_as_utf_8() -> None:
    program = (
        "from release.heroku.library import requests; answer = requests.Response();"
        "answer._content = 'ä'.encode(); print(answer.text == 'ä', answer.apparent_encoding)"
    )

    assert said(program) == "True utf-8"


def test_the_hook_s_requests_are_everybody_s() -> None:
    assert (
        said("from release.heroku.library import requests as ours; import requests; print(ours is requests)") == "True"
    )
