# SPDX-License-Identifier: Apache-2.0
"""What the agent may use and what the pod as a whole may: the database's share stays the same."""

from typing import Any

import pytest

from fodc_webhook.inject.inject import inject
from fodc_webhook.inject.sizing import is_guaranteed
from fodc_webhook.resources.fodc_injection import AgentTemplate, Policy
from tests.webhook.pods import (
    SERVER,
    agent_in,
    crash,
    database,
    injected,
    other,
    pod,
    policy,
)

EVEN = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}
LIMITS = {"limits": {"cpu": "1", "memory": "1Gi"}}
UNEVEN = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1000Mi"}}
PLAIN = {"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"cpu": "500m", "memory": "96Mi"}}
RAISED = {
    "requests": {"cpu": "500m", "memory": "96Mi"},
    "limits": {"cpu": "500m", "memory": "96Mi"},
}


def resources(given: Any, **spec: Any) -> Any:
    return agent_in(injected(given, **spec))["resources"]


def disk(limit: str) -> dict[str, Any]:
    return {"limits": {"ephemeral-storage": limit}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(db=database(resources=EVEN)), RAISED),
        (pod(db=database(resources=LIMITS)), RAISED),
        (pod(other(resources=EVEN), db=database(resources=EVEN)), RAISED),
        (pod(other(resources={}), db=database(resources=EVEN)), PLAIN),
        (pod(db=database(resources=UNEVEN)), PLAIN),
        (pod(db=database(resources={"limits": {"memory": "1Gi"}})), PLAIN),
        (pod(db=database(resources=EVEN), initContainers=[other()]), PLAIN),
        (pod(db=database(resources=EVEN), initContainers=[other(resources=EVEN)]), RAISED),
        (pod(), PLAIN),
        (pod(db=database(resources={"limits": {"cpu": "0", "memory": "1Gi"}})), PLAIN),
    ],
)
def test_only_in_a_guaranteed_pod_requests_are_raised_to_the_limits(
    given: Any, expected: Any
) -> None:
    """P7: the class decides who is evicted and who has processors of its own."""
    assert is_guaranteed(given) is (expected is RAISED)
    assert resources(given) == expected


def test_resources_of_the_policy_are_taken_as_they_are() -> None:
    given = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    assert resources(pod(), agent={"resources": given}) == given


def test_a_template_without_limits_gets_them_in_a_guaranteed_pod_only() -> None:
    bare = AgentTemplate("agent:1", "proxy:1", requests={"cpu": "20m"}, limits={"cpu": "10m"})
    chosen = policy()
    one = Policy(
        namespace="ns",
        name="n",
        uid="",
        generation=1,
        pod_selector=chosen.pod_selector,
        cluster="c",
        agent=bare,
    )
    even = inject(pod(db=database(resources=EVEN)), one, SERVER, {})
    plain = inject(pod(), one, SERVER, {})
    assert agent_in(even)["resources"] == {
        "requests": {"cpu": "10m", "memory": "96Mi"},
        "limits": {"cpu": "10m", "memory": "96Mi"},
    }
    assert agent_in(plain)["resources"] == {"requests": {"cpu": "10m"}, "limits": {"cpu": "10m"}}


# ---- local disk -------------------------------------------------------------------------------


def test_without_limits_on_local_disk_none_appears() -> None:
    """The first limit of a pod would be one for the database too."""
    assert "ephemeral-storage" not in str(resources(pod(), sharedDirectories=[crash()]))


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        # 360 MiB of volume and 64 MiB of log.
        (pod(db=database(resources=disk("1Gi"))), "424Mi"),
        (pod(other(resources=disk("1Gi"))), "424Mi"),
        (pod(initContainers=[other(resources=disk("1Gi"), restartPolicy="Always")]), "424Mi"),
        # An init container counts for the pod when it is greater than all others together.
        (pod(initContainers=[other(resources=disk("2Gi"))]), "2472Mi"),
        (
            pod(
                db=database(resources=disk("1Gi")), initContainers=[other(resources=disk("1536Mi"))]
            ),
            "936Mi",
        ),
    ],
)
def test_a_limit_on_local_disk_grows_by_what_the_agent_may_write(given: Any, limit: str) -> None:
    """Beyond the sum of the limits the kubelet evicts the whole pod (P8)."""
    assert resources(given) == {
        "requests": {**PLAIN["requests"], "ephemeral-storage": "0"},
        "limits": {**PLAIN["limits"], "ephemeral-storage": limit},
    }


def test_a_shared_directory_counts_too() -> None:
    given = pod(db=database(resources=disk("1Gi")))
    shared = [{"name": "dumps", "mountPath": "/dumps", "sizeLimit": "100Mi"}]
    found = resources(given, sharedDirectories=shared)
    assert found["limits"]["ephemeral-storage"] == "524Mi"


@pytest.mark.parametrize(
    ("agent", "limit"),
    [
        ({}, "360Mi"),
        ({"captureQuota": "64Mi", "windowSize": "4Mi"}, "85Mi"),
        ({"captureQuota": "100M", "windowSize": "4Mi"}, "125Mi"),
        ({"captureQuota": "1Gi", "windowSize": "64Mi"}, "1360Mi"),
        ({"captureQuota": "3Gi", "windowSize": "205Mi"}, "4097Mi"),
    ],
)
def test_the_volume_is_a_quarter_larger_than_what_the_agent_writes(agent: Any, limit: str) -> None:
    """K22: an emptyDir of ours over its limit evicts the database's pod."""
    made = injected(pod(), agent=agent)
    assert made.pod["spec"]["volumes"][0] == {
        "name": "fodc-agent-data",
        "emptyDir": {"sizeLimit": limit},
    }


# ---- resources of the pod as a whole ----------------------------------------------------------


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        (EVEN, {"limits": {"cpu": "1500m", "memory": "1120Mi"}}),
        (
            {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}},
            {
                "limits": {"cpu": "2500m", "memory": "1120Mi"},
                "requests": {"cpu": "1020m", "memory": "1072Mi"},
            },
        ),
        ({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1120Mi"}}),
        (
            {"requests": {"cpu": "1", "hugepages-2Mi": "4Mi"}},
            {"requests": {"cpu": "1020m", "hugepages-2Mi": "4Mi"}},
        ),
    ],
)
def test_resources_of_the_whole_pod_grow_by_those_of_the_agent(whole: Any, expected: Any) -> None:
    """They are the most that all containers may have together (Kubernetes 1.34)."""
    if whole is EVEN:
        expected = {**expected, "requests": expected["limits"]}
    made = injected(pod(resources=whole))
    assert made.pod["spec"]["resources"] == expected
    assert inject(made.pod, policy(), SERVER, {}) == made


def test_resources_of_the_whole_pod_forget_an_agent_that_is_replaced() -> None:
    whole = {"limits": {"memory": "1Gi"}}
    old = injected(pod(resources=whole), agent={"resources": {"limits": {"memory": "512Mi"}}})
    assert old.pod["spec"]["resources"] == {"limits": {"memory": "1536Mi"}}
    assert injected(old.pod).pod["spec"]["resources"] == {"limits": {"memory": "1120Mi"}}


def test_resources_of_the_whole_pod_decide_its_class() -> None:
    assert resources(pod(resources=EVEN)) == RAISED
    assert resources(pod(db=database(resources=EVEN), resources=UNEVEN)) == PLAIN
