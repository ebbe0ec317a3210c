# SPDX-License-Identifier: Apache-2.0
"""One capture on its way: what its command asks for is done, what it tells is taken in."""

from dataclasses import replace

from fodc_api.words import CancelMode, FailurePolicy, Phase
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import Reason
from fodc_protocol.link import effects as link
from fodc_protocol.link import frames
from fodc_protocol.link.frames import CommandState
from fodc_protocol.link.proxy_side import released
from fodc_proxy.captures import changes
from fodc_proxy.captures.capture import Capture, Stage
from fodc_proxy.captures.changes import End
from fodc_proxy.captures.effects import Effects, Send
from fodc_proxy.captures.outcomes import finished
from fodc_proxy.captures.starting import start_what_may
from fodc_proxy.captures.state import State

CANCEL_GRACE_MS = 15_000


def follow(state: State, capture: Capture, asked: list[link.ProxyEffect], now_ms: int) -> Effects:
    """Do what a command asks for, and take in what it tells."""
    done: Effects = []
    for effect in asked:
        match effect:
            case link.SendProxyFrame(frames.ArtifactAck(done=True)):
                capture.is_awaited = True  # told when its end is stored
            case link.SendProxyFrame(frame):
                done.append(Send(capture.address, frame, capture.command.id))
            case link.Append() | link.Discard() | link.Commit():
                done.append(effect)
            case link.Progressed():
                done += _progressed(state, capture, effect, now_ms)
            case link.Ended():
                done += _ended(state, capture, effect, now_ms)
    return done


def _progressed(state: State, capture: Capture, news: link.Progressed, now_ms: int) -> Effects:
    request, _, result = state.standing(capture)
    was_recorded = capture.is_recorded
    capture.is_recorded = news.state is CommandState.CAPTURED
    # Chunks carry no time of their own: what was told last stays.
    result = replace(
        result,
        elapsed_ms=max(result.elapsed_ms, news.elapsed_ms),
        received_bytes=news.received_bytes,
        size_bytes=news.size_bytes,
    )
    request = changes.with_result(request, capture.place, result)
    request = changes.moved(request, is_recording=state.is_recording(request.id))
    told = state.requests.changed(request, is_durable=False)
    has_place = capture.is_recorded and not was_recorded
    return [*told, *(start_what_may(state, now_ms) if has_place else [])]


def committed(state: State, command_id: str, manifest: Manifest, now_ms: int) -> Effects:
    """An artifact is stored: its command has ended well."""
    capture = state.captures.get(command_id)
    if capture is None:
        return [link.Discard(command_id)]
    capture.manifest = manifest
    asked = follow(state, capture, capture.command.stored(), now_ms)
    return [link.Discard(command_id), *asked]


def not_stored(state: State, command_id: str, reason: str, message: str, now_ms: int) -> Effects:
    """Bytes could not be stored, or are not those that were promised."""
    capture = state.captures.get(command_id)
    if capture is None or not capture.runs:
        return []
    return follow(state, capture, capture.command.storing_failed(reason, message), now_ms)


def _ended(state: State, capture: Capture, news: link.Ended, now_ms: int) -> Effects:
    request, target, result = state.standing(capture)
    done = finished(result, news, capture.manifest, request, now_ms)
    done = changes.repeated(request, done, now_ms)
    capture.stage = Stage.ENDED
    request = changes.with_result(request, capture.place, done)
    trips = request.spec.execution.failure_policy is FailurePolicy.FAIL_FAST
    asked: Effects = []
    if trips and done.phase is Phase.FAILED and not request.tripped:
        cause = f"{done.capture} failed on {target.node_id} with {done.reason}"
        message = f"not begun: {cause} (failure policy FailFast)"
        end = End(Phase.CANCELLED, Reason.CANCELLED, message)
        request = replace(request, tripped=cause)
        request = changes.with_pending_ended(request, end, now_ms)
        asked = end_running(state, request.id, CancelMode.ABORT, now_ms)
    state.requests.put(request)
    asked += state.settle(request.id, now_ms)
    capture.needs_revision = state.requests[request.id].revision
    return [*asked, *start_what_may(state, now_ms)]


def go_on(state: State, capture: Capture, now_ms: int) -> Effects:
    """What this capture needs is stored: its agent is asked, or may forget it."""
    incarnation = state.links.get(capture.address, "")
    if capture.stage is Stage.ENDED:
        del state.captures[capture.command.id]
        if not (incarnation and capture.is_awaited):
            return []
        return [Send(capture.address, released(capture.command.id), capture.command.id)]
    if capture.stage is Stage.OPEN:
        return []
    capture.stage = Stage.OPEN
    if not incarnation:
        return []
    return follow(state, capture, capture.command.linked(incarnation, now_ms), now_ms)


def forget(state: State, request_id: str) -> Effects:
    """Forget a request that has ended, as its agents may; its artifacts have their own life."""
    asked: Effects = []
    for command_id, capture in tuple(state.captures.items()):
        if capture.place.request_id == request_id:
            del state.captures[command_id]
            asked.append(Send(capture.address, released(command_id), command_id))
    return [*asked, *state.requests.drop(request_id)]


def end_running(state: State, request_id: str, mode: CancelMode, now_ms: int) -> Effects:
    """Ask the agents of a request to end."""
    wire = frames.CancelMode.STOP if mode is CancelMode.STOP else frames.CancelMode.ABORT
    asked: Effects = []
    for capture in state.running_for(request_id):
        capture.cancel_by_ms = now_ms + CANCEL_GRACE_MS
        asked += follow(state, capture, capture.command.cancel(wire), now_ms)
    return asked
