# SPDX-License-Identifier: Apache-2.0
"""Starting captures: each gets its record, which is stored before its agent hears of it."""

from dataclasses import replace

from fodc_protocol.errors import Reason
from fodc_protocol.link.proxy_side import Command
from fodc_proxy.captures import changes
from fodc_proxy.captures.capture import Capture, Stage, order_of
from fodc_proxy.captures.effects import Effects
from fodc_proxy.captures.outcomes import begun
from fodc_proxy.captures.planning import Occupancy, Place, plan
from fodc_proxy.captures.state import State


def start_what_may(state: State, now_ms: int) -> Effects:
    """Start what may start; a place goes to the caller who has the fewest."""
    waiting = [request for request in state.requests.open() if not changes.is_ending(request)]
    if not waiting:
        return []
    taken = Occupancy(state.limits.max_running_captures, linked=state.links.keys())
    for capture in state.captures.values():
        if capture.runs:
            request = state.requests[capture.place.request_id]
            profile = capture.command.order.profile
            recorded = capture.is_recorded
            taken.take(request.caller, capture.address, profile, is_recorded=recorded)
    chosen = plan(waiting, taken, now_ms)
    begun_for: dict[str, list[Capture]] = {}
    for place in chosen.starts:
        begun_for.setdefault(place.request_id, []).append(_begin(state, place, now_ms))
    asked: Effects = []
    for request in waiting:
        busy = chosen.busy.get(request.id, "")
        asked += _note_plan(state, request.id, begun_for.get(request.id, []), busy, now_ms)
    return asked


def _begin(state: State, place: Place, now_ms: int) -> Capture:
    request = state.requests[place.request_id]
    if request.started_at_ms is None:
        request = replace(request, started_at_ms=now_ms)
    target = request.targets[place.target]
    result = begun(target.results[place.result], request, now_ms)
    state.requests.put(changes.with_result(request, place, result))
    order = order_of(request, target, result, state.limits.max_artifact_bytes, now_ms)
    capture = Capture(Command(order, now_ms), place, target.address, Stage.WAITS, 0)
    state.captures[order.command_id] = capture
    return capture


def _note_plan(
    state: State, request_id: str, began: list[Capture], busy: str, now_ms: int
) -> Effects:
    request = state.requests[request_id]
    message = busy if request.started_at_ms is None else ""
    reason = _waiting_reason(message)
    if not began and (request.reason, request.message) == (reason, message):
        return []
    state.requests.put(replace(request, reason=reason, message=message))
    asked = state.settle(request_id, now_ms)
    for capture in began:
        capture.needs_revision = state.requests[request_id].revision
    return asked


def _waiting_reason(busy: str) -> str:
    if busy.startswith(Reason.PROFILER_BUSY):
        return Reason.PROFILER_BUSY
    if busy.startswith("waits for the agent"):
        return Reason.OFFLINE
    return Reason.BUSY if busy else ""
