# SPDX-License-Identifier: Apache-2.0
"""What the remote agent is told: which pods without an agent it reaches over the network; pure.

The one idea: the agent is a component of the manifests that a person installs; the operator keeps
one file of it, a list of pods, which the agent reads anew when it changes. So pods come and go
without a restart of anything, and the operator makes no workload.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from fodc_kube.pods import Pod, mapping, text
from fodc_operator.policies.standing import Entry, PodState, Standing
from fodc_webhook.inject.outcome import SkipReason
from fodc_webhook.inject.overrides import AnnotationError, database_told_by, overridden
from fodc_webhook.inject.shapes import Shape, ShapeError, shape_of
from fodc_webhook.resources.fodc_injection import Policy

Body: TypeAlias = Mapping[str, Any]
NAME: Final = "fodc-remote-agent"
"""Of the ConfigMap, and of the Deployment whose pods read it."""
TARGETS: Final = "targets.json"
COMPONENT: Final = "remote-agent"
"""The component of the manifests that brings both."""
MOST_TARGETS: Final = 64

_REACHED: Final = frozenset(
    {SkipReason.NAME_TAKEN, SkipReason.TOO_MANY_CONTAINERS, SkipReason.TOO_OLD}
)
"""Reasons for which a pod can have no agent inside, though it has a database and wants one."""


# ---- which pods -------------------------------------------------------------------------------


def targets_of(standing: Standing) -> list[Body]:
    """Return what the remote agent is told of the pods of one policy, if it asks for one."""
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


# ---- the file ----------------------------------------------------------------------------------


def first_of(targets: Iterable[Body]) -> list[Body]:
    """Return the targets that there is room for, in the order of the file."""
    return sorted(targets, key=_key)[:MOST_TARGETS]


def targets_json(targets: Iterable[Body]) -> str:
    """Return the content of the file, the same for the same targets."""
    return json.dumps({"targets": first_of(targets)}, indent=1, sort_keys=True) + "\n"


def targets_in(content: str) -> list[Body]:
    """Return the targets of a file; none of one that makes no sense, which is written anew."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return []
    listed = found.get("targets") if isinstance(found, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def identity_of(target: Body) -> tuple[str, str, str]:
    """Return namespace, name and UID of the pod."""
    return text(target.get("namespace")), text(target.get("pod_name")), text(target.get("pod_uid"))


def _key(target: Body) -> tuple[str, str]:
    return text(target.get("namespace")), text(target.get("pod_name"))
