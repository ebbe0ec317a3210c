# SPDX-License-Identifier: Apache-2.0
"""When a policy stops giving pods an agent, because its agents do not start; and when it goes on.

The one idea: the operator decides and its status tells, which the webhooks read as anybody may; it
is never read back. What a new leader knows is what the pods show: where some were let in without
an agent for this reason, one that is still held up goes on suspending, and else the next pod is a
trial. An agent whose image cannot be pulled keeps the database of its pod from starting (as a
native sidecar) or from being ready (as a container), so the pods that come next must do without.

    nothing known ──▶ True ──────────▶ False (suspended) ──▶ Unknown/Trial ──▶ False/AgentOnTrial
                        ▲  blocked for      │  an agent starts      │  one pod gets an agent
                        │  `patience_ms`    ▼                       ▼  and all others none
                        └───────── True/AgentsStartAgain ◀──────────┘
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fodc_kube.conditions import Condition, stamped_at
from fodc_kube.texts import time_ms
from fodc_operator.policies.agent_state import AgentState, Block, Start
from fodc_webhook.inject.suspended import CONDITION

AGAIN: Final = "AgentsStartAgain"
TRIAL: Final = "Trial"
ON_TRIAL: Final = "AgentOnTrial"
SPEC_CHANGED: Final = "SpecChanged"
_ENDS: Final = frozenset({AGAIN, TRIAL, SPEC_CHANGED})
"""Reasons that say that a suspension has ended; the time of the transition is its end."""
_MOST_NAMED: Final = 3
ROOM_FACTOR: Final = 4
"""So many times longer is borne that a pod fits on no node."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How long a blocked agent is borne, and after how long a suspended policy tries one pod."""

    patience_ms: int = 30_000
    probe_ms: int = 900_000


@dataclass(frozen=True, slots=True)
class Sighting:
    """One pod with an agent of the policy's present revision; times in Unix milliseconds."""

    name: str
    agent: AgentState
    created_ms: int = 0
    blocked_since_ms: int = 0
    """Since when the operator has seen the agent not running; 0 for one that runs."""
    unready_since_ms: int = 0
    """Since when the pod is not ready, by its own status."""


def shown_by_pods(
    sightings: Sequence[Sighting], *, left_out_ms: int, now_ms: int, generation: int
) -> Mapping[str, Any]:
    """Return the condition that a new leader begins with, empty for none.

    `left_out_ms` is when the last pod was made that was let in without an agent because its policy
    was suspended, 0 for none.
    """
    if not left_out_ms or _started_since(sightings, left_out_ms):
        return {}
    blocked = [one for one in sightings if one.agent.start is Start.BLOCKED]
    return stamped_at(_blocked(blocked) if blocked else _trial(), now_ms, generation=generation)


def agents_start(
    before: Mapping[str, Any],
    sightings: Sequence[Sighting],
    *,
    is_changed: bool,
    now_ms: int,
    rules: Rules,
) -> Condition:
    """Return the condition AgentsStart; one that is False suspends the policy.

    `before` is the condition as it was, empty for none; `is_changed` says that it is about another
    generation or revision than the sightings.
    """
    if before.get("status") == "False":
        if is_changed:
            text = "the policy has changed, so the next pod gets an agent again"
            return Condition(CONDITION, "Unknown", SPEC_CHANGED, text)
        return _while_suspended(before, sightings, now_ms, rules)
    found = _while_open(before, sightings, now_ms, rules)
    is_less = before.get("status") == "True" and found.status == "Unknown"
    # Nothing new has been learned about this revision.
    return _same(before) if is_less and not is_changed else found


def _while_suspended(
    before: Mapping[str, Any], sightings: Sequence[Sighting], now_ms: int, rules: Rules
) -> Condition:
    since_ms = time_ms(before.get("lastTransitionTime"))
    if _started_since(sightings, since_ms):
        return _again()
    blocked = [one for one in sightings if _is_blocked(one, now_ms, rules.patience_ms)]
    if blocked:
        return _blocked(blocked)
    # A pod that still waits is itself the trial: its kubelet tries again and again.
    waits = any(one.agent.start is not Start.STARTED for one in sightings)
    if now_ms - since_ms >= rules.probe_ms and not waits:
        return _trial()
    return _same(before)


def _while_open(
    before: Mapping[str, Any], sightings: Sequence[Sighting], now_ms: int, rules: Rules
) -> Condition:
    reason = str(before.get("reason") or "")
    ended_ms = time_ms(before.get("lastTransitionTime")) if reason in _ENDS else 0
    blocked = [
        one
        for one in sightings
        if _is_blocked(one, now_ms, rules.patience_ms) and one.unready_since_ms >= ended_ms
    ]
    if blocked:
        return _blocked(blocked)
    # Whatever runs with a changed spec tells of it: a webhook that hears of it sooner than we has
    # put it into pods before we said so.
    if _started_since(sightings, 0 if reason == SPEC_CHANGED else ended_ms):
        return _again() if ended_ms else _start()
    on_trial = [one.name for one in sightings if one.created_ms >= ended_ms]
    if reason == TRIAL and on_trial:
        text = f"pod {on_trial[0]} tries whether agents start again; others get none meanwhile"
        return Condition(CONDITION, "False", ON_TRIAL, text)
    if ended_ms:
        return _same(before)
    return Condition(CONDITION, "Unknown", "NoAgentYet", "no agent of this policy has started yet")


def _started_since(sightings: Iterable[Sighting], since_ms: int) -> bool:
    return any(
        one.agent.start is Start.STARTED and one.agent.started_ms >= since_ms for one in sightings
    )


def _is_blocked(one: Sighting, now_ms: int, patience_ms: int) -> bool:
    return one.agent.start is Start.BLOCKED and now_ms - one.blocked_since_ms >= _borne_ms(
        one, patience_ms
    )


def _borne_ms(one: Sighting, patience_ms: int) -> int:
    """Room may come with a new node, which takes minutes."""
    return patience_ms * ROOM_FACTOR if one.agent.reason is Block.ROOM else patience_ms


def _blocked(blocked: Sequence[Sighting]) -> Condition:
    first = min(blocked, key=lambda one: one.name)
    names = _named([one.name for one in blocked])
    text = f"no more pods get an agent: it does not start in {names}: {first.agent.message}"
    return Condition(CONDITION, "False", first.agent.reason or Block.CREATION, text)


def _named(names: Iterable[str]) -> str:
    found = sorted(names)
    more = len(found) - _MOST_NAMED
    return ", ".join(found[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _start() -> Condition:
    return Condition(CONDITION, "True", "AgentsStart", "agents of this policy start")


def _trial() -> Condition:
    text = "the next pod that is created gets an agent, to see whether agents start again"
    return Condition(CONDITION, "Unknown", TRIAL, text)


def _again() -> Condition:
    return Condition(CONDITION, "True", AGAIN, "agents of this policy start again")


def _same(before: Mapping[str, Any]) -> Condition:
    return Condition(
        CONDITION, str(before["status"]), str(before["reason"]), str(before["message"])
    )
