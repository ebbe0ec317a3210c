# SPDX-License-Identifier: Apache-2.0
"""How a request changes: functions from one frozen request to the next."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fodc_api.words import Phase
from fodc_protocol.errors import TRANSIENT, Reason
from fodc_proxy.captures.model import Request, Result, Target
from fodc_proxy.captures.phases import open_phase, settled_target, verdict
from fodc_proxy.captures.planning import Place

FIRST_RETRY_MS = 1_000


@dataclass(frozen=True, slots=True)
class End:
    """How captures that have not begun end."""

    phase: Phase
    reason: str
    message: str


def places(request: Request) -> Iterator[tuple[Place, Target, Result]]:
    """Yield every result of a request with where it stands."""
    for target_at, target in enumerate(request.targets):
        for result_at, result in enumerate(target.results):
            yield Place(request.id, target_at, result_at), target, result


def with_result(request: Request, place: Place, result: Result) -> Request:
    """Put a result in its place."""
    target = request.targets[place.target]
    results = (*target.results[: place.result], result, *target.results[place.result + 1 :])
    targets = (
        *request.targets[: place.target],
        replace(target, results=results),
        *request.targets[place.target + 1 :],
    )
    return replace(request, targets=targets)


def with_pending_ended(request: Request, end: End, now_ms: int) -> Request:
    """End every capture of a request that has not begun."""

    def ended(result: Result) -> Result:
        if result.phase is not Phase.PENDING:
            return result
        told = f"{end.message}; {result.message}" if result.attempt else end.message
        return replace(
            result, phase=end.phase, reason=end.reason, message=told, finished_at_ms=now_ms
        )

    return _mapped(request, ended)


def _mapped(request: Request, change: Callable[[Result], Result]) -> Request:
    targets = tuple(
        replace(target, results=tuple(change(result) for result in target.results))
        for target in request.targets
    )
    return request if targets == request.targets else replace(request, targets=targets)


def is_ending(request: Request) -> bool:
    """Whether somebody or a failure has ended it, and only what runs is waited for."""
    return request.cancel is not None or bool(request.tripped)


def repeated(request: Request, result: Result, now_ms: int) -> Result:
    """Return a failed attempt as one that waits to be repeated, if it may be.

    An agent that was busy has not tried: that counts as no attempt.
    """
    refused = result.refused + (result.reason == Reason.BUSY)
    result = replace(result, refused=refused)
    tries = result.attempt - refused
    may_be = (
        result.phase is Phase.FAILED
        and result.reason in TRANSIENT
        and tries <= request.spec.execution.backoff_limit
        and not is_ending(request)
    )
    if not may_be:
        return result
    pause_ms = FIRST_RETRY_MS * 2 ** max(tries - 1, 0)
    return replace(
        result,
        phase=Phase.PENDING,
        not_before_ms=now_ms + pause_ms,
        finished_at_ms=None,
    )


def settled(request: Request, *, is_recording: bool, now_ms: int) -> Request:
    """Sum up after a change: what has ended, and how.

    `is_recording`: an agent still records for it.
    """
    targets = tuple(settled_target(target, now_ms) for target in request.targets)
    request = replace(request, targets=targets)
    end = verdict(request)
    if end is None:
        return moved(request, is_recording=is_recording)
    return replace(
        request,
        phase=end.phase,
        reason=end.reason,
        message=end.message,
        finished_at_ms=now_ms,
    )


def moved(request: Request, *, is_recording: bool) -> Request:
    """Sum up after progress, by which nothing ends."""
    pending = any(result.phase is Phase.PENDING for _, _, result in places(request))
    recording = (pending or is_recording) and not is_ending(request)
    busy = request.message if request.started_at_ms is None else ""
    return replace(request, phase=open_phase(request, recording=recording, busy=busy))
