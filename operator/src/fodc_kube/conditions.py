# SPDX-License-Identifier: Apache-2.0
"""Conditions of any status: how they are read, and how they are stamped.

The one idea: the time of the last transition lives in the status before, so a condition that has
not turned keeps it and the status stays equal to itself; pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fodc_protocol.times import format_rfc3339

MAX_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that is not yet compared with the one before."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Happened:
    """What an Event says; such as that a condition has turned."""

    reason: str
    message: str
    is_warning: bool = False


def condition_of(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return the condition of this type, an empty mapping when there is none."""
    conditions = status.get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), {})


def is_true(status: Mapping[str, Any], kind: str) -> bool:
    """Say whether a status has this condition and it holds."""
    return condition_of(status, kind).get("status") == "True"


def stamped(
    said: Iterable[Condition], before: Mapping[str, Any], *, generation: int, now_ms: int
) -> list[dict[str, Any]]:
    """Return the conditions as a status holds them; the first of a type counts."""
    found: dict[str, dict[str, Any]] = {}
    for one in said:
        old = condition_of(before, one.type)
        since = old.get("lastTransitionTime") if old.get("status") == one.status else None
        found.setdefault(one.type, _one(one, generation, since or _time(now_ms)))
    return list(found.values())


def stamped_at(said: Condition, at_ms: int, *, generation: int) -> dict[str, Any]:
    """Return a condition whose time is known, rather than that of the moment."""
    return _one(said, generation, _time(at_ms))


def _one(said: Condition, generation: int, since: str) -> dict[str, Any]:
    return {
        "type": said.type,
        "status": said.status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": said.reason,
        "message": said.message[:MAX_MESSAGE],
    }


def _time(time_ms: int) -> str:
    """Whole seconds, as Kubernetes writes times."""
    return format_rfc3339(time_ms // 1000)
