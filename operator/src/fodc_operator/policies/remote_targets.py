# SPDX-License-Identifier: Apache-2.0
"""The one agent of a namespace that reaches pods without an agent over the network.

The one idea: a ConfigMap lists the pods, and the agent reads it anew when it changes; so pods come
and go without a restart of anything. The Deployment changes only with the policies.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from fodc_kube.pods import Pod, mapping, text
from fodc_operator.policies.standing import Entry, PodState, Standing
from fodc_webhook.inject import marks
from fodc_webhook.inject.outcome import SkipReason
from fodc_webhook.inject.overrides import AnnotationError, database_told_by, overridden
from fodc_webhook.inject.rendering import (
    HOME,
    TLS_DIRECTORY,
    TOKEN_DIRECTORY,
    credentials,
    proxy_arguments,
)
from fodc_webhook.inject.shapes import Shape, ShapeError, shape_of
from fodc_webhook.kinds import GROUP as LABEL_PREFIX
from fodc_webhook.resources.fodc_injection import KIND, MIB, AgentTemplate, Policy

Body: TypeAlias = dict[str, Any]
NAME: Final = "fodc-remote-agent"
TARGETS: Final = "targets.json"
TARGETS_DIR: Final = "/etc/fodc"
COMPONENT: Final = "remote-agent"
"""The component of the manifests that gives the operator the rights."""
MOST_TARGETS: Final = 64
_HASH: Final = f"{LABEL_PREFIX}/template-hash"
_USER: Final = 65532
_LABELS: Final = {
    "app.kubernetes.io/name": "banyandb-fodc",
    "app.kubernetes.io/component": NAME,
}
_RESOURCES: Final = {
    "requests": {"cpu": "50m", "memory": "96Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}
"""One agent for many nodes; the policy's resources are those of one beside one node."""
_CAPTURES_BYTES: Final = 1024 * MIB
_WINDOWS_BYTES: Final = 256 * MIB
"""All nodes share them; they do not depend on their number, so that no pod restarts the agent."""

_REACHED: Final = frozenset(
    {SkipReason.NAME_TAKEN, SkipReason.TOO_MANY_CONTAINERS, SkipReason.TOO_OLD}
)
"""Reasons for which a pod can have no agent inside, though it has a database and wants one."""


# ---- which pods -------------------------------------------------------------------------------


def targets_of(standing: Standing) -> list[Body]:
    """Return what the remote agent is told of the pods of one policy."""
    policy = standing.view.policy
    if not policy.attach_remotely or policy.paused:
        return []
    found = (_target(one.pod, policy) for one in standing.entries if _is_wanted(one))
    return [one for one in found if one is not None]


def _is_wanted(one: Entry) -> bool:
    return one.is_missing or (one.state is PodState.SKIPPED and one.reason in _REACHED)


def _target(pod: Pod, policy: Policy) -> Body | None:
    """Return one target; None for a pod that does not run yet or whose database is not clear."""
    meta, status = pod["metadata"], mapping(pod.get("status"))
    host = text(status.get("podIP"))
    if not host or status.get("phase") != "Running":
        return None
    try:
        shape = _shape(pod, policy)
    except (ShapeError, AnnotationError):
        return None
    return {
        "pod_name": text(meta.get("name")),
        "namespace": text(meta.get("namespace")),
        "pod_uid": text(meta.get("uid")),
        "kubernetes_node": text(mapping(pod.get("spec")).get("nodeName")),
        "host": host,
        "cluster": policy.cluster,
        "role": str(shape.kind or ""),
        "labels": {"type": shape.tier} if shape.tier else {},
        "metrics_ports": list(shape.metrics_ports),
        "container_names": list(shape.metrics_containers),
        "cluster_state_ports": list(shape.cluster_state_ports),
        "pprof_ports": [shape.pprof_port],
    }


def _shape(pod: Pod, policy: Policy) -> Shape:
    """Read the pod as injection would; raises AnnotationError or ShapeError."""
    wanted = overridden(policy, pod)
    return shape_of(
        pod,
        container=wanted.database_container,
        told_by=database_told_by(pod),
        pprof_port=wanted.pprof_port,
    )


def targets_json(targets: Iterable[Body]) -> str:
    """Return the content of the file, the same for the same targets; at most 64 of them."""
    ordered = sorted(targets, key=lambda one: str(one["pod_name"]))
    return json.dumps({"targets": ordered[:MOST_TARGETS]}, indent=1, sort_keys=True) + "\n"


# ---- objects ----------------------------------------------------------------------------------


