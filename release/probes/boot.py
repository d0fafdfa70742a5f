"""The boot probe: the new code's web process, started in the release dyno against the migrated database, has to answer.

The Procfile's line is run as Heroku runs it, with `sh -c` (that is what fills in `$PORT`), on a free port. A request
looks like one that came through Heroku's router, so that neither a check of the host's name nor a redirect to https
gets in the way.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from release.app import procfile
from release.app.command import start_app
from release.child.process import Ended, Running
from release.errors import ProbeFailed, Reason
from release.run import Run
from release.web import Answer, Problem, Request

GET_WITHIN = 10.0
"""Seconds for one request; one that takes longer is given up and made again."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two requests."""

STEADY_ANSWERS, STEADY_SECONDS = 3, 10.0
"""How often an error comes, and for how long, until it is taken for the last word."""

NOT_YET = frozenset({502, 503, 504})
"""Statuses that say "not now": a proxy's, or an app's that is still loading (RFC 9110, 15.6)."""

LOOK_EVERY = 0.02
"""Seconds between two looks at a request under way; meanwhile the process's output is passed on."""

NOT_STARTED = frozenset({126, 127})
"""Exit codes of a shell that finds no such command, or one that cannot be executed (POSIX, 2.8.2)."""


class Steady:
    """An error of the server's that comes again and again: code that is wrong does not become right by waiting."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._status: int | None = None
        self._since = 0.0
        self._times = 0

    def hears(self, status: int | None, at: float) -> bool:
        """Takes an answer's status (None: there was none) at a time in seconds; tells whether it is the last word."""
        if status != self._status:
            self._status, self._since, self._times = status, at, 0
        self._times += 1
        steady = self._times >= STEADY_ANSWERS and at - self._since >= STEADY_SECONDS
        if not steady or status is None or status < 500 or status in NOT_YET:  # noqa: PLR2004 -- HTTP statuses
            return False
        self.seconds = at - self._since
        return True


def boot(run: Run, path: str, environ: Mapping[str, str]) -> dict[str, object]:
    """Boots the web process until `path` answers 2xx, then ends it and all it started. Raises ProbeFailed."""
    line = procfile.command(run.folder, "web")
    if line is None:
        raise ProbeFailed(Reason.WEB_NOT_FOUND, "the Procfile has no web process")
    port = free_port()
    began = run.clock.monotonic()
    with start_app(run, ("sh", "-c", line), env={**environ, "PORT": str(port)}) as web:
        steady = Steady()
        answer = _until_ok(run, web, f"http://127.0.0.1:{port}{path}", steady)
        took = run.clock.monotonic() - began
        by_itself = not web.alive
        ended = web.stop()
    run.signals.check()
    if answer.ok:
        return {"path": path, "status": answer.status, "booted_in": round(took, 3)}
    raise _failure(answer, ended, took, steady.seconds, by_itself=by_itself)


def free_port() -> int:
    """Returns a port that nobody uses at this moment: the system's choice."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _until_ok(run: Run, web: Running, url: str, steady: Steady) -> Answer:
    """Asks until the answer is 2xx or a steady error, the process has ended, a signal came or time is up.

    Returns the last answer.
    """
    headers = router_headers(run)
    answer = Answer(problem=Problem.REFUSED)
    pause = FIRST_PAUSE
    # This is not retry.wait_until: it ends with the process, too, and its pauses pass the process's output on.
    while web.alive and not run.deadline.expired and not run.signals.pending:
        answer = _answer(run, web, url, headers)
        if answer.ok or steady.hears(answer.status, run.clock.monotonic()):
            break
        web.pump(run.deadline.clamp(pause))
        pause = min(LONGEST_PAUSE, pause * 1.5)
    return answer


def _answer(run: Run, web: Running, url: str, headers: Mapping[str, str]) -> Answer:
    """Makes one request, and reads the output meanwhile.

    A process whose output nobody reads stands still, and never answers.
    """
    given_up = run.deadline.within(GET_WITHIN)
    request = Request("GET", url, timeout=max(LOOK_EVERY, run.clock.real(given_up.left())), headers=headers)
    while request.under_way and not given_up.expired and not run.signals.pending:
        if web.alive:
            web.pump(LOOK_EVERY)
        else:
            request.wait(LOOK_EVERY)
    return request.answer


def router_headers(run: Run) -> dict[str, str]:
    """Returns what Heroku's router adds to a request, and the app's own host.

    Source: https://devcenter.heroku.com/articles/http-routing
    """
    environ, settings = run.environ, run.settings
    host = urlsplit(settings.probe_url or "").hostname or environ.get("HEROKU_APP_DEFAULT_DOMAIN_NAME")
    if not host:
        host = f"{settings.heroku_app_name}.herokuapp.com" if settings.heroku_app_name else "localhost"
    return {
        "Host": host,
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "443",
        "X-Request-Id": f"release-{run.id}",
        "Via": "1.1 release-phase",
    }


def _failure(answer: Answer, ended: Ended, took: float, steady: float, *, by_itself: bool) -> ProbeFailed:
    if by_itself:
        last = f": {ended.last_words}" if ended.last_words else ""
        reason = Reason.WEB_NOT_FOUND if ended.exit_code in NOT_STARTED else Reason.WEB_CRASHED
        return ProbeFailed(reason, f"it ended with {ended.how} after {took:.1f} s{last}", exit_code=ended.exit_code)
    if answer.status is not None:
        same = f", the same for {steady:.1f} s," if steady else ""
        detail = f"{answer}{same} after {took:.1f} s"
        return ProbeFailed(Reason.WEB_UNHEALTHY, detail, status=answer.status, body=answer.body)
    if answer.problem is Problem.REFUSED:
        return ProbeFailed(Reason.WEB_NOT_LISTENING, f"nothing listened on $PORT within {took:.1f} s")
    return ProbeFailed(Reason.WEB_SILENT, f"{answer}, for {took:.1f} s")
