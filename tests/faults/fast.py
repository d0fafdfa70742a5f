"""The hook on a fast clock, in a process of its own that was forked from one which has imported everything already.

Two ways of use. `python -I fast.py FACTOR [ARGUMENT …]` is one run, like `bin/release` but with waits that are FACTOR
times as short. `python -I fast.py --serve FD` waits for jobs on a socket and forks a run for each, which saves the half
second of imports; the run is a child process in a session of its own all the same.

What is scaled: the hook's clock, and with it every deadline, pause and retry, and the limits of its HTTP requests. What
is not: the database's own limits, the processes and the signals. The factor is 10 as a rule: a wait of 35 s for a lost
answer takes 3.5 s, and 5 s of grace for a migration's sessions are still half a second on a busy machine.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import socket
import sys
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)

HTTP_FACTOR = 10.0
"""At most: an HTTP request on a busy machine needs a second, however fast the clock is."""


def run(arguments: list[str], environ: dict[str, str], factor: float, twist: str | None = None) -> int:
    """One run of the hook; `twist` is the name of a deliberate mistake in `broken.py`, or of a jump in `clock.py`."""
    from release import cli  # noqa: PLC0415 -- here, so that a broken installation is the run's failure
    from release.heroku import http  # noqa: PLC0415
    from tests.faults.clock import JUMPS, FastClock, JumpingClock  # noqa: PLC0415

    sys.unraisablehook = lambda _: None  # as __main__.py does
    scale = min(factor, HTTP_FACTOR)
    http.CONNECT_TIMEOUT /= scale
    http.READ_TIMEOUT /= scale
    if twist in JUMPS:
        return cli.main(arguments, environ, lambda signals: JumpingClock(factor, signals, jump=JUMPS[twist]))
    if twist:
        from tests.faults import broken  # noqa: PLC0415

        broken.TWISTS[twist]()
    return cli.main(arguments, environ, lambda signals: FastClock(factor, signals))


def serve(control: socket.socket) -> None:
    """Forks a run for each job until the other end is closed; says each run's pid, and later its wait status."""
    import release.cli  # noqa: PLC0415 -- the imports are what the forks are to share
    import release.database.restorable  # noqa: PLC0415
    import release.heroku.library  # noqa: PLC0415
    import release.phase  # noqa: PLC0415
    import release.steps.change  # noqa: PLC0415
    import release.steps.recover  # noqa: F401, PLC0415

    gc.freeze()
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    _reap(selector, key)
                elif not _fork(selector, control):
                    return


def _reap(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    selector.unregister(key.fileobj)
    pid, report = key.data
    _, status = os.waitpid(pid, 0)
    os.close(key.fd)
    os.write(report, f"{status}".encode())
    os.close(report)


def _fork(selector: selectors.BaseSelector, control: socket.socket) -> bool:
    message, fds, _, _ = socket.recv_fds(control, 1 << 20, 3)
    if not message:
        return False
    job = json.loads(message)
    pid = os.fork()
    if not pid:
        others = [control.fileno(), *(each.fd for each in selector.get_map().values())]
        others += [each.data[1] for each in selector.get_map().values() if each.data]
        raise SystemExit(_become(job, fds, others))
    output, errors, report = fds
    os.close(output)
    os.close(errors)
    os.write(report, f"{pid:8}".encode())
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, report))
    return True


def _become(job: dict[str, Any], fds: list[int], others: list[int]) -> int:
    """In the child: what `Popen` would have arranged, then the hook."""
    output, errors, report = fds
    os.setsid()
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for fd in {output, errors, report, *others}:
        os.close(fd)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environ"])
    return run(job["arguments"], job["environ"], job["factor"], job["twist"])


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        raise SystemExit(run(sys.argv[2:], dict(os.environ), float(sys.argv[1]), os.environ.get("FAULTS_TWIST")))
