# SPDX-License-Identifier: Apache-2.0
"""What happened to a node and is not yet stored by a proxy, in order and bounded.

The one idea: what was produced is delivered, waits, or is part of a gap that the next event tells;
nothing else can become of it. When there is no room the newest finds none: the first
occurrence is the one that explains the others, and what may be on its way is never taken back.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.link.frames import Event

MAX_EVENTS: Final = 256
MAX_BYTES: Final = 128 * 1024
MESSAGE_CHARACTERS: Final = 1024
_FIELD_CHARACTERS: Final = 512
_MOST_FIELDS: Final = 32


@dataclass(frozen=True, slots=True)
class KeptEvents:
    """A queue as it is kept over a restart of the agent.

    Of all that were `produced`, `delivered` were acknowledged, `gapped` found no room, and the rest
    waits. The last `gap` of them are told by the next event.
    """

    produced: int = 0
    delivered: int = 0
    gapped: int = 0
    gap: int = 0
    waiting: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no queue can have been; raises ValueError."""
        sums = self.delivered + self.gapped + len(self.waiting)
        if self.produced != sums or not 0 <= self.gap <= self.gapped or self.delivered < 0:
            raise ValueError("produced events are not those delivered, gapped and waiting")


class EventQueue:
    """Numbers events of one life of the agent, behind those that an earlier one has left."""

    def __init__(
        self, incarnation: str, kept: KeptEvents | None = None, *, max_events: int = MAX_EVENTS
    ) -> None:
        self._max_events = max_events
        kept = kept or KeptEvents()
        self.produced = kept.produced
        self.delivered = kept.delivered
        self.gapped = kept.gapped
        self._gap = kept.gap
        self._incarnation = incarnation
        self._sequence = 0
        self._waiting = deque(kept.waiting)
        self._bytes = sum(map(_size_bytes, kept.waiting))

    @property
    def waiting(self) -> tuple[Event, ...]:
        """What is not acknowledged, the oldest first."""
        return tuple(self._waiting)

    @property
    def next_sequence(self) -> int:
        """The number that the next event will get."""
        return self._sequence + 1

    def kept(self) -> KeptEvents:
        """Return what has to be kept over a restart."""
        return KeptEvents(self.produced, self.delivered, self.gapped, self._gap, self.waiting)

    def add(
        self, kind: str, message: str, fields: Mapping[str, str], occurred_at_ms: int
    ) -> Event | None:
        """Number what happened; None when there is no room for it, which the next one tells."""
        self.produced += 1
        self._sequence += 1
        event = Event(
            self._sequence,
            occurred_at_ms,
            kind,
            message[:MESSAGE_CHARACTERS],
            _bounded(fields),
            self._incarnation,
            self._gap,
        )
        size_bytes = _size_bytes(event)
        if len(self._waiting) >= self._max_events or self._bytes + size_bytes > MAX_BYTES:
            self.gapped += 1
            self._gap += 1
            return None
        self._waiting.append(event)
        self._bytes += size_bytes
        self._gap = 0
        return event

    def taken(self, incarnation: str, sequence: int) -> bool:
        """Let go of an acknowledged event and all before it; whether there were any."""
        fits = [
            place
            for place, event in enumerate(self._waiting, start=1)
            if event.incarnation == incarnation and event.sequence <= sequence
        ]
        for _ in range(fits[-1] if fits else 0):
            self._bytes -= _size_bytes(self._waiting.popleft())
            self.delivered += 1
        return bool(fits)


def _bounded(fields: Mapping[str, str]) -> dict[str, str]:
    few = list(fields.items())[:_MOST_FIELDS]
    return {name: value[:_FIELD_CHARACTERS] for name, value in few}


def _size_bytes(event: Event) -> int:
    """Return about how much an event takes, on the disk and on the wire."""
    told = [event.kind, event.message, event.incarnation]
    told += [word for pair in event.fields.items() for word in pair]
    return 64 + sum(len(word.encode("utf-8", "replace")) for word in told)
