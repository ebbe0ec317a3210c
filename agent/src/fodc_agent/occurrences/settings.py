# SPDX-License-Identifier: Apache-2.0
"""What the agent is told about short memory: our options, and those of the Go agent for the same.

The one idea: whoever moves here with the options of the Go agent gets what they ask for; where both
are given, ours count.
"""

from collections.abc import Iterator
from typing import Final

from fodc_agent.declaring import declared, number, size
from fodc_protocol.lean import dataclass
from fodc_protocol.options import (
    Kind,
    Option,
    Resolved,
    between,
    not_negative,
    positive,
)

_ENABLED: Final = "pressure-profiler-enabled"
_TRIGGER: Final = "pressure-profiler-trigger-percent"
_COOLDOWN: Final = "pressure-profiler-cooldown"
_ALIASES: Final = {"pressure-percent": _TRIGGER, "pressure-cooldown": _COOLDOWN}

SAME_AS_OURS: Final = (
    Option(_ENABLED, Kind.BOOL, "true", "The Go agent's switch for --pressure-percent."),
    Option(_TRIGGER, Kind.INT, "80", "The Go agent's name for --pressure-percent."),
    Option(
        _COOLDOWN,
        Kind.DURATION,
        "5m",
        "The Go agent's name for --pressure-cooldown.",
        check=positive,
    ),
)
"""Options of the Go agent that have another name here."""


def _named(resolved: Resolved, name: str) -> str:
    """Return under which name this was told: ours, unless only the other one was."""
    alias = _ALIASES[name]
    told = {one for one in (name, alias) if resolved.origins.get(one, "default") != "default"}
    return alias if told == {alias} else name


def _percent(resolved: Resolved, name: str) -> int:
    return resolved.integer(_named(resolved, name)) if resolved.flag(_ENABLED) else 0


def _cooldown(resolved: Resolved, name: str) -> float:
    return resolved.number(_named(resolved, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureSettings:
    """When the profiles of a node that is short of memory are taken, and how many are kept."""

    pressure_percent: int = declared(
        Option(
            "pressure-percent",
            Kind.INT,
            "80",
            "Share of its memory limit from which on heap and goroutines of the node are profiled; "
            "0 never does.",
            check=between(0, 100),
        ),
        _percent,
    )
    pressure_cooldown_s: float = declared(
        Option(
            "pressure-cooldown",
            Kind.DURATION,
            "5m",
            "Pause after that, unless memory grows to a clear new high.",
            check=positive,
        ),
        _cooldown,
    )
    pressure_max_count: int = number(
        "pressure-profiler-max-artifacts",
        "16",
        "Most of these events whose profiles wait for the proxy; those with the least memory go "
        "first.",
        check=positive,
    )
    pressure_max_bytes: int = size(
        "pressure-profiler-max-disk-bytes",
        "512MiB",
        "Most bytes of these profiles, within --capture-quota; 0 leaves it to that.",
        check=not_negative,
    )
    node_memory_limit_bytes: int = size(
        "node-memory-limit",
        "0",
        "Memory limit of the node where its cgroup cannot be seen; 0 takes what the node says.",
        check=not_negative,
    )


def contradictions(resolved: Resolved) -> Iterator[str]:
    """Yield what is wrong between these options (T-CMD-08)."""
    percent = resolved.integer(_TRIGGER)
    if resolved.flag(_ENABLED) and not 1 <= percent <= 100:
        yield f"{_TRIGGER} must be between 1 and 100, got {percent}"


__all__ = ["SAME_AS_OURS", "PressureSettings", "contradictions"]
