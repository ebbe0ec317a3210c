# SPDX-License-Identifier: Apache-2.0
"""Taking over what an earlier life of the proxy has left."""

from collections.abc import Iterable, Mapping

from fodc_api.words import CancelMode, Phase
from fodc_protocol.artifacts import Manifest
from fodc_protocol.link.proxy_side import Command
from fodc_proxy.captures import changes
from fodc_proxy.captures.capture import Capture, Stage, order_of
from fodc_proxy.captures.effects import Effects
from fodc_proxy.captures.following import end_running
from fodc_proxy.captures.model import Request
from fodc_proxy.captures.outcomes import reattached
from fodc_proxy.captures.starting import start_what_may
from fodc_proxy.captures.state import State


def restore(
    state: State,
    requests: Iterable[Request],
    stored: Mapping[str, Manifest],
    partial_bytes: Mapping[str, int],
    now_ms: int,
) -> Effects:
    """Take over what an earlier life of the proxy has left; once, before anything else.

    By command id: manifests of what is `stored`, and how many bytes of the others are there.  A
    running capture whose artifact is stored has succeeded; one whose deadline has passed has
    failed; all others are open again.
    """
    for request in sorted(requests, key=lambda request: (request.created_at_ms, request.id)):
        state.requests.put(request)
        state.requests.saved(request.id, request.revision)
    asked: Effects = []
    for request in state.requests.open():
        asked += _reopen(state, request, stored, partial_bytes, now_ms)
    return [*asked, *start_what_may(state, now_ms)]


def _reopen(
    state: State,
    request: Request,
    stored: Mapping[str, Manifest],
    partial_bytes: Mapping[str, int],
    now_ms: int,
) -> Effects:
    limit = state.limits.max_artifact_bytes
    for place, target, result in changes.places(request):
        if result.phase is not Phase.RUNNING:
            continue
        order = order_of(request, target, result, limit, now_ms)
        found = reattached(result, stored.get(order.command_id), now_ms)
        request = changes.with_result(request, place, found)
        if found.phase is Phase.RUNNING:
            have = partial_bytes.get(order.command_id, 0)
            command = Command(order, now_ms, received_bytes=have)
            state.captures[command.id] = Capture(
                command, place, target.address, Stage.OPEN, request.revision
            )
    state.requests.put(request)
    asked: Effects = []
    if changes.is_ending(request):
        mode = request.cancel or CancelMode.ABORT
        asked = end_running(state, request.id, mode, now_ms)
    return [*asked, *state.settle(request.id, now_ms)]
