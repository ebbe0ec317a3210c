# SPDX-License-Identifier: Apache-2.0
"""What is to be done about one DiagnosticRequest now.

The one idea: the step is a function of the object, of what the proxy knows of it and of the time;
it does not matter which event led here, how often, or whether another process was at it before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from fodc_api.words import RequestPhase
from fodc_operator.diagnostics import status
from fodc_operator.diagnostics.conditions import ConditionType, Verdict, is_true
from fodc_operator.diagnostics.translate import proxy_cancel
from fodc_operator.resources.diagnostic_request import CancelMode, Identity, RequestSpec
from fodc_protocol.errors import Reason
from fodc_protocol.fields import FieldError
from fodc_proxy.captures.model import Request

LOST: Final = (
    "the proxy does not know this request any more: its data was lost or replaced in a restart, "
    "artifacts included unless they are kept elsewhere; repeat the request, and give the proxy a "
    "volume that outlives it"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A DiagnosticRequest as last seen, and its status as last written."""

    identity: Identity
    spec: RequestSpec | FieldError
    status: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Settle:
    """Write this status if it differs, and look again at `look_again_ms`."""

    status: status.Json
    look_again_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """Give the request to the proxy."""

    spec: RequestSpec


@dataclass(frozen=True, slots=True)
class EndEarly:
    """Tell the proxy to end the request, then follow it."""

    mode: CancelMode


@dataclass(frozen=True, slots=True)
class Expire:
    """Delete the object: its time is over."""


Step: TypeAlias = Settle | Submit | EndEarly | Expire


def next_step(seen: Seen, request: Request | None, now_ms: int, *, has_turn: bool) -> Step:
    """Decide; `has_turn` says whether there is room for the request in the proxy."""
    spec, before = seen.spec, seen.status
    if status.has_ended(before):
        return _after_the_end(seen, now_ms)
    if isinstance(spec, FieldError):
        return refusal(seen, spec.message, now_ms)
    if request is not None:
        return _follow(seen.identity, spec, request)
    if is_true(before, ConditionType.STARTED):
        return _end(seen, Verdict(RequestPhase.FAILED, Reason.PROXY_RESTARTED, LOST, now_ms))
    return _begin(seen, spec, now_ms, has_turn=has_turn)


def _after_the_end(seen: Seen, now_ms: int) -> Step:
    told = dict(seen.status)
    if isinstance(seen.spec, RequestSpec):
        told = status.still_ended(seen.identity, seen.spec, seen.status)
    expires_ms = status.expires_at_ms(told)
    if expires_ms is not None and expires_ms <= now_ms:
        return Expire()
    return Settle(told, expires_ms)


def refusal(seen: Seen, message: str, now_ms: int) -> Settle:
    """End a request that asks for what cannot be; the message names the field."""
    verdict = Verdict(RequestPhase.REJECTED, Reason.BAD_REQUEST, message, now_ms, is_accepted=False)
    return _end(seen, verdict)


def _follow(identity: Identity, spec: RequestSpec, request: Request) -> Step:
    if spec.cancel is not None and not request.phase.ended and _is_milder(request, spec.cancel):
        return EndEarly(spec.cancel)
    told = status.of_request(identity, spec, request)
    return Settle(told, status.expires_at_ms(told))


def _is_milder(request: Request, wanted: CancelMode) -> bool:
    """Whether what the proxy was told falls short of what is wanted now."""
    given = request.cancel
    return given is None or (given != proxy_cancel(wanted) and wanted is CancelMode.ABORT)


def _begin(seen: Seen, spec: RequestSpec, now_ms: int, *, has_turn: bool) -> Step:
    deadline_ms = seen.identity.created_at_ms + spec.execution.start_deadline_s * 1000
    if spec.cancel is not None:
        reason = Reason.CANCELLED if spec.cancel is CancelMode.STOP else Reason.ABORTED
        message = "ended on request before it began"
        return _end(seen, Verdict(RequestPhase.CANCELLED, reason, message, now_ms))
    if now_ms >= deadline_ms:
        message = (
            f"nothing could start within {spec.execution.start_deadline_s} s of its creation: "
            f"{_waited_for(seen.status)}"
        )
        reason = Reason.START_DEADLINE_EXCEEDED
        return _end(seen, Verdict(RequestPhase.FAILED, reason, message, now_ms))
    if has_turn:
        return Submit(spec)
    message = "waits until one of the open requests ends"
    told = status.waiting(seen.identity, spec, RequestPhase.QUEUED, message)
    return Settle(told, deadline_ms)


def _waited_for(before: Mapping[str, object]) -> str:
    message = before.get("message")
    return message if isinstance(message, str) and message else "no operator was there"


def _end(seen: Seen, verdict: Verdict) -> Settle:
    spec = seen.spec if isinstance(seen.spec, RequestSpec) else None
    told = status.ended_without_request(seen.identity, spec, verdict, seen.status)
    return Settle(told, status.expires_at_ms(told))
