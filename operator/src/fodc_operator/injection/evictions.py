# SPDX-License-Identifier: Apache-2.0
"""Which pod to evict now, so that it comes back with an agent, or without one that blocks it.

The one idea: a restart of a database must be worth it, so everything that speaks against one is a
reason that people read. One pod at a time, within a rate that outlives the operator, never while
something else of the same owner is down, and never twice for nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fodc_kube.conditions import Condition
from fodc_operator.injection import suspension
from fodc_operator.injection.agent_state import Start, database_runs, is_leaving, is_ready
from fodc_operator.injection.outcome import Pod
from fodc_operator.injection.standing import Entry, PodState, Standing, WebhookHealth
from fodc_operator.resources.fodc_injection import MissedAction

IN_VAIN: Final = "EvictedInVain"
RECREATING: Final = frozenset({"StatefulSet", "ReplicaSet", "DaemonSet"})
"""Controllers that make a pod anew; ReplicaSets are those of Deployments."""
_AWAITED_MS: Final = 300_000
"""How long the return of an evicted pod is waited for before the next one goes."""
_MINUTE_MS: Final = 60_000
_HEARD_MS: Final = 3_000
"""So long after it was written every replica of the webhook knows of a suspension."""
_REMEMBERED_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Owner:
    """Who makes a pod anew; `slot` is what its successor will be known by."""

    uid: str
    slot: str


def owner_of(pod: Pod) -> Owner | None:
    """Return who makes the pod anew, None when nobody would."""
    meta = pod["metadata"]
    for one in meta.get("ownerReferences") or ():
        if one.get("controller") and one.get("kind") in RECREATING:
            is_named = one["kind"] == "StatefulSet"
            slot = meta["name"] if is_named else meta.get("generateName") or meta["name"]
            return Owner(str(one.get("uid", "")), str(slot))
    return None


@dataclass(frozen=True, slots=True)
class Evicted:
    """An eviction that the server took."""

    owner: Owner
    uid: str
    at_ms: int
    siblings: int
    """Pods of the owner at that time; so many there should be again."""
    was_missing: bool


@dataclass(slots=True)
class Memory:
    """What one operator remembers of the evictions of one policy; in another one it grows anew."""

    evicted: list[Evicted] = field(default_factory=list)
    in_vain: set[Owner] = field(default_factory=set)
    generation: int = 0
    not_before_ms: int = 0
    """After a refusal the next attempt waits."""
    refusal: str = ""
    last_ms: int = 0

    def note_eviction(self, taken: Evicted | None, now_ms: int) -> None:
        """The server took an eviction."""
        self.last_ms, self.refusal = now_ms, ""
        if taken is not None:
            self.evicted.append(taken)

    def refuse(self, why: str, until_ms: int) -> None:
        """The server did not take it; the next attempt is at `until_ms`."""
        self.refusal, self.not_before_ms = why, until_ms

    def note_generation(self, generation: int) -> None:
        """A changed spec is a new beginning."""
        if generation != self.generation:
            self.generation = generation
            self.in_vain.clear()
            self.evicted.clear()
            self.refusal = ""

    def recall(self, standing: Standing, names: Iterable[str]) -> None:
        """Take over which pods came back in vain from the status that an operator wrote before."""
        known = frozenset(names)
        found = (owner_of(one.pod) for one in standing.missing if one.name in known)
        self.in_vain.update(one for one in found if one is not None)

    def observe(self, standing: Standing, now_ms: int) -> None:
        """See which evicted pods came back without an agent, and which have one at last."""
        self.evicted = [one for one in self.evicted if now_ms - one.at_ms < _REMEMBERED_MS]
        for one in standing.entries:
            owner = owner_of(one.pod)
            if owner is None:
                continue
            if one.agent is not None:
                self.in_vain.discard(owner)
            elif one.is_missing and any(_came_back(one, owner, e) for e in self.evicted):
                self.in_vain.add(owner)

    def is_in_vain(self, entry: Entry) -> bool:
        """Say whether the pod came back without an agent after an eviction."""
        return entry.is_missing and owner_of(entry.pod) in self.in_vain


def _came_back(entry: Entry, owner: Owner, evicted: Evicted) -> bool:
    # Times of the server have whole seconds.
    is_later = entry.created_ms >= evicted.at_ms // 1000 * 1000
    return evicted.was_missing and owner == evicted.owner and entry.uid != evicted.uid and is_later


@dataclass(frozen=True, slots=True)
class Situation:
    """What must hold before a pod is evicted; times in Unix milliseconds."""

    now_ms: int
    agents_start: Condition
    """As it has been written, so that the webhook knows it too."""
    webhook: WebhookHealth
    last_eviction_ms: int
    suspended_since_ms: int
    """Since when it is False, 0 when it is not."""
    siblings: Sequence[Pod]
    """All pods of the namespace."""
    captures: Callable[[str], bool] = lambda _name: False
    """Whether a capture runs on the pod of this name."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """A pod to evict now."""

    entry: Entry
    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing to evict now, though there may be something; look again at `until_ms`.

    `why` is for people; empty when there is nothing to tell them.
    """

    why: str
    until_ms: int = 0


