# SPDX-License-Identifier: Apache-2.0
"""The status of a FodcInjection as the API server holds it, and which Events a change is worth.

The one idea: the status is a function of how the pods stand and of the status before, which holds
the times of the last changes; when nothing has changed it is equal and is not written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fodc_kube.conditions import Condition, Happened, condition_of, stamped
from fodc_operator.injection import suspension
from fodc_operator.injection.evictions import IN_VAIN, Hold
from fodc_operator.injection.standing import (
    MAX_MESSAGE,
    Entry,
    PodState,
    Remote,
    Standing,
    WebhookHealth,
)
from fodc_operator.resources.fodcnode import cut, time_of

Status: TypeAlias = dict[str, Any]
MOST_PODS: Final = 20
_MOST_NAMED: Final = 3
FIELDS: Final = (
    "observedGeneration",
    "matched",
    "injected",
    "upToDate",
    "missing",
    "failed",
    "revision",
    "lastEvictionTime",
    "pods",
    "certificateExpiry",
    "conditions",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a status is made of besides the pods."""

    generation: int
    now_ms: int
    agents_start: Condition
    webhook: WebhookHealth
    remote: Remote
    last_eviction_ms: int = 0
    hold: Hold | None = None
    """Why no pod is evicted now, when there is something to evict."""
    in_vain: frozenset[str] = frozenset()
    """Pods that came back without an agent after an eviction."""


def status_of(standing: Standing, facts: Facts, before: Mapping[str, Any]) -> Status:
    """Return the whole status of a policy that can be read."""
    injected = standing.injected
    found = {
        "observedGeneration": facts.generation,
        "matched": len(standing.entries),
        "injected": len(injected),
        "upToDate": sum(one.is_current for one in injected),
        "missing": len(standing.missing),
        "failed": len(standing.in_state(PodState.FAILED)),
        "revision": standing.view.revision,
        "lastEvictionTime": time_of(facts.last_eviction_ms),
        "pods": _pods(standing, facts, before),
        "certificateExpiry": time_of(facts.webhook.certificate_expiry_ms),
        "conditions": stamped(
            _conditions(standing, facts), before, generation=facts.generation, now_ms=facts.now_ms
        ),
    }
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def unreadable_status(
    message: str, generation: int, now_ms: int, before: Mapping[str, Any]
) -> Status:
    """Return the status of a policy that breaks its own rules: nothing is done for it."""
    said = Condition("Ready", "False", "BadPolicy", cut(message, 1024))
    return {
        "observedGeneration": generation,
        "conditions": stamped([said], before, generation=generation, now_ms=now_ms),
    }


def patch_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that leaves exactly this status: absent fields become null."""
    return {"status": {name: status.get(name) for name in FIELDS}}


def known(status: Mapping[str, Any]) -> Status:
    """Return of a status what is ours to write, to compare it."""
    return {name: status[name] for name in FIELDS if name in status}


# ---- pods -------------------------------------------------------------------------------------


def _pods(standing: Standing, facts: Facts, before: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the pods that are not as they should be; with the words from when that began."""
    said = {str(one.get("name")): one for one in before.get("pods") or ()}
    told = [one for one in standing.entries if one.state is not PodState.INJECTED or one.reason]
    found = (_pod(one, facts) for one in told[:MOST_PODS])
    return [_as_before(one, said.get(one["name"], {})) for one in found]


def _pod(one: Entry, facts: Facts) -> dict[str, str]:
    reason, message = one.reason, one.message
    if one.name in facts.in_vain:
        reason, message = IN_VAIN, "it was evicted once and came back without an agent"
    found = {
        "name": one.name,
        "state": str(one.state),
        "reason": cut(reason, 128),
        "message": cut(message, MAX_MESSAGE),
    }
    return {key: text for key, text in found.items() if text}


