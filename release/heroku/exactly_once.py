"""Starting a transfer exactly once, though the answer to the request may be lost.

Heroku has no idempotency key: repeating a POST makes a second transfer. A request has three results. Done: the answer
names the transfer. Surely not done: no connection, or an error that says so. Unknown: anything else; then the list of
transfers is read until the request can no longer take effect, and only a list that shows no new transfer allows another
request.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from release.clock import Clock, Deadline
from release.errors import Reason, StepFailed
from release.heroku.http import ROUTER_TIMEOUT, Effect, HerokuError
from release.heroku.transfers import Transfer
from release.log.events import Event
from release.log.logger import Log
from release.retry import Patience, TimedOut, backoff, growing, wait_until

ATTEMPTS = 4
"""Requests at most, each after the last one was surely not done."""

SETTLE = ROUTER_TIMEOUT + 5.0
"""Seconds after which a request whose answer was lost cannot take effect any more."""


class Request(Struct, frozen=True, kw_only=True):
    """A transfer to be started.

    `post` makes the request, `listed` reads the list, `known` are the uuids listed before, `ours` tells from a listed
    transfer whether this request has made it, None where what is listed does not tell: such a one is never adopted,
    since it may be of another database, and nothing is asked for again beside it, since it may be ours.
    """

    name: str
    post: Callable[[], Transfer]
    listed: Callable[[], tuple[Transfer, ...]]
    known: frozenset[str]
    ours: Callable[[Transfer], bool | None]


def start_once(request: Request, *, clock: Clock, log: Log, deadline: Deadline) -> Transfer:
    """Starts the transfer and returns it, adopting one whose answer was lost.

    Raises HerokuError when it was surely not started and cannot be, StepFailed (outcome_unknown, heroku_shape_unknown)
    when the list could not be read to the end, or does not tell.
    """
    # Not a policy of retry.py's: what became of a POST is settled before another, and none is made at the deadline.
    for attempt in range(1, ATTEMPTS + 1):
        sent = clock.monotonic()
        try:
            transfer = request.post()
        except HerokuError as error:
            failure = error
        else:
            if transfer.uuid not in request.known:
                return transfer
            failure = HerokuError(f"{request.name}: the answer names a transfer that was there before", status=200)
        if failure.effect is Effect.UNKNOWN:
            adopted = _settle(request, failure, sent=sent, clock=clock, log=log, deadline=deadline)
            if adopted:
                return adopted
        if not failure.passing or attempt == ATTEMPTS or deadline.expired:
            raise failure
        pause = deadline.clamp(backoff(attempt, failure.retry_after, chance=0.5))
        log.warning(
            Event.RETRY_SCHEDULED, call=request.name, attempt=attempt, wait=round(pause, 3), caused_by=str(failure)
        )
        clock.sleep(pause)
        if deadline.expired:  # a transfer that nobody has time to wait for must not begin
            raise failure
    raise AssertionError  # pragma: no cover -- the loop returns or raises


def _settle(
    request: Request,
    failure: HerokuError,
    *,
    sent: float,
    clock: Clock,
    log: Log,
    deadline: Deadline,
) -> Transfer | None:
    """Finds out what became of a request whose answer was lost.

    Returns the transfer that it made, or None when there surely is none. Raises StepFailed.
    """
    log.warning(
        Event.WARNING_RAISED,
        warning="answer_lost",
        detail=f"{failure}; looking for the transfer in the list before anything is sent again",
    )
    search = _Search(request, failure, sent, clock)
    try:
        made = wait_until(
            search.listed,
            name=f"the end of {request.name}",
            until=lambda listed: listed is not None,
            pause=growing(0.5, 5.0),
            sleep=clock.sleep,
            # The list itself may be unreadable for a while, so it gets four times as long as the request needs.
            deadline=deadline.within(max(0.0, sent + 4 * SETTLE - clock.monotonic())),
        )
    except TimedOut as error:
        raise StepFailed(Reason.OUTCOME_UNKNOWN, f"{request.name}: {search.failure}") from error
    return made[0] if made else None


class _Search:
    """A search for what a request has made. `failure` is the last one, of the request or of reading the list."""

    def __init__(self, request: Request, failure: HerokuError, sent: float, clock: Clock) -> None:
        self.failure = failure
        self._request = request
        self._sent = sent
        self._clock = clock
        self._patience = Patience(clock)

    def listed(self) -> tuple[Transfer, ...] | None:
        """Looks for the request's transfer in the list.

        Returns it, or nothing if there surely is none; None as long as that cannot be told.
        """
        request, looked = self._request, self._clock.monotonic()
        try:
            new = [transfer for transfer in request.listed() if transfer.uuid not in request.known]
            self._patience.renewed()
        except HerokuError as error:
            new, looked, self.failure = [], self._sent, error
            if self._patience.lost(error):
                raise StepFailed(error.reason, f"{request.name}, whose answer was lost: {error.detail}") from error
        if ours := [transfer for transfer in new if request.ours(transfer)]:
            return (min(ours, key=lambda transfer: transfer.number),)
        if looked - self._sent < SETTLE:
            return None
        _refuse_unclear(request, new)
        return ()


def _refuse_unclear(request: Request, new: list[Transfer]) -> None:
    """Raises StepFailed (outcome_unknown) unless it is sure that none of the new transfers is this request's."""
    if unclear := [transfer.name for transfer in new if request.ours(transfer) is None]:
        raise StepFailed(
            Reason.OUTCOME_UNKNOWN,
            f"{request.name}: {', '.join(unclear)} may be it; Heroku does not say of which database (from_url, to_url)",
        )
