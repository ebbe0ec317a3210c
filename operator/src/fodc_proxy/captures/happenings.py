# SPDX-License-Identifier: Apache-2.0
"""Events that agents tell: kept once, however often their acknowledgement was lost."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from fodc_protocol.link import frames

MAX_EVENTS: Final = 1000
MAX_PODS: Final = 20_000


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """An event of an agent."""

    address: str
    event: frames.Event


class Happenings:
    """The latest events of all agents."""

    def __init__(self) -> None:
        self.latest: deque[HeardEvent] = deque(maxlen=MAX_EVENTS)
        # Incarnation and last event number of each pod's agent.
        self._last: dict[str, tuple[str, int]] = {}

    def linked(self, address: str, incarnation: str) -> None:
        """An agent is there; another incarnation counts from the start."""
        if self._last.get(address, ("", 0))[0] != incarnation:
            self._last[address] = (incarnation, 0)
        while len(self._last) > MAX_PODS:
            del self._last[next(iter(self._last))]

    def note(self, address: str, event: frames.Event) -> frames.EventAck:
        """Keep an event that is new; return its acknowledgement."""
        incarnation, last = self._last.get(address, ("", 0))
        if event.sequence > last:
            self.latest.append(HeardEvent(address, event))
            self._last[address] = (incarnation, event.sequence)
        return frames.EventAck(event.sequence)