def next_eviction(
    standing: Standing, situation: Situation, memory: Memory
) -> Eviction | Hold | None:
    """Return what to do now, None when there is nothing to evict.

    `memory` must have observed the standing.
    """
    policy = standing.view.policy
    if policy.missed.action is not MissedAction.EVICT:
        return None
    stuck = [one for one in standing.entries if _is_stuck(one)]
    missing = [one for one in standing.missing if owner_of(one.pod) and not one.is_lasting]
    if not stuck and not missing:
        return None
    if policy.paused:
        return Hold("the policy is paused")
    if stuck and _is_known_to_block(situation):
        why = "its agent does not start and keeps the database from starting; no more get one"
        return _first(stuck, why, standing, situation, memory)
    if not missing:
        return Hold("an agent that does not start is given some time")
    against = _against_all(standing, situation, memory)
    if against:
        return Hold(against)
    return _first(missing, "it runs without its agent", standing, situation, memory)


def _is_known_to_block(situation: Situation) -> bool:
    said = situation.agents_start
    is_known = situation.now_ms - situation.suspended_since_ms >= _HEARD_MS
    return said.status == "False" and said.reason != suspension.ON_TRIAL and is_known


def _is_stuck(one: Entry) -> bool:
    """Say whether the agent keeps the pod from running; then an eviction stops nothing."""
    blocked = one.agent is not None and one.agent.start is Start.BLOCKED
    return blocked and not database_runs(one.pod) and owner_of(one.pod) is not None


def _against_all(standing: Standing, situation: Situation, memory: Memory) -> str:
    """Return what speaks against evicting any pod that misses its agent."""
    if not situation.webhook.is_ready:
        return f"the webhook is not ready: {situation.webhook.message}"
    said = situation.agents_start
    if said.status == "False":
        return "agents of the policy do not start"
    if said.reason == suspension.TRIAL:
        return "it is not known yet whether agents start again"
    in_vain = [one.name for one in standing.missing if memory.is_in_vain(one)]
    if in_vain:
        return f"pod {in_vain[0]} was evicted and came back without an agent; change the policy"
    starting = [one.name for one in standing.injected if _is_undecided(one)]
    return f"the agent of pod {starting[0]} has not started yet" if starting else ""


def _is_undecided(one: Entry) -> bool:
    return one.agent is not None and one.agent.start is not Start.STARTED


def _first(
    entries: Sequence[Entry],
    why: str,
    standing: Standing,
    situation: Situation,
    memory: Memory,
) -> Eviction | Hold:
    """Return the first of these pods that may go now, else what it waits for."""
    now_ms = situation.now_ms
    pause_ms = _MINUTE_MS // standing.view.policy.missed.per_minute
    due_ms = max(situation.last_eviction_ms + pause_ms, memory.not_before_ms)
    if situation.last_eviction_ms and now_ms < due_ms:
        return Hold(memory.refusal or "the next one has to wait for its turn", due_ms)
    if now_ms < memory.not_before_ms:
        return Hold(memory.refusal, memory.not_before_ms)
    reasons = []
    for one in entries:
        against = _against(one, situation, memory)
        if not against:
            return Eviction(one, why)
        reasons.append(f"{one.name}: {against}")
    return Hold(reasons[0], now_ms + _MINUTE_MS)


def _against(one: Entry, situation: Situation, memory: Memory) -> str:
    """Return what speaks against evicting this pod now."""
    if situation.captures(one.name):
        return "a capture runs on it"
    owner = owner_of(one.pod)
    siblings = [pod for pod in situation.siblings if _is_of(pod, owner)]
    awaited = _awaited(memory.evicted, owner, siblings, situation.now_ms)
    if awaited:
        return "the pod that was evicted before it is not back"
    down = sorted(
        str(pod["metadata"]["name"])
        for pod in siblings
        if not is_ready(pod) and pod["metadata"].get("uid") != one.uid
    )
    if down and one.state is not PodState.FAILED:
        return f"pod {down[0]} beside it is not ready"
    return ""


def _is_of(pod: Pod, owner: Owner | None) -> bool:
    found = owner_of(pod)
    return found is not None and owner is not None and found.uid == owner.uid


def _awaited(
    evicted: Iterable[Evicted], owner: Owner | None, siblings: Sequence[Pod], now_ms: int
) -> bool:
    there = {str(pod["metadata"].get("uid")) for pod in siblings if not is_leaving(pod)}
    return any(
        one.owner.uid == (owner.uid if owner else "")
        and now_ms - one.at_ms < _AWAITED_MS
        and len(there - {one.uid}) < one.siblings
        for one in evicted
    )


def evicted(entry: Entry, siblings: Sequence[Pod], now_ms: int) -> Evicted | None:
    """Return what to remember of an eviction that the server took."""
    owner = owner_of(entry.pod)
    if owner is None:
        return None
    number = sum(_is_of(pod, owner) and not is_leaving(pod) for pod in siblings)
    uid = entry.uid
    return Evicted(owner, uid, now_ms, number, was_missing=entry.is_missing)


def body_of(entry: Entry) -> dict[str, Any]:
    """Return what the API server is asked: evict exactly this pod, not one of its name."""
    meta = entry.pod["metadata"]
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "deleteOptions": {"preconditions": {"uid": entry.uid}},
    }


def names_in_vain(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the pods of which a status says that their eviction was in vain."""
    for one in status.get("pods") or ():
        if one.get("reason") == IN_VAIN:
            yield str(one.get("name", ""))