def config_map(namespace: str, targets: Iterable[Body], owners: Sequence[Policy]) -> Body:
    """Return the ConfigMap with the targets."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(namespace, owners),
        "data": {TARGETS: targets_json(targets)},
    }


def deployment(namespace: str, owners: Sequence[Policy]) -> Body:
    """Return the Deployment; image, proxy and TLS are those of the first policy by name."""
    first = min(owners, key=lambda one: one.name)
    spec = {
        "replicas": 1,
        # Two agents of the same nodes would take each other's place.
        "strategy": {"type": "Recreate", "rollingUpdate": None},
        "selector": {"matchLabels": dict(_LABELS)},
        "template": {
            "metadata": {"labels": {**_LABELS, marks.OPT_IN_LABEL: marks.DISABLED}},
            "spec": _pod(first.agent),
        },
    }
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:10]
    metadata = {**_metadata(namespace, owners), "annotations": {_HASH: digest}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _metadata(namespace: str, owners: Iterable[Policy]) -> Body:
    references = [
        {
            "apiVersion": f"{LABEL_PREFIX}/v1alpha1",
            "kind": KIND,
            "name": one.name,
            "uid": one.uid,
        }
        for one in sorted(owners, key=lambda one: one.name)
    ]
    return {
        "name": NAME,
        "namespace": namespace,
        "labels": dict(_LABELS),
        "ownerReferences": references,
    }


def _pod(agent: AgentTemplate) -> Body:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 20,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(agent)],
        "volumes": _volumes(agent),
    }


def _container(agent: AgentTemplate) -> Body:
    mounts = [
        {"name": "targets", "mountPath": TARGETS_DIR, "readOnly": True},
        {"name": "data", "mountPath": HOME},
        {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
    ]
    if agent.tls_secret:
        mounts.append({"name": "tls", "mountPath": TLS_DIRECTORY, "readOnly": True})
    found: Body = {
        "name": marks.AGENT_CONTAINER,
        "image": agent.image,
        "args": _args(agent),
        "env": [_field("POD_NAME", "metadata.name"), _field("POD_NAMESPACE", "metadata.namespace")],
        "ports": [{"name": "http", "containerPort": 9090, "protocol": "TCP"}],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 9090, "scheme": "HTTP"},
            "periodSeconds": 20,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": _RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    if agent.image_pull_policy is not None:
        found["imagePullPolicy"] = str(agent.image_pull_policy)
    return found


def _args(agent: AgentTemplate) -> list[str]:
    args = [
        f"--proxy-addr={agent.proxy_address}",
        "--attachment=remote",
        f"--targets-file={TARGETS_DIR}/{TARGETS}",
        "--prometheus-listen-addr=:9090",
        f"--capture-dir={HOME}/captures",
        f"--capture-quota={_CAPTURES_BYTES}",
        f"--recorder-dir={HOME}/window",
        f"--recorder-max-bytes={_WINDOWS_BYTES}",
        f"--log-level={agent.log_level.lower()}",
    ]
    return [*args, *(f"--{name}={value}" for name, value in proxy_arguments(agent))]


def _field(name: str, path: str) -> Body:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _volumes(agent: AgentTemplate) -> list[Body]:
    size_mib = (_CAPTURES_BYTES + _WINDOWS_BYTES) * 5 // 4 // MIB
    volumes: list[Body] = [
        {"name": "targets", "configMap": {"name": NAME, "defaultMode": 0o444}},
        {"name": "data", "emptyDir": {"sizeLimit": f"{size_mib}Mi"}},
        {
            "name": "token",
            "projected": {"defaultMode": 0o444, "sources": credentials(agent)},
        },
    ]
    if agent.tls_secret:
        secret = {"secretName": agent.tls_secret, "defaultMode": 0o444, "optional": True}
        volumes.append({"name": "tls", "secret": secret})
    return volumes


# ---- what differs -----------------------------------------------------------------------------


def differs(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Say whether an object on the server is another than the wanted one.

    The server adds defaults to a Deployment, so its annotation with the hash is compared.
    """
    metadata, found = wanted["metadata"], there.get("metadata") or {}
    keys = ("name", "uid")
    owners = [{key: one.get(key) for key in keys} for one in found.get("ownerReferences") or ()]
    if owners != [{key: one[key] for key in keys} for one in metadata["ownerReferences"]]:
        return True
    if "data" in wanted:
        return bool(there.get("data") != wanted["data"])
    said = (found.get("annotations") or {}).get(_HASH)
    return bool(said != metadata["annotations"][_HASH])


def is_ours(there: Mapping[str, Any]) -> bool:
    """Say whether an object of that name was made by the operator."""
    labels = (there.get("metadata") or {}).get("labels") or {}
    return labels.get("app.kubernetes.io/component") == NAME


def is_available(deployment_: Mapping[str, Any]) -> bool:
    """Say whether the remote agent runs."""
    status = deployment_.get("status") or {}
    return int(status.get("availableReplicas") or 0) > 0
