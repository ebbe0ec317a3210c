# SPDX-License-Identifier: Apache-2.0
"""Pods that get no agent, because one more container would do harm or could not run.

The one idea: the list of ways in which a container breaks a pod, each with the sentence that tells
people what to do.
"""

from collections.abc import Mapping
from typing import Any, Final

from fodc_kube.pods import Pod, annotations_of, entries, labels_of, mapping, spec_of, text, texts
from fodc_webhook.inject.marks import OPT_IN_LABEL
from fodc_webhook.inject.outcome import SkipReason
from fodc_webhook.inject.pod_reading import has_agent, has_our_agent, others_of
from fodc_webhook.resources.fodc_injection import Policy

MAX_CONTAINERS: Final = 128
"""More containers than a pod of a database has for a reason; each costs time in the webhook."""
OLDEST_SERVER: Final = (1, 27)
_MIRROR: Final = "kubernetes.io/config.mirror"
_JOB_LABELS: Final = ("batch.kubernetes.io/job-name", "job-name")
_OS_LABELS: Final = ("kubernetes.io/os", "beta.kubernetes.io/os")

Obstacle = tuple[SkipReason, str]


def obstacle_to(pod: Pod, policy: Policy, server_version: tuple[int, int]) -> Obstacle | None:
    """Return why this pod gets no agent, None when nothing is against it."""
    return (
        _too_old(server_version)
        or _static(pod)
        or _not_linux(pod)
        or _ends_by_itself(pod)
        or _foreign_agent(pod, policy)
        or _too_many(pod)
    )


def _too_old(server_version: tuple[int, int]) -> Obstacle | None:
    if server_version >= OLDEST_SERVER:
        return None
    major, minor = server_version
    message = f"the API server is Kubernetes {major}.{minor}; agents need 1.27 or later"
    return SkipReason.TOO_OLD, message


def _static(pod: Pod) -> Obstacle | None:
    if _MIRROR not in annotations_of(pod):
        return None
    message = (
        "the pod mirrors a static one of a machine, which the API server cannot change; put the "
        "agent into the machine's manifest"
    )
    return SkipReason.STATIC_POD, message


def _not_linux(pod: Pod) -> Obstacle | None:
    spec = spec_of(pod)
    system = text(mapping(spec.get("os")).get("name"))
    if system and system != "linux":
        return SkipReason.NOT_LINUX, f"the pod's os.name is {system}; the agent runs on linux"
    selector = mapping(spec.get("nodeSelector"))
    for label in _OS_LABELS:
        chosen = text(selector.get(label)) or "linux"
        if chosen != "linux":
            message = f"the pod's nodeSelector wants {label}: {chosen}; the agent runs on linux"
            return SkipReason.NOT_LINUX, message
    required = _required_system(spec)
    if required:
        message = f"the pod's required nodeAffinity wants {required}; the agent runs on linux"
        return SkipReason.NOT_LINUX, message
    contexts = [mapping(spec.get("securityContext"))]
    contexts += [mapping(one.get("securityContext")) for one in others_of(pod)]
    if not system and any(one.get("windowsOptions") for one in contexts):
        message = "the pod has securityContext.windowsOptions; the agent runs on linux"
        return SkipReason.NOT_LINUX, message
    return None


def _required_system(spec: Mapping[str, Any]) -> str:
    """Return the other system that every term of a required nodeAffinity wants; empty for none."""
    affinity = mapping(mapping(spec.get("affinity")).get("nodeAffinity"))
    required = mapping(affinity.get("requiredDuringSchedulingIgnoredDuringExecution"))
    wanted = [_other_system(one) for one in entries(required.get("nodeSelectorTerms"))]
    # One of the terms is enough for a node, so all of them must rule linux out.
    return wanted[0] if wanted and all(wanted) else ""


def _other_system(term: Mapping[str, Any]) -> str:
    for one in entries(term.get("matchExpressions")):
        values = texts(one.get("values"))
        if one.get("key") in _OS_LABELS and one.get("operator") == "In" and "linux" not in values:
            return f"{one.get('key')} in {', '.join(values)}"
    return ""


def _ends_by_itself(pod: Pod) -> Obstacle | None:
    """A container that never ends keeps such a pod from ending, or is killed with it."""
    spec, sentence = spec_of(pod), ""
    owners = entries(mapping(pod.get("metadata")).get("ownerReferences"))
    restart = text(spec.get("restartPolicy"))
    if any(one.get("kind") == "Job" for one in owners) or any(
        label in labels_of(pod) for label in _JOB_LABELS
    ):
        sentence = "the pod belongs to a Job"
    elif restart in {"Never", "OnFailure"}:
        sentence = f"the pod's restartPolicy is {restart}"
    elif spec.get("activeDeadlineSeconds") is not None:
        sentence = "the pod has activeDeadlineSeconds"
    if not sentence:
        return None
    message = (
        f"{sentence}, so it is to end by itself, which an agent beside it would hinder; label "
        f"such pods {OPT_IN_LABEL}: disabled to say no more about it"
    )
    return SkipReason.JOB, message


def _foreign_agent(pod: Pod, policy: Policy) -> Obstacle | None:
    if not has_agent(pod) or has_our_agent(pod) or policy.take_over:
        return None
    message = (
        "the pod has a container fodc-agent already, perhaps from the chart of the database; "
        "switch it off there (fodc.enabled=false), or set takeOver: true in the FodcInjection "
        f"{policy.name} to replace it"
    )
    return SkipReason.FOREIGN_AGENT, message


def _too_many(pod: Pod) -> Obstacle | None:
    count = len(others_of(pod))
    if count <= MAX_CONTAINERS:
        return None
    message = f"the pod has {count} containers; pods with more than {MAX_CONTAINERS} get no agent"
    return SkipReason.TOO_MANY_CONTAINERS, message
