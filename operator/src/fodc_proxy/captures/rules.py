# SPDX-License-Identifier: Apache-2.0
"""The rules by which requests and captures move; no I/O, no clock.

The one idea: an event goes in, what is to be done comes out.  An agent hears of a capture after its
start is stored, and may forget it after its end is; so whatever is killed when, what was promised
is found again, and each command ends here exactly once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from fodc_api.words import CancelMode, Phase
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import Reason
from fodc_protocol.fields import FieldError
from fodc_protocol.ids import is_own_command
from fodc_protocol.link import frames
from fodc_protocol.link.proxy_side import answer_to_unknown, released
from fodc_proxy.captures import changes, events, restoring
from fodc_proxy.captures.capture import Stage
from fodc_proxy.captures.changes import End
from fodc_proxy.captures.effects import Effects, Remove, Send, Tell
from fodc_proxy.captures.following import committed, end_running, follow, go_on, not_stored
from fodc_proxy.captures.model import Request, Spec
from fodc_proxy.captures.pace import Pace
from fodc_proxy.captures.starting import start_what_may
from fodc_proxy.captures.state import State
from fodc_proxy.captures.table import Limits
from fodc_proxy.captures.targeting import Candidate, chosen_targets
from fodc_proxy.captures.timing import ticked


class Rules:
    """Requests, the captures that run for them, and the links to their agents."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.state = State(limits or Limits())
        told = self.state.limits
        self._pace = Pace(told.max_hourly_per_caller, told.max_hourly_per_node)

    def restore(
        self,
        requests: Iterable[Request],
        stored: Mapping[str, Manifest],
        partial_bytes: Mapping[str, int],
        now_ms: int,
    ) -> Effects:
        """Take over what an earlier life has left (`restoring`)."""
        asked = restoring.restore(self.state, requests, stored, partial_bytes, now_ms)
        self._pace.restore(tuple(self.state.requests.all()), now_ms)
        return asked

    def submit(
        self,
        request_id: str,
        spec: Spec,
        candidates: Iterable[Candidate],
        now_ms: int,
        *,
        caller: str = "",
    ) -> Effects:
        """Take in a request of a new id; it exists, and its captures start, when it is stored.

        Raises TooManyError when too many are open or were asked for, FieldError when too many
        nodes are meant.
        """
        state = self.state
        state.requests.check_room(caller, state.limits)
        targets = chosen_targets(spec, candidates, now_ms)
        most = state.limits.max_targets
        if len(targets) > most:
            problem = f"matches {len(targets)} nodes, at most {most} are allowed in one request"
            raise FieldError("target", problem)
        nodes = [target.node_id for target in targets]
        self._pace.take(caller, nodes, len(spec.captures), now_ms)
        state.requests.put(Request(request_id, spec, targets, now_ms, caller=caller))
        return [*state.settle(request_id, now_ms), *start_what_may(state, now_ms)]

    # ---- the inbox ------------------------------------------------------------------------

    def handle(self, event: events.Event, now_ms: int) -> Effects:
        """Take in what happened; return what is to be done."""
        match event:
            case events.Heard():
                return self._heard(event, now_ms)
            case events.Committed(command_id, manifest):
                return committed(self.state, command_id, manifest, now_ms)
            case events.NotStored(command_id, reason, message):
                return not_stored(self.state, command_id, reason, message, now_ms)
            case events.Saved(request_id, revision):
                return self._saved(request_id, revision, now_ms)
            case events.NotSaved(request_id):
                return self._not_saved(request_id, now_ms)
            case events.Linked(address, hello):
                return self._linked(address, hello, now_ms)
            case events.Unlinked(address):
                return self._unlinked(address)
            case events.Cancelled(request_id, mode):
                return self._cancelled(request_id, mode, now_ms)
            case events.Ticked():
                return ticked(self.state, now_ms)
            case _:
                assert_never(event)

    # ---- records --------------------------------------------------------------------------

    def _saved(self, request_id: str, revision: int, now_ms: int) -> Effects:
        """What waited for the record may go on."""
        requests = self.state.requests
        if requests.find(request_id) is None:
            return [Remove(request_id)]
        asked: Effects = [] if requests.is_stored(request_id) else [Tell(request_id)]
        requests.saved(request_id, revision)
        for capture in tuple(self.state.captures.values()):
            if capture.place.request_id == request_id and capture.needs_revision <= revision:
                asked += go_on(self.state, capture, now_ms)
        return asked

    def _not_saved(self, request_id: str, now_ms: int) -> Effects:
        """A new request that cannot be stored is none; another one is tried again with time."""
        requests, captures = self.state.requests, self.state.captures
        if requests.find(request_id) is None or requests.is_stored(request_id):
            return []
        for command_id, capture in tuple(captures.items()):
            if capture.place.request_id == request_id:
                del captures[command_id]  # its agent has never heard of it
        return [*requests.drop(request_id), *start_what_may(self.state, now_ms)]

    # ---- links ----------------------------------------------------------------------------

    def _linked(self, address: str, hello: frames.Hello, now_ms: int) -> Effects:
        """An agent is there: it may forget what nobody needs, and is asked what is open."""
        state = self.state
        state.links[address] = hello.incarnation
        held = frozenset(hello.held_command_ids)
        asked: Effects = [
            Send(address, released(command_id))
            for command_id in hello.held_command_ids
            if command_id not in state.captures and not self._may_be_asked(command_id)
        ]
        for command_id, capture in tuple(state.captures.items()):
            if capture.address != address:
                continue
            if capture.stage is Stage.ENDED:
                capture.is_awaited = command_id in held
            elif capture.stage is Stage.OPEN:
                is_held = command_id in held
                news = capture.command.linked(hello.incarnation, now_ms, is_held=is_held)
                asked += follow(state, capture, news, now_ms)
        return [*asked, *start_what_may(state, now_ms)]

    def _may_be_asked(self, command_id: str) -> bool:
        """Say whether an agent took this by itself, and nobody has fetched it yet."""
        known = self.state.requests.find(command_id)
        return is_own_command(command_id) and (known is None or not known.phase.ended)

    def _unlinked(self, address: str) -> Effects:
        """The agent is gone; what runs goes on until its deadline."""
        self.state.links.pop(address, None)
        for capture in self.state.captures.values():
            if capture.address == address:
                capture.command.unlinked()
        return []

    def _heard(self, event: events.Heard, now_ms: int) -> Effects:
        capture = self.state.captures.get(event.frame.command_id)
        if capture is None:
            if self._may_be_asked(event.frame.command_id):
                return []
            return [Send(event.address, answer_to_unknown(event.frame))]
        if capture.address != event.address or capture.stage is Stage.WAITS:
            return []  # it speaks of what it was not asked for
        if capture.stage is Stage.ENDED:
            capture.is_awaited = True
            return []
        if event.is_flood and not capture.command.is_committing:
            message = "the agent sent more than it had credit for"
            news = capture.command.abandon(Reason.PROTOCOL_ERROR, message)
            return follow(self.state, capture, news, now_ms)
        return follow(self.state, capture, capture.command.received(event.frame), now_ms)

    # ---- people ---------------------------------------------------------------------------

    def _cancelled(self, request_id: str, mode: CancelMode, now_ms: int) -> Effects:
        """End a request early; repeated or milder calls change nothing."""
        state = self.state
        request = state.requests[request_id]
        if request.phase.ended or request.cancel in {mode, CancelMode.ABORT}:
            return []
        is_stop = mode is CancelMode.STOP
        reason = Reason.CANCELLED if is_stop else Reason.ABORTED
        message = f"{'stopped' if is_stop else 'aborted'} on request before it began"
        request = replace(request, cancel=mode)
        end = End(Phase.CANCELLED, reason, message)
        state.requests.put(changes.with_pending_ended(request, end, now_ms))
        asked = end_running(state, request_id, mode, now_ms)
        return [*asked, *state.settle(request_id, now_ms), *start_what_may(state, now_ms)]
