# SPDX-License-Identifier: Apache-2.0
"""Which pod is evicted when, and what speaks against it."""

from collections.abc import Sequence
from typing import Any

import pytest

from fodc_kube.conditions import Condition
from fodc_operator.injection import marks
from fodc_operator.injection.evictions import (
    Eviction,
    Hold,
    Memory,
    Situation,
    body_of,
    evicted,
    next_eviction,
)
from fodc_operator.injection.standing import Standing, WebhookHealth, standings
from fodc_operator.resources.fodc_injection import Policy
from tests.operator.injection.standing_pods import (
    NOON_MS,
    evicting,
    injected,
    pod,
    policy,
    scene,
    stuck,
    view,
    waiting,
)

START = Condition("AgentsStart", "True", "AgentsStart", "agents of this policy start")
SUSPENDED = Condition("AgentsStart", "False", "AgentImageUnavailable", "no image")
OTHER_OWNER = [{"kind": "StatefulSet", "name": "x", "uid": "uid-of-x", "controller": True}]


def ms(seconds: float) -> int:
    return NOON_MS + round(seconds * 1000)


def standing_of(pods: Sequence[dict[str, Any]], one: Policy | None = None) -> Standing:
    return standings(pods, scene(view(one or evicting())))["banyandb"]


def decide(
    *pods: dict[str, Any],
    one: Policy | None = None,
    memory: Memory | None = None,
    start: Condition = START,
    now_s: float = 0,
    last_s: float | None = None,
    **more: Any,
) -> Eviction | Hold | None:
    standing, remembered = standing_of(pods, one), memory or Memory(generation=1)
    remembered.observe(standing, ms(now_s))
    told: dict[str, Any] = {
        "webhook": WebhookHealth(),
        "suspended_since_ms": ms(-60) if start.status == "False" else 0,
        **more,
    }
    situation = Situation(
        ms(now_s),
        start,
        last_eviction_ms=0 if last_s is None else ms(last_s),
        siblings=pods,
        **told,
    )
    return next_eviction(standing, situation, remembered)


def name_of(found: Eviction | Hold | None) -> str:
    assert isinstance(found, Eviction), found
    return found.entry.name


def why(found: Eviction | Hold | None) -> str:
    assert isinstance(found, Hold), found
    return found.why


def test_the_first_missing_pod_is_evicted() -> None:
    assert name_of(decide(pod("data-1"), pod("data-0"), injected("data-2"))) == "data-0"


def test_a_policy_that_reports_evicts_nothing() -> None:
    assert decide(pod(), one=policy()) is None


def test_nothing_is_evicted_when_nothing_is_missing() -> None:
    assert decide(injected()) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"webhook": WebhookHealth(is_ready=False, message="no certificate")},
            "the webhook is not ready: no certificate",
        ),
        ({"start": SUSPENDED}, "agents of the policy do not start"),
        (
            {"start": Condition("AgentsStart", "Unknown", "Trial", "")},
            "it is not known yet whether agents start again",
        ),
    ],
)
def test_nothing_is_evicted_that_would_come_back_without_an_agent(
    changes: dict[str, Any], said: str
) -> None:
    assert why(decide(pod(), **changes)) == said


def test_nothing_is_evicted_while_the_policy_is_paused() -> None:
    assert decide(pod(), one=evicting(paused=True)) is None
    assert why(decide(stuck(), one=evicting(paused=True))) == "the policy is paused"


@pytest.mark.parametrize("owner", ["StatefulSet", "ReplicaSet", "DaemonSet"])
def test_pods_that_somebody_makes_anew_are_evicted(owner: str) -> None:
    assert name_of(decide(pod(owner=owner))) == "data-0"


@pytest.mark.parametrize("owner", ["", "Node", "CloneSet"])
def test_pods_that_nobody_makes_anew_are_never_evicted(owner: str) -> None:
    assert decide(pod(owner=owner)) is None


def test_pods_skipped_for_a_lasting_reason_are_never_evicted() -> None:
    refused = {marks.SKIPPED: "RefusedAfterInjection: quota exceeded"}
    nobody = pod("b")
    nobody["spec"]["containers"] = [{"name": "x", "image": "nginx"}]

    assert decide(pod("a", annotations=refused), nobody) is None


def test_the_rate_is_kept_by_the_time_that_the_status_holds() -> None:
    assert decide(pod(), now_s=59, last_s=0) == Hold(
        "the next one has to wait for its turn", ms(60)
    )
    assert name_of(decide(pod(), now_s=60, last_s=0)) == "data-0"
    assert name_of(decide(pod(), one=evicting(60), now_s=1, last_s=0)) == "data-0"


def test_a_pod_on_which_a_capture_runs_is_left_and_the_next_one_goes() -> None:
    busy = {"data-0"}.__contains__

    assert why(decide(pod("data-0"), captures=busy)) == "data-0: a capture runs on it"
    assert name_of(decide(pod("data-0"), pod("data-1"), captures=busy)) == "data-1"


def test_no_pod_goes_while_another_of_its_owner_is_not_ready() -> None:
    down = injected("data-9", ready=False)

    assert why(decide(pod(), down)) == "data-0: pod data-9 beside it is not ready"


def test_what_is_down_of_another_owner_does_not_matter() -> None:
    down = injected("x-0", ready=False)
    down["metadata"]["ownerReferences"] = OTHER_OWNER

    assert name_of(decide(pod(), down)) == "data-0"


def test_a_pod_that_is_down_itself_may_go() -> None:
    assert name_of(decide(pod(ready=False))) == "data-0"


