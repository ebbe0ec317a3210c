# SPDX-License-Identifier: Apache-2.0
"""How pods stand with the policies of their namespace."""

from typing import Any

import pytest

from fodc_operator.policies.standing import (
    PodState,
    Scene,
    Standing,
    blocked_since,
    standings,
)
from fodc_webhook.inject import marks
from fodc_webhook.resources.fodc_injection import Policy
from tests.operator.policies.standing_pods import (
    NOON_MS,
    at,
    injected,
    pod,
    policy,
    running,
    scene,
    stuck,
    view,
    waiting,
)


def told(standing: Standing) -> list[tuple[str, str, str]]:
    return [(one.name, str(one.state), str(one.reason)) for one in standing.entries]


def stand(*pods: dict[str, Any], within: Scene | None = None) -> list[tuple[str, str, str]]:
    return told(standings(pods, within or scene())["banyandb"])


def test_a_pod_with_the_present_agent_is_injected() -> None:
    assert stand(injected()) == [("data-0", "Injected", "")]


def test_a_pod_with_an_older_revision_is_out_of_date_and_says_which() -> None:
    found = standings([injected(revision="ffffffffff")], scene())["banyandb"]

    assert told(found) == [("data-0", "OutOfDate", "OlderRevision")]
    assert found.entries[0].message == (
        "has revision ffffffffff; it gets 0123456789 when it is created anew"
    )
    assert not found.entries[0].is_current


def test_a_reduced_flavor_is_told_by_its_note() -> None:
    assert stand(injected(note="basic, not ebpf")) == [("data-0", "Injected", "LessThanAsked")]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("ErrImagePull", "AgentImageUnavailable"),
        ("ImagePullBackOff", "AgentImageUnavailable"),
        ("InvalidImageName", "AgentImageUnavailable"),
        ("ErrImageNeverPull", "AgentImageUnavailable"),
        ("CreateContainerConfigError", "AgentNotCreated"),
        ("CreateContainerError", "AgentNotCreated"),
        ("CrashLoopBackOff", "AgentExits"),
    ],
)
def test_a_pod_whose_agent_does_not_start_has_failed(reason: str, word: str) -> None:
    found = standings([stuck(reason=reason)], scene())["banyandb"]

    assert told(found) == [("data-0", "Failed", word)]
    # What the kubelet says alternates; this does not.
    assert reason not in found.entries[0].message


@pytest.mark.parametrize("state", [waiting("PodInitializing"), waiting("ContainerCreating"), {}])
def test_an_agent_that_is_about_to_start_has_not_failed(state: dict[str, Any]) -> None:
    assert stand(injected(state=state)) == [("data-0", "Injected", "")]


def test_a_pod_older_than_its_policy_is_missing_for_that_reason() -> None:
    assert stand(pod(created_s=-7200)) == [("data-0", "Missing", "OlderThanPolicy")]


def test_a_pod_younger_than_its_policy_was_missed_by_the_webhook() -> None:
    assert stand(pod()) == [("data-0", "Missing", "WebhookMissed")]


def test_a_pod_that_was_refused_with_an_agent_is_missing_for_good() -> None:
    said = {marks.SKIPPED: "RefusedAfterInjection: quota agents exceeded: ask for more"}
    found = standings([pod(annotations=said)], scene())["banyandb"].entries[0]

    assert (found.state, found.reason, found.message, found.is_lasting) == (
        PodState.MISSING,
        "RefusedAfterInjection",
        "quota agents exceeded: ask for more",
        True,
    )


def test_a_pod_skipped_while_suspended_is_missing_and_may_be_created_anew() -> None:
    said = {marks.SKIPPED: "Suspended: agents do not start"}
    found = standings([pod(annotations=said)], scene())["banyandb"].entries[0]

    assert (found.state, found.reason, found.is_lasting) == (PodState.MISSING, "Suspended", False)


@pytest.mark.parametrize(
    "one",
    [
        pod(status={"phase": "Succeeded"}),
        pod(status={"phase": "Failed"}),
        pod(owner="Job"),
        {**pod(), "metadata": {**pod()["metadata"], "deletionTimestamp": at(0)}},
        pod(labels={"app": "other"}),
    ],
)
def test_pods_that_ended_leave_or_are_of_jobs_or_not_selected_do_not_count(
    one: dict[str, Any],
) -> None:
    assert stand(one) == []


def test_a_pod_that_nobody_opted_in_is_skipped_and_told_how() -> None:
    found = standings([pod()], scene(labels={}))["banyandb"].entries[0]

    assert (found.state, found.reason, found.message) == (
        PodState.SKIPPED,
        "NotOptedIn",
        "neither the namespace nor the pod has the label fodc.banyandb.dev/inject=enabled",
    )


