# SPDX-License-Identifier: Apache-2.0
"""What the engine needs of the fleet and of the wire, as protocols."""

from collections.abc import Sequence
from typing import Protocol

from fodc_protocol.link import frames
from fodc_proxy.captures.targeting import Candidate


class Fleet(Protocol):
    """Who is there."""

    def candidates(self) -> Sequence[Candidate]:
        """All nodes, one entry per pod, offline ones included."""

    def program_of(self, address: str) -> tuple[str, str]:
        """Version and incarnation of a pod's agent, empty when not known."""


class Link(Protocol):
    """Sends frames to agents."""

    def send(self, address: str, frame: frames.ProxyFrame) -> bool:
        """Queue a frame without waiting; False when it cannot be."""
