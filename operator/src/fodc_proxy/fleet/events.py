# SPDX-License-Identifier: Apache-2.0
"""Events of the agents: kept, logged and acknowledged.

The one idea: an agent repeats an event until its number is acknowledged, so the log takes each
number of an incarnation once and acknowledges what it has.
"""

import logging
from collections import deque
from dataclasses import dataclass
from typing import Final

from fodc_protocol.link import frames
from fodc_proxy.serving.ports import HeardFrame, LinkPort

MOST_EVENTS: Final = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """One event and the pod that it comes from."""

    pod_name: str
    event: frames.Event


class EventLog:
    """The newest events of the fleet; a LinkListener."""

    def __init__(self) -> None:
        self.events: deque[NodeEvent] = deque(maxlen=MOST_EVENTS)
        self._port: LinkPort | None = None
        self._taken: dict[str, tuple[str, int]] = {}

    def connect(self, port: LinkPort) -> None:
        """Say through whom to acknowledge."""
        self._port = port

    def linked(self, pod_name: str, hello: frames.Hello) -> None:
        """Begin to count anew when the agent is another process."""
        incarnation, _ = self._taken.get(pod_name, ("", 0))
        if incarnation != hello.incarnation:
            self._taken[pod_name] = (hello.incarnation, 0)

    def unlinked(self, pod_name: str) -> None:
        """Keep the count: the same process may come back and repeat what was not acknowledged."""

    def heard(self, pod_name: str, frame: HeardFrame) -> None:
        """Take an event that is new, and acknowledge it."""
        if not isinstance(frame, frames.Event):
            return
        incarnation, taken = self._taken.get(pod_name, ("", 0))
        if frame.sequence > taken:
            self._taken[pod_name] = (incarnation, frame.sequence)
            self.events.append(NodeEvent(pod_name, frame))
            _log.info("event pod=%s kind=%s %s", pod_name, frame.kind, frame.message)
        if self._port is not None:
            self._port.send(pod_name, frames.EventAck(max(frame.sequence, taken)))

    def forget(self, pod_name: str) -> None:
        """Drop the count of a pod that is no member any more."""
        self._taken.pop(pod_name, None)
