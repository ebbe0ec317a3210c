# SPDX-License-Identifier: Apache-2.0
"""Evidence on our own link: messages of the existing contract in pieces, put together and read.

The one idea: both contracts tell the same messages, so there is one way to read them; the link only
divides them, so that none is larger than a frame.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol

from fodc_protocol.link import frames
from fodc_proxy.evidence.parts import CrashTold, Part
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.queries.plan import Kind
from fodc_proxy.wire.bounds import Bound, WireError
from fodc_proxy.wire.existing.evidence import decode_topology
from fodc_proxy.wire.existing.findings import CRASH_BYTES, decode_crash
from fodc_proxy.wire.existing.lifecycle import RegistryRead, decode_lifecycle

MOST_BYTES: Final = 8 * 1024 * 1024
_KINDS: Final = tuple(Kind)
# Questions for crashes belong to no round; their numbers are beyond those of rounds.
_FIRST_CRASHES: Final = 1 << 62


class Findings(Protocol):
    """Who takes what nodes left behind (`evidence.gathering.Findings`)."""

    def opened(self, agent_id: str) -> None:
        """An agent is there to be asked."""

    def crash(self, agent_id: str, told: CrashTold) -> None:
        """An agent has told of a crash."""

    def gone(self, agent_id: str, *, pressure: bool) -> None:
        """An agent has told all crashes, or has gone."""


@dataclass(slots=True)
class _Reading:
    """An answer of which the last piece has not come."""

    pieces: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    told: Part | None = None
    registry: RegistryRead = field(default_factory=RegistryRead)


class LinkEvidence:
    """What linked agents answer; `findings` takes crashes."""

    def __init__(self, rounds: Rounds) -> None:
        self.garbage = 0
        self.findings: Findings | None = None
        self._rounds = rounds
        self._next_crashes = _FIRST_CRASHES
        self._crashes: dict[str, int] = {}
        self._readings: dict[str, dict[int, _Reading]] = {}

    @property
    def reading(self) -> int:
        """Count of answers whose last piece has not come."""
        return sum(map(len, self._readings.values()))

    def crashes_asked(self, agent_id: str) -> int:
        """Return the number of a new question for crashes, which ends an older one."""
        self._readings.get(agent_id, {}).pop(self._crashes.get(agent_id, 0), None)
        self._next_crashes += 1
        self._crashes[agent_id] = self._next_crashes
        return self._next_crashes

    def linked(self, agent_id: str) -> None:
        """An agent has linked."""
        if self.findings is not None:
            self.findings.opened(agent_id)

    def gone(self, agent_id: str) -> None:
        """The link of an agent has ended."""
        self._readings.pop(agent_id, None)
        if self._crashes.pop(agent_id, None) is not None and self.findings is not None:
            self.findings.gone(agent_id, pressure=False)

    def heard(self, agent_id: str, piece: frames.Evidence) -> None:
        """Take a piece; one that nobody asked for is dropped."""
        kind = self._kind(agent_id, piece.query_id)
        if kind is None and self._crashes.get(agent_id) != piece.query_id:
            self._rounds.unasked()
            return
        readings = self._readings.setdefault(agent_id, {})
        if piece.query_id not in readings:
            self._forget_old(agent_id, readings)
        reading = readings.setdefault(piece.query_id, _Reading())
        try:
            self._take(agent_id, kind, reading, piece)
        except WireError as error:
            self.garbage += 1
            del readings[piece.query_id]
            if kind is None:
                del self._crashes[agent_id]
            else:
                self._rounds.failed(agent_id, kind, piece.query_id, error.reason, error.message)
            return
        if piece.last:
            del readings[piece.query_id]
            self._ended(agent_id, kind, piece.query_id, reading)

    def failed(self, agent_id: str, query_id: int) -> None:
        """The agent has no answer: nobody waits for its crashes any more."""
        if self._crashes.get(agent_id) == query_id:
            del self._crashes[agent_id]
            if self.findings is not None:
                self.findings.gone(agent_id, pressure=False)

    def _forget_old(self, agent_id: str, readings: dict[int, _Reading]) -> None:
        """Let go of answers that were never ended and that nobody waits for."""
        for query_id in [one for one in readings if self._kind(agent_id, one) is None]:
            if self._crashes.get(agent_id) != query_id:
                del readings[query_id]

    def _kind(self, agent_id: str, query_id: int) -> Kind | None:
        for kind in _KINDS:
            out = self._rounds.outstanding(agent_id, kind)
            if out is not None and out[0] == query_id:
                return kind
        return None

    def _take(
        self, agent_id: str, kind: Kind | None, reading: _Reading, piece: frames.Evidence
    ) -> None:
        most_bytes = CRASH_BYTES if kind is None else MOST_BYTES
        reading.size_bytes += len(piece.data)
        if reading.size_bytes > most_bytes:
            message = f"evidence must have at most {most_bytes} bytes"
            raise WireError(message, Bound.SIZE)
        reading.pieces.append(piece.data)
        if not piece.whole:
            return
        data = b"".join(reading.pieces)
        reading.pieces.clear()
        match kind:
            case Kind.TOPOLOGY:
                reading.told = decode_topology(data)
            case Kind.LIFECYCLE:
                reading.told = decode_lifecycle(data)
            case Kind.REGISTRY:
                reading.told = reading.registry.take(data)
            case _:
                reading.size_bytes = 0  # each crash is a message of its own
                crash = decode_crash(data)
                if crash is not None and self.findings is not None:
                    self.findings.crash(agent_id, crash)

    def _ended(self, agent_id: str, kind: Kind | None, query_id: int, reading: _Reading) -> None:
        if kind is None:
            del self._crashes[agent_id]
            if self.findings is not None:
                self.findings.gone(agent_id, pressure=False)
        elif reading.told is not None:
            self._rounds.answered(agent_id, kind, query_id, reading.told)
        else:
            message = "the agent told nothing"
            reason = WireError.default_reason
            self._rounds.failed(agent_id, kind, query_id, reason, message)
