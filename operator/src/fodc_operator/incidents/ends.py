# SPDX-License-Identifier: Apache-2.0
"""How the containers of a node's pod ended, out of the pod's status; pure.

The one idea: a container that has ended so often is one number that only grows, whether the kubelet
tells it as the present state or as the last one; so nothing is told twice and nothing is skipped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fodc_kube.pods import Pod, container_statuses, entries, is_leaving, mapping, number, text
from fodc_kube.texts import time_ms
from fodc_proxy.evidence.incidents.model import ContainerEnd
from fodc_webhook.inject.marks import AGENT_CONTAINER

_OOM_KILLED: Final = "OOMKilled"
_KEPT_OF_METADATA: Final = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")


@dataclass(frozen=True, slots=True)
class Ended:
    """One end of a container; `is_previous` when another process runs in its place by now."""

    end: ContainerEnd
    is_previous: bool


def kept_of(pod: Pod) -> dict[str, Any]:
    """Return what of a pod is kept in memory: a hundredth of it."""
    metadata = {k: v for k, v in pod["metadata"].items() if k in _KEPT_OF_METADATA}
    spec, status = mapping(pod.get("spec")), mapping(pod.get("status"))
    return {
        "metadata": metadata,
        "spec": {"nodeName": spec.get("nodeName")},
        "status": {
            "reason": status.get("reason"),
            "message": status.get("message"),
            "initContainerStatuses": status.get("initContainerStatuses"),
            "containerStatuses": status.get("containerStatuses"),
        },
    }


def has_agent(pod: Pod) -> bool:
    """Say whether a container of the pod has the agent's name, by its status."""
    return any(one.get("name") == AGENT_CONTAINER for one in container_statuses(pod))


def machine_of(pod: Pod) -> str:
    """Return the Kubernetes node on which the pod runs."""
    return text(mapping(pod.get("spec")).get("nodeName"))


def ends_of(pod: Pod) -> Iterator[Ended]:
    """Yield the last end of each regular container but the agent; ends that were asked for not.

    A pod that somebody deletes ends its containers; one that ran out of memory meanwhile counts.
    """
    status = mapping(pod.get("status"))
    for one in entries(status.get("containerStatuses")):
        if one.get("name") == AGENT_CONTAINER:
            continue
        found = _ended(one, text(status.get("reason")), text(status.get("message")))
        if found is not None and not (is_leaving(pod) and found.end.reason != _OOM_KILLED):
            yield found


def _ended(one: Mapping[str, Any], reason: str, message: str) -> Ended | None:
    restarts = number(one.get("restartCount")) or 0
    if present := mapping(mapping(one.get("state")).get("terminated")):
        return Ended(_end(one, present, restarts + 1, (reason, message)), is_previous=False)
    last = mapping(mapping(one.get("lastState")).get("terminated"))
    # A container that ran without an end has none; a restarted kubelet forgets the last state.
    if not last or not restarts:
        return None
    return Ended(_end(one, last, restarts, ("", "")), is_previous=True)


def _end(
    one: Mapping[str, Any], ended: Mapping[str, Any], ends: int, of_pod: tuple[str, str]
) -> ContainerEnd:
    """Read one end; what is told of the whole pod, such as an eviction, stands behind it."""
    words = (text(ended.get("message")), ": ".join(word for word in of_pod if word))
    return ContainerEnd(
        container=text(one.get("name")),
        reason=text(ended.get("reason")) or "Error",
        exit_code=number(ended.get("exitCode")) or 0,
        signal=number(ended.get("signal")) or 0,
        message="; ".join(word for word in words if word),
        restarts=ends,
        started_at_ms=time_ms(ended.get("startedAt")) or None,
        finished_at_ms=time_ms(ended.get("finishedAt")) or None,
    )
