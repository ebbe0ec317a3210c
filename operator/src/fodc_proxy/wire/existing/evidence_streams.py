# SPDX-License-Identifier: Apache-2.0
"""What agents say on the streams of evidence, given to the rounds that asked for it.

The one idea: none of these streams numbers its answers, so a message belongs to the question that
is out on its stream, and one that nobody asked for is dropped.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from fodc_api.findings import PressureEvent, PressureProfile
from fodc_protocol.errors import FodcError, Reason
from fodc_proxy.evidence.parts import Chunk, CrashTold, ListEnd, Part
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.queries.lanes import fodc_lane
from fodc_proxy.queries.plan import Kind
from fodc_proxy.wire.bounds import WireError
from fodc_proxy.wire.existing import codec
from fodc_proxy.wire.existing.evidence import decode_topology
from fodc_proxy.wire.existing.findings import (
    decode_crash,
    decode_pressure,
    encode_crashes_command,
    encode_fetch_command,
    encode_list_command,
)
from fodc_proxy.wire.existing.lifecycle import RegistryRead, decode_lifecycle
from fodc_proxy.wire.streams import Turns

CRASHES: Final = "StreamCrashDiagnostics"
PRESSURE: Final = "StreamPressureProfiles"


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
_log = logging.getLogger(__name__)


class Findings(Protocol):
    """Who takes what nodes left behind (`evidence.gathering.Findings`)."""

    def opened(self, agent_id: str) -> None:
        """A stream has opened."""

    def crash(self, agent_id: str, told: CrashTold) -> None:
        """An agent has told of a crash."""

    async def pressure(self, agent_id: str, told: PressureEvent | ListEnd | Chunk) -> None:
        """An agent has said something of pressure."""

    def gone(self, agent_id: str, *, pressure: bool) -> None:
        """The stream of crashes, or of pressure, has ended."""


class FodcAgents:
    """Asks agents of the existing contract for what nodes left behind."""

    def __init__(self, command: Callable[[str, str, bytes], None]) -> None:
        self.command = command

    def ask_crashes(self, agent_id: str) -> str:
        """Ask for all crashes; return "" or why it cannot be asked."""
        return self._ask(agent_id, CRASHES, encode_crashes_command())

    def ask_events(self, agent_id: str, request_id: str) -> str:
        """Ask for all pressure events; return "" or why it cannot be asked."""
        return self._ask(agent_id, PRESSURE, encode_list_command(request_id))

    def ask_profile(
        self, agent_id: str, request_id: str, profile_id: str, profile: PressureProfile
    ) -> str:
        """Ask for the bytes of a profile; return "" or why it cannot be asked."""
        data = encode_fetch_command(request_id, profile_id, profile)
        return self._ask(agent_id, PRESSURE, data)

    def _ask(self, agent_id: str, method: str, data: bytes) -> str:
        try:
            self.command(agent_id, method, data)
        except FodcError as error:
            return error.message
        return ""


class Linked(Protocol):
    """Who asks agents of our own link for crashes."""

    def ask_crashes(self, agent_id: str) -> str:
        """Ask for all crashes; return "" or why it cannot be asked."""


class AllAgents(FodcAgents):
    """Asks agents of both contracts; those of the link tell of pressure by themselves."""

    def __init__(self, existing: FodcAgents, linked: Linked) -> None:
        super().__init__(existing.command)
        self._linked = linked

    def ask_crashes(self, agent_id: str) -> str:
        """Ask on the link, else on the stream of the existing contract."""
        if not self._linked.ask_crashes(agent_id):
            return ""
        return super().ask_crashes(agent_id)


class EvidenceStreams:
    """The streams of all agents; `garbage` counts what could not be read."""

    def __init__(self, rounds: Rounds, turns: Turns) -> None:
        self.garbage = 0
        self.findings: Findings | None = None
        self._rounds = rounds
        self._turns = turns
        self._reads: dict[str, tuple[int, RegistryRead]] = {}

    @property
    def reading(self) -> int:
        """Count of registries that are being read."""
        return len(self._reads)

    async def arrived(self, agent_id: str, method: str, data: bytes) -> None:
        """Take a message of a stream."""
        if method not in KINDS:
            await self._finding(agent_id, method, data)
            return
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

    async def _finding(self, agent_id: str, method: str, data: bytes) -> None:
        if self.findings is None:
            return
        try:
            if method == CRASHES:
                crash = decode_crash(data)
                if crash is not None:
                    self.findings.crash(agent_id, crash)
                return
            told = decode_pressure(data)
        except WireError as error:
            self.garbage += 1
            _log.warning("agent %s sent garbage on %s: %s", agent_id, method, error.message)
            return
        if told is not None:
            await self.findings.pressure(agent_id, told)

    def opened(self, agent_id: str, method: str) -> None:
        """A stream has opened."""
        if self.findings is not None and method in {CRASHES, PRESSURE}:
            self.findings.opened(agent_id)

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

    def gone(self, agent_id: str) -> None:
        """The registration of an agent has ended."""
        for method in (*KINDS, CRASHES, PRESSURE):
            self.ended(agent_id, method)

    def ended(self, agent_id: str, method: str) -> None:
        """A stream has ended: who waits for its answer waits in vain."""
        kind = KINDS.get(method)
        if kind is None:
            self._finding_ended(agent_id, method)
            return
        self._reads.pop(agent_id, None)
        out = self._rounds.outstanding(agent_id, fodc_lane(kind))
        if out is not None:
            message = STREAMS[kind].ended
            self._rounds.failed(agent_id, fodc_lane(kind), out[0], Reason.AGENT_GONE, message)

    def _finding_ended(self, agent_id: str, method: str) -> None:
        if self.findings is not None and method in {CRASHES, PRESSURE}:
            self.findings.gone(agent_id, pressure=method == PRESSURE)
