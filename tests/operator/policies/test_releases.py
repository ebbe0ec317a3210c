# SPDX-License-Identifier: Apache-2.0
"""Which pods are made anew because of their agent: only those that lose nothing by it (K1)."""

from typing import Any

import pytest

from fodc_operator.policies.releases import Release, next_release
from fodc_operator.policies.standing import standings
from fodc_webhook.resources.fodc_injection import OnAgentFailure
from tests.operator.policies.standing_pods import (
    NOON_MS,
    injected,
    pod,
    policy,
    scene,
    stuck,
    unschedulable,
    view,
    waiting,
)


def due(
    one: dict[str, Any], *, told_s: float | None = 10, since_s: float = 60, **more: Any
) -> Release | None:
    found = standings([one], scene(view(policy(**more))))["banyandb"]
    blocked = {one["metadata"]["uid"]: NOON_MS - round(since_s * 1000)}
    return next_release(
        found,
        blocked,
        suspended_since_ms=None if told_s is None else NOON_MS - round(told_s * 1000),
        now_ms=NOON_MS,
        patience_ms=30_000,
    )


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (stuck(), "the image agent:1 cannot be pulled"),
        (stuck(reason="CreateContainerConfigError"), "its container cannot be created"),
        (unschedulable(), "the pod fits on no node with what the agent asks for"),
    ],
)
def test_a_database_that_waits_for_its_agent_is_released(one: dict[str, Any], words: str) -> None:
    found = due(one)

    assert found is not None
    assert words in found.why


@pytest.mark.parametrize(
    "one",
    [
        injected(),
        pod(),
        # Its database runs, and the agent beside it does not.
        injected("data-0", waiting("ImagePullBackOff")),
        # Nobody would make it anew.
        stuck(owner=""),
        stuck(owner="Job"),
    ],
)
def test_a_pod_that_would_lose_something_is_left_alone(one: dict[str, Any]) -> None:
    assert due(one) is None


def test_an_agent_is_given_some_time() -> None:
    assert due(stuck(), since_s=20) is None


def test_nothing_is_released_before_the_webhook_knows_that_it_gives_no_agent() -> None:
    """Else the pod would come back with the same agent."""
    assert due(stuck(), told_s=None) is None
    assert due(stuck(), told_s=2) is None
    # It comes back with another one.
    assert due(stuck(revision="older"), told_s=None) is not None


def test_a_policy_may_let_its_pods_wait() -> None:
    assert due(stuck(), on_agent_failure=OnAgentFailure.WAIT) is None
