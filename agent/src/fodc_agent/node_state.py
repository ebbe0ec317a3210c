# SPDX-License-Identifier: Apache-2.0
"""What the agent tells about its node: capabilities and conditions, from facts. Pure.

The one idea: everything that is less than whole has a name, a reason and a sentence, made here in
one place from plain facts, so that `/readyz`, the link and the log never disagree.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final

from fodc_agent.kernel_groups import GROUP_OF
from fodc_protocol.capabilities import CapabilityState
from fodc_protocol.lean import dataclass
from fodc_protocol.link import frames
from fodc_protocol.profiles import Profile, TakenFrom

WINDOW: Final = frozenset({"WindowReach", "WindowRestored", "SeriesKept"})
"""Conditions about what the window lacks."""
_RATED: Final = frozenset({Profile.BLOCK, Profile.MUTEX})
_EVERY_CAPTURE: Final = frozenset({"kernel", "process"})
"""Parts of the source `kernel` without which no capture is taken there."""
_TOLD_ELSEWHERE: Final = (TakenFrom.CONFIGURATION, TakenFrom.KERNEL)
_NO_MARKS: Final[Mapping[Profile, bool]] = {}


@dataclass(frozen=True, slots=True)
class ProfilerFacts:
    """What is known about the node's pprof port.

    `problem` says why it does not answer, empty when it does or was not asked; `asked` whether it
    was; `sampled` tells of block and mutex whether the node has recorded any sample; `offered` are
    the kinds that the port has beside those that are known.
    """

    asked: bool = False
    problem: str = ""
    missing: bool = False
    sampled: Mapping[Profile, bool] = field(default_factory=lambda: _NO_MARKS)
    offered: tuple[Profile, ...] = ()


def profile_capabilities(
    facts: ProfilerFacts, spool_problem: str
) -> tuple[frames.CapabilityState, ...]:
    """Return the state of each kind of profile; of some more is told elsewhere."""
    kinds = [kind for kind in Profile if kind.facts.taken_from not in _TOLD_ELSEWHERE]
    return tuple(_profile(kind, facts, spool_problem) for kind in (*kinds, *facts.offered))


def kernel_profile_capabilities(
    lacks: tuple[str, str] | None, gaps: Sequence[tuple[str, str, str]] | None
) -> tuple[frames.CapabilityState, ...]:
    """Return the state of the kinds that are taken in the kernel.

    `lacks` is reason and message where they were not asked for; `gaps` are part, reason and message
    of what could not be loaded, None while nothing was tried.
    """
    return tuple(_in_kernel(kind, group, lacks, gaps) for kind, group in GROUP_OF.items())


def _in_kernel(
    kind: Profile,
    group: str,
    lacks: tuple[str, str] | None,
    gaps: Sequence[tuple[str, str, str]] | None,
) -> frames.CapabilityState:
    missing = [gap for gap in gaps or () if gap[0] in _EVERY_CAPTURE | {group}]
    if lacks is not None:
        return frames.CapabilityState(kind, CapabilityState.DISABLED, *lacks)
    if gaps is None:
        text = "the programs were not loaded yet"
        return frames.CapabilityState(kind, CapabilityState.UNKNOWN, "NotRead", text)
    if missing:
        return frames.CapabilityState(kind, CapabilityState.UNSUPPORTED, *missing[0][1:])
    return frames.CapabilityState(kind, CapabilityState.SUPPORTED)


def source_capability(
    kind: str, problem: str, gaps: Sequence[tuple[str, str]]
) -> frames.CapabilityState:
    """Return the state of a source: `gaps` are reasons and messages of parts that are missing."""
    if problem:
        return frames.CapabilityState(kind, CapabilityState.UNSUPPORTED, "ReadFailed", problem)
    if not gaps:
        return frames.CapabilityState(kind, CapabilityState.SUPPORTED)
    message = "; ".join(text for _, text in gaps)
    return frames.CapabilityState(kind, CapabilityState.UNSUPPORTED, gaps[0][0], message)


def _profile(kind: Profile, facts: ProfilerFacts, spool_problem: str) -> frames.CapabilityState:
    if spool_problem:
        return frames.CapabilityState(
            kind, CapabilityState.DISABLED, "SpoolNotWritable", spool_problem
        )
    if kind.facts.taken_from is TakenFrom.RECORDER:
        return frames.CapabilityState(kind, CapabilityState.SUPPORTED)
    if facts.missing:
        return frames.CapabilityState(
            kind, CapabilityState.UNSUPPORTED, "NoPprofPort", facts.problem
        )
    if facts.problem or not facts.asked:
        text = facts.problem or "the pprof port was not asked yet"
        return frames.CapabilityState(kind, CapabilityState.UNKNOWN, "NodeUnreachable", text)
    if kind in _RATED and not facts.sampled.get(kind, False):
        message = f"the node samples no {kind} events: its sampling rate is zero"
        return frames.CapabilityState(kind, CapabilityState.DISABLED, "RateZero", message)
    return frames.CapabilityState(kind, CapabilityState.SUPPORTED)


@dataclass(frozen=True, slots=True)
class Health:
    """Plain facts from which conditions are made; empty texts mean that all is well."""

    role_known: bool = True
    role_problem: str = ""
    scrape_problems: Mapping[str, str] = field(default_factory=dict)
    pages_cut: Mapping[str, str] = field(default_factory=dict)
    """What was left out of pages that were not read to their end."""
    journal_problem: str = ""
    spool_problem: str = ""
    is_restoring: bool = False
    """Whether history of an earlier life is still being read."""
    refused_series: int = 0
    """Series of the newest readings for which the window has no room."""
    reachable_s: float | None = None
    """How much history the budget holds, None while that is not known."""
    target_s: float = 0.0
    budget_bytes: int = 0
    remote: str = ""
    """What an attachment over the network means."""


def conditions_of(health: Health) -> tuple[frames.Condition, ...]:
    """Return what is less than whole, sorted by importance."""
    conditions: list[frames.Condition] = []
    if health.scrape_problems:
        text = "; ".join(f"{name}: {why}" for name, why in sorted(health.scrape_problems.items()))
        conditions.append(frames.Condition("NodeScraped", "ScrapeFailed", text))
    if health.pages_cut:
        text = "; ".join(f"{name}: {what}" for name, what in sorted(health.pages_cut.items()))
        conditions.append(frames.Condition("PageWhole", "TooLarge", text))
    if not health.role_known:
        hint = health.role_problem or "give --cluster-state-ports or --node-role"
        conditions.append(frames.Condition("RoleKnown", "RoleUnspecified", hint))
    conditions += _window_conditions(health)
    if health.journal_problem:
        conditions.append(frames.Condition("JournalWritten", "DiskFailed", health.journal_problem))
    if health.spool_problem:
        conditions.append(frames.Condition("CapturesSpooled", "DiskFailed", health.spool_problem))
    if health.remote:
        conditions.append(frames.Condition("AgentInPod", "Remote", health.remote))
    return tuple(conditions)


def _window_conditions(health: Health) -> Iterator[frames.Condition]:
    """Yield what the window lacks, each with its figure."""
    if health.is_restoring:
        text = "the history that an earlier life of the agent left is still being read"
        yield frames.Condition("WindowRestored", "Restoring", text)
    if health.refused_series:
        text = (
            f"{health.refused_series} series have no room in a budget of "
            f"{health.budget_bytes // 1024} KiB and are refused: raise --window-budget"
        )
        yield frames.Condition("SeriesKept", "BudgetTooSmall", text)
    if health.reachable_s is not None and health.reachable_s < 0.9 * health.target_s:
        text = (
            f"the budget holds about {health.reachable_s:.0f} s of history, "
            f"{health.target_s:.0f} s are wanted: raise --window-budget"
        )
        yield frames.Condition("WindowReach", "BudgetTooSmall", text)
