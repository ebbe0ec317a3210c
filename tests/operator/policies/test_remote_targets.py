# SPDX-License-Identifier: Apache-2.0
"""What the remote agent is told."""

import json
from typing import Any

import pytest

from fodc_agent.remote.targets import Target, Targets, parse_targets
from fodc_operator.policies.remote_targets import (
    first_of,
    targets_in,
    targets_json,
    targets_of,
)
from fodc_operator.policies.standing import Standing, standings
from fodc_webhook.inject import marks
from fodc_webhook.resources.fodc_injection import Policy
from tests.operator.policies.standing_pods import injected, pod, policy, scene, view


def remote(name: str = "banyandb", **more: Any) -> Policy:
    return policy(name, attach_remotely=True, **more)


def standing(*pods: dict[str, Any], one: Policy | None = None) -> Standing:
    return standings(pods, scene(view(one or remote())))["banyandb"]


def names(*pods: dict[str, Any], one: Policy | None = None) -> list[str]:
    return [target["pod_name"] for target in targets_of(standing(*pods, one=one))]


def test_a_target_tells_all_that_the_agent_needs() -> None:
    one = pod()
    env = [{"name": "BYDB_NODE_LABELS", "value": "type=hot"}]
    one["spec"]["containers"] = [
        {"name": "data", "image": "banyandb", "args": ["data"], "env": env},
        {"name": "lifecycle", "image": "banyandb", "command": ["/lifecycle"]},
    ]

    assert targets_of(standing(one)) == [
        {
            "pod_name": "data-0",
            "namespace": "ns",
            "pod_uid": "uid-of-data-0--600",
            "kubernetes_node": "machine-1",
            "host": "10.0.0.7",
            "cluster": "banyandb",
            "role": "data",
            "labels": {"type": "hot"},
            "metrics_ports": [2121, 17915],
            "container_names": ["data", "lifecycle"],
            "cluster_state_ports": [17912, 17914],
            "pprof_ports": [6060],
        }
    ]


def test_pods_that_have_an_agent_or_want_none_are_no_targets() -> None:
    optout = pod("b", labels={marks.OPT_IN_LABEL: "disabled"})

    assert names(injected("a"), optout, pod("c")) == ["c"]


def test_pods_without_an_address_or_not_running_are_no_targets() -> None:
    pending, bare = pod("a"), pod("b")
    pending["status"]["phase"] = "Pending"
    del bare["status"]["podIP"]

    assert names(pending, bare) == []


def test_a_pod_that_cannot_have_an_agent_inside_is_reached_from_outside() -> None:
    one = pod()
    one["spec"]["volumes"] = [{"name": "fodc-agent-data", "hostPath": {"path": "/x"}}]
    found = standing(one)

    assert [entry.reason for entry in found.entries] == ["NameTaken"]
    assert [target["pod_name"] for target in targets_of(found)] == ["data-0"]


def test_the_agent_reads_what_the_operator_writes() -> None:
    text = targets_json(targets_of(standing(pod(annotations={marks.TIER: "hot"}))))

    assert parse_targets(text) == Targets(
        (
            Target(
                pod_name="data-0",
                host="10.0.0.7",
                namespace="ns",
                pod_uid="uid-of-data-0--600",
                kubernetes_node="machine-1",
                cluster="banyandb",
                role="ROLE_DATA",
                labels={"type": "hot"},
                metrics_ports=(2121,),
                container_names=("data",),
                cluster_state_ports=(17912,),
                pprof_ports=(6060,),
            ),
        )
    )


def test_policies_that_are_paused_or_do_not_ask_attach_nothing() -> None:
    assert names(pod(), one=remote(paused=True)) == []
    assert names(pod(), one=policy()) == []


def test_annotations_of_the_pod_decide_about_its_ports() -> None:
    one = pod(annotations={marks.PPROF_PORT: "7070"})

    assert targets_of(standing(one))[0]["pprof_ports"] == [7070]


def test_the_file_is_sorted_and_the_same_for_the_same_targets() -> None:
    found = targets_of(standing(pod("b"), pod("a")))
    text = targets_json(found)

    assert [one["pod_name"] for one in json.loads(text)["targets"]] == ["a", "b"]
    assert text == targets_json(reversed(found))


def test_the_file_has_64_targets_at_most() -> None:
    found = targets_of(standing(*(pod(f"data-{n:03}") for n in range(70))))

    assert len(json.loads(targets_json(found))["targets"]) == 64


def test_who_has_no_room_is_the_last_by_namespace_and_name() -> None:
    far = [{"namespace": "z", "pod_name": "data-0", "pod_uid": "u"}]
    near = [{"namespace": "a", "pod_name": f"data-{n:02}", "pod_uid": "u"} for n in range(64)]

    assert first_of([*far, *near]) == near


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"targets": 5}', '{"targets": [5]}', "[" * 100_000]
)
def test_a_file_that_makes_no_sense_has_no_targets(content: str) -> None:
    assert targets_in(content) == []