def test_no_pod_goes_while_an_agent_has_not_started() -> None:
    assert (
        why(decide(pod(), injected("data-1", waiting("PodInitializing"))))
        == "the agent of pod data-1 has not started yet"
    )


def after_eviction(*pods: dict[str, Any], of: str = "data-0", was_s: float = 0) -> Memory:
    """What is remembered when the pod of this name was evicted."""
    memory, standing = Memory(generation=1), standing_of(pods)
    entry = next(one for one in standing.entries if one.name == of)
    memory.note_eviction(evicted(entry, pods, ms(was_s)), ms(was_s))
    return memory


def test_the_next_pod_waits_until_the_evicted_one_is_back() -> None:
    memory = after_eviction(pod("data-0"), pod("data-1"))

    assert (
        why(decide(pod("data-1"), memory=memory, now_s=61))
        == "data-1: the pod that was evicted before it is not back"
    )
    back = injected("data-0", created_s=5)
    assert name_of(decide(pod("data-1"), back, memory=memory, now_s=61)) == "data-1"


def test_the_next_pod_waits_five_minutes_at_most() -> None:
    memory = after_eviction(pod("data-0"), pod("data-1"))

    assert name_of(decide(pod("data-1"), memory=memory, now_s=300)) == "data-1"


def test_a_pod_that_comes_back_without_an_agent_is_not_evicted_again_nor_is_another() -> None:
    memory = after_eviction(pod("data-0"), pod("data-1"))
    back = pod("data-0", created_s=3)

    assert (
        why(decide(back, pod("data-1"), memory=memory, now_s=600))
        == "pod data-0 was evicted and came back without an agent; change the policy"
    )


def test_the_pod_of_a_deployment_that_comes_back_in_vain_is_known_by_its_set() -> None:
    memory = after_eviction(pod("data-abc", owner="ReplicaSet"), of="data-abc")
    back = pod("data-xyz", owner="ReplicaSet", created_s=0)

    assert why(decide(back, memory=memory, now_s=600)).startswith("pod data-xyz was evicted and")


def test_an_eviction_in_vain_is_forgotten_with_a_new_spec() -> None:
    memory = after_eviction(pod("data-0"))
    back = pod("data-0", created_s=3)
    assert isinstance(decide(back, memory=memory, now_s=600), Hold)

    memory.note_generation(2)

    assert name_of(decide(back, memory=memory, now_s=600)) == "data-0"


def test_an_eviction_in_vain_is_forgotten_when_the_pod_has_its_agent_at_last() -> None:
    memory = after_eviction(pod("data-0"), pod("data-1"))
    decide(pod("data-0", created_s=3), memory=memory, now_s=60)

    found = decide(injected("data-0", created_s=90), pod("data-1"), memory=memory, now_s=120)

    assert name_of(found) == "data-1"


def test_another_operator_knows_from_the_status_what_was_in_vain() -> None:
    memory, back = Memory(generation=1), pod("data-0", created_s=3)
    memory.recall(standing_of([back, pod("data-1")]), ["data-0"])

    assert why(decide(back, pod("data-1"), memory=memory, now_s=600)).startswith("pod data-0 was")


def test_after_a_refusal_the_reason_is_told_until_the_next_attempt() -> None:
    memory = Memory(generation=1)
    memory.refuse("data-0: a PodDisruptionBudget forbids it", ms(15))

    assert decide(pod(), memory=memory, now_s=10) == Hold(
        "data-0: a PodDisruptionBudget forbids it", ms(15)
    )
    assert name_of(decide(pod(), memory=memory, now_s=15)) == "data-0"


def test_a_pod_held_up_by_its_agent_is_evicted_once_the_policy_is_suspended() -> None:
    assert why(decide(stuck())) == "an agent that does not start is given some time"
    assert name_of(decide(stuck(), start=SUSPENDED)) == "data-0"
    assert name_of(decide(stuck(), pod("data-1"), start=SUSPENDED)) == "data-0"


def test_every_webhook_has_heard_of_a_suspension_before_a_pod_goes() -> None:
    early = decide(stuck(), start=SUSPENDED, suspended_since_ms=ms(-2.9))

    assert why(early) == "an agent that does not start is given some time"
    assert name_of(decide(stuck(), start=SUSPENDED, suspended_since_ms=ms(-3))) == "data-0"


def test_a_pod_on_trial_is_given_its_time() -> None:
    trial = Condition("AgentsStart", "False", "AgentOnTrial", "")

    assert why(decide(stuck(), start=trial)) == "an agent that does not start is given some time"


def test_a_pod_whose_database_runs_beside_a_blocked_agent_is_never_evicted() -> None:
    one = injected("data-0", waiting("CrashLoopBackOff"), ready=False)

    assert decide(one, start=SUSPENDED) is None


def test_a_pod_evicted_as_stuck_comes_back_clean_and_that_is_not_in_vain() -> None:
    memory = after_eviction(stuck("data-0"))
    clean = pod("data-0", created_s=3, annotations={marks.SKIPPED: "Suspended: no image"})

    assert name_of(decide(clean, memory=memory, now_s=600)) == "data-0"


def test_the_server_is_asked_for_exactly_this_pod() -> None:
    found = decide(pod())
    assert isinstance(found, Eviction)

    assert body_of(found.entry) == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "data-0", "namespace": "ns"},
        "deleteOptions": {"preconditions": {"uid": "uid-of-data-0--600"}},
    }
