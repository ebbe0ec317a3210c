# SPDX-License-Identifier: Apache-2.0
"""What agents tell when something happens to their node: the kinds, and which fields each carries.

The one idea: an occurrence is a fact and when it was so; what it means for the node, and what
belongs to it, is decided where occurrences of the whole fleet come together.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class OccurrenceKind(StrEnum):
    """What happened, as `Event.kind` of the link names it."""

    NODE_GONE = "node-gone"
    """The node's process is no more: `pid`, `started_at_ms`, `captures`."""
    NODE_RESTARTED = "node-restarted"
    """Another process stands in its place: `pid`, `started_at_ms` of the new one, `captures`."""
    NODE_UNREACHABLE = "node-unreachable"
    """The process is there and answers nobody: `pid`, `started_at_ms`, `captures`."""
    NODE_BACK = "node-back"
    """The node answers again: `pid`, `started_at_ms`."""
    MEMORY_PRESSURE = "memory-pressure"
    """Memory is near the limit: `pid`, `rss_bytes`, `limit_bytes`, `percent`, `captures`.

    And `trigger_percent`, of the limit, at which profiles are taken.
    """
    OOM_KILL = "oom-kill"
    """The kernel has killed in the node's cgroup: memory as above, `captures`."""
    CRASH = "crash"
    """The node has written down why it ended: `crash`, the name of what it wrote; `captures`."""
    TRIGGER = "trigger"
    """A rule over the window has fired; the message says which: `captures`."""
    OTHER = "other"
    """A kind that a newer agent knows; the message says what."""


class Field(StrEnum):
    """Fields of occurrences; numbers are written in decimal."""

    PID = "pid"
    STARTED_AT_MS = "started_at_ms"
    RSS_BYTES = "rss_bytes"
    LIMIT_BYTES = "limit_bytes"
    PERCENT = "percent"
    TRIGGER_PERCENT = "trigger_percent"
    CRASH = "crash"
    CAPTURES = "captures"
    """Captures that the agent started by itself: `profile=command_id`, by commas."""


_PROCESS: Final = frozenset({Field.PID, Field.STARTED_AT_MS, Field.CAPTURES})
_MEMORY: Final = frozenset({Field.RSS_BYTES, Field.LIMIT_BYTES, Field.PERCENT})

FIELDS: Final[Mapping[OccurrenceKind, frozenset[Field]]] = {
    OccurrenceKind.NODE_GONE: _PROCESS,
    OccurrenceKind.NODE_RESTARTED: _PROCESS,
    OccurrenceKind.NODE_UNREACHABLE: _PROCESS,
    OccurrenceKind.NODE_BACK: _PROCESS,
    OccurrenceKind.MEMORY_PRESSURE: _MEMORY | {Field.PID, Field.TRIGGER_PERCENT, Field.CAPTURES},
    OccurrenceKind.OOM_KILL: _MEMORY | {Field.PID, Field.CAPTURES},
    OccurrenceKind.CRASH: frozenset({Field.CRASH, Field.CAPTURES}),
    OccurrenceKind.TRIGGER: frozenset({Field.CAPTURES}),
    OccurrenceKind.OTHER: frozenset(),
}
"""Which fields an occurrence may carry; each may be missing where it is not known."""

MOST_CAPTURES: Final = 8


def captures_text(captures: Iterable[tuple[str, str]]) -> str:
    """Return (profile, command id) of captures as field `captures` has them."""
    return ",".join(f"{profile}={command}" for profile, command in captures)


def captures_told(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return (profile, command id) of the captures that field `captures` names, at most eight.

    What does not read so is left out: the occurrence is worth more than its list.
    """
    pairs = (one.partition("=") for one in fields.get(Field.CAPTURES, "").split(","))
    found = ((profile.strip(), command.strip()) for profile, _, command in pairs)
    return tuple([one for one in found if all(one)][:MOST_CAPTURES])