def _as_before(now: dict[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Keep the first words of the kubelet: they alternate, and each change would be a write."""
    same = all(now.get(key) == before.get(key) for key in ("state", "reason"))
    is_failed = now["state"] == PodState.FAILED
    return dict(before) if same and is_failed and before.get("message") else now


# ---- conditions -------------------------------------------------------------------------------


def _conditions(standing: Standing, facts: Facts) -> Iterator[Condition]:
    yield _ready(standing, facts)
    yield _all_injected(standing, facts)
    yield _all_up_to_date(standing)
    yield facts.agents_start
    yield _webhook_ready(facts.webhook)
    if facts.remote.status:
        remote = facts.remote
        yield Condition("RemoteAttached", remote.status, remote.reason, cut(remote.message, 1024))


def _webhook_ready(webhook: WebhookHealth) -> Condition:
    word = "True" if webhook.is_ready else "False"
    return Condition("WebhookReady", word, webhook.reason, cut(webhook.message, 1024))


def _ready(standing: Standing, facts: Facts) -> Condition:
    """Say whether the next pod would get its agent."""
    if standing.view.policy.paused:
        return Condition("Ready", "False", "Paused", "the policy is paused: pods get no agent")
    if not facts.webhook.is_ready:
        return Condition("Ready", "False", "WebhookNotReady", cut(facts.webhook.message, 1024))
    said = facts.agents_start
    if said.status == "False":
        return Condition("Ready", "False", said.reason, said.message)
    return Condition("Ready", "True", "InForce", "the next pod that is created gets an agent")


def _all_injected(standing: Standing, facts: Facts) -> Condition:
    missing = standing.missing
    if missing:
        verb = "run" if len(missing) > 1 else "runs"
        text = f"{_counted(missing)} of {len(standing.entries)} {verb} without an agent"
        if facts.hold is not None and facts.hold.why:
            text += f"; none is evicted now: {facts.hold.why}"
        return Condition("AllInjected", "False", "Missing", cut(text, 1024))
    skipped = standing.in_state(PodState.SKIPPED)
    if skipped and not standing.injected:
        text = f"{_counted(skipped)} left without an agent: {skipped[0].reason}"
        return Condition("AllInjected", "False", "Skipped", cut(text, 1024))
    if not standing.entries:
        return Condition("AllInjected", "True", "NoPods", "the policy selects no pod that runs")
    rest = f"; {_counted(skipped)} left without on purpose" if skipped else ""
    return Condition("AllInjected", "True", "AllInjected", f"no pod misses its agent{rest}")


def _all_up_to_date(standing: Standing) -> Condition:
    old = tuple(one for one in standing.injected if not one.is_current)
    if not old:
        text = "every agent is what the policy asks for now"
        return Condition("AllUpToDate", "True", "AllUpToDate", text)
    several = len(old) > 1
    text = (
        f"{_counted(old)} {'have' if several else 'has'} an older revision and "
        f"{'get' if several else 'gets'} the new one when created anew"
    )
    return Condition("AllUpToDate", "False", "OutOfDate", cut(text, 1024))


def _counted(entries: Sequence[Entry]) -> str:
    """Return such as "2 pods (a, b)" in the order of the names."""
    names = sorted(one.name for one in entries)
    more = len(names) - _MOST_NAMED
    listed = ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{len(names)} {'pods' if len(names) > 1 else 'pod'} ({listed})"


# ---- Events -----------------------------------------------------------------------------------


_SELDOM: Final = ("Ready", suspension.CONDITION, "RemoteAttached")


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Happened, ...]:
    """Return what happened from one status to the next; nothing for a first status all well."""
    return (*_changed(before, after), *_missed(before, after))


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Happened]:
    for kind in _SELDOM:
        now, then = condition_of(after, kind), condition_of(before, kind)
        same = (now.get("status"), now.get("reason")) == (then.get("status"), then.get("reason"))
        if not now or same or (kind == "Ready" and _follows(after, now)):
            continue
        if now["status"] == "True" and not then:
            continue
        if now["status"] == "Unknown" and now["reason"] not in {
            suspension.TRIAL,
            suspension.SPEC_CHANGED,
        }:
            continue
        yield Happened(str(now["reason"]), str(now["message"]), now["status"] == "False")


def _follows(after: Mapping[str, Any], ready: Mapping[str, Any]) -> bool:
    """Say whether Ready only repeats AgentsStart, or ends with it."""
    said = condition_of(after, suspension.CONDITION)
    ends = said.get("reason") in {suspension.AGAIN, suspension.TRIAL, suspension.SPEC_CHANGED}
    return bool(ready.get("reason") == said.get("reason") or (ready["status"] == "True" and ends))


def _missed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Happened]:
    """Tell of pods that miss their agent now and did not before."""
    seen = {one.get("name") for one in before.get("pods") or () if _is_missing(one)}
    new = [one for one in after.get("pods") or () if _is_missing(one) and one["name"] not in seen]
    if not new:
        return
    names = ", ".join(one["name"] for one in new[:_MOST_NAMED])
    more = len(new) - _MOST_NAMED
    listed = names + (f" and {more} more" if more > 0 else "")
    text = f"without an agent: {listed}: {new[0].get('message', '')}"
    yield Happened("Missed", text, is_warning=True)


def _is_missing(one: Mapping[str, Any]) -> bool:
    return one.get("state") in {PodState.MISSING, PodState.REMOTE}
