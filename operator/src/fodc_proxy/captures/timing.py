# SPDX-License-Identifier: Apache-2.0
"""What time does: deadlines, records that are behind, captures that are due, requests too old."""

from fodc_api.words import Phase
from fodc_protocol.errors import Reason
from fodc_proxy.captures import changes
from fodc_proxy.captures.capture import Capture
from fodc_proxy.captures.changes import End
from fodc_proxy.captures.effects import Effects, Save
from fodc_proxy.captures.following import CANCEL_GRACE_MS, follow, forget
from fodc_proxy.captures.model import Request
from fodc_proxy.captures.starting import start_what_may
from fodc_proxy.captures.state import State


def ticked(state: State, now_ms: int) -> Effects:
    """Enforce deadlines, store what is behind, start what is due, drop what is old."""
    asked: Effects = [Save(request_id) for request_id in state.requests.behind()]
    for request in state.requests.open():
        asked += _enforce(state, request, now_ms)
    for capture in [one for one in state.captures.values() if one.runs]:
        asked += _enforce_capture(state, capture, now_ms)
    return [*asked, *start_what_may(state, now_ms), *_drop_old(state, now_ms)]


def _enforce_capture(state: State, capture: Capture, now_ms: int) -> Effects:
    if not capture.runs:
        return []  # ended together with another one
    late = capture.cancel_by_ms is not None and now_ms >= capture.cancel_by_ms
    if late and not capture.is_recorded and not capture.command.is_committing:
        message = f"the agent did not confirm the end within {CANCEL_GRACE_MS // 1000} s"
        return follow(state, capture, capture.command.abandon(Reason.CANCELLED, message), now_ms)
    return follow(state, capture, capture.command.tick(now_ms), now_ms)


def _enforce(state: State, request: Request, now_ms: int) -> Effects:
    request = state.requests[request.id]  # another one's end may have moved it
    if request.phase.ended:
        return []
    active_ms = request.active_deadline_ms
    if active_ms is None and now_ms >= request.start_deadline_ms:
        limit_s = request.spec.execution.start_deadline_s
        why = f": {request.message}" if request.message else ""
        message = f"nothing could start within {limit_s} s{why}"
        end = End(Phase.FAILED, Reason.START_DEADLINE_EXCEEDED, message)
        state.requests.put(changes.with_pending_ended(request, end, now_ms))
        return state.settle(request.id, now_ms)
    if active_ms is None or now_ms < active_ms:
        return []
    return _overdue(state, request, now_ms)


def _overdue(state: State, request: Request, now_ms: int) -> Effects:
    limit = f"the request's active deadline of {request.spec.execution.active_deadline_s} s"
    end = End(Phase.FAILED, Reason.DEADLINE_EXCEEDED, f"{limit} passed before it began")
    ended = changes.with_pending_ended(request, end, now_ms)
    state.requests.put(ended)
    asked: Effects = []
    for capture in state.running_for(request.id):
        if not capture.command.is_committing:
            told = capture.command.abandon(end.reason, f"{limit} passed while it ran")
            asked += follow(state, capture, told, now_ms)
    return [*asked, *(state.settle(request.id, now_ms) if ended is not request else [])]


def _drop_old(state: State, now_ms: int) -> Effects:
    """Forget finished requests beyond number or age; their artifacts have their own life."""
    done = [request for request in state.requests.all() if request.phase.ended]
    done.sort(key=lambda request: request.finished_at_ms or request.created_at_ms)
    extra = len(done) - state.limits.kept_finished
    oldest_ms = now_ms - state.limits.finished_ttl_ms
    asked: Effects = []
    for at, request in enumerate(done):
        if at < extra or (request.finished_at_ms or request.created_at_ms) < oldest_ms:
            asked += forget(state, request.id)
    return asked
