# SPDX-License-Identifier: Apache-2.0
"""What the rules know: requests, the captures that run for them, and the links to their agents."""

from dataclasses import dataclass, field

from fodc_proxy.captures import changes
from fodc_proxy.captures.capture import Capture
from fodc_proxy.captures.effects import Effects
from fodc_proxy.captures.model import Request, Result, Target
from fodc_proxy.captures.table import Limits, Table


@dataclass(slots=True)
class State:
    """Changed by the rules only; `captures` are keyed by the ids of their commands."""

    limits: Limits
    requests: Table = field(default_factory=Table)
    captures: dict[str, Capture] = field(default_factory=dict)
    # Incarnation of the agent that is linked, by address.
    links: dict[str, str] = field(default_factory=dict)

    def running_on(self, address: str) -> list[Capture]:
        """Captures that take a place on a pod."""
        return [one for one in self.captures.values() if one.address == address and one.runs]

    def running_for(self, request_id: str) -> list[Capture]:
        """Captures that take a place for a request."""
        return [
            one for one in self.captures.values() if one.place.request_id == request_id and one.runs
        ]

    def standing(self, capture: Capture) -> tuple[Request, Target, Result]:
        """What a capture works for."""
        request = self.requests[capture.place.request_id]
        target = request.targets[capture.place.target]
        return request, target, target.results[capture.place.result]

    def is_recording(self, request_id: str) -> bool:
        """Whether an agent records for a request now."""
        return any(not one.is_recorded for one in self.running_for(request_id))

    def settle(self, request_id: str, now_ms: int) -> Effects:
        """Sum up a request after a change that has to be stored."""
        request = changes.settled(
            self.requests[request_id],
            is_recording=self.is_recording(request_id),
            now_ms=now_ms,
        )
        return self.requests.changed(request, is_durable=True)
