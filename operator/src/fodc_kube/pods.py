# SPDX-License-Identifier: Apache-2.0
"""Reads a pod that may lack anything: absent, null and empty are one; pure.

The one idea: a pod is foreign data of which the API server promises little, so nobody else asks
whether a field is there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from fodc_kube.texts import time_ms

Pod: TypeAlias = Mapping[str, Any]
"""A pod as the API server gives it; never changed in place."""
Container: TypeAlias = Mapping[str, Any]
_PLAIN: Final = {dict}
_REFERENCE: Final = re.compile(r"\$\([^)]*\)")


def mapping(value: object) -> Mapping[str, Any]:
    """Return an object, empty when it is absent or none."""
    # What JSON gives is a dict or none; asking an abstract class first costs five times as much.
    if isinstance(value, dict):
        return value
    return value if value is not None and isinstance(value, Mapping) else {}


def entries(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list, empty when it is absent or none; not to be changed."""
    if not isinstance(value, list):
        return []
    # As JSON gives it, it is the list itself: nobody copies twenty variables to look for one.
    if set(map(type, value)) == _PLAIN:
        return value
    return [one for one in value if isinstance(one, Mapping)]


def text(value: object) -> str:
    """Return a text, empty when it is absent or none."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> list[str]:
    """Return the texts of a list, empty when it is absent or none."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def number(value: object) -> int | None:
    """Return a whole number, None when it is absent or none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# ---- the pod ----------------------------------------------------------------------------------


def spec_of(pod: Pod) -> Mapping[str, Any]:
    """Return the pod's spec."""
    return mapping(pod.get("spec"))


def labels_of(pod: Pod) -> Mapping[str, Any]:
    """Return the pod's labels."""
    return mapping(mapping(pod.get("metadata")).get("labels"))


def annotations_of(pod: Pod) -> Mapping[str, Any]:
    """Return the pod's annotations."""
    return mapping(mapping(pod.get("metadata")).get("annotations"))


def containers_of(pod: Pod) -> list[Container]:
    """Return the regular containers."""
    return entries(spec_of(pod).get("containers"))


def init_containers_of(pod: Pod) -> list[Container]:
    """Return the init containers, native sidecars among them."""
    return entries(spec_of(pod).get("initContainers"))


def volumes_of(pod: Pod) -> Mapping[str, Mapping[str, Any]]:
    """Return the volumes by name."""
    return {text(one.get("name")): one for one in entries(spec_of(pod).get("volumes"))}


def is_native(container: Container) -> bool:
    """Say whether an init container runs as long as the pod."""
    return container.get("restartPolicy") == "Always"


# ---- its status -------------------------------------------------------------------------------


def is_ready(pod: Pod) -> bool:
    """Say whether the pod is ready and not on its way out."""
    ready = condition_of_pod(pod, "Ready")
    return ready.get("status") == "True" and not is_leaving(pod)


def is_leaving(pod: Pod) -> bool:
    """Say whether somebody has deleted the pod."""
    return bool(mapping(pod.get("metadata")).get("deletionTimestamp"))


def is_scheduled(pod: Pod) -> bool:
    """Say whether the pod has a node."""
    return bool(text(spec_of(pod).get("nodeName")))


def unready_since_ms(pod: Pod) -> int:
    """Return since when the pod is not ready; its creation for one that never was."""
    ready, created_ms = (
        condition_of_pod(pod, "Ready"),
        time_ms(pod["metadata"].get("creationTimestamp")),
    )
    if ready.get("status") == "True":
        return 0
    return max(created_ms, time_ms(ready.get("lastTransitionTime")))


def condition_of_pod(pod: Pod, kind: str) -> Mapping[str, Any]:
    """Return the condition of this type, an empty mapping when there is none."""
    found = entries(mapping(pod.get("status")).get("conditions"))
    return next((one for one in found if one.get("type") == kind), {})


def container_statuses(pod: Pod) -> list[Container]:
    """Return the statuses of all containers, init containers first."""
    status = mapping(pod.get("status"))
    names = ("initContainerStatuses", "containerStatuses")
    return [one for name in names for one in entries(status.get(name))]


# ---- one container ----------------------------------------------------------------------------


def words_of(container: Container) -> Sequence[str]:
    """Return the command line as far as the pod tells it: command, then args."""
    return (*texts(container.get("command")), *texts(container.get("args")))


def variable(container: Container, name: str) -> str | None:
    """Return the plain value of an environment variable; the last one counts.

    None when the variable is absent, comes from elsewhere or refers to another.
    """
    value: str | None = None
    for one in entries(container.get("env")):
        if one.get("name") == name:
            plain = text(one.get("value"))
            value = None if "valueFrom" in one or _REFERENCE.search(plain) else plain
    return value


def has_variable(container: Container, name: str) -> bool:
    """Say whether the container sets this environment variable, whatever its value."""
    return any(one.get("name") == name for one in entries(container.get("env")))


def port_named(container: Container, *names: str) -> int | None:
    """Return the number of the first declared port that has one of these names."""
    for one in entries(container.get("ports")):
        found = number(one.get("containerPort"))
        if one.get("name") in names and found:
            return found
    return None
