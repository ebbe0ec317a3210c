# SPDX-License-Identifier: Apache-2.0
"""Latest evidence of each agent: topology, lifecycle, crashes, pressure profiles, schema.

The one idea: a store of the last message per agent, stream and key, bounded in count and bytes;
what the bytes mean is read when somebody looks.
"""

from dataclasses import dataclass, field
from typing import Final

MOST_ENTRIES: Final = 64
MOST_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Evidence:
    """One message as it came, and when (Unix milliseconds)."""

    data: bytes
    received_at_ms: int


@dataclass(slots=True)
class LatestEvidence:
    """Newest messages by agent id and stream; `dropped` counts what the bounds cost."""

    dropped: int = 0
    _kept: dict[str, dict[str, dict[str, Evidence]]] = field(default_factory=dict)

    def put(self, agent_id: str, stream: str, key: str, data: bytes, now_ms: int) -> None:
        """Keep a message in place of the last one of its key; the oldest give way to the newest."""
        if len(data) > MOST_BYTES:
            self.dropped += 1
            return
        kept = self._kept.setdefault(agent_id, {}).setdefault(stream, {})
        kept.pop(key, None)
        kept[key] = Evidence(data, now_ms)
        size_bytes = sum(len(evidence.data) for evidence in kept.values())
        while len(kept) > MOST_ENTRIES or size_bytes > MOST_BYTES:
            oldest = next(iter(kept))
            size_bytes -= len(kept.pop(oldest).data)
            self.dropped += 1

    def of(self, agent_id: str, stream: str) -> tuple[Evidence, ...]:
        """Return what is kept of one stream, oldest first."""
        return tuple(self._kept.get(agent_id, {}).get(stream, {}).values())

    def drop(self, agent_id: str, stream: str = "") -> None:
        """Forget an agent, or one stream of it."""
        if not stream:
            self._kept.pop(agent_id, None)
        elif agent_id in self._kept:
            self._kept[agent_id].pop(stream, None)