def test_a_pod_that_opted_in_by_its_own_label_is_missing() -> None:
    one = pod(labels={marks.OPT_IN_LABEL: "enabled"})

    assert stand(one, within=scene(labels={})) == [("data-0", "Missing", "WebhookMissed")]


def test_a_pod_that_opted_out_is_skipped() -> None:
    assert stand(pod(labels={marks.OPT_IN_LABEL: "disabled"})) == [
        ("data-0", "Skipped", "OptedOut")
    ]


def test_pods_of_an_excluded_namespace_are_skipped() -> None:
    assert stand(pod(), within=scene(is_excluded=True)) == [("data-0", "Skipped", "NotOptedIn")]


def test_a_pod_that_would_get_no_agent_today_is_skipped_with_the_webhooks_reason() -> None:
    one = pod()
    one["spec"]["containers"] = [{"name": "a", "image": "nginx"}, {"name": "b", "image": "redis"}]

    assert stand(one) == [("data-0", "Skipped", "NoDatabase")]


def test_a_foreign_agent_is_skipped_and_may_be_taken_over() -> None:
    one = pod()
    one["spec"]["containers"].append({"name": "fodc-agent", "image": "apache/fodc-agent"})

    assert stand(one) == [("data-0", "Skipped", "ForeignAgent")]
    assert stand(one, within=scene(view(policy(take_over=True)))) == [
        ("data-0", "Missing", "WebhookMissed")
    ]


def test_pods_of_a_paused_policy_are_skipped() -> None:
    assert stand(pod(), within=scene(view(policy(paused=True)))) == [
        ("data-0", "Skipped", "Paused")
    ]


def test_a_pod_of_two_policies_is_skipped_in_both() -> None:
    found = standings([pod()], scene(view(), view(policy("other"))))

    assert [told(found[name]) for name in ("banyandb", "other")] == [
        [("data-0", "Skipped", "SeveralPolicies")]
    ] * 2


def test_an_annotation_chooses_among_policies() -> None:
    found = standings(
        [pod(annotations={marks.POLICY: "other"})], scene(view(), view(policy("other")))
    )

    assert [told(found[name]) for name in ("banyandb", "other")] == [
        [],
        [("data-0", "Missing", "WebhookMissed")],
    ]


def test_an_injected_pod_belongs_to_the_policy_that_injected_it() -> None:
    found = standings(
        [injected(by="other", labels={"app": "x"})], scene(view(), view(policy("other")))
    )

    assert [told(found[name]) for name in ("banyandb", "other")] == [
        [],
        [("data-0", "Injected", "")],
    ]


def test_those_in_most_trouble_come_first_then_by_name() -> None:
    old = injected("e", revision="old")
    optout = pod("d", labels={marks.OPT_IN_LABEL: "disabled"})
    found = stand(injected("f"), old, optout, pod("c"), pod("b"), stuck("a"))

    assert [(name, state) for name, state, _ in found] == [
        ("a", "Failed"),
        ("b", "Missing"),
        ("c", "Missing"),
        ("d", "Skipped"),
        ("e", "OutOfDate"),
        ("f", "Injected"),
    ]


def test_a_missing_pod_that_is_reached_over_the_network_is_remote_and_still_missing() -> None:
    found = standings([pod("a"), pod("b")], scene())["banyandb"].with_remote({"b", "z"})

    assert [(name, state) for name, state, _ in told(found)] == [("a", "Missing"), ("b", "Remote")]
    assert len(found.missing) == 2


def seen(*pods: dict[str, Any], before: dict[str, int], now_s: float) -> dict[str, int]:
    found = standings(pods, scene(now_s=now_s)).values()
    return blocked_since(found, before, NOON_MS + round(now_s * 1000))


def test_an_agent_is_blocked_since_it_was_first_seen_so() -> None:
    uid = "uid-of-data-0--60"
    first = seen(stuck(), before={}, now_s=0)
    later = seen(stuck(reason="ErrImagePull"), before=first, now_s=20)

    assert (first, later) == ({uid: NOON_MS}, {uid: NOON_MS})


def test_an_agent_between_two_attempts_stays_blocked_until_it_runs_for_a_while() -> None:
    uid, first = "uid-of-data-0--60", {"uid-of-data-0--60": NOON_MS}
    at_work = injected(state=running(25), restarts=3, created_s=-60)

    assert seen(at_work, before=first, now_s=30) == {uid: NOON_MS}
    assert seen(at_work, before=first, now_s=36) == {}


def test_a_pod_that_only_starts_is_not_blocked() -> None:
    assert seen(injected(state=waiting("PodInitializing")), before={}, now_s=0) == {}


def test_a_policy_without_pods_stands_empty() -> None:
    one: Policy = policy()

    assert standings([], scene(view(one))) == {"banyandb": Standing(view(one))}
