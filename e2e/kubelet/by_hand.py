# SPDX-License-Identifier: Apache-2.0
"""The agent in a pod as a person would write it, for tests of everything but the injection."""

from collections.abc import Mapping
from typing import Any

from e2e.kubelet.databases import CONTAINER, METRICS_PORT, PPROF_PORT, RESTRICTED, USER
from e2e.kubelet.images import AGENT_IMAGE

TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"


def with_agent(stateful_set: Mapping[str, Any], flavour: str, proxy: str) -> dict[str, Any]:
    """Return the StatefulSet with an agent in its pods."""
    spec = stateful_set["spec"]
    pod = dict(spec["template"]["spec"])
    pod["initContainers"] = [agent(flavour, proxy)]
    pod["volumes"] = _volumes(flavour)
    if flavour == "proc":
        pod["shareProcessNamespace"] = True
    template = {**spec["template"], "spec": pod}
    return {**stateful_set, "spec": {**spec, "template": template}}


def agent(flavour: str, proxy: str) -> dict[str, Any]:
    """Return the native sidecar."""
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_UID": "metadata.uid",
        "NODE_NAME": "spec.nodeName",
        "POD_IP": "status.podIP",
    }
    mounts: list[dict[str, Any]] = [
        {"name": "fodc-agent-data", "mountPath": "/var/lib/fodc"},
        {"name": "fodc-agent-token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
    ]
    security: dict[str, Any] = {**RESTRICTED, "runAsUser": USER, "runAsGroup": USER}
    if flavour == "ebpf":
        security |= {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}
        security["capabilities"] = {"drop": ["ALL"], "add": ["BPF", "PERFMON"]}
        for name, path in _HOST_PATHS.items():
            mounts.append({"name": name, "mountPath": path, "readOnly": True})
    return {
        "name": "fodc-agent",
        "image": AGENT_IMAGE,
        "restartPolicy": "Always",
        "args": [
            f"--proxy-addr={proxy}",
            "--cluster=e2e",
            "--node-role=data",
            "--node-labels=type=hot",
            f"--container-names={CONTAINER}",
            f"--poll-metrics-ports={METRICS_PORT}",
            "--cluster-state-ports=17912",
            f"--pprof-ports={PPROF_PORT}",
            "--prometheus-listen-addr=:9090",
            "--capture-dir=/var/lib/fodc/captures",
            "--recorder-dir=/var/lib/fodc/window",
            "--log-level=info",
            f"--node-container={CONTAINER}",
            "--attachment=sidecar",
            f"--flavour={flavour}",
        ],
        "env": [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in fields.items()
        ],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 9090},
            "periodSeconds": 20,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {
            "requests": {"cpu": "20m", "memory": "48Mi"},
            "limits": {"cpu": "500m", "memory": "96Mi"},
        },
        "securityContext": security,
        "volumeMounts": mounts,
    }


_HOST_PATHS = {
    "fodc-agent-cgroup": "/sys/fs/cgroup",
    "fodc-agent-tracing": "/sys/kernel/tracing",
}


def _volumes(flavour: str) -> list[dict[str, Any]]:
    token = {"audience": "fodc-proxy", "expirationSeconds": 3600, "path": "token"}
    volumes: list[dict[str, Any]] = [
        {"name": "fodc-agent-data", "emptyDir": {"sizeLimit": "360Mi"}},
        {"name": "fodc-agent-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
    ]
    if flavour == "ebpf":
        volumes += [
            {"name": name, "hostPath": {"path": path}} for name, path in _HOST_PATHS.items()
        ]
    return volumes
