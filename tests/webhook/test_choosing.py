# SPDX-License-Identifier: Apache-2.0
"""Which policy a pod gets: the most specific wish wins, and nobody guesses."""

from typing import Any

import pytest

from fodc_webhook.inject import marks
from fodc_webhook.inject.choosing import choose
from fodc_webhook.inject.outcome import Injection, Outcome, SkipReason
from fodc_webhook.resources.fodc_injection import Policy
from tests.webhook.pods import injected, pod, policy

OPTED_IN = {marks.OPT_IN_LABEL: "enabled"}
OPTED_OUT = {marks.OPT_IN_LABEL: "disabled"}


def other_policy(name: str = "other", app: str = "other", **spec: Any) -> Policy:
    return policy(name, podSelector={"matchLabels": {"app": app}}, **spec)


def refused(given: Any, *policies: Policy, namespace: Any = None) -> Injection:
    found = choose(given, policies, OPTED_IN if namespace is None else namespace)
    assert isinstance(found, Injection)
    assert found.outcome is Outcome.SKIPPED
    return found


@pytest.mark.parametrize(
    ("labels", "namespace"),
    [
        ({}, OPTED_IN),
        (OPTED_IN, {}),
        (OPTED_IN, OPTED_OUT),
        ({marks.OPT_IN_LABEL: "other word"}, OPTED_IN),
    ],
)
def test_a_pod_is_looked_at_when_it_or_its_namespace_opts_in(labels: Any, namespace: Any) -> None:
    assert choose(pod(labels=labels), [policy()], namespace) == policy()


@pytest.mark.parametrize("labels", [{}, {marks.OPT_IN_LABEL: "true"}])
@pytest.mark.parametrize("namespace", [{}, OPTED_OUT])
def test_a_pod_for_which_nobody_opts_in_is_not_meant(labels: Any, namespace: Any) -> None:
    given = pod(labels=labels)
    found = refused(given, policy(), namespace=namespace)
    assert found.reason is SkipReason.NOT_SELECTED
    assert found.message == (
        "neither the pod nor its namespace has the label fodc.banyandb.dev/inject: enabled"
    )
    assert found.pod is given


def test_a_pod_that_opts_out_wins_over_its_namespace_and_its_annotation() -> None:
    given = pod(labels=OPTED_OUT, annotations={marks.POLICY: "banyandb"})
    found = refused(given, policy())
    assert found.reason is SkipReason.OPTED_OUT
    assert found.message == "the pod's label fodc.banyandb.dev/inject is disabled"
    assert found.pod is given


def test_the_policy_that_selects_the_pod_is_taken() -> None:
    assert choose(pod(), [other_policy(), policy()], OPTED_IN) == policy()


def test_a_pod_that_no_policy_selects_is_not_touched() -> None:
    given = pod()
    found = refused(given, other_policy())
    assert found.reason is SkipReason.NOT_SELECTED
    assert found.message == "no FodcInjection of the namespace selects the pod's labels"
    assert found.pod is given


def test_two_policies_are_one_too_many() -> None:
    found = refused(pod(), policy("b"), policy("a"), other_policy())
    assert found.reason is SkipReason.SEVERAL_POLICIES
    assert found.message == (
        "the FodcInjections a, b all select the pod; narrow their podSelector or name one in the "
        "pod's annotation fodc.banyandb.dev/injection"
    )
    assert found.pod["metadata"]["annotations"] == {
        marks.SKIPPED: f"SeveralPolicies: {found.message}"
    }


def test_a_paused_policy_is_still_one_of_two() -> None:
    """Which one was meant is not known better for it."""
    found = refused(pod(), policy("a", paused=True), policy("b"))
    assert found.reason is SkipReason.SEVERAL_POLICIES


def test_an_annotation_decides_between_policies_and_over_selectors() -> None:
    given = pod(annotations={marks.POLICY: "other"})
    every = [policy("a"), policy("b"), other_policy()]
    assert choose(given, every, OPTED_IN) == other_policy()


@pytest.mark.parametrize(("known", "listed"), [([], "none"), ([policy("a")], "a")])
def test_an_annotation_that_names_nobody_says_whom_there_is(known: Any, listed: str) -> None:
    found = refused(pod(annotations={marks.POLICY: "gone"}), *known)
    assert found.reason is SkipReason.UNKNOWN_POLICY
    assert found.message == (
        "the pod's annotation fodc.banyandb.dev/injection names the FodcInjection gone, which its "
        f"namespace does not have; it has {listed}"
    )


@pytest.mark.parametrize("annotations", [{}, {marks.POLICY: "banyandb"}])
def test_a_paused_policy_leaves_pods_alone(annotations: Any) -> None:
    found = refused(pod(annotations=annotations), policy(paused=True))
    assert (found.reason, found.policy) == (SkipReason.PAUSED, "banyandb")
    assert found.message == "FodcInjection banyandb is paused; set paused: false there to go on"
    assert found.pod["metadata"]["annotations"][marks.SKIPPED] == f"Paused: {found.message}"


def test_a_pod_that_has_its_agent_already_is_not_called_one_without() -> None:
    """Between two calls for one pod its policy may be paused."""
    once = injected(pod()).pod
    found = refused(once, policy(paused=True))
    assert found.pod is once


def test_a_message_has_an_end() -> None:
    every = [policy(f"{at}-{'x' * 200}") for at in range(9)]
    found = refused(pod(), *every)
    assert len(found.message) == 1024
    assert found.message.endswith("…")
