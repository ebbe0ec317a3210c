# SPDX-License-Identifier: Apache-2.0
"""The status of a FodcInjection as the API server holds it, and which Events a change is worth.

The one idea: the status is a function of how the pods stand and of the status before, which holds
the times of the last changes; when nothing has changed it is equal and is not written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fodc_kube.conditions import Condition, Happened, condition_of, stamped
from fodc_kube.texts import cut
from fodc_operator.policies import suspension
from fodc_operator.policies.certificate_state import CONDITION as CERTIFICATE
from fodc_operator.policies.certificate_state import NO_TLS
from fodc_operator.policies.pull_secrets import CONDITION as PULL_SECRETS
from fodc_operator.policies.standing import (
    MAX_MESSAGE,
    NOT_ASKED,
    Entry,
    PodState,
    Remote,
    Standing,
)
from fodc_webhook.inject.suspended import CONDITION as AGENTS_START

Status: TypeAlias = dict[str, Any]
MOST_PODS: Final = 20
REMOTE: Final = "RemoteAttached"
CONDITIONS: Final = ("AllInjected", "AllUpToDate", AGENTS_START, PULL_SECRETS, REMOTE, CERTIFICATE)
"""Besides Ready. They flip and never vanish."""
_MOST_NAMED: Final = 3
FIELDS: Final = (
    "observedGeneration",
    "matched",
    "injected",
    "upToDate",
    "missing",
    "failed",
    "revision",
    "pods",
    "conditions",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a status is made of besides the pods."""

    generation: int
    now_ms: int
    agents_start: Condition
    remote: Remote
    pull_secrets: Condition
    certificate: Condition = NO_TLS


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
        "pods": _pods(standing),
        "conditions": stamped(
            _conditions(standing, facts), before, generation=facts.generation, now_ms=facts.now_ms
        ),
    }
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def unreadable_status(
    message: str, generation: int, now_ms: int, before: Mapping[str, Any]
) -> Status:
    """Return the status of a policy that breaks its own rules: nothing is done for it."""
    text = cut(message, 1024)
    said = [Condition("Ready", "False", "BadPolicy", text)]
    said += [Condition(name, "Unknown", "BadPolicy", text) for name in CONDITIONS]
    return {
        "observedGeneration": generation,
        "conditions": stamped(said, before, generation=generation, now_ms=now_ms),
    }


def patch_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that leaves exactly this status: absent fields become null."""
    return {"status": {name: status.get(name) for name in FIELDS}}


def known(status: Mapping[str, Any]) -> Status:
    """Return of a status what is ours to write, to compare it."""
    return {name: status[name] for name in FIELDS if name in status}


# ---- pods -------------------------------------------------------------------------------------


def _pods(standing: Standing) -> list[dict[str, str]]:
    """Return the pods that are not as they should be."""
    told = [one for one in standing.entries if one.state is not PodState.INJECTED or one.reason]
    return [_pod(one) for one in told[:MOST_PODS]]


def _pod(one: Entry) -> dict[str, str]:
    found = {
        "name": one.name,
        "state": str(one.state),
        "reason": cut(one.reason, 128),
        "message": cut(one.message, MAX_MESSAGE),
    }
    return {key: text for key, text in found.items() if text}


# ---- conditions -------------------------------------------------------------------------------


def _conditions(standing: Standing, facts: Facts) -> Iterator[Condition]:
    yield _ready(standing, facts)
    yield _all_injected(standing)
    yield _all_up_to_date(standing)
    yield facts.agents_start
    yield facts.pull_secrets
    remote = facts.remote
    yield Condition(REMOTE, remote.status, remote.reason, cut(remote.message, 1024))
    yield facts.certificate


def _ready(standing: Standing, facts: Facts) -> Condition:
    """Say whether the next pod would get its agent."""
    if standing.view.policy.paused:
        return Condition("Ready", "False", "Paused", "the policy is paused: pods get no agent")
    for said in (facts.agents_start, facts.pull_secrets):
        if said.status == "False":
            return Condition("Ready", "False", said.reason, said.message)
    return Condition("Ready", "True", "InForce", "the next pod that is created gets an agent")


def _all_injected(standing: Standing) -> Condition:
    missing = standing.missing
    if missing:
        verb = "run" if len(missing) > 1 else "runs"
        text = f"{_counted(missing)} of {len(standing.entries)} {verb} without a working agent: "
        return Condition("AllInjected", "False", "Missing", cut(text + missing[0].message, 1024))
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


_SELDOM: Final = ("Ready", AGENTS_START, PULL_SECRETS, REMOTE, CERTIFICATE)


def between(
    before: Mapping[str, Any], after: Mapping[str, Any], missed: Sequence[Entry] = ()
) -> tuple[Happened, ...]:
    """Return what happened from one status to the next; nothing for a first status all well.

    `missed` are the pods without a working agent that were not told of yet.
    """
    return (*_changed(before, after), *_missed(missed))


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Happened]:
    for kind in _SELDOM:
        now, then = condition_of(after, kind), condition_of(before, kind)
        same = (now.get("status"), now.get("reason")) == (then.get("status"), then.get("reason"))
        if not now or same or (kind == "Ready" and _follows(after, now)):
            continue
        if now["reason"] == NOT_ASKED or (now["status"] == "True" and not then):
            continue
        if kind == AGENTS_START and now["status"] == then.get("status") == "True":
            continue  # a new leader knows only that they start
        if now["status"] == "Unknown" and now["reason"] not in {
            suspension.TRIAL,
            suspension.SPEC_CHANGED,
        }:
            continue
        yield Happened(str(now["reason"]), str(now["message"]), now["status"] == "False")


def _follows(after: Mapping[str, Any], ready: Mapping[str, Any]) -> bool:
    """Say whether Ready only repeats another condition, or ends with AgentsStart."""
    if ready.get("reason") == condition_of(after, PULL_SECRETS).get("reason"):
        return True
    said = condition_of(after, AGENTS_START)
    ends = said.get("reason") in {suspension.AGAIN, suspension.TRIAL, suspension.SPEC_CHANGED}
    return bool(ready.get("reason") == said.get("reason") or (ready["status"] == "True" and ends))


def _missed(new: Sequence[Entry]) -> Iterator[Happened]:
    if not new:
        return
    names = ", ".join(one.name for one in new[:_MOST_NAMED])
    more = len(new) - _MOST_NAMED
    listed = names + (f" and {more} more" if more > 0 else "")
    yield Happened(
        "Missed", f"without a working agent: {listed}: {new[0].message}", is_warning=True
    )
