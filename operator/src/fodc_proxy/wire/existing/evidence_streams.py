# SPDX-License-Identifier: Apache-2.0
"""What agents say on the streams of evidence, given to the rounds that asked for it.

The one idea: none of these streams numbers its answers, so a message belongs to the question that
is out on its stream, and one that nobody asked for is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fodc_protocol.errors import Reason
from fodc_proxy.evidence.parts import Part
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.queries.lanes import fodc_lane
from fodc_proxy.queries.plan import Kind
from fodc_proxy.wire.bounds import WireError
from fodc_proxy.wire.existing import codec
from fodc_proxy.wire.existing.evidence import decode_topology
from fodc_proxy.wire.existing.lifecycle import RegistryRead, decode_lifecycle
from fodc_proxy.wire.streams import Turns


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its method, the command that asks on it, and what is said when it ends."""

    method: str
    command: Callable[[], bytes]
    ended: str


STREAMS: Final = {
    Kind.TOPOLOGY: Stream(
        "StreamClusterTopology",
        codec.encode_topology_command,
        "agent disconnected before it told its topology",
    ),
    Kind.LIFECYCLE: Stream(
        "StreamLifecycle",
        codec.encode_lifecycle_command,
        "agent disconnected before it told its lifecycle",
    ),
    Kind.REGISTRY: Stream(
        "StreamSchemaRegistry",
        codec.encode_registry_command,
        "agent disconnected during registry read",
    ),
}
KINDS: Final = {stream.method: kind for kind, stream in STREAMS.items()}


class EvidenceStreams:
    """The streams of all agents; `garbage` counts what could not be read."""

    def __init__(self, rounds: Rounds, turns: Turns) -> None:
        self.garbage = 0
        self._rounds = rounds
        self._turns = turns
        self._reads: dict[str, tuple[int, RegistryRead]] = {}

    @property
    def reading(self) -> int:
        """Count of registries that are being read."""
        return len(self._reads)

    async def arrived(self, agent_id: str, method: str, data: bytes) -> None:
        """Take a message of a stream."""
        lane = fodc_lane(KINDS[method])
        out = self._rounds.outstanding(agent_id, lane)
        if out is None:
            self._rounds.unasked()
            return
        if KINDS[method] is not Kind.REGISTRY:  # of which a piece says nothing about the rest
            self._rounds.arrived(agent_id, lane)
        async with self._turns.turn(len(data)):
            try:
                part = self._read(agent_id, out[0], method, data)
            except WireError as error:
                self.garbage += 1
                self._reads.pop(agent_id, None)
                self._rounds.failed(agent_id, lane, out[0], error.reason, error.message)
                return
        if part is not None:
            self._rounds.answered(agent_id, lane, out[0], part)

    def _read(self, agent_id: str, ask_id: int, method: str, data: bytes) -> Part | None:
        match KINDS[method]:
            case Kind.TOPOLOGY:
                return decode_topology(data)
            case Kind.LIFECYCLE:
                return decode_lifecycle(data)
            case Kind.REGISTRY:
                return self._piece(agent_id, ask_id, data)

    def _piece(self, agent_id: str, ask_id: int, data: bytes) -> Part | None:
        """Take a piece of the registry; what an earlier question left unfinished is let go."""
        known = self._reads.get(agent_id)
        read = RegistryRead() if known is None or known[0] != ask_id else known[1]
        self._reads[agent_id] = ask_id, read
        whole = read.take(data)
        if whole is not None:
            del self._reads[agent_id]
        return whole

    def ended(self, agent_id: str, method: str) -> None:
        """A stream has ended: who waits for its answer waits in vain."""
        kind = KINDS.get(method)
        if kind is None:
            return
        self._reads.pop(agent_id, None)
        out = self._rounds.outstanding(agent_id, fodc_lane(kind))
        if out is not None:
            message = STREAMS[kind].ended
            self._rounds.failed(agent_id, fodc_lane(kind), out[0], Reason.AGENT_GONE, message)
