# SPDX-License-Identifier: Apache-2.0
"""What the remote agent of a namespace is told, and the objects that run it."""

import json
from dataclasses import replace
from typing import Any

from fodc_agent.remote.targets import Target, Targets, parse_targets
from fodc_operator.policies.remote_targets import (
    config_map,
    deployment,
    differs,
    is_available,
    is_ours,
    targets_json,
    targets_of,
)
from fodc_operator.policies.standing import Standing, standings
from fodc_webhook.inject import marks
from fodc_webhook.resources.fodc_injection import Policy, PullPolicy
from tests.operator.policies.standing_pods import injected, pod, policy, scene, view, with_agent


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


def test_the_config_map_is_owned_by_the_policies() -> None:
    found = config_map("ns", [], [remote("b"), remote("a")])

    assert found["metadata"] == {
        "name": "fodc-remote-agent",
        "namespace": "ns",
        "labels": {
            "app.kubernetes.io/name": "banyandb-fodc",
            "app.kubernetes.io/component": "fodc-remote-agent",
        },
        "ownerReferences": [
            {
                "apiVersion": "fodc.banyandb.dev/v1alpha1",
                "kind": "FodcInjection",
                "name": name,
                "uid": f"uid-of-{name}",
            }
            for name in ("a", "b")
        ],
    }
    assert found["data"] == {"targets.json": '{\n "targets": []\n}\n'}


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


CONTAINER = {
    "name": "fodc-agent",
    "image": "agent:1",
    "args": [
        "--proxy-addr=proxy:17912",
        "--attachment=remote",
        "--targets-file=/etc/fodc/targets.json",
        "--prometheus-listen-addr=:9090",
        "--capture-dir=/var/lib/fodc/captures",
        "--capture-quota=1073741824",
        "--recorder-dir=/var/lib/fodc/window",
        "--recorder-max-bytes=268435456",
        "--log-level=info",
    ],
    "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")],
    "ports": [{"name": "http", "containerPort": 9090, "protocol": "TCP"}],
    "livenessProbe": {
        "httpGet": {"path": "/healthz", "port": 9090, "scheme": "HTTP"},
        "periodSeconds": 20,
        "timeoutSeconds": 5,
        "failureThreshold": 6,
    },
    "resources": {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"cpu": "1", "memory": "512Mi"},
    },
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "volumeMounts": [
        {"name": "targets", "mountPath": "/etc/fodc", "readOnly": True},
        {"name": "data", "mountPath": "/var/lib/fodc"},
        {
            "name": "token",
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            "readOnly": True,
        },
    ],
}
TOKEN = {"audience": "fodc-proxy", "expirationSeconds": 3600, "path": "token"}
VOLUMES = [
    {"name": "targets", "configMap": {"name": "fodc-remote-agent", "defaultMode": 0o444}},
    {"name": "data", "emptyDir": {"sizeLimit": "1600Mi"}},
    {
        "name": "token",
        "projected": {"defaultMode": 0o444, "sources": [{"serviceAccountToken": TOKEN}]},
    },
]
LABELS = {
    "app.kubernetes.io/name": "banyandb-fodc",
    "app.kubernetes.io/component": "fodc-remote-agent",
}


def test_the_deployment_in_full() -> None:
    found = deployment("ns", [remote()])

    assert found["spec"] == {
        "replicas": 1,
        "strategy": {"type": "Recreate", "rollingUpdate": None},
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": {**LABELS, "fodc.banyandb.dev/inject": "disabled"}},
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 20,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "runAsGroup": 65532,
                    "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [CONTAINER],
                "volumes": VOLUMES,
            },
        },
    }


def test_a_secured_remote_agent_knows_the_proxy_by_the_authority_beside_its_token() -> None:
    spec = deployment("ns", [with_agent(remote("a"), is_secured=True)])["spec"]["template"]["spec"]

    assert spec["containers"][0]["args"][-2:] == [
        "--proxy-tls-ca=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
        "--proxy-token-file=/var/run/secrets/kubernetes.io/serviceaccount/token",
    ]
    [_, authority] = spec["volumes"][2]["projected"]["sources"]
    assert authority == {
        "configMap": {
            "name": "fodc-proxy-ca",
            "items": [{"key": "ca.crt", "path": "ca.crt"}],
            "optional": True,
        }
    }


def test_image_and_tls_are_those_of_the_first_policy_by_name() -> None:
    first = with_agent(
        remote("a"),
        image="mirror/agent:2",
        tls_secret="fodc-tls",
        image_pull_policy=PullPolicy.ALWAYS,
    )
    spec = deployment("ns", [remote("b"), first])["spec"]["template"]["spec"]
    container = spec["containers"][0]

    assert (container["image"], container["imagePullPolicy"]) == ("mirror/agent:2", "Always")
    assert container["args"][-4:] == [
        "--proxy-tls-ca=/var/run/secrets/fodc-tls/ca.crt",
        "--proxy-tls-cert=/var/run/secrets/fodc-tls/tls.crt",
        "--proxy-tls-key=/var/run/secrets/fodc-tls/tls.key",
        "--proxy-token-file=/var/run/secrets/kubernetes.io/serviceaccount/token",
    ]
    assert spec["volumes"][-1] == {
        "name": "tls",
        "secret": {"secretName": "fodc-tls", "defaultMode": 292, "optional": True},
    }


def test_defaults_of_the_server_are_no_difference_but_another_image_is() -> None:
    wanted = deployment("ns", [remote()])
    there = {**wanted, "spec": {**wanted["spec"], "revisionHistoryLimit": 10}}

    assert not differs(wanted, there)
    assert differs(deployment("ns", [with_agent(remote(), image="agent:2")]), there)


def test_other_owners_or_targets_are_a_difference() -> None:
    wanted = config_map("ns", [], [remote()])

    assert not differs(wanted, {**wanted, "apiVersion": "v1"})
    assert differs(wanted, config_map("ns", [], [remote("other")]))
    assert differs(wanted, config_map("ns", [{"pod_name": "a"}], [remote()]))
    assert differs(wanted, config_map("ns", [], [replace(remote(), uid="new")]))


def test_an_object_of_somebody_else_is_not_ours() -> None:
    assert is_ours(deployment("ns", [remote()]))
    assert not is_ours({"metadata": {"name": "fodc-remote-agent"}})


def test_the_agent_runs_when_a_replica_is_available() -> None:
    assert is_available({"status": {"availableReplicas": 1}})
    assert not is_available({"status": {}})
    assert not is_available({})
