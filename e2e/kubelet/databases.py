# SPDX-License-Identifier: Apache-2.0
"""StatefulSets of the sample node as the official chart makes those of BanyanDB.

The one idea: nothing in them knows of an agent; labels, names, ports and arguments are the chart's
(upstream-proxy §16.2), and the container is as restricted as Pod Security can ask.
"""

from collections.abc import Mapping
from typing import Any, Final

from e2e.kubelet.images import DATABASE_IMAGE

USER: Final = 1000
CONTAINER: Final = "data"
METRICS_PORT: Final = 2121
PPROF_PORT: Final = 6060
RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def stateful_set(
    name: str,
    *,
    role: str = "data",
    replicas: int = 1,
    instance: str = "",
    memory: str = "256Mi",
    load: int = 1,
    series: int = 0,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a StatefulSet of one role; the annotations and labels are those of the pod.

    `instance` is the release of the chart, by default the name.
    """
    selector = {
        "app.kubernetes.io/name": "banyandb",
        "app.kubernetes.io/instance": instance or name,
        "app.kubernetes.io/component": role,
    }
    own = dict(labels or {})
    metadata = {"labels": {**selector, **own}, "annotations": dict(annotations or {})}
    pod = {
        "terminationGracePeriodSeconds": 10,
        "containers": [container(memory, load, role, series)],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": selector},
            "template": {"metadata": metadata, "spec": pod},
        },
    }


def trial_pod(instance: str) -> dict[str, Any]:
    """Return a pod of a database, to be asked about by a dry run."""
    template = stateful_set("trial", instance=instance)["spec"]["template"]
    metadata = {**template["metadata"], "name": "trial"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def container(memory: str, load: int, role: str, series: int = 0) -> dict[str, Any]:
    """Return the database container; so many series are on its page beside the usual ones."""
    ports = {"grpc": 17912, "pprof": PPROF_PORT, "observability": METRICS_PORT}
    return {
        "name": CONTAINER,
        "image": DATABASE_IMAGE,
        "args": [
            role,
            f"--observability-listener-addr=:{METRICS_PORT}",
            f"--pprof-listener-addr=:{PPROF_PORT}",
            f"--load={load}",
            f"--series={series}",
        ],
        "env": [{"name": "BYDB_NODE_LABELS", "value": "type=hot"}] if role == "data" else [],
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        "readinessProbe": {
            "httpGet": {"path": "/metrics", "port": METRICS_PORT},
            "periodSeconds": 1,
        },
        "resources": {
            "requests": {"cpu": "50m", "memory": "32Mi"},
            "limits": {"memory": memory},
        },
        "securityContext": {**RESTRICTED, "runAsUser": USER, "runAsGroup": USER},
    }
